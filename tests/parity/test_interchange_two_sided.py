"""BERT and T5 in and out beside Hugging Face transformers: the same logits, texts and sentence vectors.

The models are tiny and random, but for one: JAXLM_MINILM names a folder with sentence-transformers' all-MiniLM-L6-v2.
"""

import json
import os
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlm
from jaxlm.batch import Source
from jaxlm.generation.sampling import SamplingConfig
from jaxlm.interop import huggingface
from jaxlm.models.build import build
from jaxlm.models.family import Head
from tests.data.huggingface_kinds import TEXTS, with_sentinels, write

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]  # torch warns about itself

with warnings.catch_warnings():
    warnings.simplefilter("default")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    from tests.parity import peers

BERT = {
    "vocab_size": 320, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20,
    "max_position_embeddings": 30, "attn_implementation": "eager",
}  # fmt: skip
T5 = {
    "vocab_size": 330, "d_model": 20, "d_kv": 6, "d_ff": 28, "num_layers": 1, "num_decoder_layers": 2, "num_heads": 3,
    "relative_attention_num_buckets": 8, "relative_attention_max_distance": 20, "attn_implementation": "eager",
    "decoder_start_token_id": 0,
}  # fmt: skip
SOME = {  # a model of theirs -> (class, config, that opens what we write)
    "pretraining": ("BertForPreTraining", transformers.BertConfig(**BERT), "AutoModelForPreTraining"),
    "masked": ("BertForMaskedLM", transformers.BertConfig(**BERT | {"hidden_act": "relu"}), "AutoModelForMaskedLM"),
    "bare": ("BertModel", transformers.BertConfig(**BERT | {"type_vocab_size": 4}), "AutoModelForPreTraining"),
    "t5": ("T5ForConditionalGeneration", transformers.T5Config(**T5), "AutoModelForSeq2SeqLM"),
    "v1.1": (
        "T5ForConditionalGeneration",
        transformers.T5Config(**T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
        "AutoModelForSeq2SeqLM",
    ),
    "v1.1, one table": (
        "T5ForConditionalGeneration",
        transformers.T5Config(**T5, feed_forward_proj="gated-silu", tie_word_embeddings=False),
        "AutoModelForSeq2SeqLM",
    ),
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    yield
    jax.clear_caches()


def peer(name: str, folder: Path):
    """A random model of theirs, saved with a tokenizer of its kind."""
    kind, config, _ = SOME[name]
    torch.manual_seed(0)
    model = getattr(transformers, kind)(config)
    if name == "v1.1":  # transformers 5 ties its head as well, which its weights are not
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    peers.stirred(model, seed=1)
    model.save_pretrained(folder)
    write("wordpiece" if "Bert" in kind else "unigram", folder)
    if "T5" in kind:
        with_sentinels(folder)
    return model


def rows(rng, vocab, L):
    return peers.real_rows(rng.integers(0, vocab, (3, L)), np.array([L, 4, 9]))


def logits_of(run, batch):
    model, params, *_ = jaxlm.load(run)
    bias = model.bias(params)
    both = lambda params, batch: (
        model.hidden(params, batch) @ model.head(params).T + (0.0 if bias is None else bias[None, None])
    )
    return np.asarray(jax.jit(both)(params, jax.tree.map(jnp.asarray, batch)))


def theirs_of(model, batch):
    tensor = lambda x: torch.tensor(np.asarray(x), dtype=torch.long)
    with torch.no_grad():
        if batch.source is None:
            out = model(tensor(batch.token), attention_mask=tensor(batch.segment), token_type_ids=tensor(batch.kind))
            return (out.prediction_logits if hasattr(out, "prediction_logits") else out.logits).numpy()
        return model(
            input_ids=tensor(batch.source.token), attention_mask=tensor(batch.source.segment),
            decoder_input_ids=tensor(batch.token), decoder_attention_mask=tensor(batch.segment),
        ).logits.numpy()  # fmt: skip


@pytest.mark.parametrize("name", SOME)
def test_a_model_comes_in_and_goes_out_with_the_same_logits(name, tmp_path):
    model = peer(name, tmp_path / "in")
    made = jaxlm.import_huggingface(tmp_path / "in", tmp_path / "run")
    assert bool(made.fresh) == (name == "bare")
    jaxlm.export_huggingface(tmp_path / "run", tmp_path / "out")
    opener = getattr(transformers, SOME[name][2])
    again, loading = opener.from_pretrained(tmp_path / "out", output_loading_info=True, attn_implementation="eager")
    assert not any(loading.values())
    rng = np.random.default_rng(7)
    for L in (12, 17):
        batch = rows(rng, model.config.vocab_size, L)
        if "t5" in made.architecture:
            source = rows(rng, model.config.vocab_size, L + 5)
            batch = batch._replace(source=Source(source.token, source.segment, source.position))
        else:
            batch = batch._replace(kind=rng.integers(0, 2, batch.token.shape))
        ours, real = logits_of(tmp_path / "run", batch), batch.segment[..., None]
        np.testing.assert_allclose(ours * real, theirs_of(again.eval(), batch) * real, atol=1e-4, rtol=0)
        if name != "bare":  # which says nothing
            np.testing.assert_allclose(ours * real, theirs_of(model, batch) * real, atol=1e-4, rtol=0)
    jaxlm.import_huggingface(tmp_path / "out", tmp_path / "back")
    before, after = (huggingface.look(tmp_path / folder).read() for folder in ("in", "out"))
    assert before.keys() == after.keys() and all(before[key].tobytes() == after[key].tobytes() for key in before)


def test_a_t5_writes_what_theirs_writes(tmp_path):
    model = peer("t5", tmp_path / "in")
    jaxlm.import_huggingface(tmp_path / "in", tmp_path / "run")
    prompts = ["The old King", "def f3", "a", "return b"]
    ours = jaxlm.generate(tmp_path / "run", prompts, tokens=10, sampling=SamplingConfig(temperature=0)).completions
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path / "in")
    last = jaxlm.load(tmp_path / "run").tokenizer.vocab
    nothing = list(range(last, model.config.vocab_size))
    for prompt, completion in zip(prompts, ours, strict=True):
        start = reader(prompt, return_tensors="pt")["input_ids"]
        assert start[0, -1] == 1 and start[0, 0] != 1
        new = model.generate(
            start, max_new_tokens=10, do_sample=False, eos_token_id=1, pad_token_id=0, suppress_tokens=nothing,
            use_cache=False,  # theirs has no room for more layers that write than that read (5.24)
        )  # fmt: skip
        new = new[0, 1:].tolist()
        assert completion.tokens == (new[: new.index(1)] if 1 in new else new)
        assert completion.stopped == (1 in new)


@pytest.mark.parametrize("name", ["pretraining", "t5"])
def test_an_import_is_scored_on_a_text(name, tmp_path):
    peer(name, tmp_path / "in")
    (tmp_path / "text.txt").write_text("\n".join(TEXTS[:4]), encoding="utf-8")
    run = jaxlm.import_huggingface(tmp_path / "in", tmp_path / "run").run
    found = jaxlm.evaluate(run, text=tmp_path / "text.txt")
    assert found["tokens"] > 10 and 1 < found["loss"] < 60


# --- a real one

SENTENCES = [
    "The cat sleeps on the sofa.",
    "A kitten is napping on the couch.",
    "Interest rates rose again in March, and the bank said so.",
    "How do I sort a list in Python?",
    "Sorting arrays with a comparison function",
    "Où est la gare la plus proche ?",
]


@pytest.mark.skipif(
    "JAXLM_MINILM" not in os.environ, reason="JAXLM_MINILM is not set: it names a folder with all-MiniLM-L6-v2"
)
def test_sentences_have_the_vectors_of_all_minilm(tmp_path, capsys):
    folder = Path(os.environ["JAXLM_MINILM"])
    made = jaxlm.import_huggingface(folder, tmp_path / "run")
    assert {*made.fresh} == {
        "order", "order_b", "transform/w", "transform/b", "transform_norm/scale", "transform_norm/b", "head_b",
    }  # fmt: skip
    tokenizer = jaxlm.load(tmp_path / "run").tokenizer
    reader = transformers.AutoTokenizer.from_pretrained(folder)
    ids = [[tokenizer.separator, *tokenizer.encode(text).tolist(), tokenizer.closing] for text in SENTENCES]
    assert ids == [reader(text, padding=False)["input_ids"] for text in SENTENCES]

    lengths = np.array(list(map(len, ids)))
    token = np.zeros((len(ids), lengths.max()), np.int64)
    for row, of_row in zip(token, ids, strict=True):
        row[: len(of_row)] = of_row
    batch = peers.real_rows(token, lengths)
    model = transformers.BertModel.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        theirs = model(torch.tensor(token), attention_mask=torch.tensor(batch.segment)).last_hidden_state.numpy()

    found = huggingface.look(folder)
    plain = found.cfg.model_copy(update={"sentence_order": False})
    family = build(plain, vocab=30_522, length=512, packed=True, platform="cpu", head=Head("tags", 2))
    trunk = jax.eval_shape(family.init, jax.random.key(0))
    read = peers.nested(found.read())
    head = {"classifier": np.zeros((2, 384), np.float32), "classifier_b": np.zeros(2, np.float32)}
    params = peers.placed(family, {name: (read | head)[name] for name in trunk})
    ours = np.asarray(jax.jit(family.apply)(params, jax.tree.map(jnp.asarray, batch)).array)

    real = batch.segment[..., None]
    apart = float(np.abs((ours - theirs) * real).max())
    of_sentences = lambda x: (x * real).sum(1) / real.sum(1)
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
    cosines, wanted = (unit(of_sentences(x)) @ unit(of_sentences(x)).T for x in (ours, theirs))
    with capsys.disabled():
        facts = {
            "hidden states apart": apart, "cosines apart": float(np.abs(cosines - wanted).max()),
            "cat and kitten": float(cosines[0, 1]), "cat and rates": float(cosines[0, 2]),
        }  # fmt: skip
        print(json.dumps(facts))
    assert apart <= 1e-4
    np.testing.assert_allclose(cosines, wanted, atol=1e-4, rtol=0)
    assert cosines[0, 1] > 0.5 > cosines[0, 2]
