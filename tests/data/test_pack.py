"""Every plan predicts every token once, in order, and packs tightly."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxlm.data import pack
from jaxlm.data.pack import Chunked, Lanes, fill_rows
from jaxlm.data.rows import cut
from jaxlm.data.shards import Shards, Writer, commit
from jaxlm.errors import UserError

document_lengths = st.lists(st.integers(1, 40), min_size=1, max_size=30)  # predicted tokens
lengths, lane_counts = st.integers(1, 50), st.integers(1, 9)


def offsets_of(predicted):
    return np.concatenate([[0], np.cumsum(predicted)])


def plans(offsets, length, lanes):
    return (
        fill_rows(offsets, length),
        Chunked(int(offsets[-1]), length),
        Lanes(offsets, length, lanes),
    )


@given(document_lengths, lengths, lane_counts)
def test_every_plan_predicts_every_token_once(predicted, length, lanes):
    offsets = offsets_of(predicted)
    for plan in plans(offsets, length, lanes):
        spans = plan.spans(np.arange(plan.rows + 3))  # the last three are beyond the end, so empty
        targets = [s + 1 + i for s, n in zip(spans.start, spans.count, strict=True) for i in range(n)]
        assert sorted(targets) == list(range(1, offsets[-1] + 1))
        assert (np.bincount(spans.row, spans.count) <= length).all()
        assert spans.row.max(initial=0) < plan.rows


@given(document_lengths, lengths)
def test_packing_keeps_every_document_that_fits_whole(predicted, length):
    offsets = offsets_of(predicted)
    packed = fill_rows(offsets, length)
    pieces = dict(zip(packed.start.tolist(), packed.count.tolist(), strict=True))
    for start, end in itertools.pairwise(offsets.tolist()):
        expected = [length] * ((end - start) // length) + [(end - start) % length] * ((end - start) % length > 0)
        assert [pieces[start + i * length] for i in range(len(expected))] == expected


def test_documents_of_usual_lengths_fill_their_rows():
    lengths = np.random.default_rng(0).lognormal(5.5, 1, 10_000).astype(int) + 1
    packed = fill_rows(offsets_of(lengths), 2_048)
    assert packed.rows == -(-lengths.sum() // 2_048)  # as few as there can be


@given(document_lengths, lengths, lane_counts)
def test_a_lane_goes_on_where_it_stopped(predicted, length, lanes):
    offsets = offsets_of(predicted)
    plan = Lanes(offsets, length, lanes)
    for lane in range(lanes):
        spans = plan.spans(np.arange(lane, plan.rows, lanes))
        ends = spans.start + spans.count
        assert (spans.start[1:] == ends[:-1]).all()
        opens = np.isin(spans.start, offsets)
        assert (spans.position[opens] == 0).all()
        assert spans.position[:1].sum() == 0  # a lane opens afresh
        goes_on = ~opens[1:]
        assert (spans.position[1:][goes_on] == (spans.position + spans.count)[:-1][goes_on]).all()


def test_lanes_are_equally_long():
    plan = Lanes(offsets_of([1_000]), length=10, lanes=8)
    assert plan.rows == 8 * 13  # 125 tokens a lane
    assert plan.spans(np.arange(8)).start.tolist() == [0, 125, 250, 375, 500, 625, 750, 875]


@pytest.fixture
def shards(tmp_path):
    building, counts = tmp_path / "building", {}
    for split, documents in {"train": [[1, 2, 3], [4] * 9, [5]], "validation": [[6]], "test": []}.items():
        writer = Writer(building, split, vocab=10, separator=0)
        for tokens in documents:
            writer.add(np.array(tokens), len(tokens))
        counts[split] = writer.close()
    commit(building, tmp_path / "shards", facts={"vocab": 10, "separator": 0, "splits": counts})
    return Shards.open(tmp_path / "shards")


def same(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("first", "start", "count"))


def test_a_packed_plan_is_made_once_and_kept(shards, monkeypatch):
    made = pack.plan(shards, "train", "packed", 4, 2)
    monkeypatch.setattr(pack, "fill_rows", None)  # not called again
    kept = pack.plan(shards, "train", "packed", 4, 2)
    assert same(made, kept) and kept.rows == made.rows
    assert shards.verify() == []


def test_a_damaged_or_foreign_plan_is_made_anew(shards, caplog):
    made = pack.plan(shards, "train", "packed", 4, 2)
    other = pack.plan(shards, "train", "packed", 5, 2)
    path = shards.folder / "plans" / "train-packed-4.plan"
    good, foreign = path.read_bytes(), (path.with_name("train-packed-5.plan")).read_bytes()
    flipped = good[:30] + bytes([good[30] ^ 1]) + good[31:]
    for bad in (flipped, good[:-1], b"", foreign):
        path.write_bytes(bad)
        assert same(pack.plan(shards, "train", "packed", 4, 2), made)
        assert path.read_bytes() == good
    assert caplog.text.count("damaged or belongs to other shards") == 4
    assert not same(made, other)


def test_a_plan_that_cannot_be_kept_is_used_and_said(shards, caplog):
    (shards.folder / "plans").write_text("a file in the way")
    assert pack.plan(shards, "train", "packed", 4, 2).rows > 0
    assert "is not kept" in caplog.text


@pytest.mark.parametrize("kind", ["packed", "chunked", "lanes"])
def test_a_length_beyond_the_whole_split_is_one_padded_row(shards, kind):
    plan = pack.plan(shards, "validation", kind, 1_000, 1)
    rows = cut(np.asarray(shards.tokens("validation")), plan.spans(np.arange(plan.rows)), plan.rows, 1_000)
    assert plan.rows == 1 and rows.weight.sum() == 2


def test_a_split_without_documents_is_the_users_mistake(shards):
    with pytest.raises(UserError, match=r"'test'.*data\.split"):
        pack.plan(shards, "test", "chunked", 4, 2)
