"""Which language a text is in: py3langid's model on a sample of it, and the script where that alone decides.

The model (naive Bayes over byte n-grams, 140 languages; Lui and Baldwin 2012, ACL P12-3005; py3langid 0.4 by
Barbaresi) lies in py3langid's wheel, so nothing is fetched. Its own loop takes a byte at a time in Python. Here the
automaton that finds the n-grams walks all pieces of a text at once, which gives the same counts: no n-gram is longer
than `_REACH` bytes, so a walk that starts that much earlier is in the right state. On the same bytes the answer is
py3langid's, to the last bit. A long text is sampled (`SLICES`), and a text with too few letters is "und".

Codes are py3langid's: ISO 639-1 where there is one ("en"), else 639-3; "zxx" for what is no language.

A fastText model of the user's (corpus/language_fasttext.py) may answer instead, from the larger sample.

Left out: languages of the parts of a text, traditional and simplified Chinese apart.
"""

import functools
import math
import re
import string
import unicodedata
from collections import Counter, defaultdict
from typing import Annotated, NamedTuple

import numpy as np
from py3langid.langid import MODEL_FILE, LanguageIdentifier
from pydantic import AfterValidator, NonNegativeInt

from jaxlm.config import Config
from jaxlm.corpus import language_fasttext

UNDETERMINED = "und"  # ISO 639-2's code
SLICES = 8  # of a long text, at equal distances: see test_a_sample_answers_as_the_whole_text_does
SLICE_CHARACTERS = 64
SURE = 0.9  # chosen: 5 % of documents are below it, and all that their sample gets wrong
UNSURE_SLICE_CHARACTERS = 1_024  # of a text whose first sample left doubt: all of 8 kB
SCRIPT_SHARE = 0.5  # of the letters; chosen: most of them
KANA_SHARE = 0.2  # chosen: a Japanese page is about half kana, a Chinese one that quotes Japanese far less

_REACH = 6  # bytes of the longest n-gram: the depth of the automaton
_PIECE = 16  # bytes that a walk takes one after the other; measured: 8 and 32 are slower at 1 kB
_NOT_LETTERS = re.compile(r"[\W\d_]+")
_NOT_ASCII_LETTERS = bytes(set(range(128)) - set(string.ascii_letters.encode()))
_IDEOGRAPH = re.compile("[\u3400-\u9fff\U00020000-\U0003ffff]")

# Scripts (blocks of Unicode) that one language of the model is written in. Greek and Hebrew are not here: the
# model tells the ancient from the modern language.
_SCRIPTS = {
    "ja": ((0x3040, 0x30FF),),  # beside ideographs: KANA_SHARE
    "th": ((0x0E00, 0x0E7F),),
    "lo": ((0x0E80, 0x0EFF),),
    "ko": ((0x1100, 0x11FF), (0xAC00, 0xD7AF)),
    "ka": ((0x10A0, 0x10FF),),
    "hy": ((0x0530, 0x058F),),
    "pa": ((0x0A00, 0x0A7F),),
    "gu": ((0x0A80, 0x0AFF),),
    "or": ((0x0B00, 0x0B7F),),
    "ta": ((0x0B80, 0x0BFF),),
    "te": ((0x0C00, 0x0C7F),),
    "kn": ((0x0C80, 0x0CFF),),
    "ml": ((0x0D00, 0x0D7F),),
    "si": ((0x0D80, 0x0DFF),),
    "km": ((0x1780, 0x17FF),),
}


def _code(told: str) -> str:
    if not re.fullmatch("[a-z]{2,3}", told):
        raise ValueError(
            f"{told!r} is no code of a language: ISO 639-1 has two small letters, as 'en', 639-3 has three"
        )
    return told


Language = Annotated[str, AfterValidator(_code)]  # of a config: as `identify` tells it


class LanguageConfig(Config):
    letters: NonNegativeInt = 20  # under this many a text is "und"; an ideograph counts as three.
    # 20: on pieces of the UDHR the model is right 0.76 of the time at 10 characters, 0.91 at 20, 0.94 at 30
    fasttext: str | None = None  # path of a fastText model that answers instead (pip install 'jaxlm[fasttext]')


class Identifier:
    """`identify(text)`: its language. The model is loaded at the first text, once in a process.

    >>> Identifier().identify("Alle Menschen sind frei und gleich an Würde und Rechten geboren.")[0]
    'de'
    """

    def __init__(self, cfg: LanguageConfig | None = None) -> None:
        self.cfg = cfg or LanguageConfig()

    def identify(self, text: str) -> tuple[str, float]:
        """(language, probability); ("und", 0.0) where the letters are too few."""
        part = sample(text)
        letters = _letters(part)
        weight = len(letters) if letters.isascii() else len(letters) + 2 * len(_IDEOGRAPH.findall(letters))
        if weight < max(self.cfg.letters, 1):
            return UNDETERMINED, 0.0
        if self.cfg.fasttext is not None:
            part = sample(text, UNSURE_SLICE_CHARACTERS)
            return language_fasttext.ask(self.cfg.fasttext, part) or (UNDETERMINED, 0.0)
        language, probability = _by_script(letters) or classify(part)
        if probability < SURE and len(part) < len(text):
            return classify(sample(text, UNSURE_SLICE_CHARACTERS))
        return language, probability


