"""report.html: what a run was and what came of it, in one file that needs no network.

All text that comes from files is escaped, and the page's own policy (Content-Security-Policy) allows no
request and no script but ours, by its hash. The same files give the same bytes. Left out: comparing runs.
"""

import base64
import hashlib
import json
import uuid
from importlib.resources import files
from pathlib import Path
from typing import Any

from jaxlm import redact
from jaxlm.report import tables
from jaxlm.report.curves import curves
from jaxlm.report.folder import Run, number, read
from jaxlm.report.header import evaluated, header, parameters, train_loss
from jaxlm.report.words import escape

NAME = "report.html"


def write(run_dir: Path) -> Path:
    """Make `run_dir`/report.html and return its path. Raises UserError where there is no run."""
    path = run_dir / NAME
    building = run_dir / f".{NAME}.{uuid.uuid4().hex}"  # nobody knows it before, and puts a link there
    html = page(read(run_dir))
    try:
        building.write_text(redact.text(html), encoding="utf-8")
        building.replace(path)
    finally:
        building.unlink(missing_ok=True)
    return path


def summary(run_dir: Path) -> dict[str, Any]:
    """The run in a few numbers, for `--json`; None where there is no finite value. Losses in `Run.unit`."""
    run = read(run_dir)
    newest = evaluated(run)
    return {
        "path": str(run_dir / NAME),
        "run": run.name,
        "step": run.step,
        "steps": run.setting("loop", "steps"),
        "parameters": parameters(run),
        "train_loss_smoothed": train_loss(run),
        "eval_step": number(newest.get("step")),
        "eval_loss": number(newest.get("loss")),
        "eval_bits_per_byte": number(newest.get("bits_per_byte")),
        "gzip_bits_per_byte": number(newest.get("gzip_bits_per_byte")),
        "xz_bits_per_byte": number(newest.get("xz_bits_per_byte")),
        "seconds": run.metrics["seconds"].last(),
        "skipped_steps": run.skipped,
        "unreadable": run.notes,
    }


def page(run: Run) -> str:
    charts, data = curves(run)
    script = _ours("page.js")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # "<" never stands in the JSON, so no text can end the script element that holds it.
    embedded = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
script-src 'sha256-{allowed}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(run.name)}: training report</title>
<style>
{_ours("page.css")}</style>
</head>
<body>
<main>
{header(run)}
{_section("Curves", charts, "jaxlm train", "writes metrics.jsonl")}
{_section("Evaluation", tables.evaluations(run) if run.evaluations else "", "jaxlm eval RUN", "measures")}
{_section("Samples", tables.samples(run), "jaxlm generate RUN", "writes some") if run.writes or run.samples else ""}
{_section("Data", tables.data(run), "jaxlm train", "writes data.json")}
{_section("Config", _settings(run.config), "jaxlm train", "writes config.json")}
{_section("Environment", _settings(run.environment), "jaxlm train", "writes environment.json")}
{_section("Layout", _settings(run.layout), "jaxlm train", "writes layout.json")}
</main>
<script type="application/json" id="readings">{embedded}</script>
<script>{script}</script>
</body>
</html>
"""


def _section(title: str, body: str, command: str, does: str) -> str:
    """A part of the page; an empty one says which command fills it."""
    body = body or f'<p class="empty">Nothing here yet: <code>{command}</code> {does}.</p>'
    return f'<section id="{title.lower()}"><h2>{title}</h2>\n{body}</section>'


def _settings(values: dict[str, Any]) -> str:
    return f'<div class="settings">{tables.tree(values)}</div>' if values else ""


def _ours(name: str) -> str:
    return files("jaxlm.report").joinpath(name).read_text(encoding="utf-8")
