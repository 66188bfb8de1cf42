"""`jaxlm train`: the config it resolves, the folder it prints, and the user's mistakes, each in a message."""

import json
import signal

import pytest

from jaxlm.config import dump, load, shipped
from jaxlm.run_config import RunConfig
from tests import tiny_run

pytestmark = pytest.mark.usefixtures("build_once")


def mistake(answer, *words):
    """Exit code 2, a message with these words, nothing on stdout and no traceback."""
    assert answer.code == 2 and answer.out == ""
    for word in words:
        assert word in answer.err, answer.err
    assert "Traceback" not in answer.err


# --- what it prints


def test_training_prints_the_run_folder_and_logs_elsewhere(jaxlm, trained, tmp_path):
    answer = jaxlm("train", trained.config, "--shards-dir", trained.shards, "--set", "loop.steps=5")
    assert (answer.code, answer.out) == (0, "runs/tiny\n")
    assert (tmp_path / "runs/tiny/checkpoints/5").is_dir()
    assert "loss" in answer.err and "tokens/s" in answer.err


def test_training_can_answer_in_json(jaxlm, trained, tmp_path):
    folder = tmp_path / "elsewhere"
    options = ("--shards-dir", trained.shards, "--run-dir", folder, "--set", "loop.steps=5", "--json")
    told = jaxlm("train", trained.config, *options).json
    assert (told["run"], told["step"]) == (str(folder), 5)
    assert told["metrics"]["loss"] > 0 and "eval/loss" in told["metrics"]
    assert jaxlm("train", trained.config, *options).json == told, "the same when it is finished"


def test_a_finished_run_is_named_again_at_once(jaxlm, trained):
    answer = jaxlm("train", trained.path)  # a run folder is a config too, and its own folder
    assert (answer.code, answer.out) == (0, f"{trained.path}\n")
    assert "tokens/s" not in answer.err


def test_an_empty_name_is_no_name(jaxlm, trained):
    answer = jaxlm("train", trained.config, "--name", "")
    assert answer.code == 2 and "name" in answer.err and "Traceback" not in answer.err


def test_a_warm_start_from_nowhere_is_told_before_text_is_prepared(jaxlm, trained, tmp_path):
    answer = jaxlm("train", trained.config, "--name", "warm", "--set", "init=runs/nope")
    assert answer.code == 2 and "'runs/nope' is no run folder" in answer.err
    assert not (tmp_path / "shards").exists()


def test_a_name_chooses_the_folder(jaxlm, trained, tmp_path):
    options = ("--shards-dir", trained.shards, "--set", "loop.steps=5", "--name", "other")
    assert jaxlm("train", trained.config, *options).out == "runs/other\n"
    assert json.loads((tmp_path / "runs/other/config.json").read_text())["name"] == "other"


def test_a_name_chooses_the_folder_of_a_config_that_is_a_run_too(jaxlm, trained, tmp_path):
    options = ("--shards-dir", trained.shards, "--set", "loop.steps=5", "--name", "other")
    assert jaxlm("train", trained.path, *options).out == "runs/other\n"


def test_a_printed_config_is_the_config_again(jaxlm, trained, tmp_path):
    assignments = ["optimizer.schedule.warmup=3", "optimizer.schedule.kind=linear", "optimizer.kind=muon"]
    options = [part for assignment in assignments for part in ("--set", assignment)]
    printed = jaxlm("train", trained.config, "--print-config", *options)
    assert printed.code == 0, printed.err
    (tmp_path / "printed.json").write_text(printed.out)
    cfg = load(tmp_path / "printed.json", RunConfig)
    assert (cfg.optimizer.kind, cfg.optimizer.schedule.kind, cfg.optimizer.schedule.warmup) == (
        "muon", "linear", 3,
    )  # fmt: skip
    assert cfg == load(trained.config, RunConfig, assignments)
    assert jaxlm("train", tmp_path / "printed.json", "--print-config").out == printed.out


