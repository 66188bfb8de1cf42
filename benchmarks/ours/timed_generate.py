"""jaxlm's side of generate.py: greedy decoding as `jaxlm generate` does it, timed in a process of its own.

    python benchmarks/ours/timed_generate.py 124m_8 [--precision float32]

Prints {"median_ms" of a call, "tokens_per_second", "compile_s", ...}. A call is all of it: rounding the weights,
reading the prompts, each new token and fetching them. Weights and prompts are random, and the separator is an id
that is never chosen, so every text has all its tokens. The cache of compiled programs is off.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

from jaxlm import host

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from cases import WRITING, Writing


def main() -> None:
    parser = argparse.ArgumentParser(description="Time jaxlm's decoding.")
    parser.add_argument("case", choices=WRITING)
    parser.add_argument("--calls", type=int, help="timed calls; default: the case's")
    parser.add_argument("--precision", default="auto", help="of the model; auto: what `jaxlm train` takes here")
    parser.add_argument("--json", action="store_true", help="for the harness: it prints one object anyway")
    flags = parser.parse_args()
    host.restart_with_allocator()
    allocator = host.tune_allocator()
    host.start_jax(1, cache=False)
    case = WRITING[flags.case]
    case = case._replace(calls=flags.calls or case.calls)
    print(json.dumps({**time_calls(case, flags.precision), "allocator": allocator}))


class Ids:
    """A tokenizer whose prompts are numbers of rows of random ids, and whose texts are empty."""

    def __init__(self, case: Writing):
        import numpy as np

        # The last id of the model: not one that may be chosen.
        self.vocab = self.separator = self.closing = self.start = case.vocab - 1
        self.rows = np.random.default_rng(0).integers(self.vocab, size=(case.batch, case.prompt - 1), dtype=np.int32)

    def encode(self, text: str):
        return self.rows[int(text)]

    def decode_bytes(self, ids) -> bytes:
        return b""


def time_calls(case: Writing, precision: str) -> dict:
    import jax

    from jaxlm.generation.decode import generate
    from jaxlm.generation.sampling import SamplingConfig
    from jaxlm.models.build import build
    from jaxlm.models.transformer import TransformerConfig

    cfg = TransformerConfig(
        layers=case.layers, heads=case.heads, width=case.width, max_length=case.length, bias=True,
        precision=precision,  # type: ignore[arg-type]  # checked by the config
    )  # fmt: skip
    family = build(cfg, vocab=case.vocab, length=case.length, packed=False, platform=jax.default_backend())
    params = jax.block_until_ready(jax.jit(family.init)(jax.random.key(0)))
    tokenizer, prompts, greedy = Ids(case), [str(row) for row in range(case.batch)], SamplingConfig(temperature=0)

    def call() -> float:
        start = time.perf_counter()
        found = generate(family, params, tokenizer, prompts, greedy, tokens=case.new, seed=0)
        seconds = time.perf_counter() - start
        assert [len(completion.tokens) for completion in found] == [case.new] * case.batch
        return seconds

    first = call()
    seconds = statistics.median(call() for _ in range(case.calls))
    return {
        "median_ms": 1e3 * seconds,
        "tokens_per_second": case.batch * case.new / seconds,
        "compile_s": first - seconds,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "precision": family.precision,
    }


if __name__ == "__main__":
    main()
