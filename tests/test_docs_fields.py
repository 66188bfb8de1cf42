"""docs/data-reference.md names every field of the configs it tells of, with its default."""

import importlib
import re
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

REFERENCE = Path(__file__).parent.parent / "docs" / "data-reference.md"
SECTIONS = re.findall(r"^### `([\w.]+)\.(\w+)`\n(.*?)(?=^### |\Z)", REFERENCE.read_text("utf-8"), re.M | re.S)
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| .+ \|$", re.M)
NUMBER = re.compile(r"`(\d+) MiB`")


def told(default):
    """As the table writes a default."""
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, int) and default and default % (1 << 20) == 0:
        return f"`{default >> 20} MiB`"
    plain = default is None or isinstance(default, str | int | float | tuple)
    return f"`{default!r}`".replace("'", '"') if plain else f"`{type(default).__name__}()`"


@pytest.mark.parametrize("module, name, text", SECTIONS, ids=[name for _, name, _ in SECTIONS])
def test_a_config_is_told_field_by_field(module, name, text):
    fields = getattr(importlib.import_module(module), name).model_fields
    rows = dict(ROW.findall(text))
    assert set(rows) == set(fields) - {"kind"}
    in_words = {
        "quality": "Gopher's rules for English",
        "rules": "`Gopher()`, `GopherRepetition()`",
        "kinds": "all seven",
    }
    for field, default in rows.items():
        if in_words.get(field) != default:
            assert default == told(fields[field].default), field
