"""Import and export beside Hugging Face transformers: the same logits, gradients, tokens and texts.

Models are tiny and random, so nothing is downloaded. They reach us as anybody's do: `save_pretrained`, then import.
Shapes are random and uneven: a transposed square weight would go unnoticed.
"""

import json
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlm
from jaxlm.checkpoint import Checkpoints
from jaxlm.checkpoint_folder import CheckpointConfig
from jaxlm.config import dump
from jaxlm.data import tokenizer as tokenizers
from jaxlm.data.dataset import DataConfig
from jaxlm.data.tokenizer_config import BytesConfig, SentencePieceConfig
from jaxlm.flat import flatten, nested, unflatten
from jaxlm.generation.sampling import SamplingConfig
from jaxlm.interop import config_json, huggingface, tensors
from jaxlm.models.build import build
from jaxlm.models.family import tokens
from jaxlm.models.transformer import TransformerConfig
from jaxlm.run_config import RunConfig
from jaxlm.run_folder import RunFolder, write_json
from jaxlm.training.loop import LoopConfig
from tests.data.huggingface_kinds import TEXTS, write
from tests.interop.test_layouts import CONFIGS

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]  # torch warns about itself

with warnings.catch_warnings():
    warnings.simplefilter("default")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()

    from tests.parity import peers

SHAPES = [("gpt2", seed) for seed in range(20)] + [("llama", seed) for seed in range(20)]
SHAPES += [(name, seed) for name in ("mistral", "qwen3", "arcee", "apertus") for seed in range(2)]
SCALINGS = [
    {"rope_type": "default"},
    {"rope_type": "linear", "factor": 4.0},
    {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8, "beta_fast": 2.0},
]  # fmt: skip
CLASSES = {
    "gpt2": "GPT2", "llama": "Llama", "mistral": "Mistral", "qwen3": "Qwen3", "arcee": "Arcee", "apertus": "Apertus",
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    yield
    jax.clear_caches()


@pytest.fixture
def forget_some(seed):
    """Each shape compiles its own program; all of them at once are more than a process may map."""
    yield
    if seed % 5 == 4:
        jax.clear_caches()


def peer(name: str, rng: np.random.Generator):
    """A random model of theirs, every parameter moved: fresh biases are all 0 and norms all 1, which tests nothing."""
    of = lambda low, high: int(rng.integers(low, high))
    one = lambda *choices: choices[rng.integers(len(choices))]
    common = {"vocab_size": of(5, 40), "tie_word_embeddings": one(True, False), "bos_token_id": 0, "eos_token_id": 1}
    common |= {"pad_token_id": None}  # torch's embedding gives the row of a padding token no gradient
    if name == "gpt2":
        heads, layers = of(1, 5), of(1, 3)
        sizes = {"n_embd": heads * of(1, 9), "n_head": heads, "n_layer": layers, "n_positions": of(12, 20)}
        sizes |= {"n_inner": one(None, of(1, 40)), "activation_function": one("gelu_new", "gelu_pytorch_tanh", "relu2")}
        config = {**common, **sizes, "layer_norm_epsilon": one(1e-5, 1e-2)}
    else:
        kv_heads, groups = of(1, 4), of(1, 4)
        sizes = {"hidden_size": kv_heads * groups * of(1, 9), "intermediate_size": of(1, 40)}
        sizes |= {"num_attention_heads": kv_heads * groups, "num_key_value_heads": kv_heads}
        sizes |= {"num_hidden_layers": of(1, 3), "head_dim": 2 * of(1, 6), "max_position_embeddings": of(12, 20)}
        sizes |= {"rope_parameters": one(*SCALINGS) | {"rope_theta": one(1e4, 5e5)}}
        config = {**common, **sizes, "rms_norm_eps": one(1e-6, 1e-2)}
        config |= {"sliding_window": one(None, of(1, 9))} if name == "mistral" else {}
        config |= {"hidden_act": one("relu2", "gelu_pytorch_tanh")} if name in ("arcee", "apertus") else {}
    torch.manual_seed(0)
    kind = CLASSES[name]
    head = "LMHeadModel" if name == "gpt2" else "ForCausalLM"
    model = getattr(transformers, kind + head)(getattr(transformers, f"{kind}Config")(**config))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.from_numpy(rng.normal(0, 0.2, parameter.shape).astype(np.float32)))
    return model.eval()


