"""Every backend computes one definition."""

import functools
import itertools
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm import mesh
from jaxlm.errors import UserError
from jaxlm.models import attention, attention_einsum
from jaxlm.models.attention import attend
from jaxlm.models.attention_bias import Buckets, Slopes, of_run, of_scores
from jaxlm.models.attention_choice import announce
from jaxlm.models.attention_einsum import chunk_length, einsum_attention, einsum_attention_in_chunks
from jaxlm.models.attention_gpu import cudnn_attention, triton_attention
from jaxlm.models.attention_tpu import splash_attention
from tests.rows import crossed


def random_heads(B=2, L=6, M=6, G=2, R=2, K=4, seed=0):
    keys = jax.random.split(jax.random.key(seed), 3)
    return tuple(
        jax.random.normal(key, shape)
        for key, shape in zip(keys, [(B, L, G, R, K), (B, M, G, K), (B, M, G, K)], strict=True)
    )


def in_loops(
    q, k, v, segments=None, positions=None, causal=True, window=None, prefix=None, scale=None, bias=lambda *at: 0.0
):
    """The definition: a softmax over the keys that a query sees, for each row, query and head by itself."""
    (B, L, G, R, K), M = q.shape, k.shape[1]
    of_query, of_key = positions or (np.arange(L)[None].repeat(B, 0), np.arange(M)[None].repeat(B, 0))
    o = np.zeros(q.shape)
    for b, l, g, r in itertools.product(range(B), range(L), range(G), range(R)):
        seen = []
        for m in range(M):
            ahead = int(of_query[b, l]) - int(of_key[b, m])
            hidden = (
                (causal and ahead < 0 and not (prefix is not None and prefix[b, m]))
                or (window is not None and abs(ahead) >= window)
                or (segments is not None and segments[0][b, l] != segments[1][b, m])
            )
            if not hidden:
                seen.append(m)
        scale = 1 / np.sqrt(K) if scale is None else scale
        ahead = lambda m, b=b, l=l: int(of_query[b, l]) - int(of_key[b, m])
        scores = [np.dot(q[b, l, g, r], k[b, m, g]) * scale + bias(ahead(m), g, r) for m in seen]
        weights = np.exp(np.array(scores))
        o[b, l, g, r] = sum(w * np.asarray(v[b, m, g]) for w, m in zip(weights / weights.sum(), seen, strict=True))
    return o


TWO_DOCUMENTS = jnp.array([[1, 1, 1, 2, 2, 0], [1, 2, 2, 2, 2, 2]])
PREFIX = jnp.array([[1, 1, 0, 1, 0, 0], [1, 1, 1, 0, 0, 0]], bool)
LATE = (
    jnp.array([[3, 4, 5, 6, 7, 8], [0, 1, 2, 3, 4, 5]]),
    jnp.array([[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]]),
)


HEADS = {"multi-head": (4, 1), "grouped": (2, 2), "multi-query": (1, 4)}
CASES = [
    {},
    {"causal": False},
    {"window": 3},
    {"window": 2, "causal": False},
    {"segments": (TWO_DOCUMENTS, TWO_DOCUMENTS)},
    {"segments": (TWO_DOCUMENTS, TWO_DOCUMENTS), "window": 2},
    {"positions": LATE},
    {"positions": LATE, "window": 4},
    {"scale": 1.0},
    {"prefix": PREFIX},
    {"prefix": PREFIX, "segments": (TWO_DOCUMENTS, TWO_DOCUMENTS), "window": 3},
]


def named(value) -> str:
    """Of a row: a kernel, a number, or a case by what it sets."""
    return getattr(value, "__name__", None) or ("+".join(value) or "plain" if isinstance(value, dict) else str(value))


