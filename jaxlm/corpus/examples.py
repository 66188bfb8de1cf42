"""Records of .jsonl as labelled examples: texts, and labels at characters of theirs.

{"source": "two men", "target": "zwei Männer"}                                  seq2seq
{"text": "a fine film", "label": "positive"}                                    classification
{"text": ["Ada", "slept"], "tags": ["PERSON", "O"]}                             tagging
{"question": "Who?", "text": "Ada slept.", "answers": {"text": ["Ada"], "answer_start": [0]}}   extraction
"""

from typing import Any, NamedTuple

from jaxlm.corpus.decode import mend_pairs
from jaxlm.corpus.document import Document
from jaxlm.data.dataset import DataConfig
from jaxlm.data.examples import FIRST, LAST, Classification, Extraction, SequenceToSequence, Tagging
from jaxlm.errors import UserError

WHOLE = -1  # the place of a label that a text has as a whole


class Piece(NamedTuple):
    """One text of an example."""

    text: str
    labels: tuple[tuple[int, int], ...] = ()  # (character, label), or (WHOLE, label)


def document(record: Any, cfg: DataConfig, where: str, source: str) -> Document:
    """The example that `record` is, its pieces among the marks; `where` is the file and line for errors."""
    if not isinstance(record, dict):
        raise UserError(f"{where}: a {type(record).__name__}, but each line must be an object")
    pieces = PIECES[type(cfg.objective)](record, cfg, where)
    whole = "\n".join(piece.text for piece in pieces)
    language = {"language": record["language"]} if isinstance(record.get("language"), str) else {}
    return Document.of(whole, source)._replace(marks={"pieces": pieces, **language})


def pieces_of(document: Document) -> tuple[Piece, ...]:
    return document.marks.get("pieces") or (Piece(document.text),)


def text_at(record: dict, field: str, where: str) -> str:
    value = field_at(record, field, where)
    if not isinstance(value, str) or not value:
        raise UserError(
            f"{where}: {field!r} is {value!r:.80}, but must be a text that is not empty: mend or remove the line"
        )
    return mend_pairs(value)[0]


def field_at(record: dict, field: str, where: str) -> Any:
    if field not in record:
        names = ", ".join(map(repr, list(record)[:20])) or "none"
        raise UserError(
            f"{where}: no field {field!r}, it has {names}: mend the line, or name the field in data.objective or "
            f"data.text_field"
        )
    return record[field]


def number_of(name: Any, objective: Classification | Tagging, where: str) -> int:
    """The number of a class, which a record gives by name."""
    if str(name) not in objective.classes:
        known = ", ".join(map(repr, objective.classes[:20]))
        raise UserError(
            f"{where}: {name!r:.80} is none of data.objective.classes: {known}; mend the line, or name all classes, "
            f"--set 'data.objective.classes=[...]'"
        )
    return objective.classes.index(str(name))


def of_pair(record: dict, cfg: DataConfig, where: str) -> tuple[Piece, ...]:
    assert isinstance(cfg.objective, SequenceToSequence)
    fields = cfg.objective.source_field, cfg.objective.target_field
    return tuple(Piece(text_at(record, field, where)) for field in fields)


def of_class(record: dict, cfg: DataConfig, where: str) -> tuple[Piece, ...]:
    objective = cfg.objective
    assert isinstance(objective, Classification)
    label = number_of(field_at(record, objective.label_field, where), objective, where)
    first = Piece(text_at(record, cfg.text_field, where), ((WHOLE, label),))
    second = objective.second_field
    return (first,) if second is None else (first, Piece(text_at(record, second, where)))


def of_tags(record: dict, cfg: DataConfig, where: str) -> tuple[Piece, ...]:
    objective = cfg.objective
    assert isinstance(objective, Tagging)
    words, tags = field_at(record, cfg.text_field, where), field_at(record, objective.label_field, where)
    if not isinstance(words, list) or not isinstance(tags, list) or len(words) != len(tags) or not words:
        raise UserError(
            f"{where}: {cfg.text_field!r} {_length(words)} and {objective.label_field!r} {_length(tags)}, but they "
            f"must be two lists of equal length, of words and of their tags, and not empty: mend or remove the line"
        )
    if wrong := [(place, word) for place, word in enumerate(words) if not isinstance(word, str) or not word]:
        raise UserError(
            f"{where}: word {wrong[0][0]} of {cfg.text_field!r}, counted from 0, is {wrong[0][1]!r:.80}, but must be a "
            f"text that is not empty: mend or remove the line"
        )
    words = [mend_pairs(word)[0] for word in words]
    labels, place = [], 0
    for word, tag in zip(words, tags, strict=True):
        labels.append((place, number_of(tag, objective, where)))
        place += len(word) + 1
    return (Piece(" ".join(words), tuple(labels)),)


def _length(value: Any) -> str:
    return f"has {len(value)}" if isinstance(value, list) else f"is {value!r:.40}"


def of_question(record: dict, cfg: DataConfig, where: str) -> tuple[Piece, ...]:
    objective = cfg.objective
    assert isinstance(objective, Extraction)
    text, answers = text_at(record, cfg.text_field, where), field_at(record, objective.answers_field, where)
    labels: tuple[tuple[int, int], ...] = ()
    texts, starts = (
        (answers.get(name) for name in ("text", "answer_start")) if isinstance(answers, dict) else (None, None)
    )
    if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
        raise UserError(
            f"{where}: {objective.answers_field!r} must be an object with two lists of equal length, 'text' and "
            f"'answer_start'; both are empty where there is no answer"
        )
    if texts:
        answer, start = texts[0], starts[0]
        placed = type(start) is int and 0 <= start < len(text)
        if not placed or not isinstance(answer, str) or not answer or text[start : start + len(answer)] != answer:
            found = text.find(answer) if isinstance(answer, str) and answer else -1
            there = f"it first stands at {found}" if found >= 0 else "it stands nowhere in it"
            raise UserError(
                f"{where}: the answer {answer!r:.80} is not at character {start!r:.80}, counted from 0, of a text of "
                f"{len(text)}: {there}; mend 'answer_start' or the answer"
            )
        labels = ((start, FIRST), (start + len(answer) - 1, LAST))
    return Piece(text_at(record, objective.question_field, where)), Piece(text, labels)


PIECES = {
    SequenceToSequence: of_pair,
    Classification: of_class,
    Tagging: of_tags,
    Extraction: of_question,
}