def sample(text: str, slice_characters: int = SLICE_CHARACTERS) -> str:
    """`SLICES` slices of a long text, the first at its start and the last at its end; a short one whole."""
    if len(text) <= SLICES * slice_characters:
        return text
    last = len(text) - slice_characters
    starts = [i * last // (SLICES - 1) for i in range(SLICES)]
    return " ".join(text[start : start + slice_characters] for start in starts)


def _letters(text: str) -> str:
    if text.isascii():  # the same, many times as fast
        return text.encode().translate(None, _NOT_ASCII_LETTERS).decode()
    return _NOT_LETTERS.sub("", text)


def _by_script(letters: str) -> tuple[str, float] | None:
    if letters.isascii():
        return None
    units = np.frombuffer(letters.encode("utf-16-le", "surrogatepass"), "<u2")
    shares = np.bincount(_script_of()[units >> 4], minlength=len(_SCRIPTS) + 1) / len(letters)
    best = int(shares[1:].argmax()) + 1
    language = list(_SCRIPTS)[best - 1]
    if language == "ja" and shares[best] >= KANA_SHARE:
        return "ja", min(1.0, float(shares[best]) + len(_IDEOGRAPH.findall(letters)) / len(letters))
    return (language, float(shares[best])) if shares[best] >= SCRIPT_SHARE else None


@functools.cache
def _script_of() -> np.ndarray:
    """Run of 16 code points -> 1 + the place in `_SCRIPTS`, or 0."""
    table = np.zeros(1 << 12, np.int64)
    for number, spans in enumerate(_SCRIPTS.values(), start=1):
        for first, last in spans:
            table[first >> 4 : (last >> 4) + 1] = number
    return table


class _Model(NamedTuple):
    root: int  # where the 256 steps from the first state begin
    next_row: np.ndarray  # step -> where those from the state behind it begin
    feature: np.ndarray  # step -> the n-gram that ends behind it, or -1
    weights: np.ndarray  # n-gram, class: log probabilities
    prior: np.ndarray
    classes: list[str]
    doubles: list[tuple[int, int]]  # classes of one name (scripts of Serbian, say)


@functools.cache
def _model() -> _Model:
    loaded = LanguageIdentifier.from_model_file(MODEL_FILE)
    by_name = defaultdict(list)
    for number, name in enumerate(loaded.nb_classes):
        by_name[name].append(number)
    row, next_state = np.array(loaded.tk_row, np.int64) << 8, np.array(loaded.tk_nextmove)
    return _Model(
        int(row[0]),
        row[next_state],
        np.array(loaded.tk_output, np.int32)[next_state],
        loaded.nb_ptc.astype(np.float32),
        loaded.nb_pc,
        loaded.nb_classes,
        [(first, other) for first, *others in by_name.values() for other in others],
    )


def classify(text: str) -> tuple[str, float]:
    """py3langid's answer for the whole of `text`; its probability is a softmax of scores / sqrt(bytes)."""
    model = _model()
    lowered = text.lower() if text.isupper() else text  # as py3langid was trained
    data = unicodedata.normalize("NFC", lowered).encode("utf-8", "surrogatepass")
    features = _features(model, data)
    if not features.size:
        return UNDETERMINED, 0.0
    counts = Counter(features.tolist())  # py3langid sums in the order of the text, and a float sum depends on it
    times = np.fromiter(counts.values(), np.float32, len(counts))
    scores = np.log1p(times) @ model.weights[np.fromiter(counts, np.int64, len(counts))] + model.prior
    scores *= 1.0 / math.sqrt(len(data))
    np.exp(scores - scores.max(), out=scores)
    scores /= scores.sum()
    for kept, other in model.doubles:
        scores[kept] += scores[other]
    best = int(scores.argmax())
    return model.classes[best], float(scores[best])


def _features(model: _Model, data: bytes) -> np.ndarray:
    """The n-grams of `data`, in the order of their ends.

    Walks every piece at once, each from `_REACH - 1` bytes before it: of those bytes nothing is counted.
    The bytes before the first piece are zeros, which lead from the root to the root.
    """
    walks, before = -(-len(data) // _PIECE), _REACH - 1
    padded = np.zeros(before + walks * _PIECE, np.uint8)
    padded[before : before + len(data)] = np.frombuffer(data, np.uint8)
    pieces = np.ndarray((walks, before + _PIECE), np.uint8, padded.data, strides=(_PIECE, 1))  # which overlap
    letters = pieces.T.astype(np.int64, order="C")
    steps, row = np.empty_like(letters), np.full(walks, model.root)
    for step, letter in zip(steps, letters, strict=True):
        np.add(row, letter, out=step)
        model.next_row.take(step, out=row, mode="clip")  # any other mode would go through a copy
    features = model.feature[steps[before:].T.ravel()[: len(data)]]
    return features[features >= 0]
