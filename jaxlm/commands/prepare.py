"""Make what CONFIG tells: a clean corpus of dirty text, or the token shards of a run.

A config that returns a CorpusConfig reads, cleans, annotates and deduplicates its sources, and prints the folder of the
documents that stay: `jaxlm train RUN_CONFIG --set data.source=FOLDER` goes on from there. A config of a run is only
collected, split and tokenised, and the shards' folder is printed. What is there already is not made again.
"""

from pathlib import Path
from typing import Annotated

import typer

from jaxlm.commands import terminal
from jaxlm.commands.train import SetOption


def main(
    config: Annotated[str, typer.Argument(help="Shipped name, .py or .json file, or run folder.")],
    set_: SetOption = None,
    corpora_dir: Annotated[Path, typer.Option(help="Where corpora are kept.", envvar="JAXLM_CORPORA")] = Path(
        "corpora"
    ),
    shards_dir: Annotated[Path, typer.Option(help="Where shards are kept.", envvar="JAXLM_SHARDS")] = Path("shards"),
    workers: Annotated[int | None, typer.Option(min=1, help="Processes or threads; default: one a core.")] = None,
    cluster: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Of a Dask scheduler, for a corpus.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    from jaxlm.config import load
    from jaxlm.corpus.config import CorpusConfig
    from jaxlm.run_config import RunConfig

    cfg = load(config, (RunConfig, CorpusConfig), set_ or [])
    with terminal.preparation() as progress:
        if isinstance(cfg, CorpusConfig):
            told = _corpus(cfg, corpora_dir, workers, cluster, progress)
        else:
            told = _shards(cfg, shards_dir, workers, progress)
    if json_:
        terminal.print_json(told)
    else:
        print(next(iter(told.values())))


def _corpus(cfg, root: Path, workers: int | None, cluster: str | None, progress) -> dict:
    from jaxlm.corpus.pipeline import make
    from jaxlm.corpus.prepare import cores

    made = make(cfg, root, workers=workers or cores(), cluster=cluster, progress=progress)
    return {"documents": str(made.documents), "digest": made.manifest["digest"], "stages": made.manifest["stages"]}


def _shards(cfg, root: Path, workers: int | None, progress) -> dict:
    from jaxlm.corpus.prepare import prepare

    shards = prepare(cfg.data, root, workers=workers, progress=progress)
    counts = {split: shards.counts(split) for split in ("train", "validation", "test")}
    return {"shards": str(shards.folder), "digest": shards.digest, "vocab": shards.vocab, **counts}
