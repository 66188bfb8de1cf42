"""A run from text to its last checkpoint: broken and gone on with, it is the unbroken one."""

import contextlib
import fcntl
import json
import signal
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxlm import config as configs
from jaxlm import parts, run, saved, score, session
from jaxlm.config import dump, parse
from jaxlm.errors import Damaged, Diverged, Interrupted, UserError
from jaxlm.mesh import MeshConfig
from jaxlm.run_config import RunConfig
from jaxlm.run_folder import read_json
from jaxlm.training import layout as layouts
from tests import tiny_run
from tests.faults import injector
from tests.rows import short

pytestmark = pytest.mark.usefixtures("build_once")


class Unbroken:
    """The run that others are compared with, and what was counted while it ran."""

    def __init__(self, folder):
        self.source, self.shards = tiny_run.write_text(folder), folder / "shards"
        self.path = folder / "unbroken"
        self.compilations, self.readers = [], []
        jax.monitoring.register_event_duration_secs_listener(self._note)
        original = session.Reader
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(session, "Reader", lambda: self.readers.append(original()) or self.readers[-1])
            self.outcome = run.train(self.config(), self.path, shards_dir=self.shards)
        self._counting = False

    _counting = True

    def _note(self, event, seconds, fun_name="", **_):
        if self._counting and event.endswith("backend_compile_duration"):
            self.compilations.append(fun_name)

    def config(self, *overrides):
        return tiny_run.config(self.source, *overrides)

    def train(self, path, *overrides, **options):
        return run.train(self.config(*overrides), path, shards_dir=self.shards, **options)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return Unbroken(tmp_path_factory.mktemp("run"))


def stop_at(step, number=signal.SIGTERM):
    """A `show` that sends this process a signal when a line of that step is logged."""

    def show(at, metrics):
        if at == step and "loss" in metrics:
            signal.raise_signal(number)

    return show


class Crash(Exception):
    pass


def crash_at(step):
    def show(at, metrics):
        if at == step and "loss" in metrics:
            raise Crash

    return show


def assert_same_run(path, unbroken):
    assert tiny_run.parameters(path) == tiny_run.parameters(unbroken.path)
    assert tiny_run.metrics(path) == tiny_run.metrics(unbroken.path)


# --- a run that nobody disturbs


def test_a_run_learns_and_leaves_its_folder_in_order(unbroken):
    assert unbroken.outcome.step == 20 and unbroken.outcome.run == str(unbroken.path)
    lines = tiny_run.metrics(unbroken.path)
    losses = {line["step"]: line["loss"] for line in lines if "loss" in line}
    scores = {line["step"]: line["eval/loss"] for line in lines if "eval/loss" in line}
    assert list(losses) == [5, 10, 15, 20] and list(scores) == [10, 20]
    assert losses[20] < losses[5] - 0.3 and scores[20] < scores[10]
    there = {path.name for path in unbroken.path.iterdir()}
    assert there >= {"config.json", "layout.json", "data.json", "environment.json", "metrics.jsonl"}
    assert there >= {"checkpoints", "tokenizer"}
    assert run.train(unbroken.config(), unbroken.path).metrics["loss"] == losses[20], "as when it was trained"


def test_the_train_step_is_compiled_exactly_once(unbroken):
    assert unbroken.compilations.count("jit(step)") == 1, unbroken.compilations


def test_the_host_reads_the_device_once_for_each_log(unbroken):
    assert [reader.reads for reader in unbroken.readers] == [4]


def test_a_finished_run_returns_at_once_and_changes_nothing(unbroken, monkeypatch, caplog):
    caplog.set_level("INFO", logger="jaxlm")
    before = (unbroken.path / "metrics.jsonl").read_bytes()
    steps = []
    monkeypatch.setattr("jaxlm.run.build", None)  # nothing is built, so nothing is compiled
    outcome = unbroken.train(unbroken.path, show=lambda step, metrics: steps.append(step))
    assert outcome.step == 20 and steps == []
    assert f"{unbroken.path} is finished, at step 20 of loop.steps=20" in caplog.text
    assert outcome.metrics["eval/loss"] == tiny_run.metrics(unbroken.path)[-1]["eval/loss"]
    assert (unbroken.path / "metrics.jsonl").read_bytes() == before


