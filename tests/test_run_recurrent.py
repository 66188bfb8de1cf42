"""Recurrent runs over lanes: the state goes from batch to batch, into checkpoints and back, on any layout."""

import jax
import numpy as np
import pytest

from jaxlm import run, saved, score, session
from jaxlm.errors import Interrupted
from jaxlm.models.build import build
from jaxlm.models.recurrent import RecurrentConfig
from jaxlm.run_config import RunConfig
from jaxlm.training import optimizer
from tests import tiny_run
from tests.rows import short

pytestmark = pytest.mark.usefixtures("build_once")

AWD = {  # AWD-LSTM's regularisers, all at once
    "dropout": 0.1, "input_dropout": 0.1, "hidden_dropout": 0.1, "word_dropout": 0.1, "weight_drop": 0.2,
    "activation_penalty": 2.0, "temporal_penalty": 1.0,
}  # fmt: skip
LAYOUTS = {
    "pmap": {"mesh": {"layout": "replicated", "devices": 2}, "step": {"compile": "pmap"}},
    "jit": {"mesh": {"layout": "axes", "data": 2, "fsdp": 2}, "step": {"compile": "jit"}},
    "one": {"mesh": {"layout": "single"}},
    "microbatches": {"mesh": {"layout": "single"}, "step": {"microbatches": 2}},
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return tiny_run.write_text(tmp_path_factory.mktemp("text"))


def config(source, steps=20, **changes) -> RunConfig:
    settings = tiny_run.config(source, "data.rows=lanes", "model.position=rotary", f"loop.steps={steps}").model_dump()
    model = {"kind": "recurrent", "cell": "lstm", "layers": 2, "width": 16, "embedding": 12, "precision": "float32"}
    return RunConfig.model_validate(settings | {"model": model | AWD} | changes)


@pytest.fixture(scope="module")
def unbroken(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recurrent")
    run.train(config(source), folder / "run", shards_dir=folder / "shards")
    return folder


def losses(folder) -> list[float]:
    return [line[name] for line in tiny_run.metrics(folder) for name in ("loss", "eval/loss") if name in line]


def test_a_run_that_stopped_goes_on_with_its_state(source, unbroken, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "stop_on_signals", stopping_after(7))
    with pytest.raises(Interrupted):
        run.train(config(source), tmp_path / "run", shards_dir=unbroken / "shards")
    monkeypatch.undo()
    run.train(config(source), tmp_path / "run", shards_dir=unbroken / "shards")
    assert tiny_run.parameters(tmp_path / "run") == tiny_run.parameters(unbroken / "run")
    assert tiny_run.metrics(tmp_path / "run") == tiny_run.metrics(unbroken / "run")


def stopping_after(steps):
    """`stop_on_signals` whose signal comes while step number `steps` runs."""
    import contextlib
    import itertools

    @contextlib.contextmanager
    def patched():
        asked = itertools.count(1)
        yield lambda: next(asked) == steps

    return patched


@pytest.mark.parametrize("name", short(LAYOUTS, "jit"))
def test_every_layout_learns_the_same(name, source, unbroken, tmp_path):
    """Masks, penalties and carried states included."""
    run.train(config(source, **LAYOUTS[name]), tmp_path / "run", shards_dir=unbroken / "shards")
    np.testing.assert_allclose(losses(tmp_path / "run"), losses(unbroken / "run"), rtol=1e-4)


def test_evaluation_carries_the_state_too(unbroken):
    """With a state from nowhere for each row, the score would be another."""
    found = score.evaluate(unbroken / "run")
    model, params, _, cfg, _ = saved.load(unbroken / "run")
    from jaxlm.data.loader import evaluation_batches
    from jaxlm.data.shards import Shards
    from jaxlm.run_folder import RunFolder

    shards = Shards.open(RunFolder(unbroken / "run").read_data()["shards"])
    hidden = jax.jit(model.apply)
    carry, nats, from_nowhere, weight = model.carry(cfg.data.batch), 0.0, 0.0, 0.0
    for batch in evaluation_batches(shards, cfg.data):
        with_carry, without = hidden(params, batch, None, carry), hidden(params, batch, None, model.carry(4))
        carry = with_carry.carry
        nats += of(model, params, with_carry.array, batch)
        from_nowhere += of(model, params, without.array, batch)
        weight += batch.weight.sum()
    np.testing.assert_allclose(found["loss"], nats / weight, rtol=1e-5)
    assert abs(from_nowhere - nats) / weight > 1e-3


def of(model, params, hidden_BLD, batch) -> float:
    logits_BLV = np.asarray(hidden_BLD @ model.head(params).T + model.bias(params)[None, None], np.float64)
    log_z = np.log(np.exp(logits_BLV).sum(-1))
    return float(((log_z - np.take_along_axis(logits_BLV, batch.target[..., None], -1)[..., 0]) * batch.weight).sum())


@pytest.mark.parametrize("cell", short(["lstm", "gru", "mingru"], "lstm"))
def test_muon_knows_the_recurrent_weights(cell, source, unbroken, tmp_path):
    model = {"kind": "recurrent", "cell": cell, "width": 32, "precision": "float32"}
    cfg = config(source, model=model, optimizer={"kind": "muon", "schedule": {"kind": "wsd", "warmup": 2}})
    run.train(cfg, tmp_path / "run", shards_dir=unbroken / "shards")
    assert losses(tmp_path / "run")[-1] < losses(tmp_path / "run")[0] - 0.5


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_biases_do_not_decay(cell):
    model = build(RecurrentConfig(cell=cell, width=4), vocab=5, length=4, packed=False, platform="cpu")
    decaying = optimizer.decays(jax.eval_shape(model.init, jax.random.key(0)))
    names = {jax.tree_util.keystr(path, simple=True) for path, on in jax.tree.leaves_with_path(decaying) if on}
    assert names and not any(name.endswith("b") for name in names), names


def test_a_model_that_reads_from_the_end_does_not_predict_the_next_token(source):
    model = {"kind": "recurrent", "width": 8, "bidirectional": True, "tied": False}
    with pytest.raises(ValueError, match="bidirectional=True sees what"):
        config(source, model=model)
