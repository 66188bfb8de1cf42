"""English words, as spaCy's English tokenizer cuts them (spacy.blank("en"), 3.8).

The thresholds of Gopher's and FineWeb's rules (corpus/rules.py) were set on its words, so its cuts decide what they
keep. A run of characters without white space is cut in three steps: marks come off both ends, one at a time; hyphens,
dashes and a few signs cut inside what is left, unless it is an address of the web; contractions and some abbreviations
are known by heart. Left out: emoticons, symbols beyond the common blocks, units that are rare.
"""

import re
import unicodedata
from collections.abc import Sequence

_MARKS = "—–…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉⟦⟧"
_CURRENCY = "$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺₻₼₾₿"
_LETTERLIKE = "".join(c for c in map(chr, range(0x2100, 0x2150)) if unicodedata.category(c) == "So")  # and no ℝ
_SYMBOLS = f"¦©®°҂֎֏{_LETTERLIKE}\u2190-\u23ff\u2400-\u27bf\u2900-\u2bff\u3004\u3012-\u3013\U0001f000-\U0001faff"
_UNITS = (
    "km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph hPa Pa "
    "mbar mb MB kb KB gb GB tb TB T G M K %"
)
_END_UNITS = "|".join(sorted(map(re.escape, _UNITS.split()), key=len, reverse=True))
_LONGEST_SUFFIX = max(map(len, _UNITS.split()))  # characters, but of full stops in a row
_QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉⟦⟧"
_LETTER = "[^\\W\\d_]"
_CAPITAL = "A-ZÀ-ÖØ-ÞА-ЯΑ-Ω"
_SMALL = rf"[^\W\d_{_CAPITAL}ªº\u2100-\u218f]"  # a small letter, or one of a script that knows no capitals

_PREFIX = re.compile(rf"\.\.+|\+(?![0-9])|[§%={re.escape(_MARKS + _CURRENCY)}{_SYMBOLS}]")
_SUFFIX = re.compile(
    rf"(?:['’][sS]|(?<=[0-9])(?:{_END_UNITS})|(?<=[0-9])[+{re.escape(_CURRENCY)}]|(?<=°[FfCcKk])\."
    rf"|(?:(?<={_SMALL})|(?<=[0-9%²+{re.escape(_MARKS)}-]))\.|(?<=[{_CAPITAL}][{_CAPITAL}])\."
    rf"|[{re.escape(_MARKS)}{_SYMBOLS}])$"
)
_INFIX = (
    re.compile(  # a set of characters first, since Python searches fast for one: what a sign needs stands behind it
        rf"[.…+*^,~:<>=/\-–—{_SYMBOLS}](?:(?<=\.)\.+|(?<=[…{_SYMBOLS}])|(?<=[0-9][+\-*^])(?=[0-9-])"
        rf"|(?:(?<={_SMALL}\.)|(?<=[{re.escape(_QUOTES)}]\.))(?=[{_CAPITAL}{re.escape(_QUOTES)}])"
        rf"|(?<={_LETTER},)(?={_LETTER})|(?<=[^\W_]-)(?:--|-|)(?={_LETTER})|(?<=[^\W_]—)—?(?={_LETTER})"
        rf"|(?<=[^\W_][–~:<>=/])(?={_LETTER}))"
    )
)
_ALONE = frozenset(_MARKS) - set("—–…'’~")  # come off either end one at a time, whatever they stand beside
_ALL_ALONE = "".join(sorted(_ALONE))
_DIGIT = re.compile(r"\d")
_LONGEST = 1_000  # characters: chosen; marks come off one by one, which is quadratic, so what is longer keeps them
_ADDRESS = re.compile(
    r"(?:[A-Za-z][\w.+-]*://)?(?:\S{1,64}(?::\S{0,64})?@)?(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[\w-]{1,63}\.){1,9}[a-z]{2,63})"
    r"(?::\d{2,5})?(?:[/?#]\S*)?"
)

