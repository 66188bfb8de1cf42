"""Is there room for a run? Asked twice: before any text is read, and of the compiled step before it runs.

Before text is read the config alone speaks: how large the state is, and, where that and a guess of the activations come
near the devices' memory, the real step, compiled. `jaxlm plan` tells more, and tries what would make a step fit.
"""

import contextlib
import logging
import math
from collections.abc import Iterator
from typing import Any

import jax

from jaxlm import host, parts
from jaxlm.data.objectives import vocabulary
from jaxlm.data.tokenizer_config import HuggingFaceConfig, SavedConfig
from jaxlm.errors import UserError
from jaxlm.mesh_misfit import Trained
from jaxlm.models.stack_config import StackConfig
from jaxlm.parts import Parts
from jaxlm.run_config import RunConfig
from jaxlm.training import layout as layouts

log = logging.getLogger("jaxlm")

DOUBT = 0.25  # chosen: the guess is good to a factor of 4, so a step beyond this share of the memory is compiled first
STATES = 4  # parameters, their gradients and Adam's two moments, all float32
# Bytes of activations that a layer keeps for each token and unit of width, without attention's scores (Korthikanti et
# al. 2022, arXiv:2205.05198, equation 1).
KEPT = 34
MEND = (
    "raise step.microbatches, set model.remat='full', lower data.batch or data.length, split the state "
    "(mesh.layout='sharded') over more devices, or ask `jaxlm plan`, which tries such changes"
)


def planned_vocab(cfg: RunConfig) -> int | None:
    """Ids that the model needs, an upper bound for tokenizers that may learn fewer; None: only their files know."""
    tokenizer = cfg.data.tokenizer
    if isinstance(tokenizer, SavedConfig | HuggingFaceConfig):
        return cfg.model.vocab
    return max(vocabulary(cfg.data.objective, cfg.data.length, Trained.of(tokenizer)), cfg.model.vocab or 0)


def require_room(cfg: RunConfig) -> None:
    """UserError where the devices of this process cannot hold a run of `cfg`; call before text is read."""
    vocab = planned_vocab(cfg)
    if vocab is None:
        log.info("how much memory a step takes will be known when the tokenizer is read")
        return
    on_cpu = host.computes_on_cpu()
    layout = layouts.told(cfg.mesh, cfg.step.compile, host.cores() if on_cpu else None)
    devices = (layout.devices or 1) if on_cpu else jax.device_count()
    limit = host.available_memory() if on_cpu else devices * device_limit()
    guess = guessed(cfg, vocab)
    if guess and 4 * STATES * guess * copies(cfg, devices) + activations(cfg) < DOUBT * limit:
        return
    weights = count(cfg, vocab, "cpu" if on_cpu else jax.devices()[0].platform)
    state = 4 * STATES * weights * copies(cfg, devices)
    if state > limit:
        others = "" if on_cpu else ", more devices, or mesh.layout='sharded'"
        raise UserError(
            f"{weights:,} parameters, their gradients and the optimiser take {gib(state)}, and there are {gib(limit)}: "
            f"take a smaller model (model.size, model.layers, model.width){others}; `jaxlm plan` tells what fits where"
        )
    if on_cpu and cfg.mesh.layout == "auto":  # decided later, by measuring in processes of their own
        return
    if state + activations(cfg) > DOUBT * limit:
        log.info("the step may not fit, so it is compiled before text is read")
        host.start_jax(layout.devices)
        with told_if_too_large():
            require_fit(parts.build(cfg, layout, vocab))


def guessed(cfg: RunConfig, vocab: int) -> int:
    """Weights of a Transformer without tracing it, rather too many (two stacks, a head of its own); 0: no formula."""
    if not isinstance(cfg.model, StackConfig):
        return 0
    N, D, G, R, K, F = cfg.model.dims
    return 2 * (
        N * (2 * D * G * K * (2 * R + 2) + 3 * D * F) + vocab * D + (cfg.model.max_length or cfg.data.length) * D
    )


def count(cfg: RunConfig, vocab: int, platform: str) -> int:
    """Weights of the model."""
    family = parts.build_family(cfg, vocab, platform)
    shapes = jax.eval_shape(family.init, jax.eval_shape(lambda: jax.random.key(0)))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def copies(cfg: RunConfig, devices: int) -> int:
    """How often the state is there, in all devices together."""
    if cfg.mesh.layout == "axes":
        return cfg.mesh.data * cfg.mesh.sequence
    return devices if cfg.mesh.layout == "replicated" else 1


def activations(cfg: RunConfig) -> int:
    """A guess of their bytes in all devices together, good to a factor of 4; 0 where there is no formula."""
    if not isinstance(cfg.model, StackConfig):
        return 0
    layers = cfg.model.dims.N if cfg.model.remat == "none" else 1
    return KEPT * layers * cfg.model.dims.D * cfg.data.batch * cfg.data.length // cfg.step.microbatches


def require_fit(built: Parts) -> None:
    """UserError where the compiled step needs more memory than its devices have."""
    needs = need(built.compiled.executable)
    on_cpu = built.mesh.devices.flat[0].platform == "cpu"
    devices = len(built.mesh.local_devices) if on_cpu else 1
    limit = host.available_memory() if on_cpu else device_limit()
    if devices * needs > limit:
        where = "" if on_cpu else " on each device"
        raise UserError(f"a step takes {gib(devices * needs)}, and there are {gib(limit)}{where}: {MEND}")


@contextlib.contextmanager
def told_if_too_large() -> Iterator[None]:
    """A compiler that refuses a step for its size is the user's to know of, in words."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        first = str(error).splitlines()[0]
        if "RESOURCE_EXHAUSTED" not in first:
            raise
        raise UserError(f"a step does not fit the devices' memory ({first}): {MEND}") from None


def need(executable: Any) -> int:
    """Bytes of a device that a compiled step takes while it runs, its state included."""
    of = executable.memory_analysis()
    made = of.output_size_in_bytes - of.alias_size_in_bytes
    return of.argument_size_in_bytes + made + of.temp_size_in_bytes + of.generated_code_size_in_bytes


def device_limit() -> int:
    """Bytes that programs may use of an accelerator of this process."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("bytes_limit", 2**63)  # a device that does not say has no limit that could be held against it


def gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
