"""Runs as scorers: what they say is what the model says, in whatever company and however long a text is."""

import json
import math
import pickle
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm import hashing, losses, scorers
from jaxlm.config import dump, parse
from jaxlm.corpus.score_config import BitsPerByteConfig, PerplexityConfig, ProbabilityConfig
from jaxlm.data.examples import Classification
from jaxlm.data.objectives import vocabulary
from jaxlm.data.tokenizer import train
from jaxlm.errors import UserError
from jaxlm.models.family import tokens
from jaxlm.parts import build_family
from jaxlm.run import train as train_run
from jaxlm.run_config import RunConfig
from jaxlm.saved import Saved
from tests import tiny_run

LENGTH = 48
MODELS = {
    "linear": {"kind": "linear", "width": 4, "buckets": 64},
    "encoder": {"kind": "encoder", "layers": 1, "heads": 2, "width": 8, "precision": "float32"},
    "decoder": {"kind": "decoder", "layers": 1, "heads": 2, "width": 8, "precision": "float32"},
}
TEXTS = ["A fine film.", "x", "Long " * 30, "As long as a row of tokens is, and 2 more bytes."]


def saved(name: str, **objective) -> Saved:
    asked = objective or ({"kind": "next_token"} if name == "decoder" else {"kind": "classification"})
    asked |= {"classes": ["bad", "good"]} if asked["kind"] == "classification" else {}
    settings = tiny_run.config(Path("text")).model_dump()
    settings["data"] |= {"objective": asked, "length": LENGTH}
    cfg = parse(settings | {"model": MODELS[name]}, RunConfig)
    tokenizer = train(cfg.data.tokenizer, [], 0)
    family = build_family(cfg, vocabulary(cfg.data.objective, LENGTH, tokenizer), "cpu")
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(family.init, jax.random.key(0))
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape) * 0.5, jnp.float32), shapes)
    return Saved(family, params, tokenizer, cfg, 7)


def logits_of(model: Saved, batch) -> jax.Array:
    return jax.jit(lambda params: losses.logits(model.model, params, batch))(model.params)


@pytest.fixture
def runs(monkeypatch):
    """{folder: what lies there}"""
    there = {}
    monkeypatch.setattr(scorers, "_saved", lambda run, step: there[run.rpartition("/")[2]])
    yield there
    scorers._opened.cache_clear()


def scorer(runs, model: Saved, config) -> scorers.RunScorer:
    runs[config.run] = model
    return scorers.of_runs([config])[config.name]


PROBABILITY = ProbabilityConfig(name="praise", run="mine", of="good")


@pytest.mark.parametrize("at", ["first", "last"])
def test_a_probability_is_that_of_the_model(runs, at):
    model = saved("linear", kind="classification", at=at)
    of = scorer(runs, model, PROBABILITY)
    token = jnp.asarray([[256, *b"A fine film."]], jnp.int32)
    batch = tokens(token, jnp.arange(13)[None])._replace(where=jnp.zeros((1, 1), jnp.int32))
    wanted = jax.nn.softmax(logits_of(model, batch))[0, 0, 1]
    assert of(["A fine film."]) == [pytest.approx(float(wanted), rel=1e-5)]


def test_of_a_long_text_the_windows_are_averaged_by_their_tokens(runs):
    of = scorer(runs, saved("encoder"), PROBABILITY)
    text = "Some words, and again some other ones. " * 3  # of 117 bytes: two windows of 47, one of 23
    whole, *parts = of([text, text[:47], text[47:94], text[94:]])
    assert whole == pytest.approx((48 * parts[0] + 48 * parts[1] + 24 * parts[2]) / 120)
    assert max(parts) - min(parts) > 1e-4


def test_a_perplexity_is_that_of_the_model_and_bits_are_over_bytes(runs):
    model = saved("decoder")
    of = scorer(runs, model, PerplexityConfig(name="odd", run="mine"))
    ids = [256, *"fünf".encode(), 256]
    batch = tokens(jnp.asarray([ids[:-1]], jnp.int32), jnp.arange(6)[None])
    log_p = jax.nn.log_softmax(logits_of(model, batch)[0])
    nats = -sum(float(log_p[place, following]) for place, following in enumerate(ids[1:]))
    assert of(["fünf"]) == [pytest.approx(math.exp(nats / 6), rel=1e-4)]
    bits = scorer(runs, model, BitsPerByteConfig(name="odd", run="mine"))
    assert bits(["fünf"]) == [pytest.approx(nats / math.log(2) / 5, rel=1e-4)]


