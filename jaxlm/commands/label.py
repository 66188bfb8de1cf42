"""Label the texts of CONFIG: let its rules and people vote, decide by its model, and tell how far they agree.

Writes labels/NAME/examples.jsonl, which `jaxlm train CONFIG --set data.source=FILE` learns from, with the label of gold
where that is known, votes.jsonl with who said what of each text, and report.json. With --export a sample is written for
people to look at, in Label Studio or in Argilla; their file comes back through the config's `votes`.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from jaxlm.commands import terminal
from jaxlm.commands.train import SetOption


def main(
    config: Annotated[str, typer.Argument(help="Shipped name, or .py or .json file, of a LabelConfig.")],
    set_: SetOption = None,
    labels_dir: Annotated[Path, typer.Option(help="Where labels are kept.", envvar="JAXLM_LABELS")] = Path("labels"),
    export: Annotated[
        tuple[str, Path] | None,
        typer.Option(
            metavar="PROGRAM FILE",
            help="Also write the config's sample: label_studio or argilla, and a .jsonl or .json file.",
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    from jaxlm.config import load
    from jaxlm.config_errors import nearest
    from jaxlm.corpus.labels import sample
    from jaxlm.corpus.labels.config import LabelConfig
    from jaxlm.corpus.labels.label_studio import interface
    from jaxlm.corpus.labels.make import EXAMPLES, make
    from jaxlm.errors import UserError

    cfg = load(config, LabelConfig, set_ or [])
    if export is not None and export[0] not in sample.FORMATS:
        raise UserError(f"--export {export[0]!r}: {nearest(export[0], sample.FORMATS, 'programs are')}")
    if export is not None and export[1].suffix not in sample.SUFFIXES:
        raise UserError(f"--export {export[0]} {export[1]}: its name must end in {' or '.join(sample.SUFFIXES)}")
    with terminal.preparation() as progress:
        made = make(cfg, labels_dir, progress)
        count = sample.export(made, *export) if export is not None else 0
    told = {"examples": str(labels_dir / cfg.name / EXAMPLES), **made.report}
    if export is not None:
        told["exported"] = {"file": str(export[1]), "texts": count}
    if json_:
        terminal.print_json(told)
        return
    print(told["examples"])
    for line in [*_outcome(told["outcome"]), *_annotators(told["annotators"]), *_agreement(told["agreement"])]:
        print(line)
    if export is not None:
        print(f"\n{export[1]}: {count:,} texts for people to look at")
        if export[0] == "label_studio":
            print(f"The labelling interface of their project:\n{interface(cfg.classes)}", end="")


def _outcome(told: dict[str, Any]) -> list[str]:
    without = ", ".join(f"{count:,} {why}" for why, count in told["unlabelled"].items() if count)
    lines = [
        f"{told['labelled']:,} of {told['items']:,} texts have a label" + (f"; without: {without}" if without else "")
    ]
    if told["judged"]:
        lines.append(f"{told['accuracy']:.1%} are right of the {told['judged']:,} whose class is known")
    if known := told["examples"]["gold"]:
        lines.append(f"{known + told['examples']['model']:,} examples, {known:,} with the class that gold knows")
    rows = [
        [name, f"{count:,}", f"{told['prior'][name]:.1%}", f"{told['gold'][name]:,}"]
        for name, count in told["balance"].items()
    ]
    return [*lines, "", *terminal.table(["class", "labels", "prior", "known"], rows)]


def _annotators(told: dict[str, dict[str, Any]]) -> list[str]:
    rows = []
    for name, facts in told.items():
        shares = [_share(facts[column]) for column in ("coverage", "overlaps", "conflicts", "believed")]
        known = f"{_share(facts['accuracy'])} of {facts['judged']:,}" if facts["judged"] else "-"
        rows.append([name, facts["kind"], ", ".join(facts["votes"]) or "-", *shares, known])
    head = ["annotator", "is a", "votes for", "coverage", "overlaps", "conflicts", "believed", "right"]
    return ["", *terminal.table(head, rows, left=range(3))]


def _agreement(told: dict[str, dict[str, Any]]) -> list[str]:
    lines = []
    for kind, facts in told.items():
        words = [f"{name.replace('_', ' ')} {_number(facts[name])}" for name in facts if name not in ("items", "pairs")]
        lines += ["", f"agreement of {kind} on {facts['items']:,} texts with several votes: {', '.join(words)}"]
        # Two rules that know one class each are always or never of one mind: their kappa tells nothing.
        shown = facts["pairs"][:_PAIRS] if kind == "people" else []
        rows = [
            [pair["first"], pair["second"], f"{pair['items']:,}", _share(pair["equal"]), _number(pair["kappa"])]
            for pair in shown
        ]
        lines += terminal.table(["one", "other", "texts", "equal", "kappa"], rows, left=(0, 1)) if rows else []
    return lines


_PAIRS = 10  # that are shown: chosen, the rest is in report.json


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
