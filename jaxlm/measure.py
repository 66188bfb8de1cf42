"""Measure a step in a process of its own: `python -m jaxlm.measure < QUESTION.json`.

The question is what training/layout.py asks; the answer is one line, {"step_ms": median}.
"""

import json
import sys
import time

from jaxlm import host
from jaxlm.errors import UserError


def main() -> None:
    question = json.load(sys.stdin)
    host.tune_allocator()

    from jaxlm import parts
    from jaxlm.config import parse
    from jaxlm.run_config import RunConfig
    from jaxlm.training.layout import Layout

    layout = Layout.parse(question["layout"])
    host.start_jax(layout.devices)
    cfg = parse(question["config"], RunConfig)
    print(json.dumps({"step_ms": median_step_ms(parts.build(cfg, layout, question["vocab"]), cfg)}))


def median_step_ms(parts, cfg, *, at_least: int = 5, at_most: int = 40, seconds: float = 1.5) -> float:
    """Median over as many steps as `seconds` allow, on rows of token 1; the first two warm up."""
    import jax
    import numpy as np

    from jaxlm.data.objectives import example

    batch = example(cfg.data.objective, cfg.data.batch, cfg.data.length)
    state, times = parts.compiled.enter(parts.init()), []
    began = time.perf_counter()
    while len(times) < at_least or (len(times) < at_most and time.perf_counter() - began < seconds):
        start = time.perf_counter()
        state, metrics = parts.compiled.step(state, parts.compiled.place(batch))
        jax.block_until_ready(metrics)
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times[2:]))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(UserError.exit_code)
