"""What pydantic found wrong with a config, said in the words of whoever wrote it.

Holds the walk over nested config classes and their unions, which `config.override` needs as well. A union
of classes is told apart by the field `kind`; pydantic puts the kind it chose into the path of an error
(`split.hash.validation`), the user never wrote it there, so it is left out (`split.validation`).
"""

import difflib
import json
import re
import types
import typing
from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple

import pydantic

Class = type[pydantic.BaseModel]
_ABSENT = object()
_PATTERNS = {  # of names, in words
    r"^[A-Za-z0-9][\w.-]*$": 'a letter or a digit, then letters, digits, ".", "_" or "-"',
    r"^[a-z][a-z0-9_]*$": 'a small letter, then small letters, digits or "_"',
}


class _Place(NamedTuple):
    """Where an error lies."""

    path: list[str]  # that the user wrote
    owner: Class  # has the path's last name, or should have it
    fits: list[Class]  # may stand there, or be an element of what does
    unset: str = ""  # the field nearest above it that may be None


def explain(error: pydantic.ValidationError, kind: Class, origin: str, *, before: dict | None = None) -> str:
    """One line for each error, with the path of the field, its value, and the nearest name or what would be valid.

    That is the value in the dumped config `before` that was changed; else the field's default.
    """
    lines: dict[str, str] = {}  # by path: each member of a union of plain types complains on its own
    ends: dict[str, str] = {}
    found: list[Any] = error.errors(include_url=False)
    for item in found:
        if item["type"] == "too_short" and len(item["input"]) >= item["ctx"]["min_length"]:
            continue  # pydantic counts only the entries that are right, and has told of the others
        place = _locate(kind, item["loc"])
        subject, fault = _complaint(item, place)
        lines[subject] = f"{lines[subject]}, or {fault.removeprefix('must ')}" if subject in lines else fault
        ends[subject] = _valid(place.path, place.owner, before) if fault.startswith("must ") else ""
    told = [
        (fault if not subject or fault.startswith(f"{subject}.") else f"{subject}: {fault}") + ends[subject]
        for subject, fault in lines.items()
    ]
    return f"{origin}: {told[0]}" if len(told) == 1 else "\n  ".join([f"{origin}:", *told])


def no_field(kind: Class, name: str) -> str:
    return f"{kind.__name__} has no field {name!r}; {nearest(name, kind.model_fields, 'it has')}"


def nearest(name: str, known: Iterable[str], all_of_them: str) -> str:
    """`did you mean 'width'?`, or `it has: width, layers` where nothing is near."""
    known = [str(one) for one in known]
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"{all_of_them}: {', '.join(known) or 'none'}"


def config_classes(annotation: Any) -> list[Class]:
    """The config classes that a field of this annotation may hold."""
    return [part for part in members(annotation) if isinstance(part, type) and issubclass(part, pydantic.BaseModel)]


