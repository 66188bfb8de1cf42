"""What a memory of words gives is what reading the whole text gives, and each word is read once."""

from concurrent.futures import ThreadPoolExecutor

import hypothesis
import numpy as np
import pytest

from jaxlm.data import word_memory
from jaxlm.data.stand_ins import put_in
from jaxlm.data.tokenizer import SentencePieceTokenizer
from jaxlm.data.word_memory import WordMemory
from tests.data.test_tokenizer import CODE, SNIPPETS, TEXT, trained


def as_a_whole(name: str):
    tokenizer = trained(name)
    assert isinstance(tokenizer, SentencePieceTokenizer)
    return tokenizer, tokenizer._as_a_whole


@pytest.mark.parametrize("name", ["bpe", "char", "bpe without bytes"])
@hypothesis.given(TEXT)
@hypothesis.example("".join(SNIPPETS))
@hypothesis.example("  a   b  \n  c    ")
def test_ids_are_those_of_the_whole_text(name, text):
    tokenizer, whole = as_a_whole(name)
    texts = [put_in(text), put_in("\n".join(CODE[:20]) + text)]
    if name == "bpe without bytes":
        texts = ["".join(c for c in text if tokenizer._knows(c)) for text in texts]
    for ours, theirs in zip(tokenizer._plain_ids(texts), whole(texts), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_unigram_reads_texts_as_a_whole():
    tokenizer, whole = as_a_whole("unigram")
    assert tokenizer._plain_ids == whole


def counting(asked: list[str]) -> WordMemory:
    def encode(words: list[str]) -> list[list[int]]:
        asked.extend(words)
        return [[ord(c) for c in word] for word in words]

    return WordMemory(encode)


def test_each_word_is_asked_for_once():
    asked: list[str] = []
    memory = counting(asked)
    texts = ["a bc  a", "", " ", " bc a"]
    for _ in range(2):
        assert [ids.tolist() for ids in memory.ids(texts)] == [[ord(c) for c in text] for text in texts]
    assert sorted(asked) == sorted(["a", " bc", "  a", " ", " a"])
    assert memory.ids([]) == []


def test_it_forgets_before_it_grows(monkeypatch):
    monkeypatch.setattr(word_memory, "MOST_CHARACTERS", 4)
    asked: list[str] = []
    memory = counting(asked)
    for _ in range(2):
        assert memory.ids(["ab cd"])[0].tolist() == [ord(c) for c in "ab cd"]
    assert len(asked) == 4


def test_threads_have_memories_of_their_own():
    texts = ["".join(CODE[n : n + 9]) for n in range(60)]
    wanted = [[ord(c) for c in text] for text in texts]
    memory = counting([])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: memory.ids([text])[0].tolist(), texts))
    assert found == wanted