_PRONOUNS = {
    "i": "m ma ll d ve", "you": "ll d ve re", "he": "ll d s", "she": "ll d s", "it": "ll d s", "we": "ll d ve re",
    "they": "ll d ve re", "who": "s ll d ve re", "what": "s ll d ve re", "when": "s ll d ve re",
    "where": "s ll d ve re", "why": "s ll d ve re", "how": "s ll d ve re", "there": "s ll d ve re",
    "that": "s ll d", "this": "s ll d", "those": "ll d ve re", "these": "ll d ve re",
}  # fmt: skip
_AUXILIARIES = "ca could do does did had has have is may might must need ought sha should wo would are was were ai dare"
# Without their apostrophe these are words of their own.
_WORDS = {"ill", "shed", "hell", "shell", "well", "were", "whore", "its", "cant"}
_OTHERS = {
    "cannot": ("can", "not"), "gonna": ("gon", "na"), "gotta": ("got", "ta"), "let's": ("let", "'s"),
    "let’s": ("let", "’s"), "y'all": ("y'", "all"), "yall": ("y", "all"), "c'mon": ("c'm", "on"),
}  # fmt: skip
_WHOLE = (
    "'' 're 'll 'd 'em 'Cause 'cause 'cos 'Cos 'coz 'cuz 'bout 'nuff 'til o'clock ma'am Ma'am o.o 'S 's ’S ’s "
    "and/or w/o i.e. e.g. I.e. E.g. a.m. p.m. A.M. P.M. vs. v.s. C++ Adm. Bros. Co. Corp. D.C. Dr. Gen. Gov. Inc. "
    "Jr. Ltd. Md. Messrs. Mo. Mont. Mr. Mrs. Ms. Ph.D. Prof. Rep. Rev. Sen. St. Mt. Ak. Ala. Apr. Ariz. Ark. Aug. "
    "Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. Jul. Jun. Kan. Kans. Ky. La. Mar. Mass. "
    "Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. Pa. S.C. Sep. Sept. "
    "Tenn. Va. Wash. Wis."
)


def _known() -> dict[str, tuple[str, ...]]:
    """What is known by heart: chunk -> its words."""
    known: dict[str, tuple[str, ...]] = {word: (word,) for word in _WHOLE.split()}
    known |= {f"{letter}.": (f"{letter}.",) for letter in "abcdefghijklmnopqrstuvwxyzäöü"}
    for hour in range(1, 13):
        for half in ("am", "a.m.", "pm", "p.m."):
            known[f"{hour}{half}"] = (str(hour), half)
    for pronoun, ends in _PRONOUNS.items():
        for base in (pronoun, pronoun.capitalize()):
            for end in ends.split():
                for mark in ("'", "’", ""):
                    if (base + mark + end).lower() not in _WORDS:
                        known[base + mark + end] = (base, mark + end)
                    if end in ("ll", "d"):
                        known[f"{base}{mark}{end}{mark}ve"] = (base, mark + end, mark + "ve")
    for auxiliary in _AUXILIARIES.split():
        for base in (auxiliary, auxiliary.capitalize()):
            for mark in ("'", "’", ""):
                if (base + "n" + mark + "t").lower() not in _WORDS:
                    known[f"{base}n{mark}t"] = (base, f"n{mark}t")
    for chunk, words in _OTHERS.items():
        known[chunk] = words
        known[chunk.capitalize()] = (words[0].capitalize(), *words[1:])
    return known


_KNOWN = _known()


def cut(chunk: str) -> list[str]:
    """The words of a chunk, which has no white space.

    >>> cut('"Don\\'t,'), cut("well-read..."), cut("U.S.,"), cut("5km")
    (['"', 'Do', "n't", ','], ['well', '-', 'read', '...'], ['U.S.', ','], ['5', 'km'])
    """
    simple = _simple(chunk)
    if simple is not None:
        return simple
    if len(chunk) > _LONGEST:
        return _inside(chunk)
    before: list[str] = []
    after: list[str] = []
    rest, digits = chunk, _DIGIT.search(chunk) is not None
    while rest and rest not in _KNOWN:
        start = _prefix(rest)
        if start and rest[start:] in _KNOWN:
            before.append(rest[:start])
            rest = rest[start:]
            break
        end = _suffix(rest, start, digits)
        if end < len(rest) and rest[:end] in _KNOWN:
            after.append(rest[end:])
            rest = rest[:end]
            break
        if not start and end == len(rest):
            break
        if start:
            before.append(rest[:start])
        if end < len(rest):
            after.append(rest[end:])
        rest = rest[start:end]
    return _joined([*before, *(_KNOWN.get(rest) or _inside(rest)), *reversed(after)])


