"""The stages of a corpus that look at one part of it: each a function of files, which writes files and tells counts.

    collect   files -> documents.parquet: read, one form of characters, lines that stay
    annotate  documents -> notes.parquet: language, measures, personal data; nothing goes
    select    notes -> which documents pass the languages and rules that are asked for
    write     documents that stay -> text as it goes out, and the removed with their reasons

A stage that changes its result changes its number in VERSIONS, and old results are no longer found.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxlm.corpus import bigscience, lines, lines_refinedweb, pii, pii_scrub, table
from jaxlm.corpus.collect import read
from jaxlm.corpus.config import CorpusConfig, LinesConfig, QualityConfig, SourceConfig
from jaxlm.corpus.document import Document, Tally
from jaxlm.corpus.files import File
from jaxlm.corpus.language import Identifier
from jaxlm.corpus.lines import Trimmed
from jaxlm.corpus.lines_refinedweb import RefinedWebLines
from jaxlm.corpus.normalise import normalise
from jaxlm.corpus.quality import measure
from jaxlm.corpus.rules import reasons
from jaxlm.corpus.word_lists import Listed, Measurer
from jaxlm.corpus.words import lexicon

VERSIONS = {"collect": 1, "annotate": 1, "duplicates": 1, "write": 1}
DOCUMENTS, NOTES, REMOVED = "documents.parquet", "notes.parquet", "removed.parquet"
_SAMPLE = 200  # characters of a removed document that are shown


class Removal(NamedTuple):
    """Why a document went."""

    stage: str
    reason: str
    evidence: str = ""  # of a duplicate: the id that stays, and how alike they are


def collect(folder: Path, files: Sequence[File], source: SourceConfig, cfg: CorpusConfig) -> dict:
    """documents.parquet of some files of a source."""
    tally, changed, cut = Tally(budget=1.0), Counter(), Counter()  # the budget is of the whole corpus
    counts = Counter(documents=0, records=0, bytes_in=0, bytes=0)
    table.write_documents(folder / DOCUMENTS, _collected(files, source, cfg, tally, changed, cut, counts))
    return {
        "counts": dict(counts), "skipped": dict(tally.skipped), "changed": dict(changed),
        "lines": dict(cut), "bad": tally.bad_records, "bad_shown": tally.bad_shown, "replaced": tally.replaced,
    }  # fmt: skip


def _collected(
    files: Sequence[File],
    source: SourceConfig,
    cfg: CorpusConfig,
    tally: Tally,
    changed: Counter[str],
    cut: Counter[str],
    counts: Counter[str],
) -> Iterator[Document]:
    for file in files:
        for document in read(file, source.text_field, tally):
            counts["records"] += 1
            counts["bytes_in"] += len(document.text.encode())
            text, steps = normalise(document.text, cfg.normalise)
            changed.update(dict.fromkeys(steps, 1))
            if cfg.lines is not None:
                trimmed = _trimmed(text.splitlines(), cfg.lines)
                text, marks = trimmed.text, {**document.marks, "measures": dict(trimmed.measures)}
                cut.update(trimmed.removed)
            else:
                marks = document.marks
            text = text.strip()
            if not text:
                tally.skip("no text", document.source)
                continue
            if source.licence is not None:
                marks = {"licence": source.licence, **marks}
            counts["documents"] += 1
            counts["bytes"] += len(text.encode())
            yield Document(Document.of(text, "").id, text, f"{source.name}/{document.source}", marks)


def _trimmed(raw: Sequence[str], cfg: LinesConfig) -> Trimmed:
    if isinstance(cfg, RefinedWebLines):
        return lines_refinedweb.trim(raw, cfg)
    return lines.trim(raw, lexicon().read(raw), lexicon(), cfg)


def annotate(folder: Path, documents: Path, word_lists: Sequence[Listed], cfg: CorpusConfig) -> dict:
    """notes.parquet of a part: a row for each document, in its order."""
    identifier, measurer, rows = Identifier(cfg.languages.identify), Measurer(word_lists), []
    for document in table.read_documents(documents / DOCUMENTS):
        language, probability = identifier.identify(document.text)
        spans = pii.find(document.text, cfg.personal.kinds) if cfg.personal is not None else []
        measures = _measures(document, language, measurer, cfg)
        rows.append({
            "id": document.id, "source": document.source, "bytes": len(document.text.encode()), "language": language,
            "probability": probability, "personal": json.dumps(spans), "measures": json.dumps(measures),
        })  # fmt: skip
    table.write_rows(folder / NOTES, rows, _NOTES)
    return {
        "languages": dict(Counter(row["language"] for row in rows)),
        "personal": dict(Counter(span[2] for row in rows for span in json.loads(row["personal"]))),
    }


def _measures(document: Document, language: str, measurer: Measurer, cfg: CorpusConfig) -> dict:
    """What rules may ask of a document; BigScience's measures cost as much as all others, so only if they are asked."""
    raw = document.text.splitlines()
    return {
        **measure(document.text, raw, lexicon().read(raw)),
        **(bigscience.measure(document.text, language) if asks_bigscience(cfg) else {}),
        **measurer.measure(document.text, language),
        **document.marks.get("measures", {}),
    }