@pytest.mark.parametrize(
    "heads, case",
    crossed(HEADS, CASES, fast=lambda heads, case: heads == "grouped" or not case),
    ids=named,
)
def test_attend_is_its_definition(heads, case):
    groups, queries = HEADS[heads]
    q, k, v = random_heads(G=groups, R=queries)
    got = jax.jit(lambda *qkv: attend(*qkv, precision="float32", **case))(q, k, v)
    np.testing.assert_allclose(got, in_loops(*map(np.asarray, (q, k, v)), **case), rtol=1e-5, atol=1e-6)


def slopes_22():
    return np.array([[0.5, 0.25], [0.125, 0.0625]], np.float32)


def by_slopes(ahead, g, r):
    return -slopes_22()[g, r] * abs(ahead)


TABLE_TGR = np.asarray(jax.random.normal(jax.random.key(3), (8, 2, 2)))


def by_buckets(both):
    """T5's rule for 8 buckets and a reach of 6, spelled out: distances 0, 1, ... of one direction."""
    of_distance = [0, 1, 2, 2, 3, 3, 3] if both else [0, 1, 2, 3, 4, 6, 7]

    def at(ahead, g, r):
        bucket = of_distance[min(abs(ahead), 6)]
        bucket = (bucket + 4 if both else 0) if ahead < 0 else bucket
        return TABLE_TGR[bucket, g, r]

    return at


@pytest.mark.parametrize("case", [{}, {"causal": False}, {"positions": LATE}, {"prefix": PREFIX}, {"M": 9}], ids=str)
@pytest.mark.parametrize("kind", ["slopes", "buckets"])
def test_a_bias_is_added_to_scores_by_distance(kind, case):
    case = {"causal": "M" not in case} | case
    q, k, v = random_heads(M=case.pop("M", 6))
    bias = Slopes(slopes_22()) if kind == "slopes" else Buckets(jnp.asarray(TABLE_TGR), reach=6)
    got = jax.jit(lambda *qkv: attend(*qkv, precision="float32", bias=bias, **case))(q, k, v)
    definition = by_slopes if kind == "slopes" else by_buckets(both=not case["causal"])
    np.testing.assert_allclose(got, in_loops(q, k, v, bias=definition, **case), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("causal", [True, False])
def test_a_run_of_positions_has_the_bias_of_each_of_them(causal):
    def both(bias, first, L, M):
        each = of_scores(bias, first + jnp.arange(L)[None], jnp.arange(M)[None], causal)
        return of_run(bias, first, L, M, causal), each

    for bias in (Slopes(slopes_22()), Buckets(jnp.asarray(TABLE_TGR), reach=6)):
        for first, L, M in ((0, 5, 5), (3, 2, 9), (0, 4, 7), (7, 3, 2), (2, 1, 4)):
            got, wanted = jax.jit(functools.partial(both, bias, first, L, M))()
            np.testing.assert_array_equal(got, wanted)


def test_queries_read_keys_of_another_text_by_segment():
    q, k, v = random_heads(L=6, M=4)
    segments = TWO_DOCUMENTS, jnp.array([[1, 2, 2, 0], [2, 1, 1, 2]])
    got = attend(q, k, v, precision="float32", segments=segments, causal=False)
    np.testing.assert_allclose(got, in_loops(q, k, v, segments, causal=False), rtol=1e-5, atol=1e-6)


def test_fewer_queries_than_keys_attend_as_the_last_of_them():
    q, k, v = random_heads(L=6, M=6)
    positions = jnp.array([[4, 5]] * 2), jnp.arange(6)[None].repeat(2, 0)
    got = attend(q[:, 4:], k, v, precision="float32", positions=positions)
    np.testing.assert_allclose(got, attend(q, k, v, precision="float32")[:, 4:], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("B, L", [(1, 1), (2, 1), pytest.param(1, 2, marks=pytest.mark.slow)])
def test_a_lone_query_of_a_lone_row_attends_as_others_do(B, L):
    q, k, v = random_heads(B=B, L=L)
    at = (jnp.full((B, L), 3), jnp.arange(6)[None].repeat(B, 0))
    o = attend(q, k, v, positions=at, precision="float32", segments=None, platform="cpu")
    np.testing.assert_allclose(o, in_loops(q, k, v, positions=at), atol=1e-5)


def test_a_query_that_sees_no_key_stays_finite_and_so_does_its_gradient():
    q, k, v = random_heads()
    nowhere = jnp.full((2, 6), 7), jnp.full((2, 6), 8)
    value, grads = jax.value_and_grad(
        lambda *qkv: attend(*qkv, precision="float32", segments=nowhere).sum(), argnums=(0, 1, 2)
    )(q, k, v)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in grads)


def test_a_packed_row_attends_as_its_documents_alone():
    q, k, v = random_heads(B=1)
    packed = attend(q, k, v, precision="float32", segments=(TWO_DOCUMENTS[:1],) * 2)
    for piece in (slice(0, 3), slice(3, 5)):
        alone = attend(q[:, piece], k[:, piece], v[:, piece], precision="float32")
        np.testing.assert_allclose(packed[:, piece], alone, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "bfloat16_operands"])
