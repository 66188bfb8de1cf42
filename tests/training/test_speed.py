"""FLOP/s and MFU: of what peak, and null where there is none."""

from types import SimpleNamespace

import pytest

from jaxlm.training.speed import peak, with_flops


@pytest.mark.parametrize(
    "kind, teraflops",
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("TPU v5 lite", 197),
        ("TPU v5", 459),
        ("TPU v6 lite", 918),
    ],
)
def test_the_peak_is_that_of_all_chips(kind, teraflops):
    assert peak([SimpleNamespace(device_kind=kind)] * 4) == pytest.approx(4e12 * teraflops)


def test_a_cpu_has_no_known_peak():
    assert peak([SimpleNamespace(device_kind="cpu")]) is None


def test_a_share_of_the_peak_is_told_beside_the_flops():
    line = with_flops({"loss": 1.0, "tokens_per_second": 10.0}, flops_per_token=3.0, peak=120.0)
    assert line == {"loss": 1.0, "tokens_per_second": 10.0, "model_flops_per_second": 30.0, "mfu": 0.25}
    assert with_flops({"tokens_per_second": 10.0}, 3.0, None)["mfu"] is None
    assert with_flops({"eval/loss": 1.0}, 3.0, None) == {"eval/loss": 1.0}