def asks_bigscience(cfg: CorpusConfig) -> bool:
    return any(rule.kind == "bigscience" for rule in cfg.rules())


_NOTES = table.schema(
    id="string", source="string", bytes="int64", language="string", probability="double", personal="string",
    measures="string",
)  # fmt: skip


def selected(notes: Iterable[Mapping[str, Any]], cfg: CorpusConfig) -> Iterator[list[Removal]]:
    """For each document why it goes by its language and measures: an empty list where it stays."""
    for note in notes:
        found = [Removal("language", reason) for reason in _foreign(note, cfg)]
        for quality in cfg.quality:
            if _speaks(note["language"], quality):
                measures = json.loads(note["measures"])
                found += [Removal("quality", reason) for reason in reasons(measures, quality.rules, note["language"])]
        if cfg.personal is not None and cfg.personal.mode == "drop" and note["personal"] != "[]":
            found.append(Removal("personal", "personal data"))
        yield found


def _foreign(note: Mapping[str, Any], cfg: CorpusConfig) -> list[str]:
    wanted = cfg.languages
    if wanted.keep and note["language"] not in wanted.keep:
        return [f"in {note['language']}"]
    if wanted.keep and note["probability"] < wanted.probability:
        return [f"in {note['language']} with a probability under {wanted.probability:g}"]
    return []


def _speaks(language: str, quality: QualityConfig) -> bool:
    return not quality.languages or language in quality.languages


def write(
    folder: Path, documents: Path, notes: Path, removals: Mapping[str, Sequence[Removal]], cfg: CorpusConfig
) -> dict:
    """Of a part the documents that stay, and a row for each reason of those that go; `removals` by row, as text."""
    stay, gone, counts = [], [], Counter(documents=0, bytes=0, scrubbed=0)
    pairs = zip(table.read_documents(documents / DOCUMENTS), table.read_rows(notes / NOTES), strict=True)
    for number, (document, note) in enumerate(pairs):
        for removal in removals.get(str(number), ()):
            shown = document.text[:_SAMPLE]
            gone.append({"id": document.id, "source": document.source, **removal._asdict(), "sample": shown})
        if str(number) in removals:
            continue
        text, spans = document.text, [pii.Span(*span) for span in json.loads(note["personal"])]
        if cfg.personal is not None and spans:
            text, _ = pii_scrub.scrub(text, spans, cfg.personal.mode, cfg.personal.salt)
            counts["scrubbed"] += len(spans)
        counts["documents"] += 1
        counts["bytes"] += len(text.encode())
        marks = document.marks
        stay.append({
            "id": document.id, "text": text, "source": document.source, "language": note["language"],
            **{mark: marks.get(mark) for mark in ("url", "date", "licence", "title")},
        })  # fmt: skip
    table.write_rows(folder / DOCUMENTS, stay, _OUT)
    table.write_rows(folder / REMOVED, gone, _GONE)
    return {"counts": dict(counts)}


_OUT = table.schema(
    id="string", text="string", source="string", language="string", url="string", date="string", licence="string",
    title="string",
)  # fmt: skip
_GONE = table.schema(
    id="string", source="string", stage="string", reason="string", evidence="string", sample="string"
)  # fmt: skip
