import logging
import math

import pytest

from jaxlm.checkpoint_folder import MANIFEST, CheckpointConfig, CheckpointFolder, steps_to_keep
from jaxlm.errors import Damaged


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path)


def make(folder, step, *, loss=None, finish=True):
    """A step as Orbax would commit it, with one file."""
    folder.path(step).mkdir()
    (folder.path(step) / "data").write_bytes(bytes(range(step)))
    if finish:
        folder.finish(step, {"metrics": {} if loss is None else {"eval/loss": loss}, "meta": {"step": step}})


def names(folder):
    return sorted(path.name for path in folder.root.iterdir())


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"latest": 2, "best": 1}, {30, 80, 90}),
        ({"latest": 1, "best": 0}, {90}),
        ({"latest": 1, "best": 2}, {30, 40, 90}),
        ({"latest": 3, "best": 0, "every": 20}, {20, 40, 60, 70, 80, 90}),
        ({"latest": 1, "best": 0, "every": 1000}, {90}),
    ],
)
def test_a_step_stays_if_it_is_new_or_best_or_a_multiple(options, kept):
    losses = {step: abs(step - 33) / 10 for step in range(10, 100, 10)}
    assert steps_to_keep(losses, CheckpointConfig(**options)) == kept


def test_a_step_without_a_finite_loss_is_never_the_best():
    losses = {1: math.nan, 2: 5.0, 3: -math.inf, 4: math.nan, 5: 6.0}
    assert steps_to_keep(losses, CheckpointConfig(latest=1, best=3)) == {2, 5}


def test_the_newest_step_stays_though_it_is_the_worst(folder):
    for step, loss in [(1, 1.0), (2, 3.0), (3, 2.0), (4, 9.0)]:
        make(folder, step, loss=loss)
    folder.remove_old(CheckpointConfig(latest=1, best=1))
    assert names(folder) == ["1", "4"]


def test_a_damaged_old_manifest_does_not_stop_the_removal(folder):
    for step in (1, 2, 3):
        make(folder, step, loss=float(step))
    (folder.path(1) / MANIFEST).write_bytes(b"{}")
    folder.remove_old(CheckpointConfig(latest=1, best=1))
    assert names(folder) == ["2", "3"]


def test_a_step_without_a_manifest_is_committed_but_not_finished(folder):
    make(folder, 5)
    make(folder, 12, finish=False)
    assert (folder.committed(), folder.finished()) == ([5, 12], [5])
    with pytest.raises(Damaged, match=r"manifest\.json.*did not finish"):
        folder.manifest(12)


def test_what_a_killed_process_left_is_removed_with_a_warning(folder, caplog):
    make(folder, 5)
    make(folder, 12, finish=False)
    for remains in ("20.orbax-checkpoint-tmp", "3.removed", "4.damaged", "notes", "007"):
        (folder.root / remains / "deep").mkdir(parents=True)
    with caplog.at_level(logging.WARNING, "jaxlm"):
        folder.remove_unfinished()
    assert names(folder) == ["007", "4.damaged", "5", "notes"]
    removed = [folder.root / name for name in ("12", "20.orbax-checkpoint-tmp", "3.removed")]
    assert len(caplog.records) == len(removed)
    for path, record in zip(removed, caplog.records, strict=True):
        assert f"{path} " in record.getMessage() or f"{path}:" in record.getMessage()


def test_a_step_set_aside_is_kept_under_another_name(folder):
    for _ in range(3):
        make(folder, 5)
        folder.set_aside([5])
    assert names(folder) == ["5.damaged", "5.damaged1", "5.damaged2"], "nothing is overwritten"
    assert folder.committed() == []


def test_a_manifest_of_another_step_or_format_is_damaged(folder, monkeypatch):
    make(folder, 5)
    folder.path(5).rename(folder.path(6))
    with pytest.raises(Damaged, match=r"\(1, 5\).*\(1, 6\)"):
        folder.manifest(6)
    monkeypatch.setattr("jaxlm.checkpoint_folder.FORMAT_VERSION", 2)
    make(folder, 7)
    monkeypatch.undo()
    assert folder.problems(7) == ["manifest.json: (format, step) is (2, 7), this jaxlm reads (1, 7) in that folder"]


def test_a_folder_that_is_not_there_holds_no_steps(tmp_path):
    assert CheckpointFolder(tmp_path / "none").committed() == []


def test_the_config_refuses_to_keep_no_step():
    with pytest.raises(ValueError, match="latest"):
        CheckpointConfig(latest=0)