def test_each_token_of_a_long_text_is_predicted_once(runs):
    model = saved("decoder")
    even = model._replace(params=jax.tree.map(jnp.zeros_like, model.params))  # 257 ids, all as likely
    of = scorer(runs, even, PerplexityConfig(name="odd", run="mine"))
    assert of(TEXTS) == [pytest.approx(257, rel=1e-5)] * 4
    bits = scorer(runs, even, BitsPerByteConfig(name="odd", run="mine"))
    assert bits(TEXTS) == [pytest.approx((len(text) + 1) / len(text) * math.log2(257), rel=1e-5) for text in TEXTS]


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_the_company_of_a_text_changes_no_bit_of_its_score(runs, name):
    config = PROBABILITY if name == "encoder" else PerplexityConfig(name="praise", run="mine")
    of = scorer(runs, saved(name), config)
    together = of(TEXTS)
    assert of(TEXTS[::-1] * 12) == together[::-1] * 12  # more than one call holds
    assert [of([text])[0] for text in TEXTS] == together
    assert len(set(together)) == len(TEXTS)


def test_a_scorer_travels_and_tells_models_and_questions_apart(runs):
    model = saved("linear")
    mine = scorer(runs, model, PROBABILITY)
    assert pickle.loads(pickle.dumps(mine)) == mine and mine.step == 7
    assert scorer(runs, model, PROBABILITY.model_copy(update={"run": "moved"})).digest == mine.digest
    other = model._replace(params=jax.tree.map(lambda x: x + 1e-6, model.params))
    assert scorer(runs, other, PROBABILITY).digest != mine.digest
    assert scorer(runs, model, PROBABILITY.model_copy(update={"of": "bad"})).digest != mine.digest


def test_what_a_run_cannot_say_is_refused_by_its_name(runs):
    with pytest.raises(UserError, match=r"score 'praise': of='goood' is none of the classes.*'bad', 'good'; name"):
        scorer(runs, saved("linear"), PROBABILITY.model_copy(update={"of": "goood"}))
    with pytest.raises(UserError, match=r"score 'praise': kind='probability' asks .* learned .*'next_token'"):
        scorer(runs, saved("decoder"), PROBABILITY)
    with pytest.raises(UserError, match=r"score 'odd': kind='perplexity' asks .* learned .*'classification'"):
        scorer(runs, saved("linear"), PerplexityConfig(name="odd", run="mine"))
    two = saved("encoder", kind="classification", second_field="other")
    with pytest.raises(UserError, match=r"learned data.objective.kind='classification' of two texts"):
        scorer(runs, two, PROBABILITY)


def test_a_run_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match=r"score 'praise': .*nowhere' is no run folder .*`jaxlm train` makes one"):
        scorers.of_runs([PROBABILITY.model_copy(update={"run": str(tmp_path / "nowhere")})])


CORPUS = """
from jaxlm.corpus.config import CorpusConfig, SourceConfig
from jaxlm.corpus.rules import Bounds
from jaxlm.corpus.score_config import ProbabilityConfig

def config():
    score = ProbabilityConfig(name="praise", run={run!r}, of="good", bounds=Bounds(least=0.5))
    return CorpusConfig(
        name="scored", sources=(SourceConfig(name="texts", path={texts!r}),), quality=(), scores=(score,),
        part_bytes=1 << 12,
    )
"""


@pytest.mark.slow
def test_two_processes_score_as_one_does(tmp_path):
    words = {"good": "a fine and lovely film of the year", "bad": "a dull and silly film of no use"}
    lines = [{"text": f"{words[label]} {n}", "label": label} for n in range(80) for label in words]
    (tmp_path / "labelled.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = dump(tiny_run.config(tmp_path / "labelled.jsonl", "loop.steps=40", "optimizer.peak_rate=0.1"))
    settings["data"] |= {"objective": dump(Classification(classes=("bad", "good"))), "length": 64}
    settings["data"]["split"] = {"kind": "hash", "validation": 0.1, "test": 0.1}
    cfg = parse(settings | {"model": MODELS["linear"]}, RunConfig)
    train_run(cfg, tmp_path / "run", shards_dir=tmp_path / "shards")
    (tmp_path / "texts").mkdir()
    for number in range(8):
        text = f"{words[['good', 'bad'][number % 2]]}, number {number} says. " * 60
        (tmp_path / "texts" / f"{number}.txt").write_text(text)
    folders = {"run": str(tmp_path / "run"), "texts": str(tmp_path / "texts")}
    (tmp_path / "corpus.py").write_text(CORPUS.format(**folders))
    made = []
    for workers in ("1", "2"):
        root = tmp_path / f"with_{workers}"
        options = (tmp_path / "corpus.py", "--workers", workers, "--corpora-dir", root)
        done = subprocess.run([sys.executable, "-m", "jaxlm", "prepare", *options], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        made.append(hashing.file_hash(root / "scored" / "manifest.json"))
    assert made[0] == made[1]
    manifest = json.loads((tmp_path / "with_1" / "scored" / "manifest.json").read_text())
    assert manifest["stages"]["removed"]["score"] == {"praise below 0.5": 4}
