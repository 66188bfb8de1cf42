"""metrics.jsonl: a run that was cut anywhere goes on without a gap and without a line twice."""

import json
import sys

import pytest

from jaxlm.errors import UserError
from jaxlm.training.telemetry import MetricsFile, Telemetry, TelemetryConfig, read_lines


def write(path, steps, start=0):
    file = MetricsFile(path, start)
    for step in steps:
        file.write(step, {"loss": 1.0 / step})
    file.close()


def steps_in(path):
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_each_line_is_one_object_and_rises_in_step(tmp_path):
    write(tmp_path / "metrics.jsonl", [1, 2, 3])
    assert read_lines(tmp_path / "metrics.jsonl") == [{"step": n, "loss": 1.0 / n} for n in (1, 2, 3)]


def test_lines_after_the_step_gone_on_from_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, [10, 20, 30])
    write(path, [30, 40], start=20)
    assert steps_in(path) == [10, 20, 30, 40]


def test_a_start_from_nothing_drops_all_lines(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, [10, 20])
    write(path, [10], start=0)
    assert steps_in(path) == [10]


@pytest.mark.parametrize("bytes_left", [1, 9, 20])
def test_half_a_last_line_is_left_out_with_a_warning(tmp_path, caplog, bytes_left):
    path = tmp_path / "metrics.jsonl"
    write(path, [10])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step": 20, "loss": 0.5}\n'[:bytes_left])
    write(path, [20], start=10)
    assert steps_in(path) == [10, 20]
    assert "line 2 is not whole" in caplog.text


@pytest.mark.parametrize(
    "tail", [b"\0" * 5, b'{"step": 20, "name": "\xe2\x82', b"\n\n", b"7\n", b'{"loss": 1}\n'], ids=str
)
def test_bytes_that_a_power_cut_left_are_left_out(tmp_path, tail):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 10, "loss": 0.1}\n' + tail)
    write(path, [20], start=10)
    assert steps_in(path) == [10, 20]


def test_numbers_that_are_not_finite_become_null(tmp_path):
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path, 0)
    file.write(1, {"loss": float("nan"), "grad_norm": float("inf"), "mfu": None, "tokens": 3.0})
    file.close()
    assert read_lines(path) == [{"step": 1, "loss": None, "grad_norm": None, "mfu": None, "tokens": 3.0}]


def test_a_line_is_readable_by_others_as_soon_as_it_is_written(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl", 0)
    file.write(1, {"loss": 2.0})
    assert steps_in(tmp_path / "metrics.jsonl") == [1]
    file.close()


def test_each_line_goes_to_the_file_the_board_and_the_terminal(tmp_path):
    shown = []
    telemetry = Telemetry(
        TelemetryConfig(),
        tmp_path,
        start=0,
        config={},
        show=lambda step, metrics: shown.append((step, metrics)),
    )
    telemetry.write(5, {"loss": 1.5, "mfu": None})
    telemetry.write(5, {"eval/loss": 2.5})
    telemetry.close()
    assert shown == [(5, {"loss": 1.5, "mfu": None}), (5, {"eval/loss": 2.5})]
    assert steps_in(tmp_path / "metrics.jsonl") == [5, 5]
    written = b"".join(path.read_bytes() for path in (tmp_path / "tensorboard").iterdir())
    assert b"train/loss" in written and b"eval/loss" in written and b"train/mfu" not in written


def test_without_tensorboard_there_is_no_folder_for_it(tmp_path):
    telemetry = Telemetry(TelemetryConfig(tensorboard=False), tmp_path, start=0, config={})
    telemetry.write(1, {"loss": 1.0})
    telemetry.close()
    assert not (tmp_path / "tensorboard").exists()


def test_weights_and_biases_that_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"telemetry.wandb='mine'.*jaxlm\[wandb\]"):
        Telemetry(TelemetryConfig(wandb="mine", tensorboard=False), tmp_path, start=0, config={})
