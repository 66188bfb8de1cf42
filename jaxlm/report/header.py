"""The head of the page: a run's name, its state, what it is in one sentence, and its few numbers."""

from typing import Any

import numpy as np

from jaxlm.report import curve
from jaxlm.report.folder import Run, number
from jaxlm.report.words import NONE, compact, duration, escape, figure, plain


def header(run: Run) -> str:
    facts = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _facts(run))
    when = run.environment.get("started")
    started = f"started {escape(when)}" if isinstance(when, str) else ""
    line = " · ".join(filter(None, [status(run), started]))
    notes = "".join(f"<li>{escape(note)}</li>" for note in run.notes)
    return (
        f"<header><h1>{escape(run.name)}</h1><p class=status>{line}</p>\n"
        f'<p class="lead">{sentence(run)}</p>\n<dl class="facts">{facts}</dl>\n'
        f"{f'<ul class=warnings>{notes}</ul>' if notes else ''}</header>"
    )


def status(run: Run) -> str:
    """How far the run is."""
    steps = number(run.setting("loop", "steps"))
    how = "training" if run.training else "stopped"
    if run.step is None:
        return f"{how}, no step logged yet"
    if steps is None:
        return f"{how}, at step {run.step:,}"
    if run.step >= steps:
        return f"finished, {run.step:,} steps"
    return f"{how}, at step {run.step:,} of {steps:,.0f}"


def tokens_seen(run: Run) -> float | None:
    """Predicted tokens, padding left out: all steps times the mean of the logged ones."""
    tokens = run.metrics["tokens"].finite()
    return run.step * float(np.mean(tokens.value)) if run.step is not None and len(tokens.value) else None


def train_loss(run: Run) -> float | None:
    """The newest smoothed training loss, which one batch does not move."""
    smoothed = curve.smooth(run.metrics["loss"])
    return smoothed.last()


def evaluated(run: Run) -> dict[str, Any]:
    """The newest evaluation of the held-out split; at the same step `jaxlm eval` counts before the loop's.

    Evaluations of other splits and files are left to the table.
    """
    in_loop = run.metrics["eval/loss"].finite()
    own = [line for line in run.evaluations if line.get("source") == "validation"]
    newest = max(reversed(own), key=lambda line: number(line.get("step")) or 0.0, default={})
    if len(in_loop.step) and (number(newest.get("step")) or -1.0) < in_loop.step[-1]:
        others = {name: run.metrics[f"eval/{name}"].finite().last() for name in ("bits_per_byte", "accuracy")}
        return {"step": int(in_loop.step[-1]), "loss": in_loop.last(), **others}
    return newest


def parameters(run: Run) -> float | None:
    return number(run.environment.get("parameters"))


def _facts(run: Run) -> list[tuple[str, str]]:
    held_out = evaluated(run)
    loss = train_loss(run)
    return [
        ("parameters", compact(parameters(run))),
        ("tokens seen", compact(tokens_seen(run))),
        ("training time", duration(run.metrics["seconds"].last())),
        ("train loss, smoothed", figure(loss) + _unit(loss, run.unit)),
        ("held-out loss", figure(number(held_out.get("loss"))) + _unit(held_out.get("loss"), run.unit)),
        _score(run, held_out),
    ]


def _score(run: Run, held_out: dict[str, Any]) -> tuple[str, str]:
    """Bits per byte where every byte is predicted, the accuracy of what is asked for elsewhere."""
    bits, accuracy = (number(held_out.get(name)) for name in ("bits_per_byte", "accuracy"))
    if bits is None and (accuracy is not None or not run.writes):
        return "accuracy", figure(accuracy) + _unit(accuracy, "held-out")
    return "bits per byte", figure(bits) + _unit(bits, "held-out")


def _unit(value: object, unit: str) -> str:
    return f" <small>{unit}</small>" if value is not None else ""


def sentence(run: Run) -> str:
    """What the run is, from its config; a part that the config does not name is left out."""
    if not run.config:
        return "No <code>config.json</code> says what this run is; <code>jaxlm train</code> writes it."
    model, data, optimizer = (run.setting(part) or {} for part in ("model", "data", "optimizer"))
    get = lambda part, name: part.get(name) if isinstance(part, dict) else None
    size = compact(parameters(run))
    shape = [
        f"size {get(model, 'size')}" if get(model, "size") else "",
        f"{layers} layer{'' if layers == 1 else 's'}" if (layers := get(model, "layers")) else "",
        f"width {get(model, 'width')}" if get(model, "width") else "",
        f"vocabulary {get(model, 'vocab'):,}" if isinstance(get(model, "vocab"), int) else "",
    ]
    what = f"{get(model, 'kind') or 'language model'}" + (f" of {size} parameters" if size != NONE else "")
    shape_said = ", ".join(filter(None, shape))
    how = [
        f"trained on {get(data, 'source')}" if get(data, "source") else "",
        f"{get(data, 'batch')} rows of {get(data, 'length')} tokens a step" if get(data, "batch") else "",
        f"for {steps:,.0f} steps" if (steps := number(run.setting("loop", "steps"))) else "",
        f"with {get(optimizer, 'kind')}" if get(optimizer, "kind") else "",
        f"at a peak rate of {plain(rate)}" if (rate := number(get(optimizer, "peak_rate"))) else "",
    ]
    article = "An" if what[0] in "aeiou" else "A"
    said = f"{article} {what}{f' ({shape_said})' if shape_said else ''}, {', '.join(filter(None, how))}"
    return escape(said.rstrip(", ") + ".")
