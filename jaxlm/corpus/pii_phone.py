"""Phone numbers: by a shape that little else has, or by a word beside them.

Alone, a number is taken for a phone's where it is written as

    +46 (0)8 928 571 38   001-253-366-9781     international: + or 00, 8 to 15 digits (ITU-T E.164)
    (602) 272-9781   541-714-1388x12           North American: 3-3-4, area from 2 (NANPA), perhaps an extension
    0490 75 40 81   01.84.17.61.18             national with the trunk 0: 9 to 11 digits in groups

Any other seven digits or more (`416 60 039`, `5403926876`) need a word such as "phone" or "call" before them with no
digit between, or "fax" or "office" after them. Dates, spans of years, decimals, network addresses and ISBNs are no
numbers of phones, nor is a part of a longer number.

Left out: `phonenumbers`, whose tables of national plans would allow more shapes alone.
"""

import re
from collections.abc import Iterator

from jaxlm.corpus.pii_numbers import ALONE, NOT_BEFORE

_GAP = "[ ./()\u00a0\u2011\u2013-]"
_END = rf"(?:[ ]?(?:x|ext\.?)[ ]?[0-9]{{1,6}})?{NOT_BEFORE}"
_FIRST = "(?<![0-9][ ])"  # of a row of numbers
_START = re.compile(rf"[+(0-9]{ALONE}")
_INTERNATIONAL = re.compile(
    rf"(?:\+[1-9]|00[1-9][0-9]{{0,2}}[ ./-](?=[1-9]|\(0\)))(?:{_GAP}{{0,2}}[0-9]){{7,14}}{_END}"
)
_NORTH_AMERICAN = re.compile(
    rf"(?:1[ .-])?(?:\([2-9][0-9]{{2}}\)[ ]?|[2-9][0-9]{{2}}[.-])[0-9]{{3}}[ .-][0-9]{{4}}{_END}"
)
_NATIONAL = re.compile(
    rf"{_FIRST}(?=(?:[^0-9]{{0,2}}[0-9]){{9,11}}(?![0-9]|[ .-][0-9]))(?:\(0[1-9][0-9]{{0,3}}\)[ ]?[0-9]{{2,8}}"
    rf"|0[1-9][0-9]{{0,3}}[ /-][0-9]{{2,8}}|0[1-9](?:\.[0-9]{{2}}){{2}}(?=\.))(?:[ .-][0-9]{{2,4}}){{0,4}}{_END}"
)
_ANY = re.compile(rf"{_FIRST}(?<![./_-])\(?[0-9](?:{_GAP}{{0,2}}[0-9]){{6,14}}{_END}(?!\.[a-z])")
_SHAPES = {  # by the first character
    "+": (_INTERNATIONAL,),
    "(": (_NORTH_AMERICAN, _NATIONAL),
    "0": (_INTERNATIONAL, _NATIONAL),
    **dict.fromkeys("123456789", (_NORTH_AMERICAN,)),
}

_WORD_REACH = 40  # characters; chosen: "call me any time before the evening at"
_WORDS = frozenset(
    """
    phone phones telephone tel mobile cell cellular cellphone fax desk call calling dial contact whatsapp sms hotline
    answering messages reach reached registered telefon telefonnummer tlf handy mobil téléphone teléfono
    móvil telefone telemóvel celular telefono cellulare тел телефон моб
    """.split()  # noqa: SIM905 (a word a line is no easier to read)
)
_WORDS_WITHOUT_SPACES = re.compile("电话|電話|手机|手機|致电|致電|携帯|連絡先|联系方式")
_WORD = re.compile(r"[^\W\d_]+")
_DIGIT = re.compile("[0-9]")
_WORD_AFTER = re.compile(r"[ ,(-]{0,3}(?:office|fax|mobile|cell|home|work|phone)\b", re.IGNORECASE)
_NOBODYS = re.compile(r"555[ .-]01[0-9]{2}\Z")  # kept for films by NANPA, and what pii_scrub writes
_NO_PHONE = re.compile(
    r"(?:1[0-9]|20)[0-9]{2}[ ]?[/\u2013-][ ]?(?:1[0-9]|20)[0-9]{2}\b"  # 1914-1918
    r"|(?:1[0-9]|20)[0-9]{2}[./-][0-9]{1,2}[./-][0-9]{1,2}\b"  # 1918-11-11
    r"|[0-9]{1,2}[./-][0-9]{1,2}[./-](?:1[0-9]|20)[0-9]{2}\b"  # 11.11.1918
    r"|\+?[0-9]+\.[0-9]+(?![0-9.])"  # 3523645.06
    r"|[1-9][0-9]{0,2}(?:\.[0-9]{1,3}){3}(?![0-9.])"  # 192.168.0.1
    r"|97[89][ -]?[0-9][ -]"  # an ISBN
)


def phones(text: str, places: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for start, end in places:
        while first := _START.search(text, start, end):
            last = _end(text, first.start(), end)
            if last and not _NOBODYS.search(text[first.start() : last]):
                yield first.start(), last
            start = last or first.end()


def _end(text: str, start: int, limit: int) -> int | None:
    """Where the phone number that begins at `start` ends, if one does."""
    for shape in _SHAPES[text[start]]:
        if match := shape.match(text, start, limit):
            break
    else:
        match = _ANY.match(text, start, limit)
        if not match or not _has_a_word(text, *match.span()):
            return None
    return None if _NO_PHONE.match(match[0]) else match.end()


def _has_a_word(text: str, start: int, end: int) -> bool:
    if _WORD_AFTER.match(text, end):
        return True
    before = _DIGIT.split(text[max(start - _WORD_REACH, 0) : start])[-1]
    if not _WORDS.isdisjoint(_WORD.findall(before.lower())):
        return True
    return not before.isascii() and bool(_WORDS_WITHOUT_SPACES.search(before))
