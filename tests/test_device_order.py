"""Devices in the order of a mesh, on topologies that are not here: slices are made up of fake devices."""

from typing import NamedTuple

import numpy as np
import pytest

from jaxlm import mesh
from jaxlm.config import parse
from jaxlm.device_order import arranged
from jaxlm.errors import UserError
from jaxlm.mesh import MeshConfig


class Device(NamedTuple):
    id: int
    slice_index: int
    platform: str = "cpu"
    device_kind: str = "cpu"


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
