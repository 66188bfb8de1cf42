"""One integer is the whole state of the loader, whatever the number of processes."""

import itertools
import shutil

import jax
import numpy as np
import pytest

from jaxlm.data.dataset import DataConfig
from jaxlm.data.loader import batches, evaluation_batches
from jaxlm.data.shards import Shards, Writer, commit
from jaxlm.errors import Damaged, UserError

KINDS = ["packed", "chunked", "lanes"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """1,000 tokens, each text token only once, so that a batch shows where it was read."""
    folder, counts, token = tmp_path_factory.mktemp("loader"), {}, 1
    sizes = np.random.default_rng(0).integers(0, 40, 60)
    for split, documents in {"train": sizes[:50], "validation": sizes[50:], "test": []}.items():
        writer = Writer(folder / "building", split, vocab=3_000, separator=0)
        for size in documents:
            writer.add(np.arange(token, token + size), int(size))
            token += size
        counts[split] = writer.close()
    commit(folder / "building", folder / "s", facts={"vocab": 3_000, "separator": 0, "splits": counts})
    return Shards.open(folder / "s")


def config(**changed):
    return DataConfig(**{"source": "text", "length": 16, "batch": 8, "prefetch": 2, **changed})


def read(shards, cfg, steps, **where):
    loader = batches(shards, cfg, **where)
    try:
        return list(itertools.islice(loader, steps))
    finally:
        loader.close()


def rows_of(parts):
    """Batches as one: their rows below each other."""
    return jax.tree.map(lambda *fields: np.concatenate(fields), *parts)


def joined(shards, cfg, steps, processes, start_step=0):
    """Global batches, put together from the parts of all processes."""
    parts = [
        read(shards, cfg, steps, start_step=start_step, process_index=r, process_count=processes)
        for r in range(processes)
    ]
    return [rows_of(step) for step in zip(*parts, strict=True)]


def assert_equal(some, others):
    assert len(some) == len(others)
    for batch, other in zip(some, others, strict=True):
        for field, expected in zip(batch, other, strict=True):
            np.testing.assert_array_equal(field, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_one_two_and_four_processes_see_the_same_global_batches(shards, kind):
    cfg = config(rows=kind)
    one = joined(shards, cfg, 30, processes=1)
    assert one[0].token.shape == (8, 16)
    assert_equal(joined(shards, cfg, 30, processes=2), one)
    assert_equal(joined(shards, cfg, 30, processes=4), one)


@pytest.mark.parametrize("kind", KINDS)
def test_another_number_of_processes_goes_on_with_the_same_batches(shards, kind):
    cfg = config(rows=kind)
    changed = [
        *joined(shards, cfg, 7, processes=2),
        *joined(shards, cfg, 5, processes=4, start_step=7),
        *joined(shards, cfg, 8, processes=1, start_step=12),
    ]
    assert_equal(changed, joined(shards, cfg, 20, processes=1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prefetch", [0, 1, 5])
def test_the_stream_resumed_at_a_step_is_the_unbroken_one(shards, kind, prefetch):
    unbroken = read(shards, config(rows=kind), 25)
    loader = batches(shards, config(rows=kind, prefetch=prefetch))
    begun = list(itertools.islice(loader, 9))
    step = loader.step
    loader.close()
    assert step == 9
    rest = read(shards, config(rows=kind, prefetch=prefetch), 16, start_step=step)
    assert_equal(begun + rest, unbroken)


@pytest.mark.parametrize("kind", ["packed", "chunked"])
def test_each_epoch_reads_every_row_once_in_a_new_order(shards, kind):
    cfg = config(rows=kind, batch=1)
    passes = list(evaluation_batches(shards, cfg, "train"))
    rows = [batch.target.tobytes() for batch in passes]
    epochs = [batch.target.tobytes() for batch in read(shards, cfg, 3 * len(rows))]
    orders = [epochs[i * len(rows) : (i + 1) * len(rows)] for i in range(3)]
    assert all(sorted(order) == sorted(rows) for order in orders)
    assert len({tuple(order) for order in [rows, *orders]}) == 4


def test_another_seed_is_another_order_and_lanes_have_one_order(shards):
    assert_equal(read(shards, config(rows="lanes", seed=1), 5), read(shards, config(rows="lanes"), 5))
    one, other = read(shards, config(), 1)[0], read(shards, config(seed=1), 1)[0]
    assert (one.token != other.token).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 7, 500])
def test_evaluation_predicts_every_token_once_in_full_batches(shards, kind, batch):
    passes = list(evaluation_batches(shards, config(rows=kind, batch=batch), "train"))
    assert all(field.shape == (batch, 16) for each in passes for field in each[:5])
    predicted = np.concatenate([each.target[each.weight > 0] for each in passes])
    assert sorted(predicted) == sorted(shards.tokens("train")[1:].tolist())


def test_chunks_and_lanes_are_evaluated_in_the_order_of_the_text(shards):
    for kind, batch in (("chunked", 8), ("lanes", 1)):
        passes = list(evaluation_batches(shards, config(rows=kind, batch=batch), "validation"))
        predicted = np.concatenate([each.target[each.weight > 0] for each in passes])
        assert predicted.tolist() == shards.tokens("validation")[1:].tolist()


def test_evaluation_is_shared_by_processes_in_equally_many_batches(shards):
    cfg = config(batch=6)
    parts = [list(evaluation_batches(shards, cfg, "train", process_index=r, process_count=3)) for r in range(3)]
    whole = [rows_of(step) for step in zip(*parts, strict=True)]
    assert_equal(whole, list(evaluation_batches(shards, cfg, "train")))


def test_a_lane_of_one_batch_goes_on_in_the_next(shards):
    one, two = read(shards, config(rows="lanes"), 2)
    stream, lane_tokens = shards.tokens("train"), -(-shards.counts("train")["predicted"] // 8)
    for lane in range(8):
        read_on = np.concatenate([one.token[lane], two.token[lane], two.target[lane, -1:]])
        np.testing.assert_array_equal(read_on, stream[lane * lane_tokens :][:33])
        assert two.position[lane, 0] in (0, one.position[lane, -1] + 1)


def test_more_rows_a_batch_than_there_are_goes_through_several_epochs(shards):
    cfg = config(length=2_000, batch=4, rows="chunked")
    batch = read(shards, cfg, 1)[0]
    assert (batch.token == batch.token[0]).all()
    assert batch.weight.sum() == 4 * shards.counts("train")["predicted"]


def test_a_batch_that_does_not_divide_names_both_numbers(shards):
    with pytest.raises(UserError, match=r"batch=8.*3 processes.*9"):
        batches(shards, config(), process_index=0, process_count=3)


def test_training_on_an_empty_split_is_the_users_mistake_at_once(shards):
    with pytest.raises(UserError, match="no documents"):
        batches(shards, config(), "test")
    with pytest.raises(UserError, match="no documents"):
        evaluation_batches(shards, config(), "test")


def test_a_truncated_stream_is_found_before_a_batch_is_read(shards, tmp_path):
    for path in shards.folder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    stream = tmp_path / "train.tokens"
    stream.write_bytes(stream.read_bytes()[:-2])
    with pytest.raises(Damaged, match=r"train\.tokens"):
        Shards.open(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_separator_is_read_as_what_closes_where_it_is_to_be_predicted(shards, kind, tmp_path):
    """For tokenizers that open a text with one token and close it with another."""
    building = shutil.copytree(
        shards.folder, tmp_path / "building", ignore=shutil.ignore_patterns("manifest.json", "plans")
    )
    facts = {name: shards.manifest[name] for name in ("vocab", "separator", "splits")}
    commit(building, tmp_path / "closed", facts=facts | {"closing": 2_999})
    plain, closed = (
        list(evaluation_batches(some, config(rows=kind))) for some in (shards, Shards.open(tmp_path / "closed"))
    )
    for a, b in zip(plain, closed, strict=True):
        asked = a.weight > 0
        np.testing.assert_array_equal(b.token, a.token)
        np.testing.assert_array_equal(b.target[asked], np.where(a.target == 0, 2_999, a.target)[asked])
    ends = sum(int(((b.target == 2_999) & (b.weight > 0)).sum()) for b in closed)
    assert ends == shards.counts("validation")["documents"]