def test_the_same_config_gives_the_same_bits(unbroken, tmp_path):
    unbroken.train(tmp_path / "again")
    assert_same_run(tmp_path / "again", unbroken)


def test_the_evaluation_of_training_is_that_of_a_saved_run(unbroken):
    (last,) = [line for line in tiny_run.metrics(unbroken.path) if line["step"] == 20 and "eval/loss" in line]
    found = score.evaluate(unbroken.path)
    for name in ("loss", "bits_per_byte", "tokens", "bytes", "standard_error"):
        np.testing.assert_allclose(found[name], last[f"eval/{name}"], rtol=1e-6, err_msg=name)


# --- broken and gone on with


@pytest.mark.parametrize("number", short([signal.SIGTERM, signal.SIGINT], signal.SIGTERM))
def test_ten_and_ten_steps_are_twenty(unbroken, tmp_path, number):
    with pytest.raises(Interrupted, match="the same command goes on from there") as stopped:
        unbroken.train(tmp_path / "broken", show=stop_at(10, number))
    assert stopped.value.exit_code == 75
    outcome = unbroken.train(tmp_path / "broken")
    assert outcome.step == 20
    assert_same_run(tmp_path / "broken", unbroken)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("stage", ["preparation", "layout", "swallowed", "environment"])
def test_a_signal_before_the_first_step_leaves_nothing(unbroken, tmp_path, monkeypatch, number, stage):
    ring, choose = lambda *_: signal.raise_signal(number), run.choose_layout

    def half_written(cfg, folder, vocab):
        (folder.path / "layout.json.tmp").touch()
        ring()

    def swallowed(*arguments):
        with contextlib.suppress(BaseException):  # as a callback from C would
            ring()
        return choose(*arguments)

    if stage == "environment":
        monkeypatch.setattr("jaxlm.run_folder.git_commit", ring)
    elif stage != "preparation":
        monkeypatch.setattr("jaxlm.run.choose_layout", half_written if stage == "layout" else swallowed)
    with pytest.raises(Interrupted, match=rf"{number.name} outside the steps of training: nothing is lost"):
        run.train(
            unbroken.config(),
            tmp_path / "runs" / "new",
            shards_dir=tmp_path / "shards",
            progress=ring if stage == "preparation" else lambda *_: None,
        )
    assert not (tmp_path / "runs").exists()


def test_a_fresh_start_that_a_signal_ends_leaves_only_the_run_that_it_set_aside(unbroken, tmp_path):
    unbroken.train(tmp_path / "run", "loop.steps=2", "loop.eval_every=2", "loop.save_every=2")
    ring = lambda *_: signal.raise_signal(signal.SIGTERM)
    for _ in range(2):
        with pytest.raises(Interrupted):
            run.train(unbroken.config(), tmp_path / "run", shards_dir=tmp_path / "shards", fresh=True, progress=ring)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.old1"]


def test_a_signal_before_a_started_run_goes_on_leaves_it_as_it_is(unbroken, tmp_path, monkeypatch):
    with pytest.raises(Interrupted):
        unbroken.train(tmp_path / "broken", show=stop_at(10))
    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="outside the steps of training"):
        patch.setattr("jaxlm.run.choose_layout", lambda *_: signal.raise_signal(signal.SIGTERM))
        unbroken.train(tmp_path / "broken")
    unbroken.train(tmp_path / "broken")
    assert_same_run(tmp_path / "broken", unbroken)


def test_a_crash_between_two_saves_costs_only_the_steps_since(unbroken, tmp_path):
    with pytest.raises(Crash):
        unbroken.train(tmp_path / "broken", "loop.save_every=8", show=crash_at(15))
    unbroken.train(tmp_path / "broken", "loop.save_every=8")
    assert_same_run(tmp_path / "broken", unbroken)


def test_a_crash_before_the_first_save_begins_anew(unbroken, tmp_path):
    with pytest.raises(Crash):
        unbroken.train(tmp_path / "broken", "loop.save_every=20", show=crash_at(5))
    unbroken.train(tmp_path / "broken", "loop.save_every=20")
    assert_same_run(tmp_path / "broken", unbroken)


