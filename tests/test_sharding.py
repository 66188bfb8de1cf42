"""What lies where: bytes of a device, what is large and whole, and what XLA says it copies against its will."""

import subprocess
import sys

import pytest

from jaxlm import sharding
from jaxlm.sharding import Leaf, rematerialised, warnings
from jaxlm.training import layout
from tests import layouts
from tests.layouts import FAMILIES, LAYOUTS

# As XLA tells it (jax 0.10.2), shortened at the end; the second is a stand-in for the same array.
LOG = """W1129 15:00:24.205440 spmd_partitioner.cc:656] [SPMD] Involuntary full rematerialization. The compiler cannot go from sharding {devices=[4,1,1,2]<=[8] last_tile_dim_replicate} to {devices=[1,1,2,4]<=[2,2,2]T(1,0,2) last_tile_dim_replicate} efficiently for HLO operation %sharding_constraint.9 = f32[2,32,32]{2,1,0} copy(%add_any.21), sharding={devices=[4,1,1,2]<=[8] last_tile_dim_replicate}, metadata={op_name="jit(step)/transpose(jvp(Encoder))/sharding_constraint" stack_frame_id=181}. As the last resort, SPMD will replicate the tensor and then partition it
W1129 15:00:24.219143 spmd_partitioner.cc:656] [SPMD] Involuntary full rematerialization. The compiler cannot go from sharding {devices=[4,1,1,2]<=[8] last_tile_dim_replicate} to {devices=[1,1,2,4]<=[2,2,2]T(1,0,2) last_tile_dim_replicate} efficiently for HLO operation %fake_parameter.2 = f32[2,32,32]{2,1,0} parameter(2), sharding={devices=[4,1,1,2]<=[8] last_tile_dim_replicate}. As the last resort, SPMD will replicate the tensor and then partition it
"""  # noqa: E501
MESH = {"data": 2, "fsdp": 2, "tensor": 1, "sequence": 1}


def leaf(name, axes, share, size=2**20):
    return Leaf(name, (1,) * len(axes), axes, (None,) * len(axes), (1,) * len(axes), size, size // share)


def test_what_the_compiler_says_is_read_once_and_with_its_place():
    (found,) = rematerialised(LOG)
    assert found["shape"] == "f32[2,32,32]"
    assert found["where"] == "jit(step)/transpose(jvp(Encoder))/sharding_constraint"
    assert found["from"].startswith("devices=[4,1,1,2]") and found["to"].startswith("devices=[1,1,2,4]")
    (found,) = rematerialised("\n".join(LOG.splitlines()[::-1]))
    assert found["where"].startswith("jit(step)")
    assert rematerialised(LOG.splitlines()[1])[0]["where"] == "a parameter whose place is not told"
    assert rematerialised("all is well") == []


def test_what_is_large_and_whole_is_told_with_its_bytes_and_the_axis_that_would_split_it():
    leaves = [
        leaf("a", ("width", "ff"), 2),
        leaf("b", ("vocab", "norm"), 1),
        leaf("c", ("gate", "state"), 1),
        leaf("d", ("norm",), 1, size=512),
    ]
    of_b, of_c = warnings(MESH, leaves, {})
    assert of_b == "b: 1,048,576 bytes are whole on each of 4 devices: mesh.tensor over 1 (it is 1) splits its 'vocab'"
    assert of_c.startswith("c: 1,048,576 bytes") and "none of its dimensions (gate, state)" in of_c


def test_a_state_that_is_copied_as_a_whole_is_told_once():
    leaves = [leaf("a", ("width", "ff"), 1), leaf("b", ("width", "ff"), 1)]
    mesh = dict.fromkeys(MESH, 1) | {"data": 4}
    (told,) = warnings(mesh, leaves, {"parameters": (2**21, 2**21), "optimiser": (2**22, 2**22)})
    assert told.startswith("the whole state, 6,291,456 bytes, is on each of 4 devices: mesh.layout='sharded'")
    assert warnings(dict.fromkeys(MESH, 1), leaves, {}) == []


@pytest.mark.slow
def test_the_compilers_words_are_still_those_that_are_read():
    """Looked-up rows of a table that lies on two axes, as it should not be looked up (see `mesh.whole_rows`)."""
    program = """
import jax, jax.numpy as jnp
jax.config.update("jax_num_cpu_devices", 8)
from jaxlm import mesh
built = mesh.build(mesh.MeshConfig(layout="axes", data=2, fsdp=2, tensor=2))
lies = mesh.shardings(built, ("vocab", "width")), mesh.shardings(built, ("batch", "length"))
def loss(table, token):
    return (mesh.constrain(table[token], ("batch", "length", "act_width")) ** 2).sum()
shapes = jax.ShapeDtypeStruct((64, 32), jnp.float32), jax.ShapeDtypeStruct((8, 16), jnp.int32)
with jax.set_mesh(built):
    jax.jit(jax.grad(loss), in_shardings=lies, out_shardings=lies[0]).lower(*shapes).compile()
"""
    environment = sharding.environment()
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    found = {one["where"]: one["shape"] for one in rematerialised(told.stderr)}
    assert found.get("a gather whose place is not told") == "f32[8,16,16]", told.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fsdp x tensor", "2x2x2"])
@pytest.mark.parametrize("family", FAMILIES)
def test_no_family_has_the_compiler_copy_anything_against_its_will(family, name, tmp_path):
    mesh, way = LAYOUTS[name]
    cfg = layouts.config(family, tmp_path)
    found = sharding.ask(cfg, layout.told(mesh, way, 8), cfg.model.vocab)
    assert found.rematerialised == []
    whole, part = found.totals["parameters"]
    assert (
        part == sum(one.device_bytes for one in found.parameters) < whole == sum(one.bytes for one in found.parameters)
    )
