"""The loader: batches by global step, through Grain's prefetching iterator.

Which rows a step reads is a pure function of (shards, seed, step), so the whole state is one integer, and any
number of processes sees the same global batches: process r of n takes rows r * b to (r + 1) * b - 1 of each,
b = batch / n. Grain's source is indexed by the step and reads a whole batch at once: record by record it is
ten times slower, and holds the interpreter's lock longer.
Left out: putting batches on devices (training/), shuffling (data/order.py says why it is not Grain's).
"""

import logging
import sys
from collections.abc import Callable

import grain
import numpy as np

from jaxlm.batch import Batch
from jaxlm.data import tokenizer
from jaxlm.data.dataset import DataConfig
from jaxlm.data.examples import cuts
from jaxlm.data.ids import Ids
from jaxlm.data.masking import Masked
from jaxlm.data.mixed import Mixed, by_component
from jaxlm.data.objectives import BatchOfRows, NextToken, ids, labelled, reader, row_plan
from jaxlm.data.order import Shuffled
from jaxlm.data.shards import Shards
from jaxlm.errors import UserError

log = logging.getLogger("jaxlm")
_READ_THREADS = 2  # chosen: more only wait for the interpreter's lock (58 Mtok/s with 2, 30 with Grain's 16)
_ENDLESS = sys.maxsize

RowsOfStep = Callable[[int], np.ndarray]


class Batches:
    """An iterator of numpy Batches that knows `step`, the global step of the batch that comes next."""

    def __init__(self, source: "_StepSource", start_step: int, prefetch: int):
        options = grain.ReadOptions(num_threads=min(_READ_THREADS, prefetch), prefetch_buffer_size=max(prefetch, 1))
        self._iterator = iter(grain.MapDataset.source(source).to_iter_dataset(options))
        grain.experimental.set_next_index(self._iterator, start_step)
        self.step = start_step

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> Batch:
        batch = next(self._iterator)
        self.step += 1
        return batch

    def close(self) -> None:
        """Stop the read threads; what they read ahead is dropped."""
        self._iterator.close()


def batches(
    shards: Shards,
    config: DataConfig,
    split: str = "train",
    *,
    start_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    mixed: Mixed | None = None,
) -> Batches:
    """Endless training batches from `start_step` on: this process's rows of each global batch.

    Every epoch is a new order of all rows, except in lanes, which go on in the order of the text; with config.mixture
    every epoch of a component. `mixed` is Mixed(shards, split, config), if the caller has it.
    """
    if config.mixture is not None:
        mixed = mixed or Mixed(shards, split, config)
        rows = mixed.components.plan
    else:
        rows = row_plan(shards, split, config.objective, config.rows, config.length, config.batch)
    if labelled(config.objective):
        for cut in cuts(shards, split, config.objective, config.length):
            log.warning("%d of %d %s are longer than %s and lose their end", cut.count, cut.texts, cut.what, cut.field)
    local, first = _share(config.batch, process_index, process_count)
    shuffled = mixed or Shuffled(rows.rows, key=f"{shards.digest} {config.seed}")

    def rows_of_step(step: int) -> np.ndarray:
        start = step * config.batch + first
        if config.rows == "lanes":
            return np.arange(start, start + local) % rows.rows
        return shuffled(start, start + local)

    read = reader(shards, split, rows, config.objective, ids_for(shards, config), config.seed)
    source = _StepSource(read, rows_of_step, config.batch, first, steps=_ENDLESS)
    return Batches(source, start_step, config.prefetch)


def evaluation_batches(
    shards: Shards,
    config: DataConfig,
    split: str = "validation",
    *,
    process_index: int = 0,
    process_count: int = 1,
) -> Batches:
    """One pass over a split in order; rows that fill up the last batch have weight 0 throughout.

    Of a mixture, whatever its weights: component after component, where the shards know of them.
    """
    if config.mixture is not None and shards.names(config.mixture.by):
        rows = by_component(shards, split, config).plan
    else:
        rows = row_plan(shards, split, config.objective, config.rows, config.length, config.batch)
    local, first = _share(config.batch, process_index, process_count)

    def rows_of_step(step: int) -> np.ndarray:
        return step * config.batch + first + np.arange(local)

    steps = -(-rows.rows // config.batch)
    read = reader(shards, split, rows, config.objective, ids_for(shards, config), config.seed)
    source = _StepSource(read, rows_of_step, config.batch, first, steps)
    return Batches(source, 0, config.prefetch)


def asks(shards: Shards, config: DataConfig, split: str) -> bool:
    """Is anything to be predicted in the rows of a split? Reads up to the first row that has something."""
    if isinstance(config.objective, NextToken) or labelled(config.objective):
        return True  # as every document and every example is
    few = config.model_copy(update={"batch": min(config.batch, 64), "prefetch": 0})  # 64: chosen, one read as a rule
    source = evaluation_batches(shards, few, split)
    try:
        return any(batch.weight.any() for batch in source)
    finally:
        source.close()


def ids_for(shards: Shards, config: DataConfig) -> Ids:
    """What the objective must know of the shards' tokenizer, which is opened only where words matter."""
    begins = np.ones(0, bool)
    if isinstance(config.objective, Masked) and config.objective.whole_words:
        begins = tokenizer.load(shards.folder / "tokenizer").begins_word()
    return ids(config.objective, config.length, shards, begins)


class _StepSource:
    """Grain's random access source: item s is this process's part of global batch s."""

    def __init__(self, read: BatchOfRows, rows_of_step: RowsOfStep, batch: int, first: int, steps: int):
        self._read, self._rows_of_step = read, rows_of_step
        self._batch, self._first, self._steps = batch, first, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> Batch:
        rows = self._rows_of_step(index)
        return self._read(rows, index * self._batch + self._first + np.arange(rows.size))


def _share(batch: int, process_index: int, process_count: int) -> tuple[int, int]:
    """Rows of a global batch that a process reads, and the first of them."""
    if batch % process_count:
        raise UserError(
            f"data.batch={batch} does not divide over {process_count} processes: "
            f"make it {-(-batch // process_count) * process_count}, or start another number of processes"
        )
    assert 0 <= process_index < process_count
    local = batch // process_count
    return local, process_index * local
