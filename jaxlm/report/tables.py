"""The parts of the page that are tables: evaluations, data, samples, settings."""

from collections.abc import Sequence
from typing import Any

from jaxlm.report.folder import Run, number
from jaxlm.report.words import NONE, compact, escape, figure, plain, plus_minus

SHOWN_EVALUATIONS = 12  # chosen: the newest ones fit one screen; the rest folds away
SHOWN_SAMPLES = 12
DEEPEST = 8  # levels of a settings tree


def evaluations(run: Run) -> str:
    """Loss, perplexity and bits/byte of each evaluated text, and the compressors beside the newest ones."""
    newest: dict[tuple[str, Any], dict[str, Any]] = {}
    for line in run.evaluations:
        newest[_text_name(line), number(line.get("step"))] = line  # a text evaluated twice: the later counts
    rows = sorted(newest.values(), key=lambda line: number(line.get("step")) or 0.0, reverse=True)
    last_of = {_text_name(line): line for line in reversed(rows)}
    body = "".join(_against_compressors(name, line) for name, line in sorted(last_of.items()))
    body += _evaluation_table(rows[:SHOWN_EVALUATIONS])
    if older := rows[SHOWN_EVALUATIONS:]:
        body += f"<details><summary>{len(older):,} older</summary>{_evaluation_table(older)}</details>"
    note = f"Loss in {run.unit}; ± is one standard error of the mean"
    if any(number(line.get("bits_per_byte")) for line in rows):
        note += (
            ", that of bits/byte and perplexity follows from it. Bits per byte counts the bytes of the source text, so "
            "it compares models with any tokenizer and with compressors. The size of a model or of a compressor is "
            "not counted"
        )
    return f'{body}<p class="note">{note}.</p>'


def _text_name(line: dict[str, Any]) -> str:
    return str(line.get("source") or NONE)


def _evaluation_table(rows: list[dict[str, Any]]) -> str:
    """Without the columns that have nothing to say: a model that answers about a text has no bits per byte."""
    cells = [_evaluation_row(line) for line in rows]
    heads = [name for name in cells[0] if name in ("text", "step", "loss") or any(row[name] != NONE for row in cells)]
    return table(heads, [[row[name] for name in heads] for row in cells])


def _evaluation_row(line: dict[str, Any]) -> dict[str, str]:
    get = lambda name: number(line.get(name))
    loss, error, bits, accuracy, perplexity = map(
        get, ("loss", "standard_error", "bits_per_byte", "accuracy", "perplexity")
    )
    perplexity = perplexity if line.get("asked", "tokens") == "tokens" else None  # as `jaxlm eval` shows it
    scaled = lambda value: None if not (value and loss and error) else error * value / loss
    step = get("step")
    asked_for = compact(get("tokens"))
    return {
        "text": escape(_text_name(line)),
        "step": NONE if step is None else f"{step:,.0f}",
        "loss": plus_minus(loss, error),
        "accuracy": NONE if accuracy is None else f"<strong>{figure(accuracy)}</strong>",
        "AUC": figure(get("auc")),
        "calibration error": figure(get("calibration_error")),
        "perplexity": plus_minus(perplexity, None if perplexity is None or error is None else perplexity * error),
        "bits/byte": NONE if bits is None else f"<strong>{plus_minus(bits, scaled(bits))}</strong>",
        "gzip -9": figure(get("gzip_bits_per_byte")),
        "xz -9": figure(get("xz_bits_per_byte")),
        "asked for": asked_for if asked_for == NONE else f"{asked_for} {escape(line.get('asked', 'tokens'))}",
        "bytes": compact(get("bytes")),
    }


def _against_compressors(name: str, line: dict[str, Any]) -> str:
    """Three bars from zero, the shortest first, and the comparison in words."""
    named = (
        ("this model", "bits_per_byte"),
        ("gzip -9", "gzip_bits_per_byte"),
        ("xz -9", "xz_bits_per_byte"),
    )
    bits = {label: value for label, key in named if (value := number(line.get(key))) and value > 0}
    ours = bits.get("this model")
    if ours is None or len(bits) < 2:
        return ""
    longest = max(bits.values())
    bars = "".join(
        f'<span class="name">{label}</span><span class="bar{" ours" if label == "this model" else ""}" '
        f'style="width:{100 * value / longest:.2f}%"></span><b>{figure(value)}</b>'
        for label, value in sorted(bits.items(), key=lambda item: item[1])
    )
    said = " and ".join(
        f"{100 * abs(ours / value - 1):.1f} % {'fewer' if ours < value else 'more'} than {label}"
        for label, value in bits.items()
        if label != "this model"
    )
    step = number(line.get("step"))
    at = "" if step is None else f" at step {step:,.0f}"
    return (
        f'<div class="race"><p><em>{escape(name)}</em>{at}: <b>{figure(ours)} bits/byte</b>, {said}.</p>'
        f'<div class="bars">{bars}</div></div>'
    )


