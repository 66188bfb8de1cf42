"""How much memory does the chunked cross-entropy save, and what does it cost in time?

    python benchmarks/loss_memory.py [--rounds 5] [--json] [--record]

Value and gradients (of hidden states and of the head) at GPT-2's vocabulary of 50,257 and width of 768, for 4 rows
of 1,024 tokens: `losses.cross_entropy` with its defaults, against logits as a whole and
optax.softmax_cross_entropy_with_integer_labels. Both multiply in the same precision. Case `memory` is the
temporary memory of the compiled program, `speed` its time; both run in turn in one process, on one device,
under the settings that `jaxlm train` gives itself.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import harness

from jaxlm import host


class Size(NamedTuple):
    rows: int = 4
    length: int = 1_024  # tokens a row: GPT-2's
    vocab: int = 50_257
    width: int = 768


OURS, PEER = "jaxlm", "full logits, optax.softmax_cross_entropy_with_integer_labels"


def losses(precision: str) -> dict[str, Callable]:
    """Two functions (hidden_BLD, table_VD, target_BL) -> nats a token, equal but for the order of sums."""
    import jax.numpy as jnp
    import optax

    from jaxlm.losses import cross_entropy
    from jaxlm.models.layers import einsum

    def chunked(hidden_BLD, table_VD, target_BL):
        weight_BL = jnp.ones(target_BL.shape, jnp.float32)
        objective, _ = cross_entropy(hidden_BLD, table_VD, target_BL, weight_BL, precision=precision)
        return objective / target_BL.size

    def plain(hidden_BLD, table_VD, target_BL):
        logits_BLV = einsum("BLD,VD->BLV", hidden_BLD, table_VD, precision).astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits_BLV, target_BL).mean()

    return {OURS: chunked, PEER: plain}


def arguments(size: Size) -> tuple:
    import jax
    import jax.numpy as jnp

    hidden, table, target = jax.random.split(jax.random.key(0), 3)
    return (
        jax.random.normal(hidden, (size.rows, size.length, size.width), jnp.float32),
        0.02 * jax.random.normal(table, (size.vocab, size.width), jnp.float32),
        jax.random.randint(target, (size.rows, size.length), 0, size.vocab, jnp.int32),
    )


def compile_all(size: Size) -> dict[str, Callable]:
    """Name -> compiled (value, gradients)."""
    import jax

    from jaxlm.models.layers import resolve_precision

    precision = resolve_precision("auto", jax.devices()[0].platform)
    shapes = jax.eval_shape(lambda: arguments(size))
    step = lambda loss: jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    return {name: step(loss).lower(*shapes).compile() for name, loss in losses(precision).items()}


def measure(size: Size, rounds: int, repeats: int = 3) -> dict[str, harness.Rounds]:
    """For each, its temporary bytes, milliseconds and loss, once a round; the first call warms up."""
    import jax

    programs, given = compile_all(size), arguments(size)
    results: dict[str, harness.Rounds] = {name: [] for name in programs}
    for program in programs.values():
        jax.block_until_ready(program(*given))
    for _ in range(rounds):
        for name, program in programs.items():
            times = []
            for _ in range(repeats):
                start = time.perf_counter()
                loss, _ = jax.block_until_ready(program(*given))
                times.append(1e3 * (time.perf_counter() - start))
            temporary = program.memory_analysis().temp_size_in_bytes
            results[name].append(
                {"temporary_bytes": temporary, "median_ms": statistics.median(times), "loss": float(loss)}
            )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="append to RESULTS.md")
    for name, default in Size._field_defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    host.restart_with_allocator()
    host.tune_allocator()
    host.start_jax(1, cache=False)
    results = measure(Size(asked.rows, asked.length, asked.vocab, asked.width), asked.rounds)
    loss = {"ours_loss": results[OURS][0]["loss"], "peer_loss": results[PEER][0]["loss"]}
    rows = [
        harness.compare("memory", results, OURS, PEER, figure="temporary_bytes", unit="bytes", **loss),
        harness.compare("speed", results, OURS, PEER, **loss),
    ]
    result = harness.report("loss_memory", rows, json=asked.json)
    if asked.record:
        harness.record(result)


if __name__ == "__main__":
    main()
