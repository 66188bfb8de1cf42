"""Splits: by content, or by place to the very character."""

import hypothesis
import hypothesis.strategies as st
import pytest

from jaxlm.corpus.document import Document
from jaxlm.corpus.split import by_hash, contiguous
from jaxlm.data.dataset import ContiguousSplit, HashSplit


def texts_of(pairs) -> dict[str, list[str]]:
    result = {"train": [], "validation": [], "test": []}
    for split, document in pairs:
        result[split].append(document.text)
    return result


def cut(texts: list[str], **fractions) -> dict[str, list[str]]:
    made = [Document.of(text, str(i)) for i, text in enumerate(texts)]
    return texts_of(contiguous(made, ContiguousSplit(**fractions), sum(map(len, texts))))


def test_the_fractions_are_kept_by_hash():
    made = [Document.of(f"document {i}", "") for i in range(20_000)]
    found = texts_of(by_hash(made, HashSplit(validation=0.1, test=0.02)))
    assert len(found["validation"]) == pytest.approx(2_000, abs=170)  # four standard deviations
    assert len(found["test"]) == pytest.approx(400, abs=80)
    assert sum(map(len, found.values())) == 20_000


def test_equal_texts_fall_together_and_more_text_moves_nothing():
    made = [Document.of(f"document {i}", "") for i in range(500)]
    cfg = HashSplit(validation=0.3, test=0.3)
    few, many = ({d.text: s for s, d in by_hash(ds, cfg)} for ds in (made[::7], made[::-1] + made))
    assert few.items() <= many.items()


def test_a_text_is_cut_at_the_character_that_nanogpt_cuts_it_at():
    for characters in (1, 9, 10, 11, 999, 1_115_394):
        text = "é" * characters
        found = cut([text], validation=0.1)
        assert "".join(found["train"]) == text[: int(characters * 0.9)]
        assert "".join(found["validation"]) == text[int(characters * 0.9) :]


def test_fractions_that_floats_cannot_hold_cut_where_they_say():
    assert list(map(len, cut(["x" * 100], validation=0.05, test=0.05)["train"])) == [90]


def test_only_the_document_that_lies_across_is_cut():
    found = cut(["aaaa", "bbbb", "cc"], validation=0.3, test=0.1)
    assert found == {"train": ["aaaa", "bb"], "validation": ["bb", "c"], "test": ["c"]}


@hypothesis.given(st.lists(st.text("ab\r\n", min_size=1), max_size=8), st.integers(0, 49), st.integers(0, 49))
def test_no_character_is_lost_or_moved(texts, validation, test):
    found = cut(texts, validation=validation / 100, test=test / 100)
    assert "".join("".join(found[split]) for split in ("train", "validation", "test")) == "".join(texts)
    assert all(all(parts) for parts in found.values())