def test_a_damaged_newest_checkpoint_costs_only_the_steps_since_the_one_before(unbroken, tmp_path, caplog):
    with pytest.raises(Interrupted):
        unbroken.train(tmp_path / "broken", show=stop_at(15))
    newest = max((tmp_path / "broken" / "checkpoints").iterdir(), key=lambda path: int(path.name))
    data = max(injector.files_below(newest), key=lambda path: path.stat().st_size)
    injector.flip_byte(data, seed=0)
    unbroken.train(tmp_path / "broken")
    assert f"checkpoint {newest} is damaged, not used" in caplog.text
    assert_same_run(tmp_path / "broken", unbroken)


def test_when_every_checkpoint_is_damaged_nothing_is_trained_over_it(unbroken, tmp_path):
    with pytest.raises(Interrupted):
        unbroken.train(tmp_path / "broken", show=stop_at(10))
    for step in (tmp_path / "broken" / "checkpoints").iterdir():
        injector.flip_byte(step / "manifest.json", seed=1)
    with pytest.raises(Damaged) as error:
        unbroken.train(tmp_path / "broken")
    assert error.value.exit_code == 4


@pytest.mark.parametrize(
    "mesh",
    [MeshConfig(layout="single"), pytest.param(MeshConfig(layout="axes", data=2, fsdp=2), marks=pytest.mark.slow)],
    ids=str,
)
def test_a_run_goes_on_on_other_devices(unbroken, tmp_path, mesh):
    path = tmp_path / "moved"
    with pytest.raises(Interrupted):
        unbroken.train(path, show=stop_at(10))
    unbroken.train(path, *(f"mesh.{name}={value}" for name, value in dump(mesh).items()))
    assert json.loads((path / "layout.json").read_text())["mesh"]["layout"] == mesh.layout
    for got, expected in zip(tiny_run.metrics(path), tiny_run.metrics(unbroken.path), strict=True):
        assert got.keys() == expected.keys()
        np.testing.assert_allclose([*got.values()], [*expected.values()], rtol=1e-4)


def test_the_layout_of_a_run_is_obeyed_not_chosen_anew(unbroken, tmp_path, monkeypatch):
    asked = []

    def choose(config, candidates, vocab):
        asked.append(vocab)
        return candidates[0]

    monkeypatch.setattr(layouts, "choose", choose)
    auto = ("mesh.layout=auto", "mesh.devices=2")
    with pytest.raises(Crash):
        unbroken.train(tmp_path / "auto", *auto, show=crash_at(5))
    unbroken.train(tmp_path / "auto", *auto)
    assert len(asked) == 1
    assert json.loads((tmp_path / "auto" / "layout.json").read_text())["mesh"]["layout"] == "replicated"


# --- refused


def test_a_changed_config_is_refused_with_the_difference(unbroken):
    with pytest.raises(UserError) as error:
        unbroken.train(unbroken.path, "loop.steps=30", "model.width=64")
    for words in ("loop.steps: 20 -> 30", "model.width: 32 -> 64", "--fresh", "--name"):
        assert words in str(error.value)
    assert unbroken.train(unbroken.path).step == 20, "and nothing of the old run is touched"


def test_fresh_sets_the_old_run_aside(unbroken, tmp_path):
    path = tmp_path / "mine"
    unbroken.train(path, "data.seed=1")
    old = tiny_run.parameters(path)
    assert unbroken.train(path, "data.seed=2", fresh=True).step == 20
    assert tiny_run.parameters(tmp_path / "mine.old1") == old != tiny_run.parameters(path)


