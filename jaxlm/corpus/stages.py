"""The stages of a corpus that look at one part of it: each a function of files, which writes files and tells counts.

    collect   files -> documents.parquet in numbered folders: read, one form of characters, lines that stay; and what
              gave no document
    annotate  documents -> notes.parquet: language, measures, personal data; nothing goes
    select    notes -> which documents pass the languages and rules that are asked for
    write     documents that stay -> text as it goes out, what was cut out of it, and the removed with their reasons

A stage that changes its result changes its number in VERSIONS, and old results are no longer found.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from jaxlm.corpus import bigscience, cuts, ledger, left_out, lines, lines_refinedweb, pii, pii_scrub, slices, table
from jaxlm.corpus.account import Account
from jaxlm.corpus.collect import read
from jaxlm.corpus.config import FIELDS, CorpusConfig, LinesConfig, QualityConfig, SourceConfig
from jaxlm.corpus.document import Document, Tally
from jaxlm.corpus.files import File
from jaxlm.corpus.language import UNDETERMINED, Identifier
from jaxlm.corpus.ledger import Ledger, Removal
from jaxlm.corpus.lines import Trimmed
from jaxlm.corpus.lines_refinedweb import RefinedWebLines
from jaxlm.corpus.normalise import normalise
from jaxlm.corpus.pii_marks import scrub_marks
from jaxlm.corpus.profile import Profile
from jaxlm.corpus.quality import count, measure
from jaxlm.corpus.rules import measured, reasons
from jaxlm.corpus.sample import FILE_BYTES, first
from jaxlm.corpus.word_lists import Listed, Measurer
from jaxlm.corpus.words import lexicon

VERSIONS = {"collect": 5, "annotate": 5, "select": 2, "duplicates": 3, "write": 8}
DOCUMENTS, NOTES, REMOVED, CUT = "documents.parquet", "notes.parquet", "removed.parquet", "cut.parquet"
PROFILE, ACCOUNT = "profile.json", "account.json"  # for the summary; not facts, which are held for all parts at once
# Chosen: of 650 characters they are 32 MiB; what is noted of shorter ones needs more memory than they do.
PIECE_DOCUMENTS = 50_000
_SAMPLE = 200  # characters of what went that are shown, with tags for the personal data that the config asks for


def collect(folder: Path, files: Sequence[File], digest: str | None, source: SourceConfig, cfg: CorpusConfig) -> dict:
    """documents.parquet of some files of a source, several where there is much text: what follows takes one each.

    UserError where the files are not what `digest` says they were. Where there is no digest they are sampled: of each
    file the first documents of about sample.FILE_BYTES.
    """
    tally, changed, cut = Tally(budget=1.0, fields=FIELDS), Counter(), Counter()  # the budget is of the whole corpus
    counts, pieces = Counter(documents=0, records=0, bytes_in=0, bytes=0), 0
    same = nullcontext() if digest is None else slices.unchanged(files, digest)
    with same, left_out.rows(folder / left_out.NAME, source.name) as told:
        tally.note, most = told, FILE_BYTES if digest is None else None
        collected = _collected(told.following(files), source, cfg, tally, changed, cut, counts, most)
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
    """`documents` cut where there are so many characters, or PIECE_DOCUMENTS; one piece where there are none."""
    first = next(documents, None)
    yield _until(characters, documents, [] if first is None else [first])
    while (first := next(documents, None)) is not None:
        yield _until(characters, documents, [first])


def _until(characters: int, documents: Iterator[Document], first: Sequence[Document]) -> Iterator[Document]:
    for document in itertools.islice(itertools.chain(first, documents), PIECE_DOCUMENTS):
        yield document
        characters -= len(document.text)
        if characters <= 0:
            return


def _collected(
    files: Iterable[File],
    source: SourceConfig,
    cfg: CorpusConfig,
    tally: Tally,
    changed: Counter[str],
    cut: Counter[str],
    counts: Counter[str],
    most: int | None,
) -> Iterator[Document]:
    quality = source.main_text == "trafilatura"
    for file in files:
        for document in first(read(file, source.text_field, tally, quality=quality), most):
            counts["records"] += 1
            counts["bytes_in"] += len(document.text.encode())
            text, steps = normalise(document.text, cfg.normalise)
            changed.update(dict.fromkeys(steps, 1))
            if cfg.lines is not None:
                raw = text.splitlines()
                counts["lines"] += len(raw)
                trimmed = _trimmed(raw, cfg.lines)
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
    return lines.trim(raw, lexicon(), cfg)


def annotate(folder: Path, documents: Path, word_lists: Sequence[Listed], cfg: CorpusConfig) -> dict:
    """notes.parquet of a part: a row for each document, in its order."""
    identifier, measurer, profile = Identifier(cfg.languages.identify), Measurer(word_lists), Profile()
    languages, personal, with_personal = Counter(), Counter(), 0
    with table.Writer(folder / NOTES, _NOTES) as rows:
        for document in table.read_documents(documents / DOCUMENTS):
            language, probability = identifier.identify(document.text)
            spans = pii.find(document.text, cfg.personal.kinds) if cfg.personal is not None else []
            measures, size = _measures(document, language, measurer, cfg), len(document.text.encode())
            rows.add({
                "id": document.id, "source": document.source, "bytes": size, "language": language,
                "probability": probability, "personal": json.dumps(spans), "measures": json.dumps(measures),
            })  # fmt: skip
            marks = document.marks if cfg.personal is None else scrub_marks(document.marks, cfg.personal.kinds)
            profile.add(document.text, size, measures["words"], language, marks)
            languages[language] += 1
            personal.update(span.kind for span in spans)
            with_personal += bool(spans)
    (folder / PROFILE).write_text(json.dumps(profile.facts()))
    return {"with_personal": with_personal, "languages": dict(languages), "personal": dict(personal)}


def _measures(document: Document, language: str, measurer: Measurer, cfg: CorpusConfig) -> dict:
    """What rules may ask of a document; BigScience's measures cost as much as all others, so only if they are asked."""
    return {
        **measure(document.text, lexicon().read(document.text)),
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
    rows = table.each_row(notes / NOTES)
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
    if wanted.keep and note["language"] != UNDETERMINED and note["probability"] < wanted.probability:
        return [f"in {note['language']} with a probability under {wanted.probability:g}"]
    return []


def _speaks(language: str, quality: QualityConfig) -> bool:
    return not quality.languages or language in quality.languages


def write(folder: Path, documents: Path, notes: Path, decided: Ledger, cfg: CorpusConfig) -> dict:
    """Of a part the documents that stay, a row for each cut in them, and one for each reason of those that go."""
    counts, cut_for = Counter(documents=0, bytes=0, scrubbed=0), Counter()
    profile, account = Profile(), Account()
    removals, cuts_of = decided.gone(), decided.cuts()
    pairs = zip(table.read_documents(documents / DOCUMENTS), table.each_row(notes / NOTES), strict=True)
    with (
        table.Writer(folder / DOCUMENTS, _OUT) as stay,
        table.Writer(folder / REMOVED, _GONE) as gone,
        table.Writer(folder / CUT, _CUT) as cut,
    ):
        for row, (document, note) in enumerate(pairs):
            name, measures = {"id": document.id, "source": document.source}, json.loads(note["measures"])
            if row in removals:
                begins = pii_scrub.excerpt(document.text, _spans(note), 0, _SAMPLE)
                for why in removals[row]:
                    gone.add({**name, **why._asdict(), "sample": begins})
                evident = [_evident(why, note, measures) for why in removals[row]]
                account.goes({**name, "begins": begins}, note["bytes"], evident)
                continue
            own = cuts_of.get(row, ())
            for (start, end, _), why in own:
                sample = pii_scrub.excerpt(document.text, _spans(note), start, min(end, start + _SAMPLE))
                cut.add({**name, **why._asdict(), "start": start, "end": end, "sample": sample})
                cut_for[why.stage, why.reason] += 1
            personal = _personal(document.text, note, cfg)
            text = cuts.apply(document.text, [*(one for one, _ in own), *personal]).strip()
            size = len(text.encode())
            counts.update(documents=1, bytes=size, scrubbed=len(personal))
            marks = _marks(document.marks, cfg)
            words = count(lexicon().read(text)) if own else measures["words"]  # those of what is left
            profile.add(text, size, words, note["language"], marks)
            stay.add({
                "id": document.id, "text": text, "source": document.source, "language": note["language"],
                **{mark: marks.get(mark) for mark in ("url", "date", "licence", "title")},
            })  # fmt: skip
    (folder / ACCOUNT).write_text(json.dumps({"profile": profile.facts(), **account.facts()}))
    return {"counts": dict(counts), "cut": ledger.counted(cut_for.elements())}


def _personal(text: str, note: Mapping[str, Any], cfg: CorpusConfig) -> list[cuts.Cut]:
    if cfg.personal is None:
        return []
    return pii_scrub.cuts(text, _spans(note), cfg.personal.mode, cfg.personal.salt)


def _marks(marks: Mapping[str, Any], cfg: CorpusConfig) -> Mapping[str, Any]:
    """As they go out."""
    if cfg.personal is None:
        return marks
    return scrub_marks(marks, cfg.personal.kinds, cfg.personal.mode, cfg.personal.salt)


def _spans(note: Mapping[str, Any]) -> list[pii.Span]:
    return [pii.Span(*span) for span in json.loads(note["personal"])]


def _evident(removal: Removal, note: Mapping[str, Any], measures: Mapping[str, Any]) -> Removal:
    """`removal` with what was measured, where it has no other evidence."""
    if removal.stage == "language":
        return removal._replace(evidence=f"probability {note['probability']:.2f}")
    return removal if removal.evidence else removal._replace(evidence=measured(removal.reason, measures))


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
