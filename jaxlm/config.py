"""Configs: frozen pydantic models, written in Python, overridden by `path=value`, saved as JSON.

A `.py` config is run, so never load one from somebody you do not trust; a `.json` one is only read.
"""

import ast
import difflib
import importlib.resources
import json
import runpy
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pydantic

from jaxlm.errors import UserError


class Config(pydantic.BaseModel):
    """Base of every config: frozen, and an unknown field is an error."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


C = TypeVar("C", bound=Config)
_BROKEN_CONFIG_FILE = (ImportError, NameError, AttributeError, TypeError)


def load(path_or_name: str | Path, kind: type[C], overrides: Iterable[str] = ()) -> C:
    """The config in a .py or .json file, or the shipped config of that name, with `overrides`.

    Raises UserError where the file is missing, is no config, or a field or rule is violated.
    """
    path = _find(str(path_or_name))
    if path.suffix == ".py":
        config = _run(path, kind)
    else:
        config = parse(_read_json(path), kind, origin=str(path))
    return override(config, overrides)


def parse(saved: dict, kind: type[C], origin: str = "config") -> C:
    """The inverse of `dump`; all errors of validation in one message."""
    try:
        return kind.model_validate(saved)
    except pydantic.ValidationError as error:
        raise UserError(_explain(error, kind, origin)) from None


def dump(config: Config) -> dict:
    """Plain JSON values, every default written out."""
    return config.model_dump(mode="json")


def override(config: C, assignments: Iterable[str]) -> C:
    """`override(config, ["model.width=256"])`: a new config; unknown names are errors.

    A new `kind` takes the defaults of the class it names: `data.tokenizer.kind=bytes`.
    """
    saved = dump(config)
    assignments = list(assignments)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path:
            raise UserError(f"--set {assignment!r}: write it as path=value, e.g. loop.steps=100")
        _assign(saved, type(config), path.split("."), _literal(text), assignment)
    return parse(saved, type(config), origin="--set " + " ".join(assignments)) if assignments else config


def difference(old: dict, new: dict, path: str = "") -> list[str]:
    """`path: old -> new` for every leaf that differs between two dumped configs."""
    lines = []
    for name in sorted(old.keys() | new.keys()):
        here, a, b = f"{path}{name}", old.get(name, "(absent)"), new.get(name, "(absent)")
        if isinstance(a, dict) and isinstance(b, dict):
            lines += difference(a, b, here + ".")
        elif a != b:
            lines.append(f"{here}: {_show(a)} -> {_show(b)}")
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
    near = difflib.get_close_matches(path.stem, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UserError(f"no config {name!r}: {hint}shipped configs are {', '.join(known)}; or give the path of a file")


def _run(path: Path, kind: type[Config]) -> Any:
    try:
        made = runpy.run_path(str(path))
        if not callable(made.get("config")):
            raise UserError(f"{path}: a config file defines `def config() -> {kind.__name__}`")
        config = made["config"]()
    except pydantic.ValidationError as error:
        raise UserError(_explain(error, kind, str(path))) from None
    except SyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}") from None
    except _BROKEN_CONFIG_FILE as error:
        raise UserError(f"{path}: {type(error).__name__}: {error}") from None
    if not isinstance(config, kind):
        raise UserError(f"{path}: config() returned {type(config).__name__}, but this command wants {kind.__name__}")
    return config


def _read_json(path: Path) -> dict:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(saved, dict):
        raise UserError(f"{path}: a saved config is a JSON object, this is {type(saved).__name__}")
    return saved


def _literal(text: str) -> Any:
    """The Python or JSON value that `text` spells; a bare word is a string."""
    words = {"true": True, "false": False, "null": None, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _assign(saved: dict, kind: type[Config], path: list[str], value: Any, assignment: str) -> None:
    """Set `path` in `saved`, walking the classes beside it so that an unknown name is found here."""
    head, *rest = path
    if head not in kind.model_fields:
        raise UserError(f"--set {assignment!r}: {_no_field(kind, head)}")
    classes = _config_classes(kind.model_fields[head].annotation)
    if not rest:
        saved[head] = value
        return
    if not classes:
        raise UserError(f"--set {assignment!r}: {head!r} of {kind.__name__} is a plain value, it has no {rest[0]!r}")
    inner = saved.get(head)
    if rest == ["kind"]:
        kinds = {_kind_of(c): c for c in classes}
        if value not in kinds:
            raise UserError(f"--set {assignment!r}: kinds are {', '.join(map(str, kinds))}")
        if not (isinstance(inner, dict) and inner.get("kind") == value):
            saved[head] = {"kind": value}
        return
    if not isinstance(inner, dict):
        inner = saved[head] = {}
    known = inner.get("kind")
    chosen = next((c for c in classes if known is not None and _kind_of(c) == known), classes[0])
    _assign(inner, chosen, rest, value, assignment)


def _config_classes(annotation: Any) -> list[type[Config]]:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return [annotation]
    if typing.get_origin(annotation) in (Annotated, typing.Union, types.UnionType):
        return [c for part in typing.get_args(annotation) for c in _config_classes(part)]
    return []


def _kind_of(kind: type[Config]) -> str | None:
    return kind.model_fields["kind"].default if "kind" in kind.model_fields else None


def _no_field(kind: type[Config], name: str) -> str:
    names = list(kind.model_fields)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(names)}"
    return f"{kind.__name__} has no field {name!r}; {hint}"


def _explain(error: pydantic.ValidationError, kind: type[Config], origin: str) -> str:
    """One line for each error, with the path of the field, its value and the nearest name."""
    lines = []
    for item in error.errors(include_url=False):
        location = [str(part) for part in item["loc"]]
        if item["type"] == "extra_forbidden":
            owner = _owner(kind, location[:-1]) or kind
            lines.append(f"{'.'.join(location)}: {_no_field(owner, location[-1])}")
        elif item["type"] == "value_error":
            lines.append(f"{'.'.join(location) + ': ' if location else ''}{item['ctx']['error']}")
        else:
            lines.append(f"{'.'.join(location)}={_show(item['input'])}: {item['msg']}")
    return f"{origin}: " + ("\n  ".join(["", *lines]) if len(lines) > 1 else lines[0])


def _owner(kind: type[Config], location: list[str]) -> type[Config] | None:
    """The class at the end of a pydantic location; a union adds the tag it chose to the path."""
    candidates = [kind]
    for part in location:
        tagged = [c for c in candidates if _kind_of(c) == part]
        if tagged:
            candidates = tagged
            continue
        fields = [c.model_fields[part] for c in candidates if part in c.model_fields]
        candidates = _config_classes(fields[0].annotation) if fields else []
    return candidates[0] if candidates else None


def _show(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
