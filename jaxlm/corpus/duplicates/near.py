"""Near duplicates: the passes in order, from parts to removals."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from jaxlm.corpus.duplicates import cap
from jaxlm.corpus.duplicates.candidates import candidates, partitions
from jaxlm.corpus.duplicates.config import NearConfig
from jaxlm.corpus.duplicates.part import Row
from jaxlm.corpus.duplicates.sketch import sketch
from jaxlm.corpus.duplicates.stars import Removals, removals, stars
from jaxlm.corpus.duplicates.verify import verify


def find(parts: Sequence[Iterable[Row]], folder: Path, cfg: NearConfig, run: Callable[..., Iterable] = map) -> Removals:
    """The documents of `parts` that are near duplicates of one that stays.

    `folder` takes the files between passes, and is read for the evidence: one of its own for each call.
    `run` is an executor's `map`, in order; parts then travel to its processes, so let one be an object that reads its
    rows when it is iterated. The result is the same for any `run`, and for any order and size of parts but for the
    places in it. UserError where a source would lose more than `cfg.cap` allows.

    >>> import tempfile
    >>> text = "It is a truth universally acknowledged, that a single man in possession of a good fortune"
    >>> rows = [Row("a", text + " must be in want of a wife.", "x"), Row("b", text + ", must be in want!", "x")]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     find([rows], Path(folder), NearConfig()).evidence(0)
    [Removal(id='b', kept_id='a', jaccard=0.8...)]
    """
    count = len(parts)
    keys = sum(run(partial(sketch, folder=folder, cfg=cfg), range(count), parts))
    of = partitions(keys, cfg)
    list(run(partial(candidates, of=of, parts=count, folder=folder, cfg=cfg), range(of)))
    list(run(partial(verify, parts=count, partitions=of, folder=folder, cfg=cfg), range(count)))
    stars(count, folder)
    cap.check(run(partial(removals, parts=count, folder=folder), range(count)), cfg.cap, "near duplicates")
    return Removals(folder, count)