def data(run: Run) -> str:
    """Documents, tokens and bytes of each split, and the hash that names the shards."""
    splits = run.data.get("counts")
    if not isinstance(splits, dict) or not splits:
        return ""
    rows = []
    for name, counts in splits.items():
        get = lambda key, counts=counts: number(counts.get(key)) if isinstance(counts, dict) else None
        tokens, read = get("tokens"), get("bytes")
        documents = get("documents")
        rows.append(
            [
                escape(name),
                NONE if documents is None else f"{documents:,.0f}",
                NONE if tokens is None else f"{tokens:,.0f}",
                NONE if read is None else f"{read:,.0f}",
                figure(read / tokens if read and tokens else None),
            ]
        )
    heads = ("split", "documents", "tokens", "bytes", "bytes/token")
    digest = run.data.get("digest")
    note = f'<p class="note">Shards <code>{escape(digest)}</code></p>' if digest else ""
    return table(heads, rows) + note + mixture(run)


def mixture(run: Run) -> str:
    """Of each component what there is, its share of what is trained on, and how often it is read."""
    lines = run.data.get("mixture")
    if not isinstance(lines, list) or not lines:
        return ""
    rows = []
    for line in lines:
        get = lambda key, line=line: number(line.get(key)) if isinstance(line, dict) else None
        documents, tokens, share, epochs = map(get, ("documents", "tokens", "share", "epochs"))
        rows.append(
            [
                escape(line.get("component")) if isinstance(line, dict) else NONE,
                NONE if documents is None else f"{documents:,.0f}",
                NONE if tokens is None else f"{tokens:,.0f}",
                NONE if share is None else f"{share:.2%}",
                figure(epochs),
            ]
        )
    heads = (f"{run.setting('data', 'mixture', 'by') or 'component'}, train", "documents", "tokens", "share", "epochs")
    note = "Share of the tokens that all steps predict, and how often they read each document."
    return f'{table(heads, rows)}<p class="note">{note}</p>'


def samples(run: Run) -> str:
    """The newest samples. Their text is the model's, so it is escaped, and its white space is kept."""
    newest = list(reversed(run.samples))
    body = "".join(map(_sample, newest[:SHOWN_SAMPLES]))
    if older := newest[SHOWN_SAMPLES:]:
        body += f"<details><summary>{len(older):,} older</summary>{''.join(map(_sample, older))}</details>"
    return body


def _sample(line: dict[str, Any]) -> str:
    step = number(line.get("step"))
    facts = [] if step is None else [f"step {step:,.0f}"]
    settings = line.get("settings")
    if isinstance(settings, dict):
        facts += [f"{name} {_leaf(value)}" for name, value in settings.items() if value is not None]
    elif settings is not None:
        facts.append(str(settings))
    prompt, text = str(line.get("prompt") or ""), str(line.get("text") or "")
    return (
        f'<figure class="sample"><pre><span class="prompt">{escape(prompt)}</span>'
        f"<span>{escape(text)}</span></pre>"
        f"<figcaption>{escape(' · '.join(facts))}</figcaption></figure>"
    )


def tree(value: dict[str, Any], depth: int = 0) -> str:
    """Nested settings, plain ones first; what lies below a name folds away."""
    plain_ones = {name: inner for name, inner in value.items() if not (isinstance(inner, dict) and inner)}
    rows = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(_leaf(inner))}</dd></div>" for name, inner in plain_ones.items()
    )
    body = f"<dl>{rows}</dl>" if rows else ""
    for name, inner in value.items():
        if name not in plain_ones:
            inside = tree(inner, depth + 1) if depth < DEEPEST else "<p>deeper: see the file</p>"
            body += f'<details open class="branch"><summary>{escape(name)}</summary>{inside}</details>'
    return body


def _leaf(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    if isinstance(value, float):
        return plain(value)
    if isinstance(value, list):
        return ", ".join(map(_leaf, value)) or "none"
    return str(value) if value != "" else '""'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column names the row; on a phone each row becomes a block with named values."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = ""
    for first, *rest in rows:
        cells = "".join(
            f'<td data-name="{escape(name)}"><span>{cell}</span></td>'
            for name, cell in zip(heads[1:], rest, strict=True)
        )
        body += f'<tr><th scope="row">{first}</th>{cells}</tr>\n'
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
