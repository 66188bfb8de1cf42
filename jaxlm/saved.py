"""A run reopened: its model, its parameters, its tokenizer, and what it writes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxlm import host
from jaxlm.checkpoint import Checkpoints
from jaxlm.checkpoint_folder import CheckpointConfig
from jaxlm.config import dump, parse
from jaxlm.data import tokenizer as tokenizers
from jaxlm.data.objectives import answers, vocabulary
from jaxlm.data.tokenizer import Tokenizer
from jaxlm.errors import UserError
from jaxlm.flat import flatten, kinds, require_same, unflatten
from jaxlm.generation import beam, decode
from jaxlm.generation.beam import BeamConfig
from jaxlm.generation.prompts import default_tokens
from jaxlm.generation.sampling import READABLE, SamplingConfig
from jaxlm.generation.text import Completion
from jaxlm.models.family import Family
from jaxlm.parts import as_saved, build_family
from jaxlm.run_config import RunConfig
from jaxlm.run_folder import RunFolder, read_json
from jaxlm.training.optimizer import averaged


class Saved(NamedTuple):
    """Unpacks as `model, params, tokenizer, *rest`."""

    model: Family
    params: Any
    tokenizer: Tokenizer
    config: RunConfig
    step: int


def load(run: str | Path, step: int | None = None) -> Saved:
    """The model of a run at `step` (None: the newest valid one), its parameters on the first device.

    Where the run kept an average of its parameters, that is what you get.
    """
    folder = RunFolder(run).require()
    cfg = parse(read_json(folder.config), RunConfig, origin=str(folder.config))
    tokenizer = tokenizers.load(folder.tokenizer)
    prefix = "average/" if averaged(cfg.optimizer) else "params/"
    with Checkpoints(folder.checkpoints, CheckpointConfig(), read_only=True) as saved:
        step, flat, _ = saved.read(step, prefix=prefix)
    vocab = vocabulary(cfg.data.objective, cfg.data.length, tokenizer)
    family = build_family(as_saved(cfg, kinds(flat), vocab), vocab, jax.devices()[0].platform)
    abstract = jax.eval_shape(family.init, jax.random.key(0))
    flat = {name.removeprefix(prefix): jax.numpy.asarray(x) for name, x in flat.items()}
    require_same(kinds(flat), kinds(flatten(abstract)), f"checkpoint step {step} of {str(folder.path)!r}")
    params = unflatten(abstract, flat)
    return Saved(family, params, tokenizer, cfg, step)


class Generated(NamedTuple):
    step: int
    tokens: int  # most of a completion
    completions: list[Completion]  # of beams `best` each prompt, the best first
    settings: dict[str, Any]  # that they were found with


def generate(
    run: str | Path | Saved,
    prompts: list[str],
    *,
    tokens: int | None = None,
    seed: int | None = None,
    step: int | None = None,
    sampling: SamplingConfig | None = None,
    beams: BeamConfig | None = None,
    on_text: Callable[[int, str], None] | None = None,
) -> Generated:
    """Continue `prompts` by the model of a run; see generation/decode.py and beam.py for what the arguments mean.

    For the run, what `load` returned will do. An encoder-decoder answers its prompts and does not go on with them.
    `tokens` None is 200, or fewer where the model's context has room for no more. `sampling` None is READABLE, `seed`
    None is 0; with `beams` nothing is drawn, and `on_text` gets each completion as a whole.
    """
    if beams is not None and (sampling is not None or seed is not None):
        raise UserError("beams draw no tokens: leave out sampling and seed, or beams")
    if isinstance(run, Saved) and step not in (None, run.step):
        raise UserError(f"step={step}, but step {run.step} is loaded: leave out the step, or load that one")
    host.start_jax(1)
    model, params, tokenizer, cfg, step = run if isinstance(run, Saved) else load(run, step)
    if answers(cfg.data.objective):
        raise UserError(
            f"data.objective.kind={cfg.data.objective.kind!r}: this model answers about a text, and writes none: "
            f"generate with one that learned 'next_token', 'prefix', 'spans' or 'seq2seq'"
        )
    if not prompts:
        raise UserError("no prompt: give --prompt TEXT, or lines on standard input")
    tokens = default_tokens(model, tokenizer, prompts) if tokens is None else tokens
    if beams is not None:
        found = beam.search(model, params, tokenizer, prompts, beams, tokens=tokens)
        if on_text:
            for row, completion in enumerate(found):
                on_text(row, completion.text)
        return Generated(step, tokens, found, dump(beams) | {"tokens": tokens})
    sampling, seed = sampling or READABLE, seed or 0
    found = decode.generate(model, params, tokenizer, prompts, sampling, tokens=tokens, seed=seed, on_text=on_text)
    return Generated(step, tokens, found, dump(sampling) | {"seed": seed, "tokens": tokens})
