"""Ours: documents through the rules of lines, `annotate` and `select`, timed; then each step alone.

    python benchmarks/ours/timed_annotate.py documents.jsonl

The whole is what a corpus does with a part, from its documents to the ledger of who goes, files included: the rules of
lines of C4 and of RefinedWeb (measured; no line goes, so that all else sees the same text), language, personal data,
measures, and the rules of Gopher, C4, FineWeb and RefinedWeb. No word was met before, and then, `again`, each one;
the model of languages is loaded before, as once in a process. The last line of its output is one JSON object.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jaxlm.corpus import lines, lines_refinedweb, pii, stages, table
from jaxlm.corpus.config import CorpusConfig, QualityConfig, SourceConfig
from jaxlm.corpus.document import Document
from jaxlm.corpus.language import Identifier
from jaxlm.corpus.lines import C4Lines
from jaxlm.corpus.lines_refinedweb import RefinedWebLines
from jaxlm.corpus.quality import measure
from jaxlm.corpus.rules import C4, FineWeb, Gopher, GopherRepetition, RefinedWeb, reasons
from jaxlm.corpus.words import Lexicon, lexicon

RULES = (Gopher(), GopherRepetition(), C4(), FineWeb(), RefinedWeb())
# A corpus takes the lines of C4 or of RefinedWeb, and refuses rules of the other; here both are measured.
CONFIG = CorpusConfig(name="rate", sources=(SourceConfig(name="texts", path="texts"),)).model_copy(
    update={"quality": (QualityConfig(languages=("en",), rules=RULES[:2]).model_copy(update={"rules": RULES}),)}
)


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    size = sum(len(text.encode()) for text in texts) / 1e6
    identifier = Identifier()
    identifier.identify(texts[0])
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu, removed = timed(lambda: whole(texts, Path(folder)))
        _, again, _ = timed(lambda: whole(texts, Path(folder)))
    seconds = steps(texts, identifier)
    print(json.dumps({
        "mb_per_second": size / cpu, "mb_per_second_of_wall": size / wall, "mb_per_second_again": size / again,
        "reasons": sum(sum(counts.values()) for counts in removed.values()),
        **{name: size / took for name, took in seconds.items()},
    }))  # fmt: skip


def whole(texts: list[str], folder: Path) -> dict[str, dict[str, int]]:
    """{stage: {reason: documents that go for it}}."""
    table.write_documents(folder / stages.DOCUMENTS, map(with_lines, texts))
    stages.annotate(folder, folder, [], CONFIG)
    return stages.select(folder, folder, CONFIG)["removed"]


def with_lines(text: str) -> Document:
    """As it is collected, with what its lines gave for measures."""
    raw = text.splitlines()
    c4 = lines.trim(raw, lexicon(), C4Lines())
    refinedweb = lines_refinedweb.trim(raw, RefinedWebLines())
    return Document.of(text, "texts")._replace(marks={"measures": {**c4.measures, **refinedweb.measures}})


def steps(texts: list[str], identifier: Identifier) -> dict[str, float]:
    """Seconds of the processor for each step over all documents."""
    raw, known = [text.splitlines() for text in texts], Lexicon()
    words: list = []
    measures: list[dict] = []
    taken: dict[str, Callable[[], Any]] = {
        "words, each met first": lambda: words.extend(map(known.read, texts)),
        "words, met before": lambda: [known.read(one) for one in texts],
        "measures of rules": lambda: measures.extend(map(measure, texts, words)),
        "lines of C4": lambda: [lines.trim(one, known, C4Lines()) for one in raw],
        "lines of RefinedWeb": lambda: [lines_refinedweb.trim(one, RefinedWebLines()) for one in raw],
        "rules": lambda: [reasons(one, (Gopher(), GopherRepetition(), FineWeb()), "en") for one in measures],
        "language": lambda: [identifier.identify(text) for text in texts],
        "personal data": lambda: [pii.find(text) for text in texts],
        "files": lambda: list(through_files(texts)),
    }
    return {name: timed(step)[1] for name, step in taken.items()}


def through_files(texts: list[str]) -> Iterator[Document]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / stages.DOCUMENTS
        table.write_documents(path, (Document.of(text, "texts") for text in texts))
        yield from table.read_documents(path)


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """(seconds, seconds of the processor in all threads, what it returned)."""
    start, own = time.perf_counter(), time.process_time()
    found = work()
    return time.perf_counter() - start, time.process_time() - own, found


if __name__ == "__main__":
    main()
