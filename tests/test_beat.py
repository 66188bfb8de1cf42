"""What a process says of itself is there for others to read, also after it was killed."""

import os
import time

import pytest

from jaxlm import beat


def test_a_word_says_section_step_process_and_the_longest_stay(tmp_path):
    path = tmp_path / "rank-0.beat"
    assert beat.read(path) is None
    own = beat.Beat(path)
    first = beat.read(path)
    assert (first.section, first.step, first.pid) == ("start", 0, os.getpid())
    own.enter("data", 7)
    time.sleep(0.05)
    own.enter("step")
    word = beat.read(path)
    assert (word.section, word.step) == ("step", 7)
    assert word.longest["data"] >= 0.05
    assert word.longest["eval"] == 0
    assert first.since <= word.since <= time.time()
    own.close()


def test_during_a_section_it_is_in_that_and_then_back(tmp_path, monkeypatch):
    path = tmp_path / "beat"
    own = beat.Beat(path)
    monkeypatch.setattr(beat, "_own", own)
    beat.enter("eval", 3)
    with pytest.raises(ZeroDivisionError), beat.during("barrier"):
        assert beat.read(path).section == "barrier"
        raise ZeroDivisionError
    assert beat.read(path).section == "eval"
    own.close()


def test_where_nobody_watches_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(beat, "_own", None)
    monkeypatch.delenv(beat.BEAT, raising=False)
    beat.begin()
    beat.enter("step", 1)
    with beat.during("eval"):
        pass
    assert beat._own is None


def test_a_file_that_is_not_whole_is_no_word(tmp_path):
    (tmp_path / "beat").write_bytes(b"\x01" * 10)
    assert beat.read(tmp_path / "beat") is None
