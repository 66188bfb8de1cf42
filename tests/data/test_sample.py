"""The sample that tokenizers are trained on: bounded, fair, the same every time."""

import hypothesis
import hypothesis.strategies as st

from jaxlm.data.sample import CHUNK_CHARACTERS, bounded_sample, cut


@hypothesis.given(st.text("ab \n", max_size=200), st.integers(1, 20))
def test_cut_parts_join_to_the_text_and_keep_the_bound(text, characters):
    parts = list(cut(text, characters))
    assert "".join(parts) == text
    assert all(len(part) <= characters for part in parts)


def test_cut_falls_before_the_first_space_of_a_run():
    assert list(cut("one two   three", 9)) == ["one two", "   three"]


def test_a_corpus_below_the_bound_is_taken_whole_and_in_order():
    texts = [f"document {i}\n" * i for i in range(1, 500)]
    assert "".join(bounded_sample(texts, 10**9, seed=3)) == "".join(texts)


def test_the_sample_keeps_its_bound_in_bytes_and_depends_on_the_seed_alone():
    texts = [chr(0x4E00 + i) * 5_000 for i in range(300)]
    first, again, other = (bounded_sample(iter(texts), 100_000, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert 80_000 < len("".join(first).encode()) <= 100_000
    assert all(len(chunk) <= CHUNK_CHARACTERS for chunk in first)


def test_every_part_of_the_corpus_has_the_same_chance():
    texts = [f"{i:05d}" * 800 for i in range(2_000)]  # one chunk each
    kept = [int(chunk[:5]) for chunk in bounded_sample(texts, 400 * 4_000, seed=0)]
    assert len(kept) == 400
    assert abs(sum(kept) / 400 - 1_000) < 100  # the standard error of this mean is 26


def test_one_huge_line_is_sampled_in_pieces():
    assert 0 < len("".join(bounded_sample(["x" * 3_000_000], 50_000, seed=0))) <= 50_000