def test_two_processes_cannot_train_one_run(unbroken):
    with open(unbroken.path / "lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="is being trained by another process"):
            unbroken.train(unbroken.path)


def test_shards_that_have_changed_are_refused(unbroken, tmp_path):
    source = tiny_run.write_text(tmp_path)
    cfg = tiny_run.config(source)
    with pytest.raises(Crash):
        run.train(cfg, tmp_path / "mine", shards_dir=tmp_path / "shards", show=crash_at(5))
    source.write_text(source.read_text() + "one more line.\n")
    (tmp_path / "shards").rename(tmp_path / "lost")
    with pytest.raises(UserError, match="the source has changed"):
        run.train(cfg, tmp_path / "mine", shards_dir=tmp_path / "shards")


def test_shards_that_moved_are_made_again_and_the_run_goes_on(unbroken, tmp_path):
    with pytest.raises(Crash):
        run.train(unbroken.config(), tmp_path / "mine", shards_dir=tmp_path / "shards", show=crash_at(15))
    (tmp_path / "shards").rename(tmp_path / "lost")
    run.train(unbroken.config(), tmp_path / "mine", shards_dir=tmp_path / "elsewhere")
    assert_same_run(tmp_path / "mine", unbroken)
    assert Path(read_json(tmp_path / "mine" / "data.json")["shards"]).parent == tmp_path / "elsewhere"


def test_a_config_of_another_version_is_refused_with_both_versions(unbroken):
    other = {**dump(unbroken.config()), "format_version": 7}
    with pytest.raises(UserError, match=r"format_version=7.*this jaxlm.*reads 1"):
        parse(other, RunConfig)


def test_a_run_of_another_version_is_refused_even_where_its_fields_are_unknown(unbroken, tmp_path):
    """The version is told first: the fields of another version are no mistakes of the user."""
    path = tmp_path / "old"
    with pytest.raises(Crash):
        unbroken.train(path, show=crash_at(5))
    other = {**json.loads((path / "config.json").read_text()), "format_version": 7, "colour": "red"}
    (path / "config.json").write_text(json.dumps(other))
    for opening in (lambda: unbroken.train(path), lambda: saved.load(path)):
        with pytest.raises(UserError, match=r"format_version=7") as error:
            opening()
        assert "colour" not in str(error.value)


@pytest.mark.parametrize(
    "overrides, words",
    [
        (["step.microbatches=3"], ["data.batch=4", "step.microbatches=3"]),
        (["optimizer.schedule.warmup=21"], ["warmup=21 is over loop.steps=20", "--set optimizer.schedule.warmup=2"]),
        (["data.length=64"], ["model.max_length=32", "data.length=64"]),
        (["name=../elsewhere"], ["name"]),
        (["data.rows=lanes"], ["data.rows='lanes'", "model.position='rotary'"]),
        (["model.kind=linear"], ["data.objective.kind='next_token'", "model.kind='linear'", "classification"]),
        (["model.kind=encoder", "model.size=tiny"], ["model.kind='encoder'", "data.objective.kind='next_token'"]),
        (
            ["model.kind=encoder_decoder", "model.size=t5_small"],
            ["model.kind='encoder_decoder'", "data.objective.kind='next_token'", "model.kind='decoder'"],
        ),
    ],
    ids=str,
)
def test_fields_that_contradict_each_other_are_refused_before_anything_runs(unbroken, overrides, words):
    with pytest.raises(UserError) as error:
        unbroken.config(*overrides)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    "objective, model, words",
    [
        (
            {"kind": "seq2seq", "source_length": 200},
            {"kind": "encoder_decoder", "position": "learned", "max_length": 64},
            "model.max_length=64 is under the 200 tokens of a source that data.objective.kind='seq2seq' makes",
        ),
        ({"kind": "extraction", "question_length": 20, "stride": 11}, {"kind": "encoder"}, "objective.stride=11"),
        (
            {"kind": "extraction", "question_length": 8, "stride": 8},
            {"kind": "encoder", "kinds": 1},
            "model.kinds=1 calls both the same: set model.kinds=2",
        ),
        (
            {"kind": "next_token"},
            {"kind": "decoder", "position": "buckets", "bucket_reach": 16},
            "model.bucket_reach=16 is not over the 16 distances that have a bucket each",
        ),
    ],
    ids=["sources", "stride", "kinds", "buckets"],
)
def test_what_fits_on_no_row_is_refused_before_anything_runs(unbroken, objective, model, words):
    told = dump(unbroken.config())
    told["data"] |= {"objective": objective, "length": 32, "rows": "packed"}
    told["model"] = {"layers": 1, "heads": 2, "width": 8} | model
    with pytest.raises(UserError, match=words):
        parse(told, RunConfig)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_that_no_generator_takes_is_refused(unbroken, seed):
    with pytest.raises(UserError, match=r"data\.seed"):
        unbroken.config(f"data.seed={seed}")