def _prefix(rest: str) -> int:
    """Characters of the mark that comes off the beginning; most ends are seen without a pattern, here and below."""
    if rest[0] in _ALONE:
        return 1
    found = None if _plain(rest[0]) else _PREFIX.match(rest)
    return found.end() if found else 0


def _plain(character: str) -> bool:
    """Whether it is a letter or a digit, and none that is also a symbol, as ℝ."""
    return character.isalnum() and (character < "\u2100" or "\u3013" < character < "\U0001f000")


def _suffix(rest: str, start: int, digits: bool) -> int:
    """Where the mark begins that comes off the end of what stands after `start`; its length where there is none."""
    if rest[-1] in _ALONE and len(rest) > start:
        return len(rest) - 1
    if not digits and _plain(rest[-1]) and rest[-2:-1] not in ("'", "’"):
        return len(rest)
    if rest.endswith(".."):
        return max(start, len(rest.rstrip(".")))
    found = _SUFFIX.search(rest, max(start, len(rest) - _LONGEST_SUFFIX))
    return found.start() if found else len(rest)


def _simple(chunk: str) -> list[str] | None:
    """The same for letters among marks, and for words with hyphens; None for others.

    Most chunks are such, and patterns would take several times as long.
    """
    if chunk.isalpha():  # nothing cuts letters but what is known by heart
        return list(_KNOWN.get(chunk, (chunk,)))
    if chunk in _KNOWN:
        return list(_KNOWN[chunk])
    inner = chunk.strip(_ALL_ALONE)
    if len(chunk) <= _LONGEST and (words := _letters(inner)) is not None:
        start = chunk.index(inner) if inner else len(chunk)
        return [*chunk[:start], *words, *chunk[start + len(inner) :]]
    if chunk[-2:] in ("'s", "’s") and chunk[:-2].isalpha():
        return [*_KNOWN.get(chunk[:-2], (chunk[:-2],)), chunk[-2:]]
    parts = chunk.split("-")
    if len(parts) > 1 and all(map(str.isalpha, parts)):
        return [word for part in parts for word in ("-", part)][1:]
    return None


def _letters(inner: str) -> Sequence[str] | None:
    """The words of letters, perhaps with a full stop; None of anything else."""
    if inner.isalpha():
        plain = inner.isascii() or all(map(_plain, inner))
        return _KNOWN.get(inner, (inner,)) if plain else None
    letters = inner[:-1]
    if inner[-1:] == "." and letters.isalpha() and "a" <= letters[-1] <= "z" and all(map(_plain, letters)):
        return _KNOWN.get(inner) or _joined([*_KNOWN.get(letters, (letters,)), "."])
    return None if inner else ()


def _joined(words: list[str]) -> list[str]:
    """Put together again what is known whole, as `St` and the full stop that came off with other marks."""
    if "." not in words and "'" not in words:
        return words
    joined: list[str] = []
    for word in words:
        if joined and word in (".", "'") and _KNOWN.get(joined[-1] + word) == (joined[-1] + word,):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _inside(rest: str) -> list[str]:
    """Cut at what may stand inside a word."""
    if (rest.isascii() and rest.isalnum()) or (len(rest) <= _LONGEST and "." in rest and _ADDRESS.fullmatch(rest)):
        return [rest]
    words, start = [], 0
    for sign in _INFIX.finditer(rest):
        if sign.start() == 0:
            continue
        if sign.start() != start:
            words.append(rest[start : sign.start()])
        words.append(sign[0])
        start = sign.end()
    return words + ([rest[start:]] if start < len(rest) else [])
