"""loss_memory.py: both losses are one function, and the rows have the words that others rely on."""

import sys
from pathlib import Path

import jax
import numpy as np

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # the scripts are run by path

import harness  # noqa: E402
import loss_memory  # noqa: E402

SMALL = loss_memory.Size(rows=2, length=48, vocab=203, width=16)


def test_both_losses_and_their_gradients_are_equal():
    given = loss_memory.arguments(SMALL)
    found = [jax.value_and_grad(loss, argnums=(0, 1))(*given) for loss in loss_memory.losses("float32").values()]
    for ours, peer in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(ours, peer, rtol=1e-5, atol=1e-6)


def test_each_round_has_bytes_and_milliseconds_of_both():
    results = loss_memory.measure(SMALL, rounds=2, repeats=1)
    row = harness.compare("memory", results, loss_memory.OURS, loss_memory.PEER, figure="temporary_bytes", unit="bytes")
    assert row["ratio_min"] == row["ratio_max"] == row["peer"] / row["ours"]  # a program has one size
    assert len(row["ours_rounds"]) == 2
    assert harness.compare("speed", results, loss_memory.OURS, loss_memory.PEER)["ratio"] > 0


def test_chunks_need_less_memory_than_all_logits():
    """At a vocabulary where the chunks of 128 MiB are several."""
    size = loss_memory.Size(rows=2, length=1_024, vocab=50_257, width=8)
    programs = loss_memory.compile_all(size)
    ours, peer = (programs[n].memory_analysis().temp_size_in_bytes for n in (loss_memory.OURS, loss_memory.PEER))
    assert ours * 2 < peer