@pytest.mark.parametrize("size", ["model.width=2000000000", "data.batch=10000000000", "data.length=100000000000"])
def test_sizes_that_no_machine_has_are_refused_before_anything_runs(unbroken, size):
    with pytest.raises(UserError, match=size.partition("=")[0]):
        unbroken.config(size)


def test_a_mistake_in_a_folder_with_something_in_it_removes_nothing(unbroken, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError):
        unbroken.train(tmp_path / "mine", "data.source=nowhere.txt")
    assert (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    "overrides, words",
    [
        (["model.vocab=100"], ["model.vocab=100", "257"]),
        (["mesh.devices=3"], ["data.batch=4", "3 devices"]),
        (["mesh.devices=16", "data.batch=16"], ["needs 16 devices, but there are 8"]),
        (["data.source=nowhere.txt"], ["data.source='nowhere.txt'", "does not exist"]),
        (["step.microbatches=4"], ["data.batch=4 on 2 devices", "step.microbatches=4: make it 8"]),
    ],
    ids=str,
)
def test_what_only_data_or_devices_show_is_the_users_mistake_too(unbroken, tmp_path, overrides, words):
    with pytest.raises(UserError) as error:
        unbroken.train(tmp_path / "mine", *overrides)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("mistake", ["mesh.devices=3", *short(["data.source=nowhere.txt", "init=nowhere"])])
def test_a_mistake_can_be_mended_and_the_same_name_used_again(unbroken, tmp_path, mistake):
    """A run that never began claims nothing."""
    with pytest.raises(UserError):
        unbroken.train(tmp_path / "mine", mistake)
    assert not (tmp_path / "mine").exists()
    assert unbroken.train(tmp_path / "mine").step == 20


# --- warm start, moving average, divergence


def test_a_warm_start_begins_with_the_other_runs_parameters(unbroken, tmp_path):
    still = ("optimizer.peak_rate=1e-9", "loop.steps=1", "optimizer.schedule.warmup=0")
    unbroken.train(tmp_path / "warm", f"init={unbroken.path}", *still)
    warm, cold = saved.load(tmp_path / "warm"), saved.load(unbroken.path)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), warm.params, cold.params)


def test_a_warm_start_needs_the_same_tokenizer_and_may_take_it_along(tmp_path):
    (tmp_path / "one").mkdir(), (tmp_path / "two").mkdir()
    one, two = tiny_run.write_text(tmp_path / "one"), tmp_path / "two" / "text.txt"
    two.write_text(one.read_text().replace("bird", "whale").replace("king", "queen"))
    short = ("loop.steps=2", "optimizer.schedule.warmup=0")
    pieces = ("data.tokenizer.kind=sentencepiece", "data.tokenizer.vocab=300")
    train = lambda source, name, *more: run.train(
        tiny_run.config(source, *short, *more), tmp_path / name, shards_dir=tmp_path / "shards"
    )
    train(one, "first", *pieces)
    with pytest.raises(UserError, match="trained on other tokens") as error:
        train(two, "second", f"init={tmp_path / 'first'}", *pieces)
    assert "data.tokenizer.kind=saved" in str(error.value)
    saved_one = ("data.tokenizer.kind=saved", f"data.tokenizer.path={tmp_path / 'first' / 'tokenizer'}")
    train(two, "second", f"init={tmp_path / 'first'}", *saved_one)  # the name is free again
    assert saved.load(tmp_path / "second").tokenizer.digest == saved.load(tmp_path / "first").tokenizer.digest


def test_layers_are_stacked_as_the_checkpoint_has_them_whatever_platform_wrote_it(unbroken, tmp_path):
    """By default a GPU stacks them and a CPU does not: what is asked here is a run that came from a GPU."""
    path = tmp_path / "from a GPU"
    with pytest.raises(Crash):
        unbroken.train(path, "model.scan_layers=true", show=crash_at(10))
    (path / "config.json").write_text(json.dumps(dump(unbroken.config())))
    before = saved.load(path)
    assert before.step < 20 and "blocks" in before.params
    assert unbroken.train(path).step == 20
    assert np.isfinite(score.evaluate(path)["loss"])