@pytest.mark.usefixtures("forget_some")
@pytest.mark.parametrize(("name", "seed"), SHAPES)
def test_a_random_shape_gives_the_same_logits_and_gradients(name, seed, tmp_path):
    rng = np.random.default_rng([seed, len(name)])
    model = peer(name, rng)
    model.save_pretrained(tmp_path, max_shard_size="2KB" if seed % 3 == 0 else "5GB")
    found = huggingface.look(tmp_path)
    vocab = found.facts["vocab"]
    family = build(found.cfg, vocab=vocab, length=12, packed=False, platform="cpu")
    params = unflatten(jax.eval_shape(family.init, jax.random.key(0)), found.read())

    token = rng.integers(0, vocab, (int(rng.integers(1, 4)), int(rng.integers(2, 12)) + 1))
    position = np.broadcast_to(np.arange(token.shape[1] - 1), token[:, 1:].shape)

    @jax.jit
    def ours(params):
        batch = tokens(jnp.array(token[:, :-1]), jnp.array(position))

        def loss(params):
            logits = family.hidden(params, batch) @ family.head(params).T
            picked = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.array(token[:, 1:, None]), axis=-1)
            return -picked.mean(), logits

        return jax.grad(loss, has_aux=True)(params)

    grads, logits = ours(params)
    out = model(torch.from_numpy(token[:, :-1])).logits
    loss = torch.nn.functional.cross_entropy(out.flatten(0, 1), torch.from_numpy(token[:, 1:]).flatten())
    loss.backward()
    np.testing.assert_allclose(logits, out.detach().numpy(), atol=1e-4, rtol=0)

    flat = {path: np.asarray(leaf) for path, leaf in flatten(grads).items()}
    theirs = {path: parameter.grad.numpy() for path, parameter in model.named_parameters()}
    for place in tensors.places(found.arch, found.sizes):
        if flat.keys() >= place.ours.keys():
            got = place.join(flat, found.sizes)
            assert peers.relative(got, theirs.pop(place.theirs), floor=1e-3) < 1e-4, place.theirs
    assert not theirs, "gradients that nobody compared"


@pytest.mark.parametrize("scaling", SCALINGS[1:], ids=lambda scaling: scaling["rope_type"])
def test_stretched_positions_of_wide_heads_give_the_same_logits(scaling):
    """Of each kind some pairs of channels are left, some blended, some divided."""
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=61, hidden_size=48, intermediate_size=80, num_hidden_layers=2, head_dim=32,
            num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=256,
            rope_parameters=scaling | {"rope_theta": 500.0},
        )
    )  # fmt: skip
    found, params = peers.imported(peers.stirred(model))
    token = np.random.default_rng(1).integers(0, 61, (3, 24))
    batch = tokens(jnp.array(token), jnp.broadcast_to(jnp.arange(24), (3, 24)))

    def logits(cfg):
        family = build(cfg, vocab=61, length=24, packed=False, platform="cpu")
        placed = peers.placed(family, params)
        return np.asarray(family.hidden(placed, batch) @ family.head(placed).T)

    theirs = model(torch.from_numpy(token)).logits.detach().numpy()
    np.testing.assert_allclose(logits(found.cfg), theirs, atol=1e-4)
    assert np.abs(logits(found.cfg.model_copy(update={"rope_scaling": None})) - theirs).max() > 1e-2


