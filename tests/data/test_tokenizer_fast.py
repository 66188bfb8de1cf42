"""gigatoken, or what stands in for it here, changes no id, and is not used where it would."""

import json
import logging
import sys
from types import SimpleNamespace

import gigatoken
import hypothesis
import numpy as np
import pytest
from tokenizers import Tokenizer as Library

from jaxlm.config import override
from jaxlm.corpus.prepare import prepare
from jaxlm.data import tokenizer as tokenizers
from jaxlm.data import tokenizer_fast
from jaxlm.data.dataset import DataConfig
from jaxlm.data.tokenizer_config import ByteBpeConfig, BytesConfig
from jaxlm.data.tokenizer_huggingface import HuggingFaceTokenizer
from tests.data.test_tokenizer import CODE, TEXT
from tests.data.test_tokenizer_training import SPECIALS, trained


class StandIn:
    """gigatoken's part that is used, by the library; wrong for a text with `wrong` in it."""

    wrong = "\0"
    made = 0

    def __init__(self, content: str):
        data = json.loads(content)
        if data["model"].get("fuse_unk"):
            raise ValueError("unsupported")
        self.library, StandIn.made = Library.from_str(content), StandIn.made + 1

    @classmethod
    def from_json(cls, content: str) -> "StandIn":
        return cls(content)

    def encode_batch(self, texts, *, parallel):
        assert parallel is False  # threads are ours
        ids = [self.library.encode(text).ids + [7] * (self.wrong in text) for text in texts]
        offsets = np.cumsum([0, *map(len, ids)])
        content = SimpleNamespace(data=np.concatenate([np.array(one, np.uint32) for one in ids]))
        return SimpleNamespace(layout=SimpleNamespace(content=content, offsets=SimpleNamespace(data=offsets)))


@pytest.fixture
def stand_in(monkeypatch, caplog):
    monkeypatch.setattr(tokenizer_fast, "installed", lambda: SimpleNamespace(Tokenizer=StandIn))
    monkeypatch.setattr(StandIn, "made", 0)
    caplog.set_level(logging.INFO, "jaxlm")
    return caplog


def test_ids_are_the_librarys_and_it_says_so(stand_in):
    fast = tokenizer_fast.faster(trained("llama3"), CODE)
    assert fast is not None and "its ids are the library's for" in stand_in.text
    texts = [*CODE, "", SPECIALS]
    for ours, theirs in zip(fast.encode_batch(texts), trained("llama3").encode_batch(texts), strict=True):
        assert ours.dtype == np.int32
        np.testing.assert_array_equal(ours, theirs)
    assert (fast.digest, fast.decode(fast.encode("a b"))) == (trained("llama3").digest, "a b")


def test_one_text_with_other_ids_turns_it_off_and_is_named(stand_in, monkeypatch):
    monkeypatch.setattr(StandIn, "wrong", "f9(")
    assert tokenizer_fast.faster(trained("llama3"), CODE) is None
    assert "gives other ids than its library for a text that begins 'def f9(a, b):" in stand_in.text


@pytest.mark.parametrize("name", ["wordpiece", "bytes"])
def test_it_is_not_asked_for_what_it_is_not_made_for(stand_in, name):
    other = tokenizers.train(BytesConfig(), [], seed=0) if name == "bytes" else trained(name)
    assert tokenizer_fast.faster(other, CODE) is None and StandIn.made == 0


def test_where_it_is_not_installed_nothing_is_said(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "gigatoken", None)
    caplog.set_level(logging.INFO, "jaxlm")
    assert tokenizer_fast.faster(trained("llama3"), CODE) is None and caplog.text == ""


def test_a_tokenizer_that_it_does_not_read_is_left_to_the_library(stand_in, monkeypatch):
    monkeypatch.setattr(StandIn, "from_json", lambda content: int("unsupported pre-tokenizer"))
    assert tokenizer_fast.faster(trained("llama3"), CODE) is None
    assert "gigatoken is not used: " in stand_in.text and "unsupported pre-tokenizer" in stand_in.text


def test_some_of_what_follows_is_compared_and_it_forgets(stand_in, monkeypatch):
    monkeypatch.setattr(tokenizer_fast, "CHECK_EVERY", 1_000)
    monkeypatch.setattr(tokenizer_fast, "FORGET_EVERY", 5_000)
    fast = tokenizer_fast.faster(trained("llama3"), CODE[:2])
    assert fast is not None
    before = StandIn.made
    fast.encode_batch(["abc " * 5_000])
    assert StandIn.made == before + 1
    monkeypatch.setattr(StandIn, "wrong", "z")
    with pytest.raises(tokenizer_fast.Disagrees, match="begins 'z z z"):
        fast.encode_batch(["z " * 1_000])


# --- shards


def shards_of(tmp_path, name: str):
    source = tmp_path / "text.txt"
    source.write_text("".join(CODE * 3) + "zz " * 2_000, encoding="utf-8")
    data = DataConfig(source=str(source), length=16, batch=2, tokenizer=ByteBpeConfig(vocab=400))
    made = prepare(override(data, ["split.kind=contiguous"]), tmp_path / name)
    return {path.name: path.read_bytes() for path in made.folder.rglob("*") if path.is_file()}


def test_shards_have_the_same_bytes_with_it_and_without(stand_in, tmp_path, monkeypatch):
    fast = shards_of(tmp_path, "fast")
    assert "encoding by gigatoken" in stand_in.text and StandIn.made == 1
    monkeypatch.setattr(tokenizer_fast, "installed", lambda: None)
    assert fast == shards_of(tmp_path, "slow")


def test_shards_are_made_anew_where_it_goes_wrong_in_the_middle(stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(tokenizer_fast, "FIRST_PARTS", 0)
    monkeypatch.setattr(tokenizer_fast, "CHECK_EVERY", 1_000)
    monkeypatch.setattr(tokenizer_fast, "CHECKED", 100_000)
    monkeypatch.setattr(StandIn, "wrong", "zz")
    fast = shards_of(tmp_path, "fast")
    assert "encoding anew without it" in stand_in.text
    monkeypatch.setattr(tokenizer_fast, "installed", lambda: None)
    assert fast == shards_of(tmp_path, "slow")


# --- the real one


@pytest.mark.parametrize("name", ["llama3", "gpt2"])
@hypothesis.given(TEXT)
@hypothesis.example(SPECIALS)
def test_gigatoken_gives_the_librarys_ids_for_any_text(name, text):
    tokenizer = trained(name)
    assert isinstance(tokenizer, HuggingFaceTokenizer)
    tokenizer_fast.ByGigatoken(gigatoken, tokenizer).compare([text])
