"""The questions of a corpus' datasheet, and the answers that its manifest and its authors give.

The sections are those of Datasheets for Datasets (Gebru et al. 2018, arXiv:1803.09010); the questions are ours, cut to
what a corpus of texts is asked. What the pipeline counted is filled in, what people said (corpus/about.py) stands
beside it, and the rest is shown as a question that is open.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from jaxlm.report import pictures, took
from jaxlm.report.sheet import Block, Question, Section, Table
from jaxlm.report.words import share, size

Manifest = Mapping[str, Any]


def sections(manifest: Manifest) -> list[Section]:
    return [
        Section("Motivation", _asked(manifest, [
            ("Why was the corpus made?", "motivation"), ("Who made it?", "creators"), ("Who paid for it?", "funding"),
        ])),
        Section("Composition", _composition(manifest)),
        Section("Collection", _collection(manifest)),
        Section("Preprocessing and cleaning", took.questions(manifest)),
        Section("Uses", _asked(manifest, [
            ("What has it been used for?", "used"), ("What is it meant for?", "uses"),
            ("What is it not meant for?", "not_for"), ("Which risks come from how it was made?", "risks"),
        ])),
        Section("Distribution", _distribution(manifest)),
        Section("Maintenance", _maintenance(manifest)),
    ]  # fmt: skip


def _asked(manifest: Manifest, questions: Sequence[tuple[str, str]]) -> list[Question]:
    """What people alone can answer."""
    return [_both(manifest, text, field) for text, field in questions]


def _both(manifest: Manifest, text: str, field: str, *known: Block) -> Question:
    """A question that people answer, beside what is known."""
    said = manifest["config"]["about"][field]
    return Question(text, [*([said] if said else []), *known], field)


def _composition(manifest: Manifest) -> list[Question]:
    found = manifest["summary"]
    totals = found["profiles"]["stay"]["totals"]
    about = (
        f"Texts, a row each in documents/*.parquet: {totals['documents']:,} documents of {totals['characters']:,} "
        f"characters, {totals['words']:,} words (cut as English ones are) and {size(totals['bytes'])}."
    )
    fields = (
        "An id, which is the hash of the text as it was collected, its source and place there, its language, and "
        f"where they are known its address, date, licence and title. {_known(found)}"
    )
    splits = "None is made: what trains and what tests is decided by the data.split of a run."
    return [
        Question("What is in it, and how much?", [about, _sources(found)]),
        Question("How long are the documents?", pictures.lengths(found)),
        Question("How many tokens are they?", pictures.tokens(manifest)),
        Question("In which languages are they?", [pictures.languages(found)]),
        Question("What is known of a document beside its text?", [fields]),
        _both(manifest, "What larger set is it a part of, and how was that part chosen?", "whole"),
        Question("Are there splits for training and testing?", [splits]),
        Question("Is anything in it damaged or uncertain?", [_damage(manifest)]),
        Question("Are there copies of one text?", pictures.duplicates(manifest)),
        Question("Are there personal data?", pictures.personal(manifest)),
        Question("Are there texts of evaluation sets?", pictures.contamination(manifest)),
        _both(manifest, "What may offend, harm, or tell of single people?", "sensitive"),
    ]


def _known(found: Mapping[str, Any]) -> str:
    stay = found["profiles"]["stay"]
    said = []
    for what, name in (("licence", "licences"), ("date", "years")):
        known = sum(stay[name].values())
        said.append(f"{known:,} ({share(known, stay['totals']['documents'])}) have a {what}")
    return ", ".join(said) + "."


def _sources(found: Mapping[str, Any]) -> Table:
    rows = [
        [
            name, f"{one['files']:,}", size(one["bytes_in"]), f"{one['documents']:,}", f"{one['stay']['documents']:,}",
            size(one["stay"]["bytes"]), share(one["stay"]["documents"], one["documents"]),
        ]
        for name, one in found["sources"].items()
    ]  # fmt: skip
    return Table(("source", "files", "text read", "documents", "stay", "text out", "of documents"), rows)


def _damage(manifest: Manifest) -> str:
    collect = manifest["stages"]["collect"]
    mended = collect["changed"].get("mojibake", 0)
    return (
        f"{collect['bad']:,} records could not be read and are left out. {collect['replaced_characters']:,} characters "
        f"that were no valid text became U+FFFD. The wrong decoding of {mended:,} texts was repaired, which is a guess "
        f"in rare cases. Languages are what a program believes, with its probability in work/."
    )


def _collection(manifest: Manifest) -> list[Question]:
    years = pictures.years(manifest["summary"])
    return [
        _both(manifest, "How were the texts got, and by whom?", "collection"),
        _both(manifest, "When?", "period", *years),
        _both(manifest, "Do those who wrote them, or whom they tell of, know and agree?", "consent"),
        _both(manifest, "Was that reviewed, by a board of ethics or for data protection?", "review"),
        Question("What gave no document?", _left_out(manifest)),
    ]


def _left_out(manifest: Manifest) -> list[Block]:
    skipped = manifest["stages"]["collect"]["skipped"]
    if not skipped:
        return ["Every record gave one."]
    rows = [[reason, f"{count:,}"] for reason, count in sorted(skipped.items(), key=lambda item: (-item[1], item[0]))]
    return ["Each with its file and place is a row of left_out.parquet.", Table(("reason", "records or files"), rows)]


def _distribution(manifest: Manifest) -> list[Question]:
    return [
        _both(manifest, "Who gets it, how, and from when?", "distribution"),
        _both(manifest, "Under which terms is the whole?", "terms"),
        Question("Which licences do the texts have?", [pictures.licences(manifest["summary"])]),
    ]


def _maintenance(manifest: Manifest) -> list[Question]:
    by = ", ".join(f"{name} {version}" for name, version in sorted(manifest["libraries"].items()))
    same = _inputs(manifest["config"])
    again = (
        f"With jaxlm {manifest['jaxlm']}, {by}, the config in manifest.json and the same {same}: the result is the "
        f"same to the byte, and has the digest {manifest['digest']}."
    )
    story = f"jaxlm prepare CONFIG --explain ID tells of a document of {manifest['config']['name']}."
    return [
        _both(manifest, "Whom does one ask?", "contact"),
        _both(manifest, "Will there be new versions, and how are they told?", "updates"),
        _both(manifest, "How is a text mended, or taken out?", "corrections"),
        Question("Can it be made again?", [again]),
        Question("How does one see what became of a document?", [story]),
    ]


def _inputs(config: Mapping[str, Any]) -> str:
    """What decides the bytes and is in no manifest; by names, since paths are of one machine."""
    names = lambda kind, some: [f"{kind} ({', '.join(some)})"] if some else []
    of_languages, personal = config["languages"]["identify"]["fasttext"], config["personal"] or {}
    models = [*([PurePath(of_languages).name] if of_languages else []), *(one["name"] for one in config["scores"])]
    sets = (config["contamination"] or {}).get("sets", ())
    *some, last = [
        "sources", *names("word lists", [one["name"] for one in config["words"]]), *names("models", models),
        *names("evaluation sets", [one["name"] for one in sets]),
        *(["the salt of the fakes, which is not told"] if personal.get("mode") == "fake" and personal["salt"] else []),
    ]  # fmt: skip
    return f"{', '.join(some)} and {last}" if some else last
