"""Configs: frozen pydantic models, written in Python, overridden by `path=value`, saved as JSON.

A `.py` config is run, so never load one from somebody you do not trust; a `.json` one is only read.
What errors of validation look like is in `config_errors.py`.
"""

import ast
import importlib.resources
import re
import runpy
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_origin

import pydantic

from jaxlm import json_file
from jaxlm.config_errors import config_classes, explain, kind_of, members, nearest, no_field, show
from jaxlm.errors import UserError


class Config(pydantic.BaseModel):
    """Base of every config: frozen, and an unknown field is an error."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    command: ClassVar[str] = ""  # that makes what it tells, where it is the config of a file


C = TypeVar("C", bound=Config)


def load(path_or_name: str | Path, kind: type[C] | tuple[type[C], ...], overrides: Iterable[str] = ()) -> C:
    """The config in a .py or .json file, or the shipped config of that name, with `overrides`.

    It may be of any of several kinds: a saved one says by its field `kind` of which, and is of the first without one.
    Raises UserError where the file is missing, is no config, or a field or rule is violated.
    """
    path, kinds = _find(str(path_or_name)), kind if isinstance(kind, tuple) else (kind,)
    if path.suffix == ".py":
        return override(_run(path, kinds, str(path_or_name)), overrides)
    saved = _read_json(path)
    return override(parse(saved, _kind_of_saved(saved, kinds, str(path)), origin=str(path)), overrides)


def parse(saved: dict, kind: type[C], origin: str = "config") -> C:
    """The inverse of `dump`; all errors of validation in one message."""
    try:
        return kind.model_validate(saved)
    except pydantic.ValidationError as error:
        raise UserError(explain(error, kind, origin)) from None


def parse_options(told: dict, kind: type[C], options: Mapping[str, str]) -> C:
    """As `parse`, of what was given on a command line by `options`, {field: option}.

    An error says `--top-k 0` for `top_k=0`, and no default: --help does, as an option may have another.
    """
    try:
        return kind.model_validate(told)
    except pydantic.ValidationError as error:
        fields = "|".join(map(re.escape, options))
        told_of = explain(error, kind, "options", before={})
        fault = re.sub(rf"\b({fields})=", lambda field: f"{options[field[1]]} ", told_of)
        raise UserError(fault.removeprefix("options: ")) from None


def dump(config: Config) -> dict:
    """Plain JSON values, every default written out."""
    return config.model_dump(mode="json")


def override(config: C, assignments: Iterable[str]) -> C:
    """`override(config, ["model.width=256"])`: a new config; unknown names are errors.

    A new `kind` takes the defaults of the class it names: `data.tokenizer.kind=bytes`. Kinds are
    assigned first, so the order on the command line does not matter.
    """
    assignments = list(assignments)
    if not assignments:
        return config
    saved = _assigned(config, assignments)
    try:
        return type(config).model_validate(saved)
    except pydantic.ValidationError as error:
        before = dump(config)
        fault = explain(error, type(config), "", before=before)
        named = _blamed(config, assignments, fault)
        if len(named) == 1 and re.match(rf": {re.escape(named[0])}[: ]", fault):
            raise UserError(f"--set {fault[2:]}") from None  # as typed, and once
        raise UserError(explain(error, type(config), "--set " + " ".join(named), before=before)) from None


def _assigned(config: Config, assignments: Iterable[str]) -> dict:
    """The dumped config with what is assigned to it, before any rule is asked."""
    saved = dump(config)
    for assignment in sorted(assignments, key=_when):
        path, equals, text = assignment.partition("=")
        if not equals or not path:
            raise UserError(f"--set {assignment!r}: write it as path=value, e.g. loop.steps=100")
        try:
            _assign(saved, type(config), path.split("."), text)
        except UserError as error:
            raise UserError(f"--set {assignment!r}: {error}") from None
    return saved


def _blamed(config: Config, assignments: list[str], fault: str) -> list[str]:
    """The assignments without which `fault` would be another, or none; all of them where that tells nothing."""
    found = []
    for place, assignment in enumerate(assignments):
        try:
            type(config).model_validate(_assigned(config, assignments[:place] + assignments[place + 1 :]))
            now = ""
        except UserError as error:  # it needs the kind that this one sets
            now = str(error)
        except pydantic.ValidationError as error:
            now = explain(error, type(config), "", before=dump(config))
        if now != fault:
            found.append(assignment)
    return found or assignments


def _when(assignment: str) -> tuple[bool, int]:
    """Kinds come first, outer ones before inner ones; all else keeps its order."""
    path = assignment.partition("=")[0]
    is_kind = path.endswith(".kind")
    return not is_kind, path.count(".") if is_kind else 0


def difference(old: dict, new: dict, path: str = "") -> list[str]:
    """`path: old -> new` for every leaf that differs between two dumped configs."""
    lines = []
    for name in sorted(old.keys() | new.keys()):
        here, a, b = f"{path}{name}", old.get(name, "(absent)"), new.get(name, "(absent)")
        if isinstance(a, dict) and isinstance(b, dict):
            lines += difference(a, b, here + ".")
        elif a != b:
            lines.append(f"{here}: {show(a)} -> {show(b)}")
    return lines


def shipped() -> dict[str, Path]:
    """Name -> path of the configs that come with jaxlm."""
    inside = Path(str(importlib.resources.files("jaxlm"))) / "configs"  # in a wheel
    beside = Path(__file__).resolve().parent.parent / "configs"  # in a checkout
    folder = inside if inside.is_dir() else beside
    return {path.stem: path for path in sorted(folder.glob("*.py"))}


def _find(name: str) -> Path:
    path = Path(name)
    if path.is_file() and path.suffix in (".py", ".json"):
        return path
    if path.is_dir():
        inside = path / "config.json"
        if inside.is_file():
            return inside
        raise UserError(f"{name!r} is a folder without config.json: name a run folder, a .py or a .json file")
    if path.is_file():
        raise UserError(f"{name!r}: a config ends in .py or .json")
    known = shipped()
    if name in known:
        return known[name]
    if path.suffix in (".py", ".json"):
        raise UserError(
            f"no config {name!r}: there is no such file; name another .py or .json file, or a shipped config"
        )
    near = nearest(path.stem, known, "shipped configs are")
    stop = "" if near.endswith("?") else "."
    raise UserError(f"no config {name!r}: {near}{stop} Or give the path of a .py or .json file")


def _run(path: Path, kinds: tuple[type[C], ...], told: str) -> C:
    """What `config()` of a Python file returns; whatever goes wrong in there is one line with its place.

    `told` is what the user called it.
    """
    wanted = " or ".join(kind.__name__ for kind in kinds)
    try:
        made = runpy.run_path(str(path))
        if not callable(made.get("config")):
            raise UserError(f"a config file defines `def config() -> {wanted}`")
        config = made["config"]()
    except pydantic.ValidationError as error:
        raise UserError(explain(error, _class_named(error.title, kinds[0]), _place(path, error))) from None
    except Exception as error:  # it is the user's program: it can raise anything
        kind_of_error = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        message = error.msg if isinstance(error, SyntaxError) else error
        raise UserError(f"{_place(path, error)}: {kind_of_error}{message}") from error
    if not isinstance(config, kinds):
        mend = f": `{config.command} {told}` is for it" if isinstance(config, Config) and config.command else ""
        raise UserError(f"{path}: config() returned {type(config).__name__}, but this command wants {wanted}{mend}")
    return config


def _kind_of_saved(saved: dict, kinds: tuple[type[C], ...], origin: str) -> type[C]:
    """Which of `kinds` a saved config says that it is: the first where it says nothing, unless another one is meant."""
    first, known = kinds[0], {name: one for one in kinds if (name := kind_of(one)) is not None}
    said = saved.get("kind")
    if isinstance(said, str) and said in known:
        return known[said]
    if said is not None and "kind" not in first.model_fields:
        mend = nearest(str(said), known, "kinds are")
        raise UserError(f"{origin}: kind={show(said)}: {mend} (a {first.__name__} has none)")
    meant = max(kinds, key=lambda one: len(saved.keys() & one.model_fields.keys()))  # the first of equals
    if said is None and meant is not first:
        raise UserError(
            f'{origin} has the fields of a {meant.__name__}, which in JSON says so: add "kind": {show(kind_of(meant))}'
        )
    return first


def _place(path: Path, error: Exception) -> str:
    """`file, line 12`: the last line of the config file that `error` passed through, or failed to compile."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines.append(error.lineno)
    return f"{path}, line {lines[-1]}" if lines and lines[-1] else str(path)


