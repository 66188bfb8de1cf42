"""What a row of the table of layouts is: a tensor of theirs and parameters of ours, a key and a field."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxlm.config import Config


class Row(NamedTuple):
    """A tensor of theirs, and the parameters of ours that it holds.

    A shape has a word for each dimension: of the letters of jaxlm.batch (P: rows of the table of positions, T: buckets
    of distances, J: kinds of token, C: answers of the head of order, E: D once more, where a matrix has both), several
    where their product is one dimension; `A|B` are parts of a dimension that go to parameters of their own, in order.
    Ours have the letters of their part, each a dimension, in an order of their own. `{N}` counts the layers, `{M}`
    those of the decoder that reads an encoder. Without parameters of ours, a row is another name of what `copy_of` is.
    """

    theirs: str
    shape: str
    ours: Mapping[str, str]
    copy_of: str | None = None  # where our config has no such parameter, the tensor may be there if it equals this one
    zeros: bool = False  # where our config has no such parameters, the tensor is there and 0
    fills: bool = False  # where the tensor is missing, it is what `copy_of` is
    head: str | None = None  # rows of one head may be missing together: their parameters are then drawn at random
    when: tuple[str, tuple] | None = None  # (field, values): the row is only in models whose field has one of them


class Codec(NamedTuple):
    """Between a value of config.json that has parts, and a field's."""

    read: Callable[[Any, str], Any]  # (value, where it stands) -> ours
    write: Callable[[Any], Any]


class Field(NamedTuple):
    """A key of config.json and the field of our config that says the same."""

    theirs: str
    ours: str
    default: Any  # of theirs, where config.json is silent; NEEDED: it must not be
    kind: type = int
    words: Mapping[str, str] = {}  # theirs -> ours, where a choice has other words; of several the first is written
    optional: bool = False  # null is a value of its own, also where that is not the default
    codec: Codec | None = None  # where it is more than a number or a word


NEEDED = object()


class Architecture(NamedTuple):
    model_type: str
    classes: tuple[str, ...]  # that config.json may name; the first is written
    prefix: str  # of all tensors but the head; absent where the model was saved without its head
    config: type[Config]
    constant: Mapping[str, Any]  # fields of ours that it fixes
    fields: tuple[Field, ...]
    only: Mapping[str, tuple]  # keys that change the numbers -> the values that jaxlm computes; the first is written
    rows: tuple[Row, ...]
    ignored: str = r"(?!)"  # tensors that hold nothing learned (a regular expression)
    renamed: Mapping[str, str] = {}  # endings of tensors in old files -> those of the table
    implied: Mapping[str, tuple[str, Mapping[str, Any]]] = {}  # key -> (another key, the value that each of its has)
    shown: Mapping[str, tuple[str, str]] = {}  # field that is True where such tensors are -> (their names, the class)
    objective: str = "next_token"  # kind of what it was trained for

    def field(self, ours: str) -> Field | None:
        return next((field for field in self.fields if field.ours == ours), None)

    def default(self, theirs: str) -> Any:
        """What a key says where config.json is silent."""
        return next(field.default for field in self.fields if field.theirs == theirs)

    def of(self, cfg: Any) -> "Architecture":
        """With the rows that a model of `cfg` has."""
        has = lambda row: row.when is None or getattr(cfg, row.when[0]) in row.when[1]
        return self._replace(rows=tuple(row for row in self.rows if has(row)))

    def seen(self, names: Any) -> dict[str, bool]:
        """Fields that config.json does not say, and the names of the tensors do."""
        return {field: any(re.match(start, name) for name in names) for field, (start, _) in self.shown.items()}

    def renaming(self, name: str) -> str:
        """The name of a tensor in the table, for one of an old file."""
        old = next((old for old in self.renamed if name.endswith(old)), "")
        return name.removesuffix(old) + self.renamed[old] if old else name

    def written(self, cfg: Any) -> str:
        """The class that config.json of `cfg` names."""
        return next((name for field, (_, name) in self.shown.items() if getattr(cfg, field)), self.classes[0])


def affine(
    theirs: str, shape: str, bias: str, ours: Mapping[str, tuple[str, str]], *, zeros: bool = True, **more: Any
) -> tuple[Row, Row]:
    """A product and its bias; `ours`: path -> (letters of the weight, of the bias)."""
    return (
        Row(f"{theirs}.weight", shape, {f"{path}/w": weight for path, (weight, _) in ours.items()}, **more),
        Row(f"{theirs}.bias", bias, {f"{path}/b": b for path, (_, b) in ours.items()}, zeros=zeros, **more),
    )


def layernorm(theirs: str, ours: str, *, zeros: bool = True, **more: Any) -> tuple[Row, Row]:
    scale = Row(f"{theirs}.weight", "D", {f"{ours}/scale": "D"}, **more)
    return scale, Row(f"{theirs}.bias", "D", {f"{ours}/b": "D"}, zeros=zeros, **more)
