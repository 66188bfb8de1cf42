"""The mesh: sizes of its axes, the rules from logical names, and errors that say what to change."""

import itertools

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from jaxlm import mesh
from jaxlm.config import parse
from jaxlm.errors import UserError
from jaxlm.mesh import AXES, RULES, MeshConfig


def axes(**sizes):
    return MeshConfig(layout="axes", **sizes)


@pytest.mark.parametrize(
    "cfg, expected",
    [
        (MeshConfig(layout="single"), (1, 1, 1, 1)),
        (MeshConfig(layout="replicated"), (8, 1, 1, 1)),
        (MeshConfig(layout="replicated", devices=2), (2, 1, 1, 1)),
        (MeshConfig(layout="sharded"), (1, 8, 1, 1)),
        (MeshConfig(layout="sharded", devices=4), (1, 4, 1, 1)),
        (MeshConfig(layout="auto"), (1, 8, 1, 1)),
        (axes(data=2, fsdp=2, tensor=2), (2, 2, 2, 1)),
        (axes(tensor=4), (1, 1, 4, 1)),
    ],
    ids=str,
)
def test_a_layout_gives_each_axis_its_size(cfg, expected):
    assert tuple(mesh.sizes(cfg, available=8).values()) == expected
    built = mesh.build(cfg)
    assert dict(built.shape) == dict(zip(AXES, expected, strict=True))
    assert list(built.devices.flat) == jax.devices()[: built.size]


@pytest.mark.parametrize("cfg", [MeshConfig(layout="replicated", devices=16), axes(data=4, tensor=4)], ids=str)
def test_more_devices_than_there_are_is_the_users_mistake(cfg):
    with pytest.raises(UserError) as error:
        mesh.build(cfg)
    assert "needs 16 devices, but there are 8" in str(error.value)
    assert f"mesh.layout={cfg.layout!r}" in str(error.value)


@pytest.mark.parametrize(
    "saved, words",
    [
        ({"layout": "sharded", "tensor": 2}, ["'sharded'", "'tensor': 2", "mesh.layout='axes'"]),
        ({"layout": "axes", "devices": 3, "data": 2}, ["mesh.devices=3", "multiply to 2"]),
        ({"layout": "single", "devices": 3}, ["mesh.devices=3", "is one", "mesh.devices=none"]),
        ({"fsdp": 0}, ["fsdp"]),
    ],
    ids=str,
)
def test_sizes_that_contradict_the_layout_are_refused(saved, words):
    with pytest.raises(UserError) as error:
        parse(saved, MeshConfig)
    assert all(word in str(error.value) for word in words)


def test_a_weight_that_does_not_divide_is_named_with_the_size_that_would():
    named = {"block_0": {"mlp": {"up": {"w": ("width", "ff")}}}, "embedding": ("vocab", "width")}
    shapes = jax.eval_shape(
        lambda: {"block_0": {"mlp": {"up": {"w": jnp.zeros((8, 6))}}}, "embedding": jnp.zeros((64, 8))}
    )
    mesh.check_divides(mesh.build(axes(fsdp=2, tensor=2)), named, shapes)
    with pytest.raises(UserError) as error:
        mesh.check_divides(mesh.build(axes(fsdp=2, tensor=4)), named, shapes)
    assert "block_0/mlp/up/w: dimension 'ff'=6 does not divide over mesh axis 'tensor'=4" in str(error.value)
    assert "round it up to 8" in str(error.value)
    odd = {"embedding": jax.ShapeDtypeStruct((257, 8), jnp.float32)}
    with pytest.raises(UserError, match=r"embedding: dimension 'vocab'=257 .*'tensor'=2: set model\.vocab=258"):
        mesh.check_divides(mesh.build(axes(tensor=2)), {"embedding": ("vocab", "width")}, odd)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"data": 4}, "data.batch=6 .* 4 devices.*make it 8"),
        ({"sequence": 4}, "data.length=10 .*'sequence'=4.*make it 12"),
    ],
)
def test_rows_that_do_not_divide_name_what_would(sizes, words):
    with pytest.raises(UserError, match=words):
        mesh.check_rows(mesh.sizes(axes(**sizes), 8), 6, 10)
    mesh.check_rows(mesh.sizes(axes(**sizes), 8), 8, 12)


def test_every_rule_lies_on_axes_that_there_are():
    for placed in RULES.values():
        assert placed is None or {placed} <= set(AXES) or set(placed) <= set(AXES)


