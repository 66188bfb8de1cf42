"""Make what CONFIG tells: a clean corpus of dirty text, or the token shards of a run.

A config that returns a CorpusConfig reads, cleans, annotates and deduplicates its sources, and prints the folder of the
documents that stay: `jaxlm train RUN_CONFIG --set data.source=FOLDER` goes on from there; a table of what each stage
took and the corpus' datasheet tell the rest. A config of a run is only collected, split and tokenised, and the shards'
folder is printed. What is there already is not made again.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from jaxlm.commands import corpus_table, terminal
from jaxlm.commands.train import SetOption


def main(
    config: Annotated[str, typer.Argument(help="Shipped name, .py or .json file, or run folder.")],
    set_: SetOption = None,
    corpora_dir: Annotated[Path, typer.Option(help="Where corpora are kept.", envvar="JAXLM_CORPORA")] = Path(
        "corpora"
    ),
    shards_dir: Annotated[Path, typer.Option(help="Where shards are kept.", envvar="JAXLM_SHARDS")] = Path("shards"),
    workers: Annotated[int | None, typer.Option(min=1, help="Processes or threads; default: one a core.")] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Of a Dask scheduler, for a corpus; or `local`: one with --workers processes of this machine, started "
            "and ended by the command.",
        ),
    ] = None,
    explain: Annotated[
        str | None, typer.Option(metavar="ID", help="Tell what became of a document of the finished corpus.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what a corpus would lose, on a sample of its sources; keep nothing.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    from jaxlm.corpus.config import CorpusConfig
    from jaxlm.errors import UserError

    cfg = _load(config, set_ or [])
    if explain is not None and dry_run:
        raise UserError("--explain tells of a finished corpus, --dry-run of a sample: leave one of them out")
    if explain is not None:
        _explain(cfg, corpora_dir, explain, json_)
        return
    if dry_run:
        _dry_run(cfg, corpora_dir, workers, cluster, json_)
        return
    if cluster is not None:
        _check_cluster(cluster, workers, isinstance(cfg, CorpusConfig))
    with terminal.preparation() as progress:
        if isinstance(cfg, CorpusConfig):
            told = _corpus(cfg, corpora_dir, workers, cluster, progress)
        else:
            told = _shards(cfg, shards_dir, workers, progress)
    if json_:
        terminal.print_json(told)
    else:
        print(next(iter(told.values())))


def _check_cluster(cluster: str, workers: int | None, of_corpus: bool) -> None:
    """UserError where `--cluster` or `--workers` would be ignored."""
    from jaxlm.corpus.executor import LOCAL
    from jaxlm.errors import UserError

    if not of_corpus:
        raise UserError(
            f"--cluster {cluster} makes a corpus, and this is the config of a run, whose shards are made on this "
            f"machine: leave it out"
        )
    if workers is not None and cluster != LOCAL:
        raise UserError(
            f"--workers counts processes of this machine, and --cluster {cluster} has workers of its own: leave it out"
        )


def _load(config: str, assignments: Sequence[str]):
    """A CorpusConfig or a RunConfig; that of a run imports jax, two seconds for which a corpus has no use."""
    from jaxlm.config import load
    from jaxlm.corpus.config import CorpusConfig
    from jaxlm.errors import UserError

    try:
        return load(config, CorpusConfig, assignments)
    except UserError:  # it is of a run, or wrong, which is told of both
        from jaxlm.run_config import RunConfig

        return load(config, (RunConfig, CorpusConfig), assignments)


def _explain(cfg, root: Path, beginning: str, as_json: bool) -> None:
    from jaxlm.config import difference
    from jaxlm.corpus.config import CorpusConfig, told
    from jaxlm.corpus.finished import Corpus
    from jaxlm.corpus.rules import measured
    from jaxlm.corpus.story import stories
    from jaxlm.errors import UserError

    if not isinstance(cfg, CorpusConfig):
        raise UserError("--explain tells of documents of a corpus, and this is the config of a run")
    corpus = Corpus.open(root / cfg.name)
    found, changed = stories(corpus, beginning), difference(corpus.manifest["config"], told(cfg))
    if as_json:
        terminal.print_json({"documents": [story._asdict() for story in found], "config_changed": changed})
        return
    if changed:
        more = f" and {len(changed) - _CHANGES:,} more fields" if len(changed) > _CHANGES else ""
        some = ", ".join(changed[:_CHANGES])
        print(f"this corpus was made with another config: {some}{more}; run `jaxlm prepare` to apply it")
    for story in found:
        print(f"{story.source}  {story.id}\n  {' '.join(story.begins.split())[:100]}")
        if story.note:
            personal = ", ".join(story.note["personal"]) or "none"
            print(f"  language {story.note['language']} ({story.note['probability']:.2f}); personal data: {personal}")
            for name, score in story.note["scores"].items():
                print(f"  score {name}: {'not asked for' if score is None else f'{score:.4g}'}")
        for leak in story.leaks:
            places = ", ".join(f"{start} to {end}" for start, end in leak["spans"])
            why = f"; {_COMMON}" if leak["common"] else ""
            print(f"  {leak['share']:.0%} of {leak['place']} of {leak['set']} is in it: characters {places}{why}")
        for why in story.reasons:
            evidence = why["evidence"] or measured(why["reason"], story.note.get("measures", {}))
            print(f"  removed by {why['stage']}: {why['reason']}{f' ({evidence})' if evidence else ''}")
        for cut in story.cuts:
            told = f"  without characters {cut['start']} to {cut['end']}, cut by {cut['stage']}: {cut['reason']}"
            print(f"{told} ({cut['evidence']}): {' '.join(cut['sample'].split())[:60]}")
        if story.stays:
            print("  stays")


_CHANGES = 3  # fields of the config that are named: chosen, a line
_COMMON = "no leak, as over contamination.common documents hold its phrases: raise that if it is one"


def _dry_run(cfg, root: Path, workers: int | None, cluster: str | None, as_json: bool) -> None:
    from jaxlm.corpus.config import CorpusConfig
    from jaxlm.corpus.forecast import would_end
    from jaxlm.corpus.pipeline import make
    from jaxlm.corpus.prepare import cores
    from jaxlm.corpus.sample import FILE_BYTES, lenient
    from jaxlm.corpus.summary import warnings
    from jaxlm.errors import UserError

    if not isinstance(cfg, CorpusConfig):
        raise UserError("--dry-run samples the sources of a corpus, and this is the config of a run")
    if cluster is not None:
        raise UserError(f"--dry-run runs on this machine alone: leave out --cluster {cluster}")
    with tempfile.TemporaryDirectory(prefix="jaxlm-") as folder, terminal.preparation() as progress:
        sampled = lenient(cfg)
        made = make(
            sampled, Path(folder), workers=workers or cores(), scorers=_scorers(cfg), progress=progress,
            sample_of=root / cfg.name,
        )  # fmt: skip
        said = would_end(cfg, made) + warnings(made.manifest)
    sources = made.manifest["summary"]["sources"]
    if as_json:
        files = {name: {"files": one["files"], "of_files": one["of_files"]} for name, one in sources.items()}
        terminal.print_json({"sample": files, "summary": made.manifest["summary"], "warnings": said})
        return
    print(f"A sample: of each file that was read its first texts, to {FILE_BYTES >> 10} KiB; nothing is kept.")
    for name, one in sources.items():
        print(f"  {name}: {one['files']:,} of {one['of_files']:,} files, {one['documents']:,} documents")
    print("Duplicates are those within the sample: of the whole there are more.")
    print(corpus_table.stages(made.manifest))
    for line in [*corpus_table.samples(made.manifest), "", *(f"warning: {one}" for one in said)]:
        print(line)


def _corpus(cfg, root: Path, workers: int | None, cluster: str | None, progress) -> dict:
    from jaxlm.corpus.pipeline import make
    from jaxlm.corpus.prepare import cores
    from jaxlm.corpus.summary import warnings
    from jaxlm.report import datasheet

    made = make(cfg, root, workers=workers or cores(), cluster=cluster, scorers=_scorers(cfg), progress=progress)
    page, said = datasheet.write(made.folder, made.manifest), warnings(made.manifest)
    progress.end()
    print(corpus_table.stages(made.manifest), file=sys.stderr)
    for line in [*(f"warning: {one}" for one in said), f"datasheet: {page}"]:
        print(line, file=sys.stderr)
    return {
        "documents": str(made.documents), "digest": made.manifest["digest"], "stages": made.manifest["stages"],
        "datasheet": str(page), "warnings": said,
    }  # fmt: skip


def _scorers(cfg) -> dict:
    """A model for each score; only where there is one is jax started."""
    if not cfg.scores:
        return {}
    from jaxlm.scorers import of_runs

    return of_runs(cfg.scores)


def _shards(cfg, root: Path, workers: int | None, progress) -> dict:
    from jaxlm.corpus.prepare import prepare

    shards = prepare(cfg.data, root, workers=workers, progress=progress)
    counts = {split: shards.counts(split) for split in ("train", "validation", "test")}
    return {"shards": str(shards.folder), "digest": shards.digest, "vocab": shards.vocab, **counts}
