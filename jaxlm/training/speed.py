"""How fast a run is: model FLOP/s, and their share of what the chips could do (MFU).

The FLOPs of a step come from a formula (models/transformer.py), not from the compiler, which counts the body
of a scan once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

# Part of jax's device_kind -> dense bfloat16 FLOP/s of a chip, from the makers' data sheets. The first match
# counts.
PEAK = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "V100": 125e12,
    "TPU v6 lite": 918e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v4": 275e12,
}


def peak(devices: Sequence[Any]) -> float | None:
    """FLOP/s of all `devices` together; None where the kind is unknown, as on CPUs."""
    kind = devices[0].device_kind
    known = next((value for name, value in PEAK.items() if name in kind), None)
    return None if known is None else known * len(devices)


def with_flops(metrics: Mapping[str, float], flops_per_token: float, peak: float | None) -> dict[str, float | None]:
    """`metrics` with `model_flops_per_second` and `mfu` (null without a peak) where they hold a speed."""
    if "tokens_per_second" not in metrics:
        return dict(metrics)
    flops = flops_per_token * metrics["tokens_per_second"]
    return {**metrics, "model_flops_per_second": flops, "mfu": flops / peak if peak else None}