def members(annotation: Any) -> list[Any]:
    """The alternatives of an annotation: types, and the values of a Literal."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return members(parts[0])
    if origin in (typing.Union, types.UnionType):
        return [one for part in parts for one in members(part)]
    return list(parts) if origin is typing.Literal else [annotation]


def kind_of(kind: Class) -> str | None:
    """The value of `kind` that stands for this class; None where it is no member of a union."""
    return kind.model_fields["kind"].default if "kind" in kind.model_fields else None


def _locate(kind: Class, location: tuple[int | str, ...]) -> _Place:
    path, owner, candidates, unset, keyed = [], kind, [kind], "", False
    for part in location:
        if keyed:  # a key of a dictionary, which may be named as a field is
            path[-1], keyed = f"{path[-1]}[{part!r}]", False
            continue
        named = [c for c in candidates if part in c.model_fields]
        tagged = [c for c in candidates if kind_of(c) == part]
        if tagged and len(candidates) > 1:  # before a field of the same name, which comes after its kind
            candidates = tagged
        elif named:
            path.append(str(part))
            owner = named[0]
            annotation = owner.model_fields[str(part)].annotation
            candidates = _classes_within(annotation)
            unset = ".".join(path) if type(None) in members(annotation) else unset
            keyed = any(typing.get_origin(one) is dict for one in members(annotation))
        elif tagged:
            candidates = tagged
        elif part == location[-1] and part != "[key]" and candidates:  # the name that should not be there
            path.append(str(part))
            owner = candidates[0]
        elif isinstance(part, int):
            path.append(str(part))
    return _Place(path, owner, candidates, unset)


def _classes_within(annotation: Any) -> list[Class]:
    """As `config_classes`, of the elements too where the field is a tuple or a dict."""
    found = []
    for part in members(annotation):
        inside = [one for argument in typing.get_args(part) for one in _classes_within(argument)]
        found += inside or config_classes(part)
    return found


def _complaint(item: Any, place: _Place) -> tuple[str, str]:
    """Of one pydantic error: what it is about, and what is wrong with it."""
    where = ".".join(place.path)
    match item["type"]:
        case "extra_forbidden":
            return where, no_field(place.owner, place.path[-1])
        case "missing":
            return where, "is required and missing"
        case "value_error" | "assertion_error":
            return where, str(item["ctx"]["error"])
        case "union_tag_invalid":
            tag, known = item["ctx"]["tag"], item["ctx"]["expected_tags"].replace("'", "").split(", ")
            return f"{where}.kind={show(tag)}", nearest(tag, known, "kinds are")
        case "union_tag_not_found":
            kinds = ", ".join(str(kind_of(c)) for c in place.fits)
            return f"{where}.kind", f"is required and missing; kinds are: {kinds}"
        case _:
            shown = show(item["input"])
            return f"{where}={shown}" if where else shown, _fault(item, shown, place)


def _fault(item: Any, shown: str, place: _Place) -> str:
    """What is wrong with a value."""
    match item["type"]:
        case "tuple_type" if place.fits:
            return f"must be a list of {', '.join(c.__name__ for c in place.fits)}"
        case "tuple_type":
            return f"must be a list, such as [{shown}]"
        case "too_short":
            least, found = item["ctx"]["min_length"], item["ctx"]["actual_length"]
            return f"has {found} and needs {least} or more{_longer(place)}"
        case "model_type":
            return _instance(item["input"], place)
        case "model_attributes_type":
            return f"must be an object with its kind, one of: {', '.join(str(kind_of(c)) for c in place.fits)}"
        case "dict_type":
            return f'must be a dictionary, such as {{"name": {shown}}}'
        case "string_pattern_mismatch" if item["ctx"]["pattern"] in _PATTERNS:
            return f"must be {_PATTERNS[item['ctx']['pattern']]}"
        case _:
            return re.sub(r"^[A-Z]\w+ should", "must", item["msg"].partition(", unable to parse")[0])


def _instance(value: Any, place: _Place) -> str:
    """What a class must be, by what was most likely meant: the value of its first field."""
    wanted = place.fits[0]
    fields = [name for name in wanted.model_fields if name != "kind"]
    try:
        wanted.model_validate({fields[0]: value})
    except pydantic.ValidationError:
        return f"must be a {wanted.__name__}, in JSON an object with some of: {', '.join(fields)}"
    meant = f"{fields[0]}={show(value)}"
    return f"must be {wanted.__name__}({meant}), which is {show({fields[0]: value})} in JSON"


def _longer(place: _Place) -> str:
    """How a list gets as long as it must be: an example where it is one of names, or how to have none."""
    field = place.owner.model_fields.get(place.path[-1])
    if field is not None and typing.get_args(field.annotation)[:1] == (str,):
        return ', such as ["one", "other"]'
    return f"; to have none, set {place.unset}=null" if place.unset else ""


def _valid(path: list[str], owner: Class, before: dict | None) -> str:
    """`; it was 64`, or `; the default is 64`, or nothing where neither is plain."""
    if before is not None:
        return f"; it was {_plain(value)}" if (value := _value_at(before, path)) is not _ABSENT else ""
    field = owner.model_fields.get(path[-1]) if path else None
    if field is None or field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    return "" if isinstance(value, pydantic.BaseModel) else f"; the default is {_plain(value)}"


def _plain(value: Any) -> str:
    return "none" if value is None else show(value)


def _value_at(tree: Any, path: list[str]) -> Any:
    """What a dumped config holds at `path`; _ABSENT where it has no such field, or more than one value there."""
    for name in path:
        tree = tree.get(name, _ABSENT) if isinstance(tree, dict) else _ABSENT
    return _ABSENT if isinstance(tree, dict) else tree


def show(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