def _class_named(name: str, default: type[Config]) -> type[Config]:
    """The config class a ValidationError is about: it holds the name alone."""
    waiting = [Config]
    while waiting:
        one = waiting.pop()
        if one.__name__ == name:
            return one
        waiting += one.__subclasses__()
    return default


def _read_json(path: Path) -> dict:
    saved = json_file.read(path)
    if not isinstance(saved, dict):
        raise UserError(f"{path}: a saved config is a JSON object, this is {type(saved).__name__}")
    return saved


def _assign(saved: dict, kind: type[pydantic.BaseModel], path: list[str], text: str) -> None:
    """Set `path` in `saved`, walking the classes beside it so that an unknown name is found here."""
    head, *rest = path
    if head not in kind.model_fields:
        raise UserError(no_field(kind, head))
    annotation = kind.model_fields[head].annotation
    if not rest:
        saved[head] = _value(text, annotation)
        return
    classes = config_classes(annotation)
    if not classes:
        what = (
            "a list: give the whole of it, or edit the config" if get_origin(annotation) is tuple else "a plain value"
        )
        raise UserError(f"{head!r} of {kind.__name__} is {what}; it has no {rest[0]!r}")
    kinds = {name: c for c in classes if (name := kind_of(c))}
    inner = saved.get(head) or {}
    if rest == ["kind"] and kinds:
        if text not in kinds:
            raise UserError(nearest(text, kinds, "kinds are"))
        if inner.get("kind") != text:  # its defaults too, so that parts of them can be assigned
            saved[head] = kinds[text].model_construct().model_dump(mode="json")
        return
    if not inner and len(classes) > 1:
        raise UserError(f"{head!r} is not set: choose {head}.kind first, one of {', '.join(kinds)}")
    saved[head] = inner
    _assign(inner, kinds.get(inner.get("kind", ""), classes[0]), rest, text)


def _value(text: str, annotation: Any) -> Any:
    """The Python or JSON value that `text` spells: a bare word is a string, and so is all for a str field."""
    allowed = members(annotation)
    if text in allowed:  # "none" may be a choice of its own
        return text
    words = {"true": True, "false": False, "null": None, "none": None}
    try:
        value = words[text.lower()] if text.lower() in words else ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return text if str in allowed and type(value) not in allowed else value