def test_no_mesh_axis_serves_two_dimensions_of_one_array():
    assert mesh.spec(("width", "ff")) == P("fsdp", "tensor")
    assert mesh.spec(("batch", "length", "act_ff")) == P(("data", "fsdp"), "sequence", "tensor")
    for names in [("ff", "vocab"), ("batch", "width"), ("kv", "ff")]:
        with pytest.raises(AssertionError, match="twice"):
            mesh.spec(names)


def test_an_unknown_logical_name_is_an_error():
    with pytest.raises(KeyError):
        mesh.spec(("wdith",))


def test_shardings_follow_the_names_of_a_tree():
    built = mesh.build(axes(fsdp=2, tensor=4))
    tree = mesh.shardings(built, {"w": ("width", "ff"), "norm": {"scale": ("norm",)}})
    assert tree["w"].spec == P("fsdp", "tensor")
    assert tree["norm"]["scale"].spec == P(None)
    assert jax.device_put(jnp.zeros((4, 8)), tree["w"]).addressable_shards[0].data.shape == (2, 2)


def test_rows_of_a_batch_are_split_over_data_and_fsdp():
    built = mesh.build(axes(data=2, fsdp=2, tensor=2))
    assert mesh.row_shards(built) == 4
    rows = jnp.zeros((8, 6), jnp.int32)
    rows = jax.device_put(rows, mesh.batch_shardings(built, rows))
    assert {shard.data.shape for shard in rows.addressable_shards} == {(2, 6)}


def test_constrain_pins_an_activation_to_the_mesh_in_scope():
    pinned = jax.jit(lambda x: mesh.constrain(x * 2, ("batch", "length", "act_ff")))
    with jax.set_mesh(mesh.build(axes(data=2, tensor=4))):
        assert pinned(jnp.ones((4, 2, 8))).addressable_shards[0].data.shape == (2, 2, 2)


def test_constrain_does_nothing_without_a_mesh_or_inside_shard_map():
    x = jnp.ones((4, 2, 8))
    names = ("batch", "length", "act_ff")
    assert mesh.constrain(x, names) is x
    built = mesh.build(MeshConfig(layout="replicated", devices=4))

    def inside(x):
        assert mesh.constrain(x, names) is x
        return x

    jax.jit(jax.shard_map(inside, mesh=built, in_specs=P("data"), out_specs=P("data")))(x)


def test_constrain_changes_no_number():
    x = jax.random.normal(jax.random.key(0), (8, 4, 16))

    def f(x):
        x = 2 * mesh.constrain(x, ("batch", "length", "act_width")) * x
        return mesh.constrain(x, ("batch", "length", "act_ff"))

    expected = jax.jit(f)(x)
    for data, tensor in itertools.product((1, 2), (1, 4)):
        with jax.set_mesh(mesh.build(axes(data=data, tensor=tensor))):
            assert (jax.jit(f)(x) == expected).all()


def test_a_dimension_that_does_not_divide_stays_whole():
    with jax.set_mesh(mesh.build(axes(data=2, tensor=4))):
        pinned = jax.jit(lambda x: mesh.constrain(x * 2, ("batch", "length", "act_vocab")))(jnp.ones((4, 2, 2)))
    assert pinned.addressable_shards[0].data.shape == (2, 2, 2)


def test_a_table_is_read_with_whole_rows():
    built = mesh.build(axes(fsdp=2, tensor=4))
    table = jax.device_put(jnp.ones((8, 6)), mesh.shardings(built, ("vocab", "width")))
    with jax.set_mesh(built):
        assert jax.jit(mesh.whole_rows)(table).addressable_shards[0].data.shape == (2, 6)
    assert mesh.whole_rows(table) is table


class Process:
    """A device of a process that is not here, for what asks no more of it."""

    def __init__(self, number, process):
        self.id, self.process_index = number, process

    platform = device_kind = "cpu"


@pytest.mark.parametrize(
    ("sizes", "of_devices", "share"),
    [
        (dict(data=4, tensor=2), (0, 0, 0, 0, 1, 1, 1, 1), (0, 2)),  # each process has rows of its own
        (dict(data=2, sequence=4), (0, 0, 1, 1, 2, 2, 3, 3), (0, 2)),  # two share theirs
        (dict(tensor=8), (0, 0, 0, 0, 1, 1, 1, 1), (0, 1)),  # all have all
        (dict(data=4, tensor=2), (0, 0, 1, 1, 0, 0, 1, 1), (0, 1)),  # no run of rows: each brings all
    ],
    ids=str,
)
def test_a_process_brings_the_rows_that_its_devices_hold(sizes, of_devices, share):
    devices = [Process(number, process) for number, process in enumerate(of_devices)]
    built = mesh.build(axes(**sizes), devices)
    assert mesh.row_share(mesh.shardings(built, ("batch", "length"))) == share
