"""Mixed rows: which row of which component comes when, a pure function of (shards, config, position).

The documents of each component have rows of their own, which are shuffled by themselves, epoch after epoch; whose turn
it is says data/interleave.py. So position p needs no memory, and any number of processes reads the same rows.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxlm.data.dataset import DataConfig
from jaxlm.data.interleave import Interleave, turns
from jaxlm.data.mixture import Epochs, token_shares
from jaxlm.data.objectives import row_plan
from jaxlm.data.order import Blocks, Shuffled
from jaxlm.data.pack import Part, bases
from jaxlm.data.shards import Shards
from jaxlm.errors import UserError

SHOWN = 40  # components of a table that is told: chosen, a screen


class Components(NamedTuple):
    """The rows of a split, component after component; those without documents are left out."""

    plan: Any  # of all rows
    names: list[str]
    documents: np.ndarray  # of each component
    tokens: np.ndarray  # predicted in one pass
    first: np.ndarray  # row of each component, and behind the last

    @property
    def rows(self) -> np.ndarray:
        return np.diff(self.first)


def by_component(shards: Shards, split: str, config: DataConfig) -> Components:
    """The rows of `split` by what config.mixture mixes; UserError where the shards do not know it."""
    assert config.mixture is not None
    by = config.mixture.by
    names = shards.names(by)
    if not names:
        raise UserError(
            f"data.mixture is by {by}, and {shards.folder} does not say of what {by} a document is, as it was made by "
            f"an older jaxlm: run `jaxlm prepare` again, or leave data.mixture out"
        )
    of_example = np.asarray(shards.components(split, by))[:: shards.parts]
    order, counts = np.argsort(of_example, kind="stable"), np.bincount(of_example, minlength=len(names))
    found, plans, end = [], [], 0
    for number in np.flatnonzero(counts):
        end += counts[number]
        part = Part(f"{by}-{number}", order[end - counts[number] : end])
        found.append(number)
        plans.append(row_plan(shards, split, config.objective, config.rows, config.length, config.batch, part))
    if not plans:  # told as for any empty split
        row_plan(shards, split, config.objective, config.rows, config.length, config.batch)
    tokens = np.array([plan.tokens for plan in plans])
    return Components(
        type(plans[0]).joined(plans), [names[n] for n in found], counts[found] * shards.parts, tokens, bases(plans)
    )


def as_text(lines: Sequence[Mapping[str, Any]]) -> str:
    """What `Mixed.told` says, as a table of plain text, of the largest shares."""
    width = max(len(line["component"]) for line in lines)
    head = f"  {'component':{max(width, 9)}}  {'documents':>11}  {'tokens':>15}  {'share':>7}  {'epochs':>7}"
    rows = [
        f"  {line['component']:{max(width, 9)}}  {line['documents']:>11,}  {line['tokens']:>15,}  "
        f"{line['share']:>7.2%}  {line['epochs']:>7.2f}"
        for line in lines[:SHOWN]
    ]
    rest = [f"  and {len(lines) - SHOWN:,} more"] if len(lines) > SHOWN else []
    return "\n".join([head, *rows, *rest])


class Mixed:
    """The rows of training, mixed; called as `order.Shuffled`."""

    def __init__(self, shards: Shards, split: str, config: DataConfig):
        assert config.mixture is not None
        mixture, self._batch = config.mixture, config.batch
        self.components = by_component(shards, split, config)
        self.by, self.most_epochs = mixture.by, mixture.most_epochs
        names, tokens, rows = self.components.names, self.components.tokens, self.components.rows
        unmet = [name for name in shards.names(self.by) if name not in names]  # of other splits
        all_names, all_tokens = [*names, *unmet], np.append(tokens, np.zeros(len(unmet), tokens.dtype))
        where = f"{self.by}s of the {split} split of {shards.folder}"
        self.steps = [0, *(stage.step for stage in mixture.stages)]
        asked = [mixture, *(stage.mixture for stage in mixture.stages)]
        shares = [token_shares(one, all_names, all_tokens, where)[: len(names)] for one in asked]
        counts = [turns(share * rows / tokens) for share in shares]
        self.interleave = Interleave([step * config.batch for step in self.steps], counts)
        self._of_pass = [_pass(one, names, rows) for one in asked]
        keys = [f"{shards.digest} {config.seed} {name}" for name in names]
        self._orders = [Shuffled(count, key) for count, key in zip(rows.tolist(), keys, strict=True)]
        self._blocks = Blocks(self._compute)

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """The rows of `components.plan` at positions start to stop - 1."""
        return self._blocks(start, stop)

    def _compute(self, start: int, stop: int) -> np.ndarray:
        component, before = self.interleave(start, stop)
        rows = np.empty(stop - start, np.int64)
        order, sizes = np.argsort(component, kind="stable"), np.bincount(component, minlength=len(self._orders))
        for number, end in zip(np.flatnonzero(sizes), np.cumsum(sizes[sizes > 0]), strict=True):
            here = order[end - sizes[number] : end]
            rows[here] = self.components.first[number] + self._orders[number].at(before[here])
        return rows

    def stages(self, steps: int) -> list[tuple[int, int]]:
        """The first step of each stage, and behind its last, of a run of so many."""
        return list(itertools.pairwise([*self.steps, steps]))

    def told(self, steps: int, start: int = 0) -> list[Mapping[str, Any]]:
        """Of each component what it is and how often the steps from `start` to `steps` - 1 read it, the largest share
        first."""
        names, documents, tokens, _ = self.components[1:]
        before, after = (self.interleave.before(step * self._batch) for step in (start, steps))
        rows, read = self.components.rows, after - before
        share = read * tokens / rows
        lines = [
            {
                "component": names[i], "documents": int(documents[i]), "tokens": int(tokens[i]),
                "share": float(share[i] / share.sum()), "epochs": float(read[i] / rows[i]),
            } for i in range(len(names))
        ]  # fmt: skip
        return sorted(lines, key=lambda line: (-line["share"], line["component"]))

    def scaled(self, steps: int) -> list[str]:
        """Where epochs are asked for that the steps of a stage do not come to, how many would."""
        said = []
        for (start, stop), rows in zip(self.stages(steps), self._of_pass, strict=True):
            if rows and abs((stop - start) * self._batch / rows - 1) > _AS_ASKED:
                there, needed = stop - start, math.ceil(rows / self._batch)
                said.append(
                    f"epochs are read in proportion: the {there:,} steps from step {start:,} on are "
                    f"{there / needed:.3g} of the {needed:,} that would read documents as often as asked"
                )
        return said


_AS_ASKED = 0.01  # of a pass that steps may lack or have too much: chosen, less than a table shows


def _pass(asked: Any, names: Sequence[str], rows: np.ndarray) -> float | None:
    """Rows to read where epochs are asked for; None elsewhere."""
    if not isinstance(asked, Epochs):
        return None
    return float(np.dot([asked.epochs.get(name, 0) for name in names], rows))
