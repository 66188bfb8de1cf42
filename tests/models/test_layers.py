"""Matrix products at each precision, weights, norms and dropout, against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxlm.models import layers
from jaxlm.models.layers import Einsum, Noise, Norm, activation_dtype, dropout, einsum, resolve_precision


def random(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


EQUATIONS = [
    ("BLD,DF->BLF", (2, 3, 8), (8, 5)),
    ("BLD,DGRK->BLGRK", (2, 3, 8), (8, 2, 3, 4)),
    ("BLGRK,GRKD->BLD", (2, 3, 2, 3, 4), (2, 3, 4, 8)),
    ("BLGRK,BMGK->BGRLM", (2, 3, 2, 3, 4), (2, 5, 2, 4)),
    ("BGRLM,BMGK->BLGRK", (2, 2, 3, 3, 5), (2, 5, 2, 4)),
    ("BLD,VD->BLV", (2, 3, 8), (7, 8)),
]
FAST = ("BLD,DGRK->BLGRK", "BLD,VD->BLV")


@pytest.mark.parametrize(
    "equation, a_shape, b_shape",
    [row if row[0] in FAST else pytest.param(*row, marks=pytest.mark.slow) for row in EQUATIONS],
)
def test_rounded_operands_stay_near_float32_in_value_and_gradient(equation, a_shape, b_shape):
    a, b = random(*a_shape), random(*b_shape, seed=1)
    loss = lambda precision: lambda a, b: jnp.sum(jnp.sin(einsum(equation, a, b, precision)))
    exact = einsum(equation, a, b, "float32")
    rounded = einsum(equation, a, b, "bfloat16_operands")
    scale = lambda x: float(jnp.abs(x).max())
    np.testing.assert_allclose(rounded, exact, atol=2**-7 * scale(exact))  # bfloat16 keeps 8 bits
    assert not np.array_equal(rounded, exact)
    for got, expected in zip(
        jax.grad(loss("bfloat16_operands"), argnums=(0, 1))(a, b),
        jax.grad(loss("float32"), argnums=(0, 1))(a, b),
        strict=True,
    ):
        np.testing.assert_allclose(got, expected, atol=2**-5 * scale(expected))


def test_rounded_operands_are_exact_where_bfloat16_is():
    a, b = jnp.round(random(4, 6) * 8), jnp.round(random(6, 3, seed=1) * 8)
    np.testing.assert_array_equal(einsum("LD,DF->LF", a, b, "bfloat16_operands"), einsum("LD,DF->LF", a, b, "float32"))


FEW = [  # and the shape of a, as it is multiplied
    ("BLF,FD->BLD", (1, 1, 2048), (2048, 6), (2, 2, 1024)),
    ("BLF,FD->BLD", (2, 3, 4096), (4096, 6), (6, 4, 1024)),
    ("BF,FD->BD", (1, 1025), (1025, 6), (2, 1025)),  # not in two equal parts
    ("BLF,FD->BLD", (1, 17, 2048), (2048, 6), (1, 17, 2048)),
    ("BLF,FD->BLD", (1, 16, 1024), (1024, 6), (1, 16, 1024)),
    ("BLD,DGRK->BLGRK", (1, 1, 2048), (2048, 2, 1, 3), (2, 1, 2048)),
    ("BLGRK,GRKD->BLD", (1, 1, 2, 1, 3), (2, 1, 3, 6), (2, 1, 2, 1, 3)),
    ("BD,VD->BV", (1, 2048), (6, 2048), (2, 2048)),
    ("LBD,BDF->LBF", (1, 1, 2048), (1, 2048, 6), (2, 1, 2048)),
    ("BLK,BKM->BLM", (1, 1, 2048), (1, 2048, 6), (1, 1, 2048)),
]


@pytest.mark.parametrize("equation, a_shape, b_shape, multiplied", FEW)
def test_few_rows_are_multiplied_as_many_and_long_sums_in_parts(equation, a_shape, b_shape, multiplied, monkeypatch):
    shapes, product = [], layers._product
    monkeypatch.setattr(layers, "_product", lambda equation, a, b: (shapes.append(a.shape), product(equation, a, b))[1])
    a, b = jnp.round(random(*a_shape) * 8), jnp.round(random(*b_shape, seed=1) * 8)  # bfloat16 is exact here
    got = jax.jit(lambda a, b: einsum(equation, a, b, "bfloat16_operands"))(a, b)
    np.testing.assert_array_equal(got, jnp.einsum(equation, a, b))
    assert shapes == [multiplied]


@pytest.mark.parametrize("rows, tokens, table", [(64, (2, 12), True), (64, (2, 5), False), (24, (2, 12), False)])
def test_the_gradient_of_a_long_table_is_the_same_made_the_other_way_round(rows, tokens, table):
    a, b = jnp.round(random(*tokens, 8) * 8), jnp.round(random(rows, 8, seed=1) * 8)
    assert layers._is_table("BLD", "VD", "BLV", a, b) == table
    weight = jnp.round(random(*tokens, rows, seed=2) * 4)
    total = lambda precision: lambda b: jnp.sum(einsum("BLD,VD->BLV", a, b, precision) * weight)
    of_table = lambda precision: jax.jit(jax.grad(total(precision)))(b)
    np.testing.assert_array_equal(of_table("bfloat16_operands"), of_table("float32"))


@pytest.mark.parametrize("a_dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("b_dtype", [jnp.float32, jnp.bfloat16])
def test_rounded_operands_give_float32_and_each_gradient_has_the_dtype_of_its_input(a_dtype, b_dtype):
    a, b = random(4, 6).astype(a_dtype), random(6, 3, seed=1).astype(b_dtype)
    product, pull = jax.vjp(lambda a, b: einsum("LD,DF->LF", a, b, "bfloat16_operands"), a, b)
    assert product.dtype == jnp.float32
    assert [g.dtype for g in pull(jnp.ones_like(product))] == [a_dtype, b_dtype]


def test_bfloat16_products_are_bfloat16_and_gradients_of_float32_weights_are_float32():
    a, b = random(4, 6), random(6, 3, seed=1)
    product, pull = jax.vjp(lambda a, b: einsum("LD,DF->LF", a, b, "bfloat16"), a, b)
    assert product.dtype == jnp.bfloat16
    assert [g.dtype for g in pull(jnp.ones_like(product))] == [jnp.float32, jnp.float32]
    assert activation_dtype("bfloat16") == jnp.bfloat16
    assert activation_dtype("bfloat16_operands") == activation_dtype("float32") == jnp.float32


def test_precision_is_what_was_asked_or_what_the_platform_is_fast_at(monkeypatch):
    assert resolve_precision("float32", "tpu") == "float32"
    assert resolve_precision("auto", "gpu") == resolve_precision("auto", "tpu") == "bfloat16"
    for fast, expected in [(True, "bfloat16_operands"), (False, "float32")]:
        monkeypatch.setattr(layers, "_cpu_multiplies_bfloat16", lambda fast=fast: fast)
        assert resolve_precision("auto", "cpu") == expected


# Weights


@pytest.mark.parametrize(
    "equation, of_x, shape, fan_in",
    [
        ("BLD,DGRK->BLGRK", (64,), (64, 4, 4, 16), 64),
        ("BLGRK,GRKD->BLD", (4, 4, 16), (4, 4, 16, 64), 256),
        ("BLF,FD->BLD", (128,), (128, 64), 128),
    ],
)
def test_the_fan_in_of_a_weight_is_what_its_equation_sums_over(equation, of_x, shape, fan_in):
    module = Einsum(equation, shape, ("norm",) * len(shape), "float32")
    x = random(200, 3, *of_x, seed=1)
    params = nn.unbox(module.init(jax.random.key(0), x)["params"])
    assert params["w"].shape == shape
    assert np.std(params["w"]) == pytest.approx(fan_in**-0.5, rel=0.05)
    assert np.std(module.apply({"params": params}, x)) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("std", [0.02, 0.0])
def test_the_std_of_a_weight_can_be_given(std):
    params = nn.unbox(
        Einsum("BLD,DF->BLF", (64, 64), ("width", "ff"), "float32", std=std).init(jax.random.key(0), random(1, 1, 64))[
            "params"
        ]
    )
    assert np.std(params["w"]) == pytest.approx(std, rel=0.05)
    assert set(params) == {"w"}


@pytest.mark.parametrize(
    "equation, shape, axes, of_bias",
    [
        ("BLD,DGRK->BLGRK", (8, 2, 3, 4), ("width", "kv", "group", "head"), ("kv", "group", "head")),
        ("BLGRK,GRKD->BLD", (2, 3, 4, 8), ("kv", "group", "head", "width"), ("width",)),
    ],
)
def test_a_bias_has_the_dimensions_that_the_weight_leaves_in_the_output(equation, shape, axes, of_bias):
    module = Einsum(equation, shape, axes, "float32", bias=True)
    x = random(2, 5, *(shape[:1] if equation.startswith("BLD,") else shape[:3]))
    boxed = module.init(jax.random.key(0), x)["params"]
    assert boxed["w"].names == axes
    assert boxed["b"].names == of_bias
    params = nn.unbox(boxed)
    assert not params["b"].any()
    params["b"] = random(*params["b"].shape, seed=2)
    expected = jnp.einsum(equation, x, params["w"]) + params["b"][None, None]
    np.testing.assert_allclose(module.apply({"params": params}, x), expected, rtol=1e-5, atol=1e-6)


# Norms


def test_norms_are_their_definitions():
    x = random(2, 3, 16) * 5 + 2
    scale, b = random(16, seed=1), random(16, seed=2)
    x64 = np.asarray(x, np.float64)
    for kind, bias in [("layernorm", False), ("layernorm", True), ("rmsnorm", False)]:
        centred = x64 - x64.mean(-1, keepdims=True) if kind == "layernorm" else x64
        normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        expected = normal * np.asarray(scale) + (np.asarray(b) if bias else 0)
        params = {"scale": scale} | ({"b": b} if bias else {})
        got = Norm(kind, bias=bias).apply({"params": params}, x)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_a_norm_adds_the_eps_it_is_told():
    x = jnp.full((1, 4), 1e-3)  # a mean square of 1e-6
    found = {eps: Norm("rmsnorm", eps=eps).apply({"params": {"scale": jnp.ones(4)}}, x)[0, 0] for eps in (1e-6, 3e-6)}
    np.testing.assert_allclose([*found.values()], [2**-0.5, 0.5], rtol=1e-5)


def test_norms_compute_in_float32_and_return_the_dtype_they_were_given():
    x = (random(2, 64) + 300).astype(jnp.bfloat16)  # bfloat16 statistics would lose all of the variance
    norm = Norm("layernorm")
    params = norm.init(jax.random.key(0), x)
    got = norm.apply(params, x)
    assert got.dtype == jnp.bfloat16
    exact = norm.apply(params, x.astype(jnp.float32))
    np.testing.assert_allclose(got.astype(jnp.float32), exact, atol=0.02)


def test_norm_of_zeros_is_zero_with_a_finite_gradient():
    for kind in ("layernorm", "rmsnorm"):
        apply = lambda x, kind=kind: Norm(kind).apply({"params": {"scale": jnp.ones(4)}}, x)
        np.testing.assert_array_equal(apply(jnp.zeros((1, 4))), 0)
        assert np.isfinite(jax.grad(lambda x, apply=apply: apply(x).sum())(jnp.zeros((1, 4)))).all()


# Dropout


def keys(*seeds):
    return Noise(None, jax.vmap(jax.random.key)(jnp.array(seeds)))


def test_a_dropout_mask_depends_on_the_key_of_its_row_only():
    x = jnp.ones((4, 3, 50))
    rows = dropout(x, 0.3, keys(1, 2, 3, 4), site=0)
    moved = dropout(x, 0.3, keys(4, 3, 2, 1), site=0)
    np.testing.assert_array_equal(rows, moved[::-1])
    np.testing.assert_array_equal(rows[2:3], dropout(x[:1], 0.3, keys(3), site=0))  # however many rows there are
    assert not np.array_equal(rows[0], rows[1])


def test_sites_have_masks_of_their_own():
    x = jnp.ones((1, 3, 50))
    assert not np.array_equal(dropout(x, 0.3, keys(1), site=0), dropout(x, 0.3, keys(1), site=1))
    at = jax.jit(lambda site: dropout(x, 0.3, keys(1), site))  # scanned layers have a traced site
    np.testing.assert_array_equal(at(1), dropout(x, 0.3, keys(1), site=1))


def test_dropout_zeroes_the_rate_and_keeps_the_expectation():
    out = dropout(jnp.ones((64, 1000)), 0.1, keys(*range(64)), site=0)
    assert np.mean(out == 0) == pytest.approx(0.1, abs=0.005)  # 4 sigma of 64,000 draws
    assert np.mean(out) == pytest.approx(1.0, abs=0.006)
    np.testing.assert_allclose(np.unique(out), [0, 1 / 0.9], rtol=1e-6)


def test_no_keys_or_no_rate_mean_no_dropout():
    x = random(2, 3)
    assert dropout(x, 0.5, None, site=0) is x
    assert dropout(x, 0.0, keys(1, 2), site=0) is x
