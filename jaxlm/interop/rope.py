"""`rope_scaling` of config.json and our stretched positions; keys as transformers 5.24 has them, modeling_rope_utils.

Left out: "dynamic" and "longrope", whose angles depend on the length of a text.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxlm.errors import UserError
from jaxlm.models.positions import RopeScaling

KIND, FORMER_KIND = "rope_type", "type"  # the latter until version 4.45
_ORIGINAL = "original_max_position_embeddings"


class _Keys(NamedTuple):
    needed: Mapping[str, str]  # theirs -> ours
    others: Mapping[str, str] = {}  # with a default, which ours has too
    still: Mapping[str, tuple] = {}  # keys that change the numbers -> the values that ours computes


_KINDS = {
    "linear": _Keys({"factor": "factor"}),
    "llama3": _Keys(
        {"factor": "factor", "low_freq_factor": "slow", "high_freq_factor": "fast", _ORIGINAL: "original"},
    ),
    "yarn": _Keys(
        {"factor": "factor", _ORIGINAL: "original"},
        {"beta_slow": "slow", "beta_fast": "fast"},
        {"mscale": (None,), "mscale_all_dim": (None,), "truncate": (None, True)},
    ),
}


def read(value: Any, where: str) -> dict[str, Any] | None:
    """What `value` says, as a config's field takes it; `where` names it in errors."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise UserError(f"{where}={value!r:.80} should be null or an object")
    told = dict(value)
    kinds = [told.pop(key) for key in (KIND, FORMER_KIND) if key in told]
    kind = kinds[0] if kinds else None
    if any(other != kind for other in kinds):
        raise UserError(f"{where}={value!r:.200} names two kinds: leave {FORMER_KIND} out")
    if kind == "default" and not told:
        return None
    if not isinstance(kind, str) or kind not in _KINDS:
        known = ", ".join(map(repr, ["default", *_KINDS]))
        raise UserError(f"{where}={value!r:.200}; jaxlm stretches positions by {known}")
    keys = _KINDS[kind]
    if missing := [key for key in keys.needed if told.get(key) is None]:
        raise UserError(f"{where}={value!r:.200} lacks {missing[0]}, and {kind!r} is nothing without it")
    found: dict[str, Any] = {"kind": kind}
    for key, ours in {**keys.needed, **keys.others}.items():
        if (number := told.pop(key, None)) is not None:
            found[ours] = number
    sharper = told.pop("attention_factor", None) if kind == "yarn" else None
    if sharper is not None and not _is_yarns(sharper, found["factor"]):
        raise UserError(f"{where}: attention_factor={sharper!r:.80}; jaxlm computes 0.1 log(factor) + 1 only")
    for key, other in told.items():
        if other not in keys.still.get(key, ()):
            raise UserError(f"{where}: {key}={other!r:.80} of {kind!r} is not what jaxlm computes")
    return found


def with_original(scaling: Any, length: int) -> Any:
    """`scaling` with the length that its model was made for; where it is silent that is `length`, the most positions.

    So it is in transformers, where a key of that name beside `scaling` does not count.
    """
    kind = scaling.get(KIND, scaling.get(FORMER_KIND)) if isinstance(scaling, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS or _ORIGINAL not in _KINDS[kind].needed:
        return scaling
    return {**scaling, _ORIGINAL: scaling.get(_ORIGINAL, length)}


def _is_yarns(sharper: Any, factor: Any) -> bool:
    numbers = all(isinstance(x, int | float) for x in (sharper, factor)) and factor > 0
    return numbers and math.isclose(sharper, 0.1 * math.log(factor) + 1, rel_tol=1e-6)


def write(scaling: RopeScaling | None) -> dict[str, Any] | None:
    """The inverse of `read`."""
    if scaling is None:
        return None
    keys = _KINDS[scaling.kind]
    return {KIND: scaling.kind} | {key: getattr(scaling, ours) for key, ours in {**keys.needed, **keys.others}.items()}
