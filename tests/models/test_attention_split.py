"""Rows that mesh axis `sequence` splits: keys gathered or going round, attention is what it is on one device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm import mesh
from jaxlm.errors import UserError
from jaxlm.mesh import MeshConfig
from jaxlm.models.attention import attend
from jaxlm.models.attention_bias import Buckets, Slopes
from jaxlm.models.positions import slopes
from tests.rows import short

B, L, G, R, K = 2, 32, 2, 2, 8
SEGMENT = jnp.asarray(
    np.repeat([[1, 2, 3, 0]], [5, 14, 9, 4], axis=1).repeat(B, axis=0)
)  # borders are none of the devices'
PREFIX = jnp.asarray((np.arange(L) % 11 < 3)[None].repeat(B, axis=0))
CASES = {
    "causal": {},
    "both ways": dict(causal=False),
    "a window": dict(window=6, segments=(SEGMENT, SEGMENT)),
    "a window both ways": dict(window=4, causal=False),
    "a prefix": dict(prefix=PREFIX, segments=(SEGMENT, SEGMENT)),
    "slopes": dict(bias="slopes"),
    "buckets": dict(bias="buckets"),
    "buckets both ways": dict(bias="buckets", causal=False, segments=(SEGMENT, SEGMENT)),
    "nothing to see": dict(causal=False, segments=(SEGMENT, 0 * SEGMENT + 2)),  # for three of four segments
}
MESHES = {"sequence": dict(sequence=8), "2x2x2": dict(data=2, tensor=2, sequence=2)}
FAST = ("a prefix", "buckets both ways", "nothing to see")


def random(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def attended(case, sharing):
    """(weighed output, output) and the gradients for queries, keys, values and the buckets' table."""
    q, k, v, table = random(0, B, L, G, R, K), random(1, B, L, G, K), random(2, B, L, G, K), random(3, 8, G, R)

    def weighed(q, k, v, table):
        biases = {"slopes": Slopes(slopes(G * R).reshape(G, R)), "buckets": Buckets(table, 6)}
        rest = case | ({"bias": biases[case["bias"]]} if "bias" in case else {})
        o = attend(q, k, v, precision="float32", sharing=sharing, **rest)
        return (o * random(4, *o.shape)).sum(), o

    return jax.jit(jax.value_and_grad(weighed, argnums=(0, 1, 2, 3), has_aux=True))(q, k, v, table)


@pytest.mark.parametrize("sharing", ["gather", "ring"])
@pytest.mark.parametrize("name", short(CASES, *FAST))
@pytest.mark.parametrize("sizes", short(MESHES, "2x2x2"))
def test_a_row_over_several_devices_is_attended_as_on_one(name, sharing, sizes):
    wanted = attended(CASES[name], sharing)
    with jax.set_mesh(mesh.build(MeshConfig(layout="axes", **MESHES[sizes]))):
        got = attended(CASES[name], sharing)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def temporary_bytes(sharing, devices):
    """Of one device, for gradients of attention over a row of 1,024."""
    q, k = (jax.ShapeDtypeStruct((1, 1024, *heads), jnp.float32) for heads in ((2, 1, 8), (2, 8)))
    loss = lambda q, k, v: attend(q, k, v, precision="float32", sharing=sharing).sum()
    with jax.set_mesh(mesh.build(MeshConfig(layout="axes", sequence=devices))):
        lies = [mesh.shardings(jax.sharding.get_mesh(), ("batch", "length"))] * 3
        compiled = jax.jit(jax.grad(loss, argnums=(0, 1, 2)), in_shardings=lies).lower(q, k, k).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_scores_take_less_memory_the_more_devices_share_a_row():
    """Of gathered keys as many times less as there are devices, of a ring that squared: blocks of both."""
    one, gathered, ring = temporary_bytes("gather", 1), temporary_bytes("gather", 8), temporary_bytes("ring", 8)
    assert one > 4 * 2 * 1024 * 1024  # the scores of two heads
    assert 7 * gathered < one
    assert 4 * ring < gathered


def test_a_ring_has_no_gathered_keys():
    q, k = random(0, 1, L, 1, 1, K), random(1, 1, L, 1, K)
    text = {}
    for sharing in ("gather", "ring"):
        with jax.set_mesh(mesh.build(MeshConfig(layout="axes", sequence=4))):
            run = jax.jit(jax.grad(lambda q, k, s=sharing: attend(q, k, k, precision="float32", sharing=s).sum()))
            text[sharing] = run.lower(q, k).compile().as_text()
    assert "all-gather" in text["gather"] and "collective-permute" not in text["gather"]
    assert "collective-permute" in text["ring"] and "all-gather" not in text["ring"]


def test_a_kernel_of_whole_rows_refuses_parts_of_them():
    q, k = random(0, 1, 256, 1, 1, 128), random(1, 1, 256, 1, 128)
    refused = pytest.raises(UserError, match=r"model.attention='splash' cannot run here.*whole rows.*'sequence'")
    with jax.set_mesh(mesh.build(MeshConfig(layout="axes", sequence=2))), refused:
        attend(q, k, k, precision="bfloat16", platform="tpu", backend="splash")
