"""Records of Argilla: what people answered, and texts for them to look at.

https://docs.argilla.io/latest/reference/argilla/records/records says what a record is. Ours are what its
`Record.to_dict` makes and `Record.from_dict` takes: responses by question, suggestions by question. What the server
itself gives, and Argilla 1 wrote, has lists instead, each response with its `status` and `values`; these are read too.
A response that is a draft or was discarded is no vote, and a suggestion never is one.

Left out: questions with several labels, ratings, spans and free text.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxlm.corpus.labels.config import ArgillaFile
from jaxlm.corpus.labels.people import Answer, identity, known, part, records, text_of
from jaxlm.corpus.labels.rules import Item
from jaxlm.errors import UserError

_QUESTION, _TEXT = "label", "text"  # in the records that we write


def answers(cfg: ArgillaFile, classes: tuple[str, ...]) -> Iterator[Answer]:
    """What people answered; UserError at the first record that is none."""
    others: set[str] = set()
    found = False
    for where, record in records(Path(cfg.path).expanduser()):
        text = text_of(part(record, "fields", dict, where), cfg.text_field, where)
        for place, who, value in _responses(record, cfg.question, others, where):
            if isinstance(value, list | dict):
                raise UserError(f"{place}: {value!r:.80} is no single label, but a text is of one class: mend it")
            label = None if value is None else known(value, classes, place)
            found |= label is not None
            yield Answer(identity(record, text), text, cfg.prefix + who, label, place)
    if others and not found:
        raise UserError(
            f"{cfg.path}: nobody answered {cfg.question!r}, and the questions there are named "
            f"{', '.join(map(repr, sorted(others)))}: set votes.question to one of them"
        )


def _responses(record: dict, question: str, others: set[str], where: str) -> Iterator[tuple[str, str, Any]]:
    """(place, who, value) of each response to the question; the value of what is not submitted is None."""
    told = record.get("responses") or {}
    if isinstance(told, dict):
        others |= told.keys() - {question}
        listed = part(told, question, list, where, [])
        values = [response.get("value") if isinstance(response, dict) else None for response in listed]
    elif isinstance(told, list):
        listed, values = told, [_value(response, question, others) for response in told]
    else:
        raise UserError(f"{where}: 'responses' is a {type(told).__name__}, but must be an object or a list: mend it")
    for number, (response, value) in enumerate(zip(listed, values, strict=True), start=1):
        place = f"{where}, response {number}"
        if not isinstance(response, dict):
            raise UserError(f"{place}: a {type(response).__name__}, but must be an object: mend or remove it")
        submitted = response.get("status", "submitted") == "submitted"
        who = response.get("user_id")
        if not isinstance(who, str | int) or who == "":
            raise UserError(f"{place}: 'user_id' is {who!r:.80}, but must be that of a person: mend it")
        yield place, str(who), value if submitted else None


def _value(response: Any, question: str, others: set[str]) -> Any:
    """Of a response as the server has it: {"values": {question: {"value": ...}}}."""
    values = response.get("values") if isinstance(response, dict) else None
    if not isinstance(values, dict):
        return None
    others |= values.keys() - {question}
    answer = values.get(question)
    return answer.get("value") if isinstance(answer, dict) else answer


def record(item: Item, suggested: tuple[str, float] | None, given: Mapping[str, str], name: str) -> dict[str, Any]:
    """A record of `item`, with the label that is `suggested` and its probability, and what was `given` by people."""
    suggestions = {}
    if suggested is not None:
        label, score = suggested
        suggestions[_QUESTION] = {"value": label, "score": round(score, 6), "agent": name}
    responses = [{"value": label, "user_id": who} for who, label in given.items()]
    return {
        "id": item.id,
        "fields": {_TEXT: item.text},
        "metadata": {"source": item.source},
        "suggestions": suggestions,
        "responses": {_QUESTION: responses} if responses else {},
        "status": "completed" if responses else "pending",
        "vectors": {},
    }
