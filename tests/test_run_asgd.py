"""A run whose averaging begins by itself: stopped anywhere it is the same run, on every layout."""

import jax
import numpy as np
import pytest

from jaxlm import run, saved, score, session
from jaxlm.checkpoint import Checkpoints
from jaxlm.checkpoint_folder import CheckpointConfig
from jaxlm.errors import Interrupted, UserError
from jaxlm.flat import parameters_sha256
from jaxlm.run_config import RunConfig
from tests import tiny_run
from tests.rows import short
from tests.test_run_recurrent import LAYOUTS, stopping_after

pytestmark = pytest.mark.usefixtures("build_once")

# So fast that the held-out loss goes up and down.
NT_ASGD = {"kind": "nt_asgd", "peak_rate": 4.0, "patience": 1, "clip": 1.0}
LOOP = {"steps": 16, "log_every": 1, "eval_every": 2, "save_every": 3}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return tiny_run.write_text(tmp_path_factory.mktemp("text"))


def config(source, **changes) -> RunConfig:
    settings = tiny_run.config(source, "data.rows=lanes", "model.position=rotary").model_dump()
    model = {"kind": "recurrent", "cell": "gru", "layers": 1, "width": 16, "precision": "float32", "weight_drop": 0.2}
    return RunConfig.model_validate(settings | {"model": model, "optimizer": NT_ASGD, "loop": LOOP} | changes)


@pytest.fixture(scope="module")
def unbroken(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("asgd")
    run.train(config(source), folder / "run", shards_dir=folder / "shards")
    return folder


def averaged(folder) -> list[int]:
    return [int(line["averaged_steps"]) for line in tiny_run.metrics(folder) if "averaged_steps" in line]


def whole_state(folder) -> str:
    """The hash of everything in the newest checkpoint, the average and its trigger included."""
    with Checkpoints(folder / "checkpoints", CheckpointConfig(), read_only=True) as checkpoints:
        _, flat, _ = checkpoints.read(prefix="")
    assert {"trigger/averaged", "trigger/best", "trigger/recent"} < flat.keys()
    return parameters_sha256(flat)


def begun(folder) -> int:
    """The step that averaging began with: every step from the next one on is one more."""
    counts = averaged(folder)
    first = next(n for n, count in enumerate(counts, 1) if count)
    assert counts[first - 1 :] == list(range(2, len(counts) - first + 3))
    return first - 1


def test_averaging_begins_by_the_held_out_losses(unbroken):
    losses = {line["step"]: line["eval/loss"] for line in tiny_run.metrics(unbroken / "run") if "eval/loss" in line}
    start, best = begun(unbroken / "run"), float("inf")
    for step in range(2, 17, 2):
        best = min(best, losses.get(step - 4, float("inf")))
        if step >= 6 and losses[step] > best:
            break
    assert start == step < 14, losses


@pytest.mark.parametrize("place", short(["before it began", "when it began", "after it began"], "when it began"))
def test_a_run_that_stopped_goes_on_with_the_same_bits(place, source, unbroken, tmp_path, monkeypatch):
    step = begun(unbroken / "run") + {"before it began": -2, "when it began": 0, "after it began": 3}[place]
    monkeypatch.setattr(session, "stop_on_signals", stopping_after(step))
    with pytest.raises(Interrupted):
        run.train(config(source), tmp_path / "run", shards_dir=unbroken / "shards")
    monkeypatch.undo()
    run.train(config(source), tmp_path / "run", shards_dir=unbroken / "shards")
    assert whole_state(tmp_path / "run") == whole_state(unbroken / "run")
    assert tiny_run.metrics(tmp_path / "run") == tiny_run.metrics(unbroken / "run")


@pytest.mark.parametrize("name", ["jit", pytest.param("pmap", marks=pytest.mark.slow)])
def test_every_layout_averages_the_same(name, source, unbroken, tmp_path):
    run.train(config(source, **LAYOUTS[name]), tmp_path / "run", shards_dir=unbroken / "shards")
    assert averaged(tmp_path / "run") == averaged(unbroken / "run")
    losses = lambda folder: [line["eval/loss"] for line in tiny_run.metrics(folder) if "eval/loss" in line]
    np.testing.assert_allclose(losses(tmp_path / "run"), losses(unbroken / "run"), rtol=1e-4)


def test_the_average_is_what_is_evaluated_and_loaded(unbroken):
    path = unbroken / "run"
    with Checkpoints(path / "checkpoints", CheckpointConfig(), read_only=True) as checkpoints:
        _, flat, _ = checkpoints.read(prefix="average/")
        _, last, _ = checkpoints.read(prefix="params/")
    loaded = jax.tree.leaves(saved.load(path).params)
    assert all((a == b).all() for a, b in zip(loaded, (flat[name] for name in sorted(flat)), strict=True))
    assert any((flat[f"average/{name.removeprefix('params/')}"] != x).any() for name, x in last.items())
    (*_, line) = [line for line in tiny_run.metrics(path) if "eval/loss" in line]
    np.testing.assert_allclose(score.evaluate(path)["loss"], line["eval/loss"], rtol=1e-6)


def test_without_held_out_text_averaging_would_never_begin(source, tmp_path):
    data = config(source).data.model_dump() | {"split": {"kind": "contiguous", "validation": 0.0, "test": 0.05}}
    with pytest.raises(UserError, match=r"optimizer.kind='nt_asgd' averages from when.*give data.split a part"):
        run.train(config(source, data=data), tmp_path / "run", shards_dir=tmp_path / "shards")


def test_a_run_too_short_to_begin_is_refused(source):
    with pytest.raises(ValueError, match=r"optimizer.patience=5 and loop.eval_every=2 .* step 14 at the earliest"):
        config(source, optimizer=NT_ASGD | {"patience": 5}, loop=LOOP | {"steps": 14})
    config(source, optimizer=NT_ASGD | {"patience": 5}, loop=LOOP | {"steps": 15})
