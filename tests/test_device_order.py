"""Devices in the order of a mesh, on topologies that are not here: slices are made up of fake devices."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from jaxlm import mesh
from jaxlm.config import parse
from jaxlm.device_order import arranged
from jaxlm.errors import UserError
from jaxlm.mesh import MeshConfig


@dataclass(frozen=True)
class Device:
    id: int
    slice_index: int = 0
    platform: str = "cpu"
    device_kind: str = "cpu"
    coords: tuple[int, ...] = ()
    core_on_chip: int = 0
    process_index: int = 0


def devices(*of_each_slice):
    """Numbered 0, 1, ..., the last slice first, as nothing says that they come in order."""
    numbers = [number for number, count in enumerate(of_each_slice) for _ in range(count)]
    made = [Device(n, number) for n, number in enumerate(numbers)]
    return sorted(made, key=lambda device: (-device.slice_index, device.id))


def ids(array):
    return np.array([device.id for device in array.flat]).reshape(array.shape)


def sizes(**given):
    return {"data": 1, "fsdp": 1, "tensor": 1, "sequence": 1} | given


def test_the_data_axis_alone_crosses_from_slice_to_slice():
    found = ids(arranged(sizes(data=4, fsdp=2), devices(4, 4), 2))
    assert found.shape == (4, 2, 1, 1)
    assert [set(row.flat) for row in found.reshape(2, -1)] == [{0, 1, 2, 3}, {4, 5, 6, 7}]


def test_neighbours_share_tensor_then_sequence_then_fsdp():
    found = ids(arranged(sizes(fsdp=2, tensor=2, sequence=2), devices(8), 1))[0]
    assert found[0, :, 0].tolist() == [0, 1]
    assert found[0, 0, :].tolist() == [0, 2]
    assert found[:, 0, 0].tolist() == [0, 4]


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_on_an_interconnect_those_that_talk_most_are_neighbours(platform):
    """Two slices of 4 x 4 chips, the chips in no order: a group of `tensor` is a line of neighbours of one slice."""
    grid = [(x, y, 0) for y in range(4) for x in range(4)]
    kind = {"tpu": "TPU v5 lite", "gpu": "NVIDIA H100"}[platform]
    chips = [Device(16 * s + n, s, platform, kind, at) for s in (1, 0) for n, at in enumerate(grid)]
    found = arranged(sizes(data=2, fsdp=4, tensor=4), sorted(chips, key=lambda chip: chip.id % 7), 2)
    for group in found[..., 0].reshape(8, 4):
        assert len({device.slice_index for device in group}) == 1
        steps = [
            sum(abs(a - b) for a, b in zip(one.coords, two.coords, strict=True))
            for one, two in itertools.pairwise(group)
        ]
        assert steps == [1, 1, 1]
    assert {device.slice_index for device in found[1].flat} == {1}


@pytest.mark.parametrize(
    ("wanted", "there", "slices", "words"),
    [
        (sizes(data=2), (4, 4, 4), 2, "mesh.slices=2, but the 12 devices lie on 3 .*set mesh.slices=3"),
        (sizes(data=8), (4,), 2, "mesh.slices=2, but the 4 devices lie on 1 "),
        (sizes(data=8), (3, 5), 2, "shares 8 devices evenly, 4 on each, but there are {0: 3, 1: 5}"),
    ],
)
def test_slices_that_are_not_there_are_the_users_mistake(wanted, there, slices, words):
    with pytest.raises(UserError, match=words):
        arranged(wanted, devices(*there), slices)


@pytest.mark.parametrize(
    ("saved", "words"),
    [
        ({"layout": "axes", "data": 3, "slices": 2}, "mesh.data=3.*mesh.slices=2: make it 4"),
        ({"layout": "single", "slices": 2}, "mesh.slices=2, and mesh.layout='single'"),
        ({"layout": "axes", "attention": "ring"}, "mesh.attention='ring'.*mesh.sequence=1"),
    ],
)
def test_fields_that_contradict_each_other_name_both(saved, words):
    with pytest.raises(UserError, match=words.replace("mesh.", "mesh.?")):
        parse(saved, MeshConfig)


def test_a_state_is_split_within_a_slice_and_copied_between():
    assert mesh.sizes(MeshConfig(layout="sharded", slices=2), 8) == sizes(data=2, fsdp=4)
    assert mesh.sizes(MeshConfig(layout="replicated", slices=2), 8) == sizes(data=8)
    with pytest.raises(UserError, match=r"on 7 devices does not divide over mesh.slices=2: set mesh.devices=6"):
        mesh.sizes(MeshConfig(layout="sharded", slices=2), 7)


def test_devices_of_several_slices_that_nobody_told_of_are_told(caplog):
    mesh.told_of_slices(devices(2, 2), slices=1)
    assert "lie on 2 slices, and mesh.slices=1" in caplog.text and "set mesh.slices=2" in caplog.text
