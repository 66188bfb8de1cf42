"""Batches on the devices before they are asked for."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jaxlm.batch import Batch


class Ahead:
    """`place` of each of `batches`, one batch ahead in a thread of its own: a step finds its batch placed.

    What goes wrong there is raised where that batch is asked for.
    """

    def __init__(self, batches: Iterator[Batch], place: Callable[[Batch], Any]) -> None:
        self._batches, self._place = batches, place
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jaxlm-ahead")
        self._next = self._thread.submit(self._make)

    def _make(self) -> Any:
        batch = next(self._batches, None)
        return None if batch is None else self._place(batch)

    def __iter__(self) -> "Ahead":
        return self

    def __next__(self) -> Any:
        batch = self._next.result()
        if batch is None:
            raise StopIteration
        self._next = self._thread.submit(self._make)
        return batch

    def close(self) -> None:
        """End the thread; the batch it has placed is dropped."""
        self._thread.shutdown(wait=True, cancel_futures=True)
