"""Make the run folder RUN of the Hugging Face model in the folder HF_DIR; nothing is downloaded.

Reads config.json, safetensors and the tokenizer's files; no pickle, no program. What would compute other numbers here
than there is refused by its key. A BERT saved without its head gets one at random, and a warning. Prints the run
folder, which eval --text, generate, inspect and export open, and training begins from: jaxlm train RUN --set
data.source=TEXTS --name NEW, where TEXTS has several documents (of one long text, --set data.split.kind=contiguous
holds out the end).

Also an embedding, PyTorch's nn.RNN, nn.LSTM or nn.GRU, and a head: config.json then has model_type rnn, lstm or gru,
the arguments of the module, and vocab_size.
"""

from pathlib import Path
from typing import Annotated

import typer

from jaxlm.commands import terminal


def main(
    hf_dir: Annotated[Path, typer.Argument(help="Folder with config.json, model.safetensors and tokenizer.json.")],
    run: Annotated[Path, typer.Argument(help="Run folder to make.")],
    tokenizer: Annotated[Path | None, typer.Option(help="Folder of the tokenizer, if not HF_DIR.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    from jaxlm.exchange import import_huggingface

    with terminal.preparation() as progress:
        found = import_huggingface(hf_dir, run, tokenizer=tokenizer, progress=progress)
    if json_:
        terminal.print_json(found._asdict())
    else:
        print(found.run)
