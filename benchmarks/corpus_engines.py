"""Case of corpus.py for engines: one process, two and a cluster of two make the same files, and how much sooner.

Documents are of 30 random sentences of gutenberg-en, one in ten an edited copy, so that all stages have work; the
config is one that a user would write, with parts of 8 MB, since in parts of the usual 32 MB so little text has no use
for two workers. Compared is every file of the corpus but those under `work/`.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import harness
import planted

Rows = list[dict[str, Any]]

DOCUMENTS, SENTENCES, COPIES = 40_000, 30, 0.1  # some 120 MB
FILE_DOCUMENTS = 2_500
GOAL = 1.7  # 2 workers beside 1: chosen beforehand
ENGINES = {"1 process": "1", "2 processes": "2", "Dask, 2 workers": "dask"}
_CONFIG = """
from jaxlm.corpus.config import CorpusConfig, DuplicatesConfig, QualityConfig, SourceConfig
from jaxlm.corpus.duplicates.config import PassagesConfig
from jaxlm.corpus.rules import Gopher, GopherRepetition

def config():
    return CorpusConfig(
        name="engines", sources=(SourceConfig(name="texts", path={source!r}),), part_bytes=8 << 20,
        quality=(QualityConfig(rules=(Gopher(), GopherRepetition())),),
        duplicates=DuplicatesConfig(passages=PassagesConfig()),
    )
"""


def engines(data: Path, rounds: int) -> Rows:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        size = write(data, folder / "texts")
        (folder / "config.py").write_text(_CONFIG.format(source=str(folder / "texts")))
        lists = {name: folder / f"{engine}.json" for name, engine in ENGINES.items()}
        contenders = {
            name: harness.Contender(
                ["benchmarks/ours/timed_prepare.py", str(folder / "config.py"), "engines", str(lists[name]),
                 "--engine", engine], packages=("distributed",) if engine == "dask" else (), timeout=3_600,
            )
            for name, engine in ENGINES.items()
        }  # fmt: skip
        results = harness.alternate(contenders, rounds)
        made = {name: json.loads(path.read_text("utf-8")) for name, path in lists.items() if path.exists()}
    first, *others = ENGINES
    rows = []
    for name in others:
        row = harness.compare(f"engines: {name}, {size / 1e6:.0f} MB", results, name, first, figure="seconds", unit="s")
        rows.append(row)
        if "missing" not in row:
            rows.append(harness.counted(f"engines: {name}, times as fast", row["ratio"], GOAL, "times", "the goal"))
    return [*rows, *same_files(made, first)]


def write(data: Path, folder: Path) -> int:
    """Bytes of the documents, which are written into files of JSON lines."""
    folder.mkdir()
    books = [planted.book(path) for path in sorted((data / "gutenberg-en").glob("*.xz"))]
    sentences = [line for text in books for line in text.splitlines() if 8 <= len(line.split()) <= 40]
    block, size = [], 0
    for number, (id, text, _) in enumerate(planted.of_sentences(sentences, DOCUMENTS, SENTENCES, COPIES, seed=0)):
        block.append((id, text))
        size += len(text)
        if len(block) == FILE_DOCUMENTS or number + 1 == DOCUMENTS:
            planted.write(folder / f"{number // FILE_DOCUMENTS:06}.jsonl", block)
            block = []
    return size


def same_files(made: Mapping[str, Mapping[str, Any]], first: str) -> Rows:
    """A row for each engine but the first: how many of its files are those of the first, byte for byte."""
    rows, wanted = [], made[first]
    for name, files in made.items():
        if name != first:
            differ = sorted(file for file in wanted.keys() | files.keys() if wanted.get(file) != files.get(file))
            total = len(wanted.keys() | files.keys())
            case, peer = f"engines: {name}, files of the same bytes", first
            rows.append(harness.counted(case, total - len(differ), total, "files", peer, differ=differ))
    return rows
