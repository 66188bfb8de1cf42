"""Near duplicates: the passes in order, from parts to removals."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from jaxlm.corpus.duplicates import cap, passes
from jaxlm.corpus.duplicates.candidates import CANDIDATES, candidates, partitions
from jaxlm.corpus.duplicates.config import NearConfig
from jaxlm.corpus.duplicates.part import PARTS, Row
from jaxlm.corpus.duplicates.sketch import sketch
from jaxlm.corpus.duplicates.stars import REMOVALS, STARS, NearCopies, removals, stars
from jaxlm.corpus.duplicates.verify import VERIFIED, verify


def find(parts: Sequence[Iterable[Row]], folder: Path, cfg: NearConfig, run: passes.Run = passes.here) -> NearCopies:
    """The documents of `parts` that are near duplicates of one that stays.

    `folder` takes the files between passes, and is read for the evidence: one of its own for each search, which goes on
    from what it finds there. `run` is `tasks.run` on some engine; parts then travel to its processes, so let one be an
    object that reads its rows when it is iterated. The result is the same for any `run`, and for any order and size of
    parts but for the places in it. UserError where a source would lose more than `cfg.cap` allows.

    >>> import tempfile
    >>> text = "It is a truth universally acknowledged, that a single man in possession of a good fortune"
    >>> rows = [Row("a", text + " must be in want of a wife.", "x"), Row("b", text + ", must be in want!", "x")]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     find([rows], Path(folder), NearConfig()).evidence(0)
    [NearCopy(id='b', kept_id='a', jaccard=0.8...)]
    """
    count = len(parts)
    sketched = run(passes.each(PARTS, sketch, [(rows, cfg) for rows in parts]), folder)
    of = partitions(sum(one["keys"] for one in sketched), cfg)
    run(passes.each(CANDIDATES, candidates, [(n, of, count, folder, cfg) for n in range(of)]), folder)
    run(passes.each(VERIFIED, verify, [(n, count, of, folder, cfg) for n in range(count)]), folder)
    run(passes.each(STARS, stars, [(count, folder)]), folder)
    tallies = run(passes.each(REMOVALS, removals, [(n, count, folder) for n in range(count)]), folder)
    cap.check(tallies, cfg.cap, "near duplicates", cap.NEAR)
    return NearCopies(folder, count)
