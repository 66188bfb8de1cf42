"""jaxlm's side of families.py and unroll.py: the step of a case as `jaxlm train` runs it, in a process of its own.

    python benchmarks/ours/timed_family.py lstm --choose                  # prints {"layout": ...}
    python benchmarks/ours/timed_family.py lstm --layout '{"mesh": ...}'
    python benchmarks/ours/timed_family.py mingru --peer                  # the case's peer, where that is ours too

Prints what timed_step.py does, and tokens_per_second. Tokens are random, 16 batches in turn. Where rows are lanes,
each batch goes on in the midst of a document, so the state is carried and never begins anew: as the peer has it.
"""

import argparse
import json
import sys
from pathlib import Path

from jaxlm import host

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from cases import WARM_UP
from family_cases import CASES, Ours
from ours.timed_step import choose, time_config


def main() -> None:
    parser = argparse.ArgumentParser(description="Time jaxlm's train step on a case of families.py.")
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--peer", action="store_true", help="the case's peer, which is jaxlm's own")
    parser.add_argument("--steps", type=int, help="timed steps; default: the case's")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override a field")
    parser.add_argument(
        "--unroll", type=int, help="positions in one body of the recurrent loop; default: the package's"
    )
    parser.add_argument("--choose", action="store_true", help="print the layout that `auto` finds, and stop")
    parser.add_argument("--layout", type=json.loads, help="what --choose printed; default: what it would")
    flags = parser.parse_args()
    host.restart_with_allocator()
    allocator = host.tune_allocator()
    case = CASES[flags.case]
    ours = case.peer if flags.peer else case.ours
    cfg = config(ours, flags.steps or case.steps, *flags.set)
    layout = choose(cfg, ours.vocab) if flags.layout is None else flags.layout
    if flags.unroll is not None:
        from jaxlm.models import recurrence

        recurrence.UNROLL = flags.unroll
    result = {"layout": layout} if flags.choose else time_family(cfg, ours.vocab, layout)
    print(json.dumps({**result, "allocator": allocator}))


def config(ours: Ours, steps: int, *overrides: str):
    """The RunConfig of a case."""
    from jaxlm.config import override
    from jaxlm.run_config import RunConfig

    parts = {"data": {"source": "random", **ours.data}, "model": {"vocab": ours.vocab, **ours.model}}
    loop = {"steps": WARM_UP + steps + 1}  # the time of a step ends where the next begins
    parts |= {"optimizer": dict(ours.optimizer), "loop": loop}
    return override(RunConfig.model_validate({"name": "families", **parts}), overrides)


def time_family(cfg, vocab: int, layout: dict) -> dict:
    found = time_config(cfg, vocab, layout, random_batches(cfg, vocab))
    return found | {"tokens_per_second": 1e3 * cfg.data.batch * cfg.data.length / found["median_ms"]}


def random_batches(cfg, vocab: int, count: int = 16) -> list:
    """Batches as the objective makes them, of random tokens: whole rows of one document."""
    import numpy as np

    from jaxlm.data.ids import Ids
    from jaxlm.data.objectives import build, example
    from jaxlm.data.rows import Rows

    rng = np.random.default_rng(0)
    if cfg.data.objective.kind == "seq2seq":  # one pair a row, as long as rows are
        some = lambda x: rng.integers(vocab, size=x.shape, dtype=np.int32)
        whole = example(cfg.data.objective, cfg.data.batch, cfg.data.length)
        source = lambda: whole.source._replace(token=some(whole.source.token))
        pair = lambda: whole._replace(token=some(whole.token), target=some(whole.target), source=source())
        return [pair() for _ in range(count)]
    ids = Ids(vocab - 1, separator=vocab, start=vocab, mask=vocab - 1, sentinels=np.arange(0), begins_word_V=np.ones(0))
    rows, length = cfg.data.batch, cfg.data.length
    random = rng.integers(vocab - 1, size=(count, rows, length + 1), dtype=np.int32)
    ones = np.ones((rows, length), np.int32)
    first = length if cfg.data.rows == "lanes" else 0  # 0 is where a document begins, and a state with it
    position = np.tile(np.arange(first, first + length, dtype=np.int32), (rows, 1))
    cut = lambda row: Rows(row[:, :-1].copy(), row[:, 1:].copy(), ones.astype(np.float32), ones, position)
    return [build(cfg.data.objective, cut(row), ids, n, np.arange(rows)) for n, row in enumerate(random)]


if __name__ == "__main__":
    main()