@pytest.mark.parametrize("name", [name for name in shipped() if not name.startswith(("corpus_", "label_"))])
def test_a_shipped_config_is_known_by_its_name(jaxlm, name):
    assert json.loads(jaxlm("train", name, "--print-config").out) == dump(load(name, RunConfig))
    assert name in jaxlm("configs", "--json").json


# --- mistakes


def test_an_unknown_config_is_met_with_the_nearest(jaxlm):
    mistake(jaxlm("train", "quickstrat"), "no config 'quickstrat'", "did you mean 'quickstart'?")


def test_the_config_of_a_corpus_is_sent_to_prepare(jaxlm):
    mistake(jaxlm("train", "corpus_demo"), "returned CorpusConfig", "wants RunConfig: `jaxlm prepare corpus_demo` is")


def test_a_path_that_is_not_there_is_named(jaxlm):
    mistake(jaxlm("train", "configs/mine.py"), "no config 'configs/mine.py'", ".py or .json")


def test_a_folder_that_is_no_run_is_named(jaxlm, tmp_path):
    mistake(jaxlm("train", tmp_path), "is a folder without config.json")


@pytest.mark.parametrize(
    "assignment, words",
    [
        ("model.widht=3", ["has no field 'widht'", "did you mean 'width'?"]),
        ("model.width=wide", ["model.width", "wide"]),
        ("model.width", ["write it as path=value"]),
        ("optimizer.kind=admw", ["did you mean 'adamw'?"]),
        ("optimizer.schedule.warmup=99", ["warmup=99", "loop.steps=20"]),
    ],
)
def test_a_wrong_assignment_is_explained(jaxlm, trained, assignment, words):
    mistake(jaxlm("train", trained.config, "--set", assignment, "--print-config"), *words)


def test_a_source_that_is_not_there_is_named(jaxlm, trained):
    answer = jaxlm("train", trained.config, "--set", "data.source=nowhere.txt")
    mistake(answer, "data.source='nowhere.txt'", "does not exist")


def test_a_changed_config_is_refused_with_the_ways_out(jaxlm, trained):
    options = ("--run-dir", trained.path, "--set", "loop.steps=30")
    mistake(jaxlm("train", trained.config, *options), "loop.steps: 20 -> 30", "--fresh", "--name", "--run-dir")


def test_an_unknown_verb_is_met_with_the_nearest(jaxlm):
    answer = jaxlm("trian")
    assert answer.code == 2 and "Did you mean 'train'?" in answer.err


# --- other ends


def test_a_signal_ends_with_75_and_the_same_command_goes_on(jaxlm, trained, tmp_path, monkeypatch):
    from jaxlm.commands import terminal

    line, hit = terminal.line, []

    def line_and_signal(step, steps, metrics):
        if step == 10 and not hit:
            hit.append(step)
            signal.raise_signal(signal.SIGTERM)
        return line(step, steps, metrics)

    monkeypatch.setattr(terminal, "line", line_and_signal)
    command = ("train", trained.config, "--shards-dir", trained.shards, "--run-dir", tmp_path / "run")
    answer = jaxlm(*command)
    assert (answer.code, answer.out) == (75, "") and "the same command goes on from there" in answer.err
    assert jaxlm(*command).code == 0
    assert tiny_run.parameters(tmp_path / "run") == tiny_run.parameters(trained.path)
    assert tiny_run.metrics(tmp_path / "run") == tiny_run.metrics(trained.path)


def test_a_divergence_ends_with_3(jaxlm, trained, tmp_path):
    wild = (
        "optimizer.peak_rate=1e38",
        "optimizer.clip=none",
        "optimizer.schedule.warmup=0",
        "loop.log_every=1",
    )
    options = [part for assignment in wild for part in ("--set", assignment)]
    answer = jaxlm("train", trained.config, "--shards-dir", trained.shards, *options)
    assert answer.code == 3 and "steps in a row" in answer.err and "Traceback" not in answer.err
