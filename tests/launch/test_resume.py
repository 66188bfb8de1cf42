"""A run that is killed and goes on elsewhere is the unbroken one; and what differs is found."""

import json

import numpy as np
import pytest

from jaxlm import cli
from jaxlm.errors import UserError
from jaxlm.launch import resume
from jaxlm.launch.resume import Shape
from tests import tiny_run


def write(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_shapes_are_paired_and_the_shorter_list_begins_again():
    assert resume.shapes([1, 2], [8, 2, 4]) == [Shape(1, 8), Shape(2, 2), Shape(1, 4)]
    with pytest.raises(UserError, match="3 devices do not divide over 2 processes"):
        resume.shapes([2], [3])


def test_kills_are_at_different_steps_in_their_order_and_the_seed_decides():
    steps = resume.random_steps(100, 8, seed=1)
    assert steps == sorted(set(steps)) and len(steps) == 8 and steps[0] > 0 and steps[-1] < 100
    assert steps == resume.random_steps(100, 8, seed=1) != resume.random_steps(100, 8, seed=2)
    assert resume.random_steps(3, 8, seed=0) == [1, 2]


def test_metrics_differ_where_a_number_or_a_line_does_and_not_where_only_times_do(tmp_path):
    line = {"step": 5, "loss": 2.0, "step_ms": 1.0}
    one = write(tmp_path / "one", line, {"step": 5, "eval/loss": 3.0})
    assert resume.differences(one, write(tmp_path / "a", line | {"step_ms": 9.0}, {"step": 5, "eval/loss": 3.0})) == []
    assert resume.differences(one, write(tmp_path / "b", line, {"step": 5, "eval/loss": 3.1})) == [
        "step 5, eval/loss: 3.0 and 3.1"
    ]
    assert resume.differences(one, write(tmp_path / "c", line)) == ["step 5: only one of them has it"]


def test_a_last_line_cut_short_is_not_read(tmp_path):
    path = write(tmp_path / "metrics.jsonl", {"step": 5})
    path.write_text(path.read_text() + '{"step": 1')
    assert resume.last_step(path) == 5
    assert resume.last_step(tmp_path / "nothing") == 0


def test_arrays_are_the_same_only_in_bits_shape_and_type():
    zero = np.zeros(2, np.float32)
    assert resume._same(zero, zero.copy())
    for other in (-zero, zero.astype(np.float64), zero.reshape(1, 2), None):
        assert not resume._same(zero, other)


@pytest.mark.parametrize("value", ["", "2,", "two", "0", "-1", "1.5"])
def test_a_list_of_devices_that_is_none_is_refused(value, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["jaxlm", "verify-resume", "quickstart", "--devices", value])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert f"--devices {value!r}: give whole numbers from 1 on" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_killed_on_eight_devices_goes_on_in_two_processes_and_on_four_devices(tmp_path, monkeypatch):
    cfg = tiny_run.config(tiny_run.write_text(tmp_path), "data.batch=8", "mesh.devices=none")
    (tmp_path / "config.json").write_text(json.dumps(cfg.model_dump(mode="json")))
    monkeypatch.setenv("PYTHONPATH", str(tiny_run.ROOT))
    said = []
    places = resume.shapes([1, 2, 1], [8, 2, 4])
    proof = resume.prove(str(tmp_path / "config.json"), (), tmp_path, places, kills=3, seed=0, say=said.append)
    assert proof["same"], proof
    assert [attempt["killed_at"] is None for attempt in proof["attempts"]] == [False, False, False, True]
    assert proof["lines"] == 6 and proof["batches"] == 20 and len(proof["arrays"]) > 20


@pytest.mark.slow
def test_fast_steps_are_not_the_same_bits_on_other_devices(tmp_path, monkeypatch):
    """Else the proof could not fail."""
    cfg = tiny_run.config(tiny_run.write_text(tmp_path), "data.batch=8", "mesh.devices=none", "loop.steps=10")
    (tmp_path / "config.json").write_text(json.dumps(cfg.model_dump(mode="json")))
    monkeypatch.setenv("PYTHONPATH", str(tiny_run.ROOT))
    monkeypatch.setattr(resume, "STRICT", "step.deterministic=fast")
    proof = resume.prove(
        str(tmp_path / "config.json"), (), tmp_path, resume.shapes([1], [8, 1]), kills=1, seed=0, say=lambda line: None
    )
    assert not proof["same"] and proof["different_arrays"]
