"""Make the shards of CONFIG's data: collect, split, train the tokenizer, tokenise, plan the rows.

Prints the shards' folder. Finished shards of the same input and config are found again, not made again.
"""

from pathlib import Path
from typing import Annotated

import typer

from jaxlm.commands import terminal
from jaxlm.commands.train import SetOption


def main(
    config: Annotated[str, typer.Argument(help="Shipped name, .py or .json file, or run folder.")],
    set_: SetOption = None,
    shards_dir: Annotated[Path, typer.Option(help="Where shards are kept.", envvar="JAXLM_SHARDS")] = Path("shards"),
    workers: Annotated[int | None, typer.Option(min=1, help="Threads; default: one for each core.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    from jaxlm.corpus.prepare import prepare
    from jaxlm.run_config import load_config

    cfg = load_config(config, *(set_ or []))
    with terminal.preparation() as progress:
        shards = prepare(cfg.data, shards_dir, workers=workers, progress=progress)
    if json_:
        counts = {split: shards.counts(split) for split in ("train", "validation", "test")}
        terminal.print_json({"shards": str(shards.folder), "digest": shards.digest, "vocab": shards.vocab, **counts})
    else:
        print(shards.folder)
