"""Write RUN as a Hugging Face model into the new folder HF_DIR: config.json, safetensors, tokenizer.

The architecture is the first of GPT-2, Llama, Mistral, Qwen3, Arcee, Apertus, BERT and T5 that computes what the model
does; a model that none of them computes is refused, with what differs. Prints the folder, which the library
transformers opens with AutoTokenizer and AutoModelForCausalLM, AutoModelForMaskedLM (or ForPreTraining) or
AutoModelForSeq2SeqLM.

A recurrent model becomes an embedding, PyTorch's nn.RNN, nn.LSTM or nn.GRU, and a head, by the names of their state
dicts: README.md has the lines that open it.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from jaxlm.commands import terminal


def main(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    hf_dir: Annotated[Path, typer.Argument(help="Folder to make.")],
    step: Annotated[int | None, typer.Option(help="A saved step; default: the newest.")] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], typer.Option(help="Of the weights; the smaller ones round.")
    ] = "float32",
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    from jaxlm.exchange import export_huggingface

    with terminal.preparation() as progress:
        made = export_huggingface(run, hf_dir, step=step, dtype=dtype, progress=progress)
    if json_:
        terminal.print_json(made._asdict())
    else:
        print(made.folder)