def test_rounded_operands_stay_near_float32(precision):
    q, k, v = random_heads(L=16, M=16, K=8)
    got = attend(q, k, v, precision=precision).astype(jnp.float32)
    exact = attend(q, k, v, precision="float32")
    np.testing.assert_allclose(got, exact, atol=1e-6 if precision == "float32" else 0.03)  # 8 bits of mantissa


# Long rows in chunks


CASES_OF_CHUNKS = [
    {},
    {"causal": False},
    {"window": 5},
    {"segments": True},
    {"positions": (jnp.arange(10, 33)[None], jnp.arange(23)[None])},
    {"prefix": jnp.arange(46).reshape(2, 23) % 5 == 0, "scale": 0.7},
    {"bias": Slopes(slopes_22())},
    {"bias": Buckets(TABLE_TGR, reach=6), "causal": False},
    {"bias": Buckets(TABLE_TGR, reach=6), "positions": (jnp.arange(10, 33)[None], jnp.arange(23)[None])},
]


@pytest.mark.parametrize(
    "case, chunk",
    crossed(CASES_OF_CHUNKS, [1, 7, 12], fast=lambda case, chunk: chunk == 7 or not case),
    ids=named,
)
def test_chunks_of_queries_change_neither_output_nor_gradient(chunk, case):
    q, k, v = random_heads(L=23, M=23)
    if "segments" in case:
        case = {"segments": (jnp.arange(46).reshape(2, 23) // 6,) * 2}
    rest = dict(precision="float32", segments=None, positions=None, causal=True, window=None) | case
    plain = lambda *qkv: einsum_attention(*qkv, **rest)
    chunked = lambda *qkv: einsum_attention_in_chunks(*qkv, chunk=chunk, **rest)
    for got, expected in zip(with_gradients(chunked, q, k, v), with_gradients(plain, q, k, v), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=2e-6)


def with_gradients(f, q, k, v):
    """Output, and the gradients of a sum with unequal weights."""
    weights = jnp.cos(jnp.arange(q.size, dtype=jnp.float32)).reshape(q.shape)

    def weighted(q, k, v):
        o = f(q, k, v)
        return (o.astype(jnp.float32) * weights).sum(), o

    (_, o), grads = jax.jit(jax.value_and_grad(weighted, argnums=(0, 1, 2), has_aux=True))(q, k, v)
    return o, *grads


@pytest.mark.parametrize("causal", [True, False])
def test_gradients_of_buckets_are_those_of_each_score_and_chunks_do_not_change_them(causal):
    q, k, v = random_heads(L=23, M=23)
    weights = jnp.cos(jnp.arange(q.size, dtype=jnp.float32)).reshape(q.shape)

    def gradient(chunk, positions=None):
        def loss(table):
            o = einsum_attention_in_chunks(
                q, k, v, chunk=chunk, bias=Buckets(table, reach=6), precision="float32", segments=None,
                positions=positions, causal=causal, window=None,
            )  # fmt: skip
            return (o * weights).sum()

        return jax.jit(jax.grad(loss))(jnp.asarray(TABLE_TGR))

    each = gradient(23, positions=(jnp.arange(23)[None], jnp.arange(23)[None]))
    assert jnp.abs(each).min(axis=(1, 2)).max() > 1e-3
    for chunk in (23, 7):
        np.testing.assert_allclose(gradient(chunk), each, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows, of_bias", [(1, 1), (2, 1), (7, 1), (7, 7)])
def test_the_gradient_of_a_bias_is_the_sum_over_the_rows_that_share_it(rows, of_bias):
    scores, weights = np.random.default_rng(0).normal(size=(2, rows, 2, 1, 3, 4)).astype(np.float32)
    added = lambda scores, bias: (attention_einsum._add(scores, bias) * weights).sum()
    of_scores, of_bias = jax.grad(added, argnums=(0, 1))(jnp.asarray(scores), jnp.zeros((of_bias, 2, 1, 3, 4)))
    np.testing.assert_array_equal(of_scores, weights)
    wanted = weights if len(of_bias) == rows else weights.sum(0, keepdims=True)
    np.testing.assert_allclose(of_bias, wanted, rtol=1e-6, atol=1e-6)


def test_a_chunk_holds_at_most_32_mib_of_scores_and_short_rows_are_whole():
    assert chunk_length(heads=48, length=64, memory=64) == 64
    for heads, length in [(12, 4096), (96, 1024), (1, 100_000), (40_000, 5000)]:
        chunk = chunk_length(heads, length, length)
        assert chunk == 1 or 4 * heads * chunk * length <= 2**25
    assert chunk_length(heads=12, length=4096, memory=4096) == 164  # 25 chunks; 170 would fit and leave a rest


def test_scores_of_bfloat16_heads_stay_float32():
    q, k, v = ([[12.0]], [[16.0], [16.125]], [[0.0], [1.0]])  # scores 192 and 193.5, which bfloat16 makes 194
    heads = lambda x: jnp.asarray(x, jnp.bfloat16)[None, :, None]  # (B, M, G, K)
    q_BLGRK, k_BMGK, v_BMGK = heads(q)[:, :, None], heads(k), heads(v)
    o = attend(q_BLGRK, k_BMGK, v_BMGK, precision="bfloat16", causal=False)
    np.testing.assert_allclose(o.astype(jnp.float32).item(), jax.nn.sigmoid(1.5), atol=2**-8)


def test_attend_takes_chunks_only_where_the_scores_would_not_fit(monkeypatch):
    monkeypatch.setattr(attention_einsum, "SCORES_BYTES", 4 * 2 * 4 * 6 * 3)  # three queries of this case
    q, k, v = random_heads()
    jaxpr = jax.make_jaxpr(lambda *qkv: attend(*qkv, precision="float32"))(q, k, v)
    assert "scan" in str(jaxpr)
    np.testing.assert_allclose(attend(q, k, v, precision="float32"), in_loops(q, k, v), rtol=1e-5, atol=1e-6)
    monkeypatch.undo()
    assert "scan" not in str(jax.make_jaxpr(lambda *qkv: attend(*qkv, precision="float32"))(q, k, v))


def test_the_softmax_has_the_gradient_of_its_definition():
    scores, weight = (jax.random.normal(jax.random.key(n), (2, 3, 4, 5)) for n in (0, 1))
    of = lambda softmax: jax.grad(lambda x: (softmax(x) * weight).sum())(4 * scores)
    np.testing.assert_allclose(of(attention_einsum.softmax), of(jax.nn.softmax), rtol=1e-5, atol=1e-7)


def test_memory_of_a_long_row_is_bounded():
    L = 4096
    shapes = [jax.ShapeDtypeStruct((1, L, *heads), jnp.float32) for heads in ((2, 2, 8), (2, 8), (2, 8))]
    loss = lambda *qkv: attend(*qkv, precision="float32").sum()
    compiled = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(*shapes).compile()
    all_scores = 4 * 4 * L * L
    assert compiled.memory_analysis().temp_size_in_bytes < all_scores  # plain attention keeps more than twice that


# Fused kernels against einsum: interpreted, or with XLA in place of cuDNN


def cudnn_by_xla(*args, **rest):
    return cudnn_attention(*args, **rest, implementation="xla")


def splash_interpreted(*args, **rest):
    return splash_attention(*args, **rest, interpret=True)


def triton_interpreted(*args, **rest):
    return triton_attention(*args, **rest, interpret=True)


FUSED = [
    pytest.param(cudnn_by_xla, {}, marks=pytest.mark.slow),
    (cudnn_by_xla, {"causal": False}),
    pytest.param(cudnn_by_xla, {"window": 20}, marks=pytest.mark.slow),
    pytest.param(cudnn_by_xla, {"segments": True}, marks=pytest.mark.slow),
    (cudnn_by_xla, {"segments": True, "window": 20}),
    pytest.param(splash_interpreted, {}, marks=pytest.mark.slow),
    (splash_interpreted, {"causal": False}),
    pytest.param(splash_interpreted, {"causal": False, "window": 20}, marks=pytest.mark.slow),
    (splash_interpreted, {"segments": True, "window": 20}),
    (triton_interpreted, {}),
    pytest.param(triton_interpreted, {"segments": True}, marks=pytest.mark.slow),
    (triton_interpreted, {"segments": True, "causal": False}),
]


@pytest.mark.parametrize("kernel, case", FUSED, ids=named)
def test_fused_kernels_and_their_gradients_equal_einsum(kernel, case):
    L = 256
    q, k, v = random_heads(L=L, M=L, K=16)
    case = {"causal": True, "window": None} | case
    segments = None
    if case.pop("segments", False):
        segments = (jnp.stack([jnp.arange(L) // 100, jnp.arange(L) // 31]),) * 2
    fused = lambda *qkv: kernel(*qkv, segments, **case)
    plain = lambda *qkv: einsum_attention(*qkv, precision="float32", segments=segments, positions=None, **case)
    for got, expected in zip(with_gradients(fused, q, k, v), with_gradients(plain, q, k, v), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "segmented, kernel",
    crossed(
        [False, True],
        [splash_interpreted, triton_interpreted],
        fast=lambda segmented, kernel: segmented == (kernel is splash_interpreted),
    ),
    ids=named,
)
def test_pallas_kernels_run_on_the_rows_and_heads_of_each_device(kernel, segmented):
    q, k, v = random_heads(B=4, L=128, M=128, K=16)
    segments = (jnp.arange(512).reshape(4, 128) // 50,) * 2 if segmented else None
    expected = attend(q, k, v, precision="float32", segments=segments)

    def call(q, k, v):
        split = attention.on_each_device(lambda *args: kernel(*args, causal=True, window=None))
        return split(q, k, v, segments)

    with jax.set_mesh(mesh.build(mesh.MeshConfig(layout="axes", data=2, fsdp=2, tensor=2))):
        got = jax.jit(call)(q, k, v)
        assert "shard_map" in str(jax.make_jaxpr(call)(q, k, v))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_scores_are_counted_for_each_device():
    assert attention.devices_sharing() == 1
    with jax.set_mesh(mesh.build(mesh.MeshConfig(layout="axes", data=2, fsdp=2, tensor=2))):
        assert attention.devices_sharing() == 8


# Which backend is asked


def test_attend_refuses_a_backend_of_another_platform():
    with pytest.raises(UserError, match="'splash' cannot run here"):
        attend(*random_heads(), precision="bfloat16", backend="splash")


def test_a_fallback_is_logged_once(caplog):
    announce.cache_clear()
    with caplog.at_level(logging.WARNING, logger="jaxlm"):
        for _ in range(3):
            attend(*random_heads(), precision="float32", platform="tpu")
            attend(*random_heads(), precision="float32")
    assert [record.message for record in caplog.records] == [
        "attention by einsum: not splash, because it multiplies in bfloat16, and model.precision is 'float32'"
    ]
