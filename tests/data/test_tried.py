"""A tokenizer from elsewhere is tried once in a process of its own; one that was made here never."""

import json
import shutil
import subprocess

import pytest

from jaxlm.data import tokenizer as tokenizers
from jaxlm.data import tokenizer_huggingface, tried
from jaxlm.data.tokenizer_config import ByteBpeConfig, SentencePieceConfig
from jaxlm.errors import UserError
from tests.faults.hostile_tokenizers import doubling, library, split

TEXTS = [f"the old king sees {n} small birds\n" for n in range(200)]


@pytest.fixture
def starts(monkeypatch, tmp_path):
    """The calls that start a process; nothing is known yet of any tokenizer."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tried, "_known", set())
    calls, run = [], subprocess.run

    def noted(*arguments, **options):
        calls.append((arguments, options))
        return run(*arguments, **options)

    monkeypatch.setattr(subprocess, "run", noted)
    return calls


def put(folder, told):
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(told))
    return folder


@pytest.mark.parametrize("cfg", [SentencePieceConfig(vocab=288), ByteBpeConfig(vocab=288)], ids=lambda cfg: cfg.kind)
def test_what_was_made_here_is_not_tried_in_this_process_or_the_next(cfg, starts, tmp_path, monkeypatch):
    tokenizers.train(cfg, TEXTS, seed=0).save(tmp_path / "mine")
    monkeypatch.setattr(tried, "_known", set())  # as in the next process
    shutil.copytree(tmp_path / "mine", tmp_path / "copy")
    assert tokenizers.load(tmp_path / "copy").vocab == 288 and starts == []


@pytest.mark.parametrize("cfg", [SentencePieceConfig(vocab=288), ByteBpeConfig(vocab=288)], ids=lambda cfg: cfg.kind)
def test_what_came_from_elsewhere_is_tried_once(cfg, starts, tmp_path, monkeypatch):
    tokenizers.train(cfg, TEXTS, seed=0).save(tmp_path / "theirs")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another user's"))
    for _ in range(3):
        monkeypatch.setattr(tried, "_known", set())
        assert tokenizers.load(tmp_path / "theirs").vocab == 288
    assert len(starts) == 1


def test_where_nothing_can_be_kept_each_process_tries_anew(starts, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        monkeypatch.setattr(tried, "_known", set())
        tokenizer_huggingface.open_folder(put(tmp_path / "theirs", library()))
    assert len(starts) == 2


def test_a_model_in_trial_sees_no_secret(starts, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    tokenizer_huggingface.open_folder(put(tmp_path / "theirs", library()))
    ((_, options),) = starts
    assert "HF_TOKEN" not in options["env"] and "PATH" in options["env"]


def test_what_takes_too_much_is_one_line_and_is_tried_again(starts, tmp_path):
    hundredfold = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 100}
    for _ in range(2):
        with pytest.raises(UserError, match=r"took tokenizers over 1 s or [\d,]+ bytes, or crashed it \(ended by sig"):
            tokenizer_huggingface.open_folder(put(tmp_path / "theirs", doubling(5, hundredfold)))
    assert len(starts) == 2


def test_a_pattern_of_exponential_time_is_one_line(starts, tmp_path, capfd):
    with pytest.raises(UserError, match=r"is no tokenizer that `tokenizers` [\d.]+ reads: Onig"):
        tokenizer_huggingface.open_folder(put(tmp_path / "theirs", split(r"(a+)+$")))
    assert capfd.readouterr() == ("", "")


def test_a_hang_ends(starts, tmp_path, monkeypatch):
    monkeypatch.setattr(tried, "PATIENCE", 0)
    with pytest.raises(UserError, match="had not loaded it after 0 s"):
        tokenizer_huggingface.open_folder(put(tmp_path / "theirs", library()))
