"""The stages of a corpus that look at one part of it: each a function of files, which writes files and tells counts.

    collect   files -> documents.parquet in numbered folders: read, one form of characters, lines that stay
    annotate  documents -> notes.parquet: language, measures, personal data; nothing goes
    select    notes -> which documents pass the languages and rules that are asked for
    write     documents that stay -> text as it goes out, what was cut out of it, and the removed with their reasons

A stage that changes its result changes its number in VERSIONS, and old results are no longer found.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxlm.corpus import bigscience, cuts, ledger, lines, lines_refinedweb, pii, pii_scrub, slices, table
from jaxlm.corpus.collect import read
from jaxlm.corpus.config import CorpusConfig, LinesConfig, QualityConfig, SourceConfig
from jaxlm.corpus.document import Document, Tally
from jaxlm.corpus.files import File
from jaxlm.corpus.language import Identifier
from jaxlm.corpus.ledger import Ledger, Removal
from jaxlm.corpus.lines import Trimmed
from jaxlm.corpus.lines_refinedweb import RefinedWebLines
from jaxlm.corpus.normalise import normalise
from jaxlm.corpus.quality import measure
from jaxlm.corpus.rules import reasons
from jaxlm.corpus.word_lists import Listed, Measurer
from jaxlm.corpus.words import lexicon

VERSIONS = {"collect": 2, "annotate": 1, "select": 1, "duplicates": 2, "write": 2}
DOCUMENTS, NOTES, REMOVED, CUT = "documents.parquet", "notes.parquet", "removed.parquet", "cut.parquet"
_SAMPLE = 200  # characters of what went that are shown


def collect(folder: Path, files: Sequence[File], digest: str, source: SourceConfig, cfg: CorpusConfig) -> dict:
    """documents.parquet of some files of a source, several where there is much text: what follows takes one each.

    UserError where the files are not what `digest` says they were.
    """
    tally, changed, cut = Tally(budget=1.0), Counter(), Counter()  # the budget is of the whole corpus
    counts = Counter(documents=0, records=0, bytes_in=0, bytes=0)
    collected, pieces = _collected(files, source, cfg, tally, changed, cut, counts), 0
    with slices.unchanged(files, digest):
        for pieces, documents in enumerate(_pieces(collected, cfg.part_bytes), start=1):
            piece(folder, pieces - 1).mkdir()
            table.write_documents(piece(folder, pieces - 1) / DOCUMENTS, documents)
    return {
        "pieces": pieces, "counts": dict(counts), "skipped": dict(tally.skipped), "changed": dict(changed),
        "lines": dict(cut), "bad": tally.bad_records, "bad_shown": tally.bad_shown, "replaced": tally.replaced,
    }  # fmt: skip


def piece(folder: Path, number: int) -> Path:
    """Where `collect` puts the documents that are annotated and written together."""
    return folder / f"{number:05}"


def _pieces(documents: Iterator[Document], characters: int) -> Iterator[Iterator[Document]]:
    """`documents` cut where there are so many characters; one piece where there are no documents."""
    first = next(documents, None)
    yield _until(characters, documents, [] if first is None else [first])
    while (first := next(documents, None)) is not None:
        yield _until(characters, documents, [first])


def _until(characters: int, documents: Iterator[Document], first: Sequence[Document]) -> Iterator[Document]:
    for document in itertools.chain(first, documents):
        yield document
        characters -= len(document.text)
        if characters <= 0:
            return


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


def select(folder: Path, notes: Path, cfg: CorpusConfig) -> dict:
    """A ledger of a part: who goes by its language, measures and personal data."""
    rows = table.read_rows(notes / NOTES)
    return {"removed": ledger.write(folder, {row: why for row, why in enumerate(selected(rows, cfg)) if why})}


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


def write(folder: Path, documents: Path, notes: Path, told: Ledger, cfg: CorpusConfig) -> dict:
    """Of a part the documents that stay, a row for each cut in them, and one for each reason of those that go."""
    stay, gone, cut, counts = [], [], [], Counter(documents=0, bytes=0, scrubbed=0)
    removals, cuts_of = told.gone(), told.cuts()
    pairs = zip(table.read_documents(documents / DOCUMENTS), table.read_rows(notes / NOTES), strict=True)
    for row, (document, note) in enumerate(pairs):
        name = {"id": document.id, "source": document.source}
        if row in removals:
            gone += [{**name, **why._asdict(), "sample": document.text[:_SAMPLE]} for why in removals[row]]
            continue
        own = cuts_of.get(row, ())
        for (start, end, _), why in own:
            place = {"start": start, "end": end, "sample": document.text[start:end][:_SAMPLE]}
            cut.append({**name, **why._asdict(), **place})
        personal = _personal(document.text, note, cfg)
        text = cuts.apply(document.text, [*(one for one, _ in own), *personal]).strip()
        counts.update(documents=1, bytes=len(text.encode()), scrubbed=len(personal))
        marks = document.marks
        stay.append({
            "id": document.id, "text": text, "source": document.source, "language": note["language"],
            **{mark: marks.get(mark) for mark in ("url", "date", "licence", "title")},
        })  # fmt: skip
    table.write_rows(folder / DOCUMENTS, stay, _OUT)
    table.write_rows(folder / REMOVED, gone, _GONE)
    table.write_rows(folder / CUT, cut, _CUT)
    return {"counts": dict(counts), "cut": ledger.counted((row["stage"], row["reason"]) for row in cut)}


def _personal(text: str, note: Mapping[str, Any], cfg: CorpusConfig) -> list[cuts.Cut]:
    if cfg.personal is None:
        return []
    spans = [pii.Span(*span) for span in json.loads(note["personal"])]
    return pii_scrub.cuts(text, spans, cfg.personal.mode, cfg.personal.salt)


_OUT = table.schema(
    id="string", text="string", source="string", language="string", url="string", date="string", licence="string",
    title="string",
)  # fmt: skip
_GONE = table.schema(
    id="string", source="string", stage="string", reason="string", evidence="string", sample="string"
)  # fmt: skip
_CUT = table.schema(
    id="string", source="string", stage="string", reason="string", evidence="string", start="int64", end="int64",
    sample="string",
)  # fmt: skip
