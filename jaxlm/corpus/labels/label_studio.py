"""Tasks of Label Studio: what people chose, and texts for them to look at.

https://labelstud.io/guide/task_format and https://labelstud.io/guide/predictions say what a task is, and
https://labelstud.io/tags/choices what a choice looks like. A task's `data` carries the document's id and comes back
with it. Predictions, drafts and what was skipped (`was_cancelled`) are no votes; an annotation that somebody marked as
`ground_truth` is a vote of the annotator "ground_truth".

Left out: several choices for one text, and labels of parts of a text.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from jaxlm.corpus.labels.config import LabelStudioFile
from jaxlm.corpus.labels.people import Answer, identity, known, part, records, text_of
from jaxlm.corpus.labels.rules import Item
from jaxlm.errors import UserError

GROUND_TRUTH = "ground_truth"
_CHOICES, _TEXT = "label", "text"  # names of the tags, in the tasks that we write


def answers(cfg: LabelStudioFile, classes: tuple[str, ...]) -> Iterator[Answer]:
    """What people chose; UserError at the first task that is none."""
    others: set[str] = set()
    found = False
    for where, task in records(Path(cfg.path).expanduser()):
        data = part(task, "data", dict, where)
        text = text_of(data, cfg.text_field, where)
        for number, annotation in enumerate(part(task, "annotations", list, where, []), start=1):
            place = f"{where}, annotation {number}"
            if not isinstance(annotation, dict):
                raise UserError(f"{place}: a {type(annotation).__name__}, but must be an object: mend or remove it")
            chosen = _chosen(annotation, cfg.choices, others, place)
            label = None if chosen is None else known(chosen, classes, place)
            found |= label is not None
            yield Answer(identity(data, text), text, cfg.prefix + _who(annotation, place), label, place)
    if others and not found:
        raise UserError(
            f"{cfg.path}: nobody chose of {cfg.choices!r}, and the choices there are named "
            f"{', '.join(map(repr, sorted(others)))}: set votes.choices to one of them"
        )


def _chosen(annotation: dict, name: str, others: set[str], where: str) -> str | None:
    if annotation.get("was_cancelled"):
        return None
    for result in part(annotation, "result", list, where):
        if not isinstance(result, dict):
            raise UserError(f"{where}: a result is a {type(result).__name__}, but must be an object: mend or remove it")
        if result.get("type") != "choices":
            continue
        if result.get("from_name") != name:
            others.add(str(result.get("from_name")))
            continue
        choices = part(part(result, "value", dict, where), "choices", list, where)
        if len(choices) > 1:
            raise UserError(f"{where}: {len(choices)} choices, but a text is of one class: remove all but one")
        return choices[0] if choices else None
    return None


def _who(annotation: dict, where: str) -> str:
    """A number, an address, or an object with either, as exports differ."""
    if annotation.get("ground_truth"):
        return GROUND_TRUTH
    who = annotation.get("completed_by")
    if isinstance(who, dict):
        who = who.get("email") or who.get("id")
    if isinstance(who, bool) or not isinstance(who, int | str) or who == "":
        raise UserError(
            f"{where}: 'completed_by' is {who!r:.80}, but must be the number or address of a person: mend it"
        )
    return str(who)


def task(item: Item, suggested: tuple[str, float] | None, given: Mapping[str, str], name: str) -> dict[str, Any]:
    """A task of `item`, with the label that is `suggested` and its probability, and what was `given` by people."""
    found: dict[str, Any] = {"data": {_TEXT: item.text, "id": item.id, "source": item.source}}
    if suggested is not None:
        label, score = suggested
        found["predictions"] = [{"model_version": name, "score": round(score, 6), "result": [_result(label)]}]
    found["annotations"] = [_annotation(who, label) for who, label in given.items()]
    return found


def _annotation(who: str, label: str) -> dict[str, Any]:
    if who == GROUND_TRUTH:
        return {"result": [_result(label)], "ground_truth": True}
    return {"result": [_result(label)], "completed_by": int(who) if who.isdecimal() else {"email": who}}


def _result(label: str) -> dict[str, Any]:
    return {"from_name": _CHOICES, "to_name": _TEXT, "type": "choices", "value": {"choices": [label]}}


def interface(classes: tuple[str, ...]) -> str:
    """The labelling interface that a project for our tasks needs, to be pasted into its settings.

    >>> print(interface(("bad", "good")), end="")
    <View>
      <Text name="text" value="$text"/>
      <Choices name="label" toName="text" choice="single">
        <Choice value="bad"/>
        <Choice value="good"/>
      </Choices>
    </View>
    """
    choices = "".join(f"    <Choice value={quoteattr(name)}/>\n" for name in classes)
    return (
        f'<View>\n  <Text name="{_TEXT}" value="${_TEXT}"/>\n'
        f'  <Choices name="{_CHOICES}" toName="{_TEXT}" choice="single">\n{choices}  </Choices>\n</View>\n'
    )
