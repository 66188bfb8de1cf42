"""Cached generation against the plainest one: the whole forward pass again for each token."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.batch import Batch, Source
from jaxlm.errors import Diverged, UserError
from jaxlm.generation import decode, prompts
from jaxlm.generation.decode import STEPS, generate
from jaxlm.generation.sampling import SamplingConfig
from jaxlm.losses import soft_cap
from jaxlm.models.build import build
from jaxlm.models.encoder_decoder import EncoderDecoderConfig
from jaxlm.models.family import Family
from jaxlm.models.transformer import TransformerConfig
from tests.generation.letters import Letters
from tests.rows import crossed, short

GREEDY = SamplingConfig(temperature=0)
HOT = SamplingConfig(temperature=5.0)  # close to uniform: rows soon differ, and stop at different times
LENGTH = 64  # tokens of context of the learned positions, and of the reference's one shape
PROMPTS = ["", "a", "hello, world", "ab" * 12]


MODELS = {
    "learned": {},
    "learned_scan": {"scan_layers": True, "tied": False},
    "rotary_grouped": {"position": "rotary", "kv_heads": 2, "norm": "rmsnorm", "activation": "swiglu"},
    "rotary_grouped_scan": {"position": "rotary", "kv_heads": 1, "scan_layers": True, "qk_norm": True},
    "window_softcap": {"position": "rotary", "window": 5, "softcap": 2.0},
    "bfloat16": {"precision": "bfloat16", "position": "rotary", "tied": False},
    "bfloat16_operands": {"precision": "bfloat16_operands", "bias": True},
}
FLOAT32 = [name for name in MODELS if not name.startswith("bfloat16")]
ROUNDED = [name for name in MODELS if name.startswith("bfloat16")]


@functools.cache
def model(name: str, packed: bool = False) -> tuple[Family, dict]:
    # std 1/sqrt(fan-in): logits spread by about 1, far from ties.
    fields = {"layers": 2, "heads": 4, "width": 32, "std": None, "residual": "plain", "precision": "float32"}
    cfg = TransformerConfig(**(fields | {"scan_layers": False, "max_length": LENGTH} | MODELS[name]))
    family = build(cfg, vocab=32, length=LENGTH, packed=packed, platform="cpu")
    return family, jax.jit(family.init)(jax.random.key(1))


@functools.cache
def full_forward(name: str):
    family, _ = model(name)

    @jax.jit
    def log_probabilities(params, token_1L):
        position_1L = jnp.arange(LENGTH)[None]
        batch = Batch(token_1L, token_1L, token_1L, jnp.ones_like(token_1L), position_1L)
        logits_1LV = jnp.einsum("BLD,VD->BLV", family.hidden(params, batch), family.head(params))
        return jax.nn.log_softmax(soft_cap(logits_1LV, family.softcap))[0]

    return log_probabilities


def greedy_by_definition(name: str, prompt: str, tokens: int) -> tuple[list[int], float]:
    """(ids with the separator that ends them, mean log-probability); padding after a token cannot matter."""
    ids = [Letters.separator, *Letters().encode(prompt).tolist()]
    new, nats = [], []
    while len(new) < tokens and new[-1:] != [Letters.separator]:
        token_1L = np.zeros((1, LENGTH), np.int32)
        token_1L[0, : len(ids)] = ids
        row_V = np.asarray(full_forward(name)(model(name)[1], token_1L))[len(ids) - 1]
        best, second = np.sort(row_V[: Letters.vocab])[[-1, -2]]
        assert best - second > 1e-4, "a tie: choose another seed"
        new.append(int(row_V[: Letters.vocab].argmax()))
        nats.append(row_V[new[-1]])
        ids.append(new[-1])
    return new, float(np.mean(nats))


def run(name: str, prompts=PROMPTS, cfg=GREEDY, tokens=24, seed=0, **more):
    family, params = model(name)
    return generate(family, params, Letters(), prompts, cfg, tokens=tokens, seed=seed, **more)


@pytest.mark.parametrize("name", short(FLOAT32, "learned", "rotary_grouped", "window_softcap"))
def test_cached_generation_is_the_full_forward_again_and_again(name):
    for completion in run(name):
        tokens, mean = greedy_by_definition(name, completion.prompt, tokens=24)
        assert completion.tokens + [Letters.separator] * completion.stopped == tokens
        np.testing.assert_allclose(completion.log_probability, mean, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", short(ROUNDED, "bfloat16_operands"))
def test_weights_rounded_once_are_weights_rounded_at_each_step(name, monkeypatch):
    once = run(name)
    in_full = lambda model, params: prompts.Weights(params, model.head(params), None)
    monkeypatch.setattr(prompts, "as_operands", in_full)
    for a, b in zip(once, run(name), strict=True):
        assert a.tokens == b.tokens
        np.testing.assert_allclose(a.log_probability, b.log_probability, rtol=1e-5)


@pytest.mark.parametrize("name", ROUNDED)
def test_rounded_weights_give_the_probabilities_of_the_full_forward(name):
    for completion in run(name) + run(name, ["hello"]):
        ids = [Letters.separator, *Letters().encode(completion.prompt), *completion.tokens]
        ids += [Letters.separator] * completion.stopped
        token_1L = np.zeros((1, LENGTH), np.int32)
        token_1L[0, : len(ids)] = ids
        row_LV = np.asarray(full_forward(name)(model(name)[1], token_1L))
        first = 1 + len(completion.prompt)
        nats = [row_LV[n - 1, ids[n]] for n in range(first, len(ids))]
        # bfloat16 has 8 bits, so logits of about 1 are right to some 0.01; the mean is better than that.
        np.testing.assert_allclose(completion.log_probability, np.mean(nats), atol=0.02)


def test_a_text_ends_at_what_closes_it_as_at_the_separator():
    """For tokenizers that open a text with one token and close it with another."""

    class Closed(Letters):
        closing = 4  # an "e" ends a text

    family, params = model("learned")
    plain = run("learned", PROMPTS * 3, HOT, tokens=40)
    closed = generate(family, params, Closed(), PROMPTS * 3, HOT, tokens=40, seed=0)
    assert any(4 in c.tokens for c in plain)
    for a, b in zip(plain, closed, strict=True):
        wanted = a.tokens[: a.tokens.index(4)] if 4 in a.tokens else a.tokens
        assert b.tokens == wanted and b.stopped == (a.stopped or 4 in a.tokens)


def test_a_prompt_is_read_from_both_sides_where_a_prefix_was(monkeypatch):
    """As one piece, however long it is, and by the full forward pass with that prefix."""
    cfg = TransformerConfig(layers=2, heads=4, width=32, std=None, residual="plain", precision="float32")
    family = build(cfg, vocab=32, length=LENGTH, packed=True, platform="cpu", prefix=True)
    params, hidden = jax.jit(family.init)(jax.random.key(1)), jax.jit(family.hidden)
    monkeypatch.setattr(prompts, "PIECE", 4)

    def greedy(prompt, both_sides):
        ids = [Letters.separator, *Letters().encode(prompt).tolist()]
        prefix, new = len(ids), []
        while len(new) < 16 and new[-1:] != [Letters.separator]:
            token_1L = np.zeros((1, LENGTH), np.int32)
            token_1L[0, : len(ids)] = ids
            position_1L = np.arange(LENGTH)[None]
            batch = Batch(token_1L, token_1L, token_1L, np.ones_like(token_1L), position_1L)
            batch = batch._replace(prefix=position_1L < prefix) if both_sides else batch
            row_V = np.asarray(hidden(params, batch)[0, len(ids) - 1] @ family.head(params).T)[: Letters.vocab]
            new.append(int(row_V.argmax()))
            ids.append(new[-1])
        return new

    of_both, of_one = ([greedy(prompt, both) for prompt in PROMPTS] for both in (True, False))
    assert of_both != of_one
    found = generate(family, params, Letters(), PROMPTS, GREEDY, tokens=16, seed=0)
    assert [c.tokens + [Letters.separator] * c.stopped for c in found] == of_both


def test_a_model_of_packed_rows_generates_the_same():
    packed, params = model("learned", packed=True)
    got = generate(packed, params, Letters(), PROMPTS, GREEDY, tokens=24, seed=0)
    assert [c.tokens for c in got] == [c.tokens for c in run("learned")]


@pytest.mark.parametrize("piece", [16, 512])
def test_a_prompt_fed_in_pieces_is_fed_whole(piece, monkeypatch):
    monkeypatch.setattr(prompts, "PIECE", piece)  # 16: three pieces, the last one padded
    prompt = "thequickbrownfoxjumpsoverthelazydogandrunsaway"
    (completion,) = run("learned", [prompt], tokens=10)
    assert completion.tokens + [Letters.separator] * completion.stopped == greedy_by_definition(
        "learned", prompt, tokens=10
    )[0]  # fmt: skip


def test_a_ragged_batch_is_each_prompt_alone():
    cfg = SamplingConfig(temperature=1.3, top_k=20, top_p=0.9)
    together = run("rotary_grouped", cfg=cfg, seed=3)
    for prompt, in_batch in zip(PROMPTS, together, strict=True):
        (alone,) = run("rotary_grouped", [prompt], cfg, seed=3)
        assert alone.tokens == in_batch.tokens
        np.testing.assert_allclose(alone.log_probability, in_batch.log_probability, rtol=1e-5, atol=1e-5)


def test_the_order_of_prompts_changes_no_text():
    there, back = run("learned", cfg=SamplingConfig()), run("learned", PROMPTS[::-1], SamplingConfig())
    assert [c.text for c in there] == [c.text for c in back[::-1]]


def test_a_seed_gives_its_text_again_and_another_seed_another():
    texts = [[c.text for c in run("learned", cfg=SamplingConfig(), seed=seed)] for seed in (5, 5, 6)]
    assert texts[0] == texts[1] != texts[2]


def test_equal_prompts_get_texts_of_their_own():
    assert len({c.text for c in run("learned", ["a"] * 12, HOT, tokens=40)}) > 1


def test_top_k_of_one_is_greedy():
    assert run("learned", cfg=SamplingConfig(top_k=1)) == run("learned")


@pytest.mark.parametrize("tokens", [1, STEPS - 1, STEPS, STEPS + 1, 3 * STEPS])
def test_a_shorter_generation_is_the_start_of_a_longer_one(tokens):
    long, short = run("learned", ["a"], tokens=60), run("learned", ["a"], tokens=tokens)
    assert short[0].tokens == long[0].tokens[:tokens]
    assert len(short[0].tokens) == tokens or short[0].stopped


def test_a_row_stops_at_the_separator_while_others_go_on():
    completions = run("learned", ["a"] * 12, HOT, tokens=40)
    lengths = {len(c.tokens) for c in completions if c.stopped}
    assert len(lengths) > 1
    assert all(Letters.separator not in c.tokens and len(c.tokens) + c.stopped <= 40 for c in completions)
    assert all(len(c.tokens) == 40 for c in completions if not c.stopped)


def test_no_id_is_drawn_that_the_tokenizer_lacks():
    completions = run("learned", ["a"] * 12, HOT, tokens=40)
    assert max(max(c.tokens, default=0) for c in completions) < Letters.vocab  # the model has 32 ids


def test_streaming_shows_whole_characters_and_changes_nothing():
    class Halves(Letters):
        """Each token is one of the two bytes of é."""

        def decode_bytes(self, ids) -> bytes:
            return bytes([0xC3, 0xA9][i % 2] for i in ids)

    shown: dict[int, list[str]] = {row: [] for row in range(12)}
    show = lambda row, piece: shown[row].append(piece)
    family, params = model("learned")
    silent = run("learned", ["a"] * 12, HOT, tokens=40)
    streamed = generate(family, params, Halves(), ["a"] * 12, HOT, tokens=40, seed=0, on_text=show)
    assert [c.tokens for c in streamed] == [c.tokens for c in silent]
    assert ["".join(shown[row]) for row in range(12)] == [c.text for c in streamed]
    whole = {piece for pieces in shown.values() for piece in pieces}
    assert "é" in whole and "\ufffd" in whole  # two tokens, one piece; a byte on its own
    assert max(len(piece) for piece in whole) <= 2  # a byte shown as broken once its follower is there


def test_streaming_and_other_lengths_compile_nothing_new():
    run("learned", ["abc"], tokens=40)
    before = decode.advance._cache_size(), prompts.feed._cache_size()
    run("learned", ["defgh"], tokens=36, on_text=lambda row, piece: None)
    run("learned", ["q"], tokens=40)
    assert (decode.advance._cache_size(), prompts.feed._cache_size()) == before


def test_parameters_on_several_devices_give_the_same_text():
    family, params = model("rotary_grouped")
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    everywhere = jax.device_put(params, jax.NamedSharding(mesh, jax.P()))
    got = generate(family, everywhere, Letters(), PROMPTS, GREEDY, tokens=24, seed=0)
    assert [c.text for c in got] == [c.text for c in run("rotary_grouped")]


def test_no_prompts_give_no_completions():
    assert run("learned", []) == []


def test_the_context_is_filled_to_its_last_position():
    (completion,) = run("learned", ["a" * 40], SamplingConfig(top_k=1), tokens=LENGTH - 41 + 1)
    assert completion.stopped or len(completion.tokens) == LENGTH - 40


def test_by_default_there_are_as_many_new_tokens_as_the_context_has_room_for():
    learned, rotary = model("learned")[0], model("rotary_grouped")[0]
    assert prompts.default_tokens(learned, Letters(), ["a", "a" * 40]) == LENGTH - 41 + 1
    assert prompts.default_tokens(rotary, Letters(), ["a" * 40]) == prompts.TOKENS
    with pytest.raises(UserError, match=r"has 65 tokens.*shorten the prompt"):
        run("learned", ["a" * 64], tokens=prompts.default_tokens(learned, Letters(), ["a" * 64]))


@pytest.mark.parametrize(
    ("letters", "tokens", "message"),
    [
        (40, 25, "has 41 tokens.*25 new.*context is 64 tokens: ask for at most 24 new tokens"),
        (64, 1, "has 65 tokens.*context is 64 tokens, so no new one fits: shorten the prompt"),
    ],
)
def test_a_prompt_beyond_the_context_is_refused_with_what_fits(letters, tokens, message):
    with pytest.raises(UserError, match=message):
        run("learned", ["a", "a" * letters], tokens=tokens)


def test_rotary_positions_have_no_limit():
    (completion,) = run("rotary_grouped", ["a" * LENGTH], tokens=8)
    assert completion.stopped or len(completion.tokens) == 8


def test_no_new_tokens_are_refused():
    for tokens in (0, 3_000_000_000):
        with pytest.raises(UserError, match=f"tokens={tokens}: ask for 1 to 1,048,576 new tokens"):
            run("rotary_grouped", tokens=tokens)


def test_a_tokenizer_larger_than_the_model_is_refused():
    class Large(Letters):
        vocab = 33

    family, params = model("learned")
    with pytest.raises(UserError, match="33 ids but the model 32"):
        generate(family, params, Large(), ["a"], GREEDY, tokens=2, seed=0)


def test_a_diverged_model_is_reported():
    family, params = model("learned")
    broken = jax.tree.map(lambda x: x * jnp.nan, params)
    with pytest.raises(Diverged, match="not finite"):
        generate(family, broken, Letters(), ["a"], SamplingConfig(), tokens=2, seed=0)


@pytest.mark.parametrize(
    "kind, precision",
    crossed(
        ["decoder", "encoder_decoder"],
        ["float32", "bfloat16_operands"],
        fast=lambda kind, precision: (kind == "decoder") == (precision == "float32"),
    ),
)
def test_a_step_copies_neither_cache_nor_source(kind, precision):
    rows, slots, heads, width = 4, 4096, 4, 8
    config = {"decoder": TransformerConfig, "encoder_decoder": EncoderDecoderConfig}[kind]
    cfg = config(layers=2, heads=heads, width=heads * width, precision=precision, scan_layers=False)
    family = build(cfg, vocab=32, length=slots, packed=False, platform="cpu")
    model, array = prompts.model_of(family, Letters()), jax.ShapeDtypeStruct
    params = jax.eval_shape(family.init, jax.random.key(0))
    weights = jax.eval_shape(functools.partial(prompts.as_operands, model), params)
    source = Source(*[array((rows, slots), int)] * 3)
    fresh = family.read or (lambda params, source, slots: family.init_state(rows, slots))
    state = jax.eval_shape(functools.partial(fresh, slots=slots), params, source)
    at = prompts.Rows(state, array((rows,), int), array((rows,), int), array((rows,), bool))
    compiled = decode.advance.lower(model, GREEDY, weights, jax.random.split(jax.random.key(0), rows), at, 1).compile()
    of_a_layer = rows * slots * heads * width * 4  # bytes: its keys, or its values
    assert compiled.memory_analysis().temp_size_in_bytes < of_a_layer
