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
    explain: Annotated[
        str | None, typer.Option(metavar="ID", help="Tell what became of a document of the finished corpus.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    from jaxlm.config import load
    from jaxlm.corpus.config import CorpusConfig
    from jaxlm.run_config import RunConfig

    cfg = load(config, (RunConfig, CorpusConfig), set_ or [])
    if explain is not None:
        _explain(cfg, corpora_dir, explain, json_)
        return
    with terminal.preparation() as progress:
        if isinstance(cfg, CorpusConfig):
            told = _corpus(cfg, corpora_dir, workers, cluster, progress)
        else:
            told = _shards(cfg, shards_dir, workers, progress)
    if json_:
        terminal.print_json(told)
    else:
        print(next(iter(told.values())))


def _explain(cfg, root: Path, beginning: str, as_json: bool) -> None:
    from jaxlm.corpus.config import CorpusConfig
    from jaxlm.corpus.pipeline import Corpus
    from jaxlm.corpus.story import stories
    from jaxlm.errors import UserError

    if not isinstance(cfg, CorpusConfig):
        raise UserError("--explain tells of documents of a corpus, and this is the config of a run")
    found = stories(Corpus.open(root / cfg.name), beginning)
    if as_json:
        terminal.print_json({"documents": [story._asdict() for story in found]})
        return
    for story in found:
        print(f"{story.source}  {story.id}\n  {' '.join(story.begins.split())[:100]}")
        if story.note:
            personal = ", ".join(story.note["personal"]) or "none"
            print(f"  language {story.note['language']} ({story.note['probability']:.2f}); personal data: {personal}")
            for name, score in story.note["scores"].items():
                print(f"  score {name}: {'not asked for' if score is None else f'{score:.4g}'}")
        for why in story.reasons:
            evidence = f" ({why['evidence']})" if why["evidence"] else ""
            print(f"  removed by {why['stage']}: {why['reason']}{evidence}{_measured(why['reason'], story.note)}")
        for cut in story.cuts:
            told = f"  without characters {cut['start']} to {cut['end']}, cut by {cut['stage']}: {cut['reason']}"
            print(f"{told} ({cut['evidence']}): {' '.join(cut['sample'].split())[:60]}")
        if story.stays:
            print("  stays")


def _measured(reason: str, note: dict) -> str:
    """`: it is 12`, where a reason is a bound that a measure broke."""
    name = reason.partition(" ")[0].rpartition(".")[2]
    value = note.get("measures", {}).get(name)
    return "" if value is None else f": it is {value:.4g}"


def _corpus(cfg, root: Path, workers: int | None, cluster: str | None, progress) -> dict:
    from jaxlm.corpus.pipeline import make
    from jaxlm.corpus.prepare import cores

    scorers = {}
    if cfg.scores:  # only then is jax started
        from jaxlm.scorers import of_runs

        scorers = of_runs(cfg.scores)
    made = make(cfg, root, workers=workers or cores(), cluster=cluster, scorers=scorers, progress=progress)
    return {"documents": str(made.documents), "digest": made.manifest["digest"], "stages": made.manifest["stages"]}


def _shards(cfg, root: Path, workers: int | None, progress) -> dict:
    from jaxlm.corpus.prepare import prepare

    shards = prepare(cfg.data, root, workers=workers, progress=progress)
    counts = {split: shards.counts(split) for split in ("train", "validation", "test")}
    return {"shards": str(shards.folder), "digest": shards.digest, "vocab": shards.vocab, **counts}
