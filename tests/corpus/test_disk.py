"""What a disk refuses is a line that names the folder; what is no fault of the disk is not hidden."""

import os
from pathlib import Path

import pytest

from jaxlm.corpus.disk import clear_errors
from jaxlm.errors import UserError


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="a folder in which nobody can make one")
def test_a_folder_that_cannot_be_made_is_told_whatever_the_reason():
    for folder in (Path("/proc/x/c"), Path("/proc/1"), Path("n" * 300)):
        told = pytest.raises(UserError, match=f"the corpus cannot be written to {folder}: .*: name another folder")
        with told, clear_errors(folder, "the corpus", "all is kept"):
            (folder / "work").mkdir(parents=True, exist_ok=True)


def test_a_file_that_is_not_there_is_no_fault_of_the_folder(tmp_path):
    with pytest.raises(FileNotFoundError), clear_errors(tmp_path, "the corpus", "all is kept"):
        (tmp_path / "work" / "x").read_bytes()
