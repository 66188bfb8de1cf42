"""Batches are placed before they are asked for, in order, and what goes wrong is not lost."""

import threading

import pytest

from jaxlm.training.ahead import Ahead


def test_batches_come_in_order_and_end():
    assert list(Ahead(iter(range(5)), lambda n: 10 * n)) == [0, 10, 20, 30, 40]


def test_the_next_batch_is_placed_while_nobody_asks():
    placed = threading.Event()
    ahead = Ahead(iter(range(3)), lambda n: placed.set() if n == 1 else n)
    assert next(ahead) == 0
    assert placed.wait(timeout=30)
    ahead.close()


def test_a_failure_is_raised_where_its_batch_is_asked_for():
    ahead = Ahead(iter([4, 2, 0]), lambda n: 8 // n)
    assert [next(ahead), next(ahead)] == [2, 4]
    with pytest.raises(ZeroDivisionError):
        next(ahead)
    ahead.close()


def test_a_closed_one_has_no_thread_left():
    own = lambda: [thread for thread in threading.enumerate() if thread.name.startswith("jaxlm-ahead")]
    ahead = Ahead(iter(range(9)), lambda n: n)
    assert len(own()) == 1
    ahead.close()
    assert not own()
