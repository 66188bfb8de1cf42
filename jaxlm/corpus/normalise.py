"""Text in one form: mended mojibake, line ends as "\\n", no invisible characters, composed letters, plain white space.

In this order, and each step counted:

    mojibake     lines that UTF-8 read as another encoding has damaged, mended by ftfy (Speer 2019,
                 doi 10.5281/zenodo.2591652): its `fix_encoding`, not what it does to quotes and ligatures
    line ends    \\r\\n, \\r, form feeds and Unicode's own become \\n
    control      control characters but \\n and \\t go
    zero width   the byte order mark, zero-width space, word joiner and soft hyphen go; joiners stay, which
                 Persian, Indian scripts and emoji are written with, and so do marks of direction
    form         NFC (UAX 15), or NFKC or none
    spaces       a run of two or more inside a line becomes one space, at its end nothing; indents stay
    blank lines  at most one in a row
    chinese      where it is asked for, characters of Chinese texts become simplified or traditional (OpenCC)

Clean text is only looked at. ftfy is slow on it (5 to 19 MB/s a core), so what it may complain about is found first:
two characters outside ASCII side by side, of which one is seldom a letter of its own language.

Left out: quotes, dashes and ligatures (NFKC takes the last), HTML, letters that look like others.
"""

import functools
import re
import unicodedata
from collections import Counter
from typing import Any, Literal

import ftfy
from ftfy.badness import MOJIBAKE_CATEGORIES, is_bad

from jaxlm.config import Config
from jaxlm.errors import UserError

_LINE_END = re.compile("\r\n?|[\v\f\x85\u2028\u2029]")
_CONTROL = re.compile("[\0-\x08\x0e-\x1f\x7f-\x9f]+")
_ZERO_WIDTH = re.compile("[\xad\u180e\u200b\u2060\ufeff]+")
_UNWANTED = re.compile("[\0-\x08\v-\x1f\x7f-\x9f\xad\u180e\u200b\u2028\u2029\u2060\ufeff]")  # any of the three

_SPACE = "\t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000"  # but the usual one
_OTHER_SPACE = re.compile(f"[{_SPACE}]")
_SPACES = re.compile(f"[ {_SPACE}]{{2,}}")
_ONE_BEFORE_LINE_END = re.compile(f"[ {_SPACE}]\n")
_LINE_END_AFTER_ONE = re.compile(f"\n(?<=[ {_SPACE}].)", re.DOTALL)  # the same, but quick where there is none
_BLANK_LINES = re.compile("\n{3,}")

# Every pattern of ftfy.badness holds what this finds: a test compares with ftfy alone on strings of such characters.
_LETTERS = ("common", "lower_common", "upper_common")  # the categories that make words, Greek and Cyrillic
_ODD = "".join(chars for name, chars in MOJIBAKE_CATEGORIES.items() if name not in _LETTERS) + "Ђ"
_SUSPECT = re.compile(
    rf"[^\0-\x7f](?:(?<=[{_ODD}])[^\0-\x7f]|[{_ODD}]|(?<=[ÃÂ])[ ]|(?<=[\x80-\x9f])|(?<=[Œœ])[^A-Za-z])"
)
_AROUND = 6  # characters: with two suspects no pattern of ftfy.badness is longer


_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
_OTHER_HAN = re.compile("[\u3041-\u30ff\u31f0-\u31ff\uac00-\ud7af]")  # kana, Hangul: their characters are their own


class NormaliseConfig(Config):
    form: Literal["NFC", "NFKC", "none"] = "NFC"
    mojibake: bool = True
    chinese: Literal["as_it_is", "simplified", "traditional"] = "as_it_is"  # a fold: words are those they were
    spaces: bool = True  # runs of white space and blank lines; False for text where they mean something


def normalise(text: str, cfg: NormaliseConfig | None = None) -> tuple[str, dict[str, int]]:
    """(text in one form, {step: how often it changed something}), without the steps that changed nothing.

    >>> normalise("\\ufeffun cafÃ©  au lait \\r\\n")
    ('un café au lait\\n', {'mojibake': 1, 'line ends': 1, 'zero width': 1, 'spaces': 2})
    """
    cfg = cfg or NormaliseConfig()
    notes = Counter()
    if cfg.mojibake and not text.isascii():
        text, notes["mojibake"] = _mend(text)
    if _UNWANTED.search(text):
        text, notes["line ends"] = _LINE_END.subn("\n", text)
        text, notes["control"] = _CONTROL.subn("", text)
        text, notes["zero width"] = _ZERO_WIDTH.subn("", text)
    if cfg.form != "none" and not unicodedata.is_normalized(cfg.form, text):
        text, notes["form"] = unicodedata.normalize(cfg.form, text), 1
    if cfg.chinese != "as_it_is" and _HAN.search(text) and not _OTHER_HAN.search(text):
        folded = _opencc("t2s" if cfg.chinese == "simplified" else "s2t").convert(text)
        text, notes["chinese"] = folded, int(folded != text)
    if cfg.spaces:
        text, notes["spaces"] = _single_spaces(text)
        if "\n\n\n" in text:
            text, notes["blank lines"] = _BLANK_LINES.subn("\n\n", text)
    return text, {step: count for step, count in notes.items() if count}


@functools.cache
def _opencc(how: str) -> Any:
    try:
        import opencc  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError(
            "normalise.chinese other than 'as_it_is' needs a library: pip install 'jaxlm[chinese]'"
        ) from None
    return opencc.OpenCC(how)


def _mend(text: str) -> tuple[str, int]:
    """(text, lines mended). ftfy takes a line: what damaged one may have spared the next."""
    parts, done, mended = [], 0, 0
    place = 0
    while suspect := _SUSPECT.search(text, place):
        place = suspect.end()
        if not is_bad(text[max(suspect.start() - _AROUND, 0) : suspect.end() + _AROUND]):
            continue
        start = max(text.rfind("\n", done, suspect.start()) + 1, done)
        end = text.find("\n", suspect.end() - 1)
        end = len(text) if end < 0 else end
        line = ftfy.fix_encoding(text[start:end])
        if line != text[start:end]:
            parts += text[done:start], line
            done, mended = end, mended + 1
        place = max(end, place)
    return "".join([*parts, text[done:]]), mended


def _single_spaces(text: str) -> tuple[str, int]:
    """(text, runs changed)."""
    changed = 0

    def one(run: re.Match[str]) -> str:
        nonlocal changed
        ends_line = run.end() == len(text) or text[run.end()] == "\n"
        begins_line = run.start() == 0 or text[run.start() - 1] == "\n"
        if begins_line and not ends_line:
            return run[0]
        changed += 1
        return "" if ends_line else " "

    if "  " in text or _OTHER_SPACE.search(text):
        text = _SPACES.sub(one, text)
    singles = 0
    if _LINE_END_AFTER_ONE.search(text):
        text, singles = _ONE_BEFORE_LINE_END.subn("\n", text)
    return text, changed + singles
