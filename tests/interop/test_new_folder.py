"""A folder that is there whole or not at all."""

from pathlib import Path

import pytest

from jaxlm.errors import UserError
from jaxlm.interop.new_folder import new_folder


def test_it_takes_its_place_when_all_went_well(tmp_path):
    with new_folder(tmp_path / "a" / "b") as building:
        (building / "inside").mkdir()
        (building / "inside" / "file").write_text("x")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "inside" / "file").read_text() == "x"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    with new_folder(tmp_path / "empty") as building:
        (building / "file").write_text("x")
    assert (tmp_path / "empty" / "file").exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_stays_of_what_failed(tmp_path, error):
    with pytest.raises(error), new_folder(tmp_path / "a" / "b" / "new") as building:
        (building / "file").write_text("x")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_never_touched(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "folder", "link"):
        with pytest.raises(UserError, match="exists and is not an empty folder"), new_folder(tmp_path / name):
            pytest.fail("entered")
    assert (tmp_path / "folder" / "file").read_text() == "x" and len(list(tmp_path.iterdir())) == 3


def test_what_came_meanwhile_is_not_overwritten(tmp_path):
    with pytest.raises(UserError, match="exists"), new_folder(tmp_path / "new"):
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "file").write_text("theirs")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_file_is_no_place_for_a_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    for target in (tmp_path / "file" / "new", tmp_path / "file" / "deep" / "new"):
        with pytest.raises(UserError, match="cannot be made"), new_folder(target):
            pytest.fail("entered")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_without_a_name_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is where you are"), new_folder(Path("")):
        pytest.fail("entered")