def test_a_finished_run_keeps_its_layout(unbroken, tmp_path):
    path = tmp_path / "finished"
    unbroken.train(path, "loop.steps=5")
    assert unbroken.train(path, "loop.steps=5", "mesh.layout=single", "mesh.devices=none").step == 5
    assert np.isfinite(score.evaluate(path)["loss"])


def test_a_run_that_lost_its_metrics_takes_no_other_config(unbroken, tmp_path):
    path = tmp_path / "bare"
    unbroken.train(path, "loop.steps=5")
    (path / "metrics.jsonl").unlink()
    with pytest.raises(UserError, match=r"optimizer\.peak_rate"):
        unbroken.train(path, "loop.steps=5", "optimizer.peak_rate=0.5")


def test_a_warm_start_from_another_shape_is_refused(unbroken, tmp_path):
    with pytest.raises(UserError) as error:
        unbroken.train(tmp_path / "warm", f"init={unbroken.path}", "model.width=64")
    for words in ("init=", "block_0/", "float32[32] is saved, float32[64] is wanted"):
        assert words in str(error.value)


def test_a_warm_start_from_nothing_is_refused(unbroken, tmp_path):
    with pytest.raises(UserError, match="is no run folder"):
        unbroken.train(tmp_path / "warm", f"init={tmp_path}")


def test_the_moving_average_is_what_is_evaluated_and_loaded(unbroken, tmp_path):
    path = tmp_path / "average"
    unbroken.train(path, "optimizer.average=0.9", "loop.steps=10")
    averaged = saved.load(path).params
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved, "parse", lambda *args, **options: plain_config(path))
        plain = saved.load(path).params
    moved = [np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (averaged, plain)), strict=True)]
    assert max(moved) > 1e-3
    (line,) = [line for line in tiny_run.metrics(path) if "eval/loss" in line]
    np.testing.assert_allclose(score.evaluate(path)["loss"], line["eval/loss"], rtol=1e-6)


def plain_config(path):
    cfg = RunConfig.model_validate(json.loads((path / "config.json").read_text()))
    return cfg.model_copy(update={"optimizer": cfg.optimizer.model_copy(update={"average": None})})


def test_a_run_that_diverges_says_so_and_keeps_what_it_saved(unbroken, tmp_path):
    with pytest.raises(Diverged):
        unbroken.train(
            tmp_path / "wild", "optimizer.peak_rate=1e38", "optimizer.clip=none", "loop.log_every=1",
            "optimizer.schedule.warmup=0",
        )  # fmt: skip


@pytest.mark.parametrize("way", ["microbatches=2", "compile=jit", *short(["compile=pmap"])])
def test_microbatches_and_ways_of_compiling_train_the_same_run(unbroken, tmp_path, way):
    unbroken.train(tmp_path / "other", f"step.{way}")
    for got, wanted in zip(tiny_run.metrics(tmp_path / "other"), tiny_run.metrics(unbroken.path), strict=True):
        np.testing.assert_allclose([*got.values()], [*wanted.values()], rtol=1e-4)


# --- configs that come with jaxlm


SHIPPED = [name for name in configs.shipped() if not name.startswith(("corpus_", "label_"))]
# Of each family and each head one, the smallest; tests/commands/test_train.py reads every one in the short suite too.
SMALLEST = (
    "quickstart",
    "awd_lstm",
    "war_and_peace_mingru",
    "bert_mini",
    "war_and_peace_t5",
    "tag",
    "answer",
    "quality",
)


@pytest.mark.parametrize("name", short(SHIPPED, *SMALLEST))
def test_a_shipped_config_builds(name):
    cfg = configs.load(name, RunConfig)
    assert cfg.name == name
    family = parts.build_family(cfg, 4_096, "gpu")  # which stacks the layers: all are traced at once
    params = jax.eval_shape(family.init, jax.random.key(cfg.seed))
    batch = parts.abstract_batch(cfg)
    loss = parts.make_loss(family, cfg.loss)
    total, (sums, _) = jax.eval_shape(loss, params, batch, None, parts.carry(cfg, family))
    assert total.shape == () and sums["loss"].dtype == "float32"
    assert family.flops_per_token(cfg.data.length) > 0
