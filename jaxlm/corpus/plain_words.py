"""Words of any script as numbers: what stands between white space, in small letters, without marks at its ends.

As BigScience's filters see words (Laurençon et al. 2022, arXiv:2303.03915): what is no letter, white space too, is
special, and comes off the ends of a word. In scripts without spaces each letter is a word. All of it is array work on
the code points of a text: the hash of a word is a difference of running sums of a polynomial.

Left out: words of one language (corpus/words.py has English ones).
"""

import functools
import sys
import unicodedata

import numpy as np

from jaxlm.bits import GOLDEN, mix

_FACTOR, _INVERSE = np.uint64(GOLDEN), np.uint64(pow(GOLDEN, -1, 2**64))


def points(text: str) -> np.ndarray:
    """The code points of a text, u32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def special(code_C: np.ndarray) -> np.ndarray:
    """Which characters are neither letters nor marks of letters."""
    return _special()[code_C]


@functools.cache
def _special() -> np.ndarray:
    return np.array([unicodedata.category(chr(code))[0] not in "LM" for code in range(sys.maxunicode + 1)])


def words(text: str, spaced: bool) -> np.ndarray:
    """u64 of each word of a text, in order; of each letter where words have no spaces between them.

    >>> one, two, three = words("Tea, tea: TOAST!", spaced=True).tolist()
    >>> one == two, one == three, len(words("茶和 茶。", spaced=False))
    (True, False, 3)
    """
    code_C = points(text.lower())
    plain_C = ~special(code_C)
    if not spaced:
        return mix(code_C[plain_C].astype(np.uint64))
    starts, ends = _spans(code_C, plain_C)
    power_C = _powers(_FACTOR, len(code_C))
    sum_C = np.concatenate([np.zeros(1, np.uint64), np.cumsum((code_C + np.uint64(1)) * power_C)])
    return mix((sum_C[ends] - sum_C[starts]) * _powers(_INVERSE, len(code_C))[starts])


def _spans(code_C: np.ndarray, plain_C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(first letter, end of the last letter) of each run without white space that has a letter."""
    run_C = np.cumsum(_white()[code_C])
    letter = np.flatnonzero(plain_C)
    if not letter.size:
        return letter, letter
    run = run_C[letter]
    edges = np.flatnonzero(np.concatenate([[True], run[1:] != run[:-1], [True]]))
    return letter[edges[:-1]], letter[edges[1:] - 1] + 1


@functools.cache
def _white() -> np.ndarray:
    return np.array([chr(code).isspace() for code in range(sys.maxunicode + 1)])


def _powers(factor: np.uint64, count: int) -> np.ndarray:
    """factor ** 0, 1, 2..., modulo 2 ** 64."""
    power = np.full(count, factor, np.uint64)
    power[:1] = 1
    return np.cumprod(power)


def grams(hash_W: np.ndarray, n: int) -> np.ndarray:
    """u64 of each n of them in a row; none where there are fewer."""
    found = hash_W[: max(len(hash_W) - n + 1, 0)]
    for place in range(1, n):
        found = found * _FACTOR + hash_W[place : place + len(found)]
    return found
