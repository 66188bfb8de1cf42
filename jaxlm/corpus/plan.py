"""What of the sources is read together: files in the order of their names, or slices of a large one.

Nothing here depends on how many workers there are. Of a sample (corpus/sample.py) no file is cut, nor read to its end.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxlm.corpus import remote, sample, slices, tasks
from jaxlm.corpus.collect import Progress, source_files
from jaxlm.corpus.config import FIELDS, CorpusConfig, SourceConfig
from jaxlm.corpus.document import LeftOut, Tally
from jaxlm.corpus.files import WHOLE, File, Slice
from jaxlm.corpus.formats import html, warc
from jaxlm.corpus.formats.unpack import bare
from jaxlm.corpus.tasks import Task
from jaxlm.errors import UserError


class Part(NamedTuple):
    """Files of one source, or a slice of one, that are read in one task."""

    source: SourceConfig
    files: list[File]
    digest: str  # of their names and bytes

    @property
    def name(self) -> str:
        first = self.files[0]
        place = "" if first.slice == WHOLE else f" from byte {first.slice.begin:,}"
        return f"{self.source.name}/{first.name}{place}" + (" ..." if len(self.files) > 1 else "")


class Plan(NamedTuple):
    """What will be read."""

    parts: list[Part]  # of every source, in order
    tally: Tally  # of what the sources hold that is no text file
    left_out: list[tuple[str, LeftOut]]  # the same one by one, with its source
    files: dict[str, int]  # of each source, before a sample is taken


def plan(
    cfg: CorpusConfig,
    folder: Path,
    run: Callable[[list[Task]], list[dict]],
    progress: Progress,
    *,
    sample_of: Path | None = None,
) -> Plan:
    """`folder` takes copies of what lies elsewhere; with `sample_of`, the corpus' own folder, only of the sample."""
    parts, tally, told, found = [], Tally(fields=FIELDS), [], {}
    sampled, own = sample_of is not None, sample_of or folder
    for source in cfg.sources:
        tally.note = lambda one, name=source.name: told.append((name, one))
        try:
            path, outside, count = source.path, own, None
            if remote.is_remote(path):
                fetched, choose = folder / "work" / "fetched", sample.choose_whole if sampled else None
                copied, count = remote.local(path, source.include, fetched, progress, choose)
                path, outside = str(copied), None
            files = source_files(path, source.include, tally, outside)
        except UserError as error:
            raise UserError(f"source {source.name!r}: {error}") from None
        if not files:
            only = f" that fits include={list(source.include)}" if source.include else ""
            why = f" ({tally})" if str(tally) else ""
            raise UserError(f"source {source.name!r}: path={source.path!r} holds no file{only}{why}: name another one")
        _check_main_text(source, files)
        found[source.name] = len(files) if count is None else count
        for some in _cut(sample.choose(files) if sampled else files, cfg.part_bytes):
            # A sample's folder is a new one, so names are enough, and no large file is read to its end.
            names = tasks.key(source.name, [file.name for file in some])
            parts.append(Part(source, some, names if sampled else slices.digest(some)))
            progress(len(parts), None, "hashing parts")
    return Plan(parts if sampled else _sliced(parts, cfg, run), tally, told, found)


def _check_main_text(source: SourceConfig, files: Sequence[File]) -> None:
    """UserError where the config asks for a reader of web pages that nothing needs, or that is not there."""
    if source.main_text == "resiliparse":
        return
    if not any(bare(file.name).endswith((*html.SUFFIXES, *warc.PAGES)) for file in files):
        raise UserError(
            f"source {source.name!r}: main_text={source.main_text!r} is for web pages ("
            f"{', '.join((*html.SUFFIXES, *warc.PAGES))}), and none of its files, as {files[0].name}, is one: leave "
            f"main_text out"
        )
    try:
        html.trafilatura()
    except UserError as error:
        raise UserError(f"source {source.name!r}: {error}") from None


def _sliced(parts: list[Part], cfg: CorpusConfig, run: Callable[[list[Task]], list[dict]]) -> list[Part]:
    """Parts of a large file in slices, the others as they are."""
    large = [part for part in parts if part.files[0].size > cfg.part_bytes and slices.starts_of(part.files[0])]
    found = dict(zip((part.digest for part in large), run([_cutting(part, cfg) for part in large]), strict=True))
    cut = []
    for part in parts:
        facts = found.get(part.digest, {"slices": [WHOLE], "digests": [part.digest]})
        if len(facts["slices"]) == 1:
            cut.append(part)
            continue
        for place, digest in zip(facts["slices"], facts["digests"], strict=True):
            cut.append(Part(part.source, [part.files[0]._replace(slice=Slice(*place))], digest))
    return cut


def _cutting(part: Part, cfg: CorpusConfig) -> Task:
    key = tasks.key(slices.VERSION, part.digest, cfg.part_bytes)
    return Task("cut", key, slices.find, (part.files[0], cfg.part_bytes, part.digest), part.name)


def _cut(files: Sequence[File], most: int) -> Iterator[list[File]]:
    some: list[File] = []
    size = 0
    for file in files:
        if some and size + file.size > most:
            yield some
            some, size = [], 0
        some.append(file._replace(path=file.path.absolute()))  # a cluster's workers stand in other folders
        size += file.size
    yield some
