"""Bad records while a corpus is read: where it is known that there will be too many, the rest is not read."""

from collections.abc import Sequence

from jaxlm.corpus.document import SHOWN, Tally

_FEW = 100  # bad records that end no reading: chosen, one small file that is broken throughout may be all there is


class Budget:
    """What was read so far of `parts` that are alike in bytes; `borne` is the fraction of all records that may be bad.

    Parts end in any order, so only what is bad enough for all of them counts before the last one has.
    """

    def __init__(self, borne: float, parts: int):
        self._parts, self._done, self._records = parts, 0, 0
        self._tally = Tally(budget=borne)

    def read(self, collected: Sequence[dict]) -> None:
        """Add the facts of parts; UserError if more is bad than is borne even where all that is to come is good."""
        for one in collected:
            self._done += 1
            self._records += one["counts"]["records"] + one["bad"]
            self._tally.bad_records += one["bad"]
            self._tally.bad_shown = [*self._tally.bad_shown, *one["bad_shown"]][:SHOWN]
        if self._tally.bad_records > _FEW and self._done < self._parts:
            self._tally.check(self._records, ahead=self._records * (self._parts - self._done) // self._done)
