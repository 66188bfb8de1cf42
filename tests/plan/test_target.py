"""Targets: what may be asked for, what is refused in words, and that a missing wheel is named with its mend."""

import importlib.util

import pytest

from jaxlm.errors import UserError
from jaxlm.plan import target
from jaxlm.plan.target import CHIPS, LIMITS, parse


@pytest.mark.parametrize(
    ("name", "platform", "devices", "topology"),
    [
        ("cpu:3", "cpu", 3, ""),
        ("v5e:16x16", "tpu", 256, "v5e:16x16"),
        ("v5p:4x4x4", "tpu", 64, "v5p:4x4x4"),
        ("v6e:2x4", "tpu", 8, "v6e:2x4"),
        ("h100x8", "gpu", 8, "1x1x8"),
        ("h100x4", "gpu", 4, "1x1x4"),
        ("h100x64", "gpu", 64, "8x1x8"),
    ],
)
def test_a_target_is_its_platform_its_devices_and_how_they_are_joined(name, platform, devices, topology):
    found = parse(name)
    assert (found.platform, found.devices, found.topology) == (platform, devices, topology)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "give one as cpu"),
        ("v9:4x4", "none of the devices"),
        ("cpu:0", "none of the devices"),
        ("cpu:99999", "none of the devices"),
        ("v5e:0x4", "none of the devices"),
        ("v5e:4", "none of the devices"),
        ("v5e:4x4x4", "a v5e slice has 2 sides.* v5e:4x4"),
        ("v5p:4x4", "a v5p slice has 3 sides.* v5p:4x4x4"),
        ("h100x12", "come 8 to a host.* h100x16"),
        ("h100x0", "h100x8"),
        ("h100x8; rm", "none of the devices"),
    ],
)
def test_nonsense_is_refused_with_what_would_do(name, words):
    with pytest.raises(UserError, match=words):
        parse(name)


@pytest.mark.parametrize(("name", "wheel"), [("v5e:2x2", "libtpu.*plan-tpu"), ("h100x8", "CUDA plugin.*plan-gpu")])
def test_a_missing_wheel_is_named_with_its_mend(name, wheel, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=f"{wheel}") as error:
        target.prepare(parse(name))
    assert "make install-plan" in str(error.value)


def test_every_chip_has_its_figures_their_source_and_what_a_program_may_use():
    assert LIMITS.keys() == CHIPS.keys()
    for name, chip in CHIPS.items():
        assert min(chip[:5]) > 0 and chip.source, name
        assert 0.9 * chip.memory < LIMITS[name] <= 1.08 * chip.memory, name  # GB as sold, GiB as counted
        assert chip.wide_link <= chip.link
