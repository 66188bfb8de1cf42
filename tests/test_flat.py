from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlm.errors import UserError
from jaxlm.flat import flatten, kinds, parameters_sha256, require_same, unflatten


class State(NamedTuple):
    params: dict
    opt: object
    step: jax.Array


def state():
    params = {"block": [{"w": jnp.ones((2, 3), jnp.bfloat16)}, {"w": jnp.zeros(3)}]}
    return State(params, optax.adamw(1e-3).init(params), jnp.int32(4))


def test_names_are_the_way_to_a_leaf():
    assert {"params/block/0/w", "params/block/1/w", "opt/0/mu/block/1/w", "opt/0/count", "step"} <= set(
        flatten(state())
    )


def test_unflatten_undoes_flatten():
    flat = flatten(state())
    shuffled = {name: flat[name] for name in sorted(flat, reverse=True)}
    back = unflatten(jax.eval_shape(state), shuffled)
    assert jax.tree.structure(back) == jax.tree.structure(state())
    assert all(a is b for a, b in zip(jax.tree.leaves(back), flat.values(), strict=True))


def test_typed_keys_and_plain_numbers_are_refused_by_name():
    for leaf in (jax.random.key(0), 3, "text"):
        with pytest.raises(TypeError, match=r"params/x.*only arrays"):
            flatten({"params": {"x": leaf}})


def test_a_name_that_occurs_twice_is_refused():
    with pytest.raises(ValueError, match="'a/b'"):
        flatten({"a": {"b": jnp.ones(1)}, "a/b": jnp.ones(1)})


def test_the_first_differences_are_listed():
    saved = {"a": "float32[2]", "b": "float32[3]", "c": "int32[]"}
    require_same(saved, dict(reversed(saved.items())), "here")
    with pytest.raises(UserError) as error:
        require_same(saved, {"a": "bfloat16[2]", "b": "float32[4]", "d": "int32[]"}, "here")
    assert str(error.value).splitlines()[1:] == [
        "  a: float32[2] is saved, bfloat16[2] is wanted",
        "  b: float32[3] is saved, float32[4] is wanted",
        "  c: int32[] is saved, but not wanted",
        "  d: int32[] is wanted, but not saved",
    ]
    with pytest.raises(UserError, match="and 15 more"):
        require_same({}, {f"p{i}": "float32[]" for i in range(20)}, "here")


def test_the_sha256_of_parameters_sees_bits_names_shapes_and_dtypes_but_no_order():
    def sha(**arrays):
        return parameters_sha256({name: np.asarray(array) for name, array in arrays.items()})

    w = np.arange(6, dtype=np.float32)
    assert sha(a=w, b=w[::2]) == sha(b=w[::2].copy(), a=w)
    others = [sha(a=w), sha(b=w), sha(a=w.reshape(2, 3)), sha(a=w.view(np.int32)), sha(a=-w), sha(a=w, b=w)]
    assert len(set(others)) == len(others)
    assert sha(a=np.float32(0.0)) != sha(a=np.float32(-0.0))
    assert kinds({"a": jnp.ones((2, 3), jnp.bfloat16)}) == {"a": "bfloat16[2,3]"}