@pytest.mark.parametrize("most, said", [(None, None), (96, None), (96, 32)])
def test_the_length_that_positions_were_made_for_is_what_the_library_finds(most, said):
    told = {"max_position_embeddings": most, "original_max_position_embeddings": said}
    config = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "model_type": "llama"}
    config |= {key: value for key, value in told.items() if value is not None}
    config |= {"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "rope_theta": 1e4}}
    theirs = transformers.LlamaConfig(**json.loads(json.dumps(config))).rope_parameters
    ours = config_json.from_json(config, "config.json").cfg
    assert ours.rope_scaling.original == theirs["original_max_position_embeddings"]


# --- export


def saved_run(folder, model: dict, tokenizer: tokenizers.Tokenizer):
    """A run with random parameters, as if it had been trained."""
    cfg = RunConfig(
        name="run",
        data=DataConfig(source="text.txt", length=24, batch=2),
        model=TransformerConfig(**model | {"vocab": None, "max_length": 32}),
        loop=LoopConfig(steps=1_000),
    )
    run = RunFolder(folder)
    run.path.mkdir()
    write_json(run.config, dump(cfg))
    tokenizer.save(run.tokenizer)
    family = build(cfg.model, vocab=tokenizer.vocab, length=24, packed=True, platform="cpu")
    rng = np.random.default_rng(0)
    shapes = flatten(jax.eval_shape(family.init, jax.random.key(0)))
    params = {name: rng.normal(0, 0.3, leaf.shape).astype(np.float32) for name, leaf in shapes.items()}
    with Checkpoints(run.checkpoints, CheckpointConfig(asynchronous=False)) as checkpoints:
        checkpoints.save(1, {"params": nested(params)}, meta={})
    return folder


TOKENIZERS = {
    "bytes": BytesConfig(),
    "bpe": SentencePieceConfig(model="bpe", vocab=400),
    "unigram": SentencePieceConfig(model="unigram", vocab=380),
    "char": SentencePieceConfig(model="char", vocab=400),
    "char without bytes": SentencePieceConfig(model="char", vocab=400, byte_fallback=False),
}
DECODERS = [name for name, fields in CONFIGS.items() if "kind" not in fields]
EXPORTS = list(zip(DECODERS, ["bpe", "bytes", "unigram", "char", "char without bytes", "bpe"], strict=True))


@pytest.mark.parametrize(("name", "kind"), EXPORTS)
def test_an_export_opens_with_the_same_logits_tokens_and_greedy_text(name, kind, tmp_path):
    tokenizer = tokenizers.train(TOKENIZERS[kind], TEXTS, seed=0)
    run = saved_run(tmp_path / "run", CONFIGS[name], tokenizer)
    jaxlm.export_huggingface(run, tmp_path / "out")
    theirs, loading = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert theirs.config.model_type == name and not any(loading.values())
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")

    texts = ["The old King sees 3 birds .", "def f(a, b):\n", " a b", ""]
    for text in texts if kind == "unigram" else [*texts, *TEXTS[:3], " a  b\n"]:  # runs of spaces: see tokenizer_files
        ids = tokenizer.encode(text).tolist()
        assert reader(text)["input_ids"] == ids == reader.encode(text)
        assert reader.decode(ids) == text
    assert reader.bos_token_id == reader.eos_token_id == tokenizer.separator and len(reader) == tokenizer.vocab

    model, params, *_ = jaxlm.load(run)
    prompt = "def f1(a"
    token = np.array([[tokenizer.separator, *tokenizer.encode(prompt)]])
    batch = tokens(jnp.array(token), jnp.arange(token.shape[1])[None])
    logits = np.asarray(model.hidden(params, batch) @ model.head(params).T)
    np.testing.assert_allclose(logits, theirs(torch.from_numpy(token)).logits.detach(), atol=1e-4, rtol=0)

    greedy = SamplingConfig(temperature=0)
    (ours,) = jaxlm.generate(run, [prompt], tokens=8, sampling=greedy).completions
    new = theirs.generate(torch.from_numpy(token), max_new_tokens=8, do_sample=False)[0, token.shape[1] :].tolist()
    assert new[: len(ours.tokens)] == ours.tokens
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "out", add_bos_token=True)
    assert again(prompt)["input_ids"] == token[0].tolist()


def test_an_import_of_a_real_layout_writes_what_transformers_writes(tmp_path):
    """With Llama's tokenizer: it opens with <s> and ends at </s>."""
    rng = np.random.default_rng(5)
    config = transformers.LlamaConfig(
        vocab_size=420, hidden_size=24, intermediate_size=16, num_hidden_layers=1, num_attention_heads=4,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.from_numpy(rng.normal(0, 0.5, parameter.shape).astype(np.float32)))
        model.lm_head.weight[2] *= 1.5  # so that some texts end
    model.save_pretrained(tmp_path / "model")
    write("llama", tmp_path / "model")
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    jaxlm.import_huggingface(tmp_path / "model", tmp_path / "run")
    prompts = ["The old King", "def f3", "a", "return b", "birds"]
    ours = jaxlm.generate(tmp_path / "run", prompts, tokens=12, sampling=SamplingConfig(temperature=0))
    assert any(c.stopped for c in ours.completions) and not all(c.stopped for c in ours.completions)
    for prompt, completion in zip(prompts, ours.completions, strict=True):
        start = reader(prompt, return_tensors="pt")["input_ids"]
        assert start[0, 0] == 1
        new = model.generate(start, max_new_tokens=12, do_sample=False, eos_token_id=2, pad_token_id=0)
        new = new[0, start.shape[1] :].tolist()
        assert completion.tokens == (new[: new.index(2)] if 2 in new else new)
        assert completion.stopped == (2 in new)


@pytest.mark.parametrize("kind", ["byte_level", "llama", "unigram", "wordpiece", "words"])
def test_ids_of_an_imported_tokenizer_are_those_of_transformers(kind, tmp_path):
    folder = write(kind, tmp_path, tokenizer_config={"tokenizer_class": "PreTrainedTokenizerFast"})
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    reader = transformers.AutoTokenizer.from_pretrained(folder)
    ours = tokenizers.tokenizer_huggingface.open_folder(folder)
    for text in (*TEXTS[:5], " a  b ", "Ünï 漢字"):
        theirs = reader(text, add_special_tokens=False, truncation=False, padding=False)["input_ids"]
        assert theirs == ours.encode(text).tolist()
