"""Which charts a run has: loss, learning rate, speed, data wait, gradient norm."""

import numpy as np

from jaxlm.report import curve
from jaxlm.report.charts import Chart, Line, draw
from jaxlm.report.folder import Run, Series
from jaxlm.report.words import brief, figure

SMOOTHED_FROM = 20  # chosen: fewer points are their own smooth curve


def curves(run: Run) -> tuple[str, dict]:
    """The figures as HTML, and the data of page.js; a metric that was never logged has no chart."""
    if run.step is None:
        return "", {}
    first = min(int(series.step[0]) for series in run.metrics.values() if len(series.step))
    steps = (0.0 if first <= 0.05 * run.step else float(first), float(run.step))
    logged = [chart for chart in _charts(run) if any(len(line.series.step) for line in chart.lines)]
    drawn = {chart.id: draw(chart, steps) for chart in logged}
    html = "\n".join(figure_html for figure_html, _ in drawn.values())
    return f'<div class="charts">{html}</div>', {name: data for name, (_, data) in drawn.items()}


def _charts(run: Run) -> list[Chart]:
    return [
        _loss(run),
        Chart("rate", "Learning rate", (Line("rate", run.metrics["learning_rate"], "main", text=brief),)),
        Chart("speed", "Tokens per second", _noisy(run.metrics["tokens_per_second"])),
        _wait(run),
        Chart("norm", "Gradient norm, before clipping", _noisy(run.metrics["grad_norm"]), cut=True),
    ]


def _noisy(series: Series, name: str = "median", middle: curve.Middle = np.median) -> tuple[Line, ...]:
    """Every logged value in pale; over it their middle, a median where single spikes say nothing."""
    if len(series.finite().step) < SMOOTHED_FROM:
        return (Line("logged", series, "main"),)
    return Line("logged", series, "raw"), Line(name, curve.smooth(series, middle), "main")


def _loss(run: Run) -> Chart:
    lines, held_out = _noisy(run.metrics["loss"], "mean", np.mean), run.metrics["eval/loss"]
    if len(held_out.step):
        lines += (Line("held-out", held_out, "points"),)
    note = ""
    if count := run.skipped:
        note = (
            f"{count:,} {'step' if count == 1 else 'steps'} had a loss or gradient that was not finite and "
            "left the model as it was (marked at the lower edge where logged)."
        )
    return Chart("loss", f"Loss, {run.unit}", lines, note, zero=False, cut=True, ticks=5, marks=run.non_finite)


def _wait(run: Run) -> Chart:
    share = _share(run)
    lines = _noisy(run.metrics["data_wait_ms"])
    note = ""
    if len(share.step):
        lines += (Line("of the step", share, "number", "%"),)
        note = f"Median {figure(float(np.median(share.value)))} % of a step."
    return Chart("wait", "Wait for data, ms per step", lines, note, cut=True)


def _share(run: Run) -> Series:
    """Wait in % of the time of a step."""
    wait, whole = run.metrics["data_wait_ms"], run.metrics["step_ms"]
    step, i, j = np.intersect1d(wait.step, whole.step, assume_unique=True, return_indices=True)
    timed = whole.value[j] > 0
    return Series(step[timed], 100 * wait.value[i][timed] / whole.value[j][timed]).finite()
