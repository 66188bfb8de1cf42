"""Which pieces of text share a row, so that few rows have room left.

First best fit decreasing, as Ding et al. 2024 (arXiv:2404.10830) pack text. It puts small pieces away wherever they
fit, so the last rows, of middling pieces, keep gaps that nothing is left to fill. These rows, and full ones of many
pieces, are then filled once more, one row at a time with the pieces that fill it best (Gupta and Ho 1999, "A new
heuristic algorithm for the one-dimensional bin-packing problem"), if that takes fewer rows.
"""

import itertools
from collections.abc import Sequence

_REFILLED = 2_000  # pieces: chosen; each row looks at all that are left, so the time grows with their square


def rows_of(sizes: Sequence[int], length: int, most: int) -> list[int]:
    """The row of each size, given in decreasing order; `most` pieces share one."""
    row = best_fit(sizes, length, most)
    fewest = -(-sum(sizes) // length)
    if most < length or max(row) + 1 == fewest:  # filling a row best does not count its pieces
        return row
    held: list[list[int]] = [[] for _ in range(max(row) + 1)]
    for piece, one in enumerate(row):
        held[one].append(piece)
    room = [length - sum(sizes[piece] for piece in pieces) for pieces in held]
    by_gap = sorted(range(len(held)), key=lambda one: (-room[one], -len(held[one]), one))
    pieces_before = itertools.accumulate((len(held[one]) for one in by_gap), initial=0)
    opened = {one for one, before in zip(by_gap, pieces_before, strict=False) if before < _REFILLED}
    filled = fill(sizes, sorted(piece for one in opened for piece in held[one]), length)
    if len(filled) >= len(opened):
        return row
    kept = [pieces for one, pieces in enumerate(held) if one not in opened]
    for one, pieces in enumerate([*kept, *filled]):
        for piece in pieces:
            row[piece] = one
    return row


def best_fit(sizes: Sequence[int], length: int, most: int) -> list[int]:
    """The row of each size, in decreasing order: the one where it fits tightest.

    `open_rows[c]` are the rows with c tokens of room, and bit c of `room` says whether there is one: the
    tightest fit is the lowest bit from `size` up, so a million documents take seconds.

    >>> best_fit([6, 5, 4, 3], length=10, most=10)
    [0, 1, 0, 1]
    """
    open_rows: list[list[int]] = [[] for _ in range(length + 1)]
    held: list[int] = []  # pieces of each row
    room, rows, placed = 0, 0, []
    for size in sizes:
        fits = room >> size
        if fits:
            left = size + (fits & -fits).bit_length() - 1
            row = open_rows[left].pop()
            if not open_rows[left]:
                room ^= 1 << left
        else:
            left, row = length, rows
            held.append(0)
            rows += 1
        placed.append(row)
        held[row] += 1
        left -= size
        if left and held[row] < most:
            open_rows[left].append(row)
            room |= 1 << left
    return placed


def fill(sizes: Sequence[int], pieces: Sequence[int], length: int) -> list[list[int]]:
    """Rows of `pieces`, whose sizes decrease: each of the first that is left and those that leave the least room.

    Bit s of `sums` says that some of the pieces looked at have the sum s. Of sets that leave the same room, the one
    with the larger pieces is taken: small ones fit everywhere later.

    >>> sizes = [6, 5, 5, 4, 3, 3, 3]
    >>> fill(sizes, range(7), length=10)
    [[0, 3], [1, 2], [4, 5, 6]]
    """
    rows, left = [], list(pieces)
    while left:
        first, *others = left
        room = length - sizes[first]
        sums, below = [1], (1 << room + 1) - 1
        for piece in others:
            if sums[-1] >> room:
                break
            sums.append((sums[-1] | sums[-1] << sizes[piece]) & below)
        row, wanted = [first], sums[-1].bit_length() - 1
        for piece, before in zip(reversed(others[: len(sums) - 1]), reversed(sums[:-1]), strict=True):
            if not before >> wanted & 1:
                row.append(piece)
                wanted -= sizes[piece]
        rows.append(sorted(row))
        left = sorted(set(left) - set(row))
    return rows
