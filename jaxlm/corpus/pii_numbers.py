"""Numbers of cards, bank accounts and US social security, each with what can be checked in it.

Sources: prefixes and lengths of issuers as ISO/IEC 7812 registers them and networks publish them; Luhn's check digit
(ISO/IEC 7812-1, annex B); lengths of IBANs by country from SWIFT's IBAN registry (release 99), their check by
ISO 7064 mod 97-10; ranges of social security numbers from the US Social Security Administration (areas 000, 666
and 900-999, group 00 and serial 0000 are never given out).
"""

import functools
import re
from collections.abc import Iterator

# Seven digits or more with at most three separators between two: all that is searched for numbers. A phone number
# has at least seven, and so has the part of an IBAN without letters.
_LONG_NUMBER = re.compile("[0-9](?:[ ./()\u00a0\u2011\u2013-]{0,3}[0-9]){6,}")
BEFORE, AFTER = 12, 16  # characters: what of an IBAN or a phone number may stand around such digits

# What may not touch a number: then it is a part of a longer one, or of a name. Written behind the first character
# of a pattern, since Python searches fast for a set of characters and slowly for anything else.
ALONE = r"(?<![0-9A-Za-z_].)(?<![0-9][.,/:\-].)"
NOT_BEFORE = r"(?![0-9A-Za-z_]|[.,/:\-][0-9])"

_CARD = re.compile(
    rf"[1-6]{ALONE}(?:[0-9]{{11,18}}"
    r"|[0-9]{3}(?P<four>[ -])[0-9]{4}(?P=four)[0-9]{4}(?P=four)[0-9]{1,4}(?:(?P=four)[0-9]{1,3})?"
    rf"|(?<=3)[0-9]{{3}}(?P<six>[ -])[0-9]{{6}}(?P=six)[0-9]{{4,5}}){NOT_BEFORE}"
)
_SEPARATORS = b" -"
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")  # and the two digits of ten and more added
_CARD_WORD = re.compile(r"card|visa|maestro|\bcc\b|karte|carte|tarjeta|cartão|carta\b|卡|карт", re.IGNORECASE)
_USUAL_CARDS = (14, 15, 16)  # digits; chosen: other lengths are often goods (EAN), orders, and numbers of programs
_CARD_WORD_REACH = 40  # chosen: characters within which a word for a card makes a number of another length one

_LONG = (16, 17, 18, 19)
_MAESTRO = (12, 13, 14, 15, *_LONG)
# (first prefix, last prefix of as many digits, lengths)
_ISSUERS = (
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("300", "305", (14,)),  # Diners Club
    ("3095", "3095", (14,)),
    ("36", "36", (14,)),
    ("38", "39", (14,)),
    ("6011", "6011", (16, 19)),  # Discover
    ("644", "659", (16, 19)),
    ("35", "35", _LONG),  # JCB: 3528-3589, but what makes test data takes any
    ("1800", "1800", (15,)),
    ("2131", "2131", (15,)),
    ("62", "62", _LONG),  # UnionPay
    ("2200", "2204", (16,)),  # Mir
    ("5018", "5018", _MAESTRO),  # Maestro
    ("5020", "5020", _MAESTRO),
    ("5038", "5038", _MAESTRO),
    ("56", "58", _MAESTRO),
    ("6304", "6304", _MAESTRO),
    ("6390", "6390", _MAESTRO),
    ("6759", "6763", _MAESTRO),
)

_IBAN_CHECK = re.compile(r"[0-9]{2}(?<=(?<![0-9A-Za-z_])[A-Za-z]{2}..)(?=(?:[ -]?[0-9A-Za-z]){11,30})")
_LETTER_OR_DIGIT = re.compile("[0-9A-Za-z]")
_IBAN_COUNTRIES = """
    AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29
    ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20
    LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29
    PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20
    YE30
"""
_IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _IBAN_COUNTRIES.split()}

_SSN = re.compile(rf"[0-8]{ALONE}[0-9]{{2}}(?<!000|666)([ -]?)(?!00)[0-9]{{2}}\1(?!0000)[0-9]{{4}}{NOT_BEFORE}")
_SSN_WORD = re.compile(r"\bssn\b|social security", re.IGNORECASE)
_SSN_WORD_REACH = 30  # chosen: "social security number is:" and a few words
_NOBODYS_SSN = {b"078051120", b"219099999"}  # printed in advertisements, and void since


def long_numbers(text: str) -> list[tuple[int, int]]:
    """Where to look for numbers: stretches of `text` around seven digits or more, which do not overlap."""
    places: list[tuple[int, int]] = []
    for match in _LONG_NUMBER.finditer(text):
        start, end = max(match.start() - BEFORE, 0), match.end() + AFTER
        if places and start <= places[-1][1]:
            places[-1] = places[-1][0], end
        else:
            places.append((start, end))
    return places


def credit_cards(text: str, places: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for start, end in places:
        for match in _CARD.finditer(text, start, end):
            digits = _without_separators(match[0])
            if len(digits) not in _lengths(digits[:4]) or luhn(digits):
                continue
            if len(digits) in _USUAL_CARDS or _has_a_word(text, *match.span()):
                yield match.span()


def _has_a_word(text: str, start: int, end: int) -> bool:
    return bool(_CARD_WORD.search(text[max(start - _CARD_WORD_REACH, 0) : end + _CARD_WORD_REACH]))


def _without_separators(number: str) -> bytes:
    return number.encode().translate(None, _SEPARATORS)


@functools.cache
def _lengths(prefix: bytes) -> frozenset[int]:
    """How many digits a card has whose first four these are; none where nobody issues it."""
    four = prefix.decode()
    issuers = (lengths for first, last, lengths in _ISSUERS if first <= four[: len(first)] <= last)
    return frozenset(length for lengths in issuers for length in lengths)


def luhn(digits: bytes) -> int:
    """The remainder of Luhn's sum: 0 for a number whose last digit checks the others.

    >>> luhn(b"4111111111111111")
    0
    """
    return (sum(digits[-1::-2]) + sum(digits[-2::-2].translate(_DOUBLED)) - ord("0") * len(digits)) % 10


def ibans(text: str, places: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for start, end in places:
        for match in _IBAN_CHECK.finditer(text, start, end):
            first = match.start() - 2
            last = _end_of_iban(text, first, _IBAN_LENGTHS.get(text[first : first + 2].upper(), 0))
            if last and mod_97(text[first:last]) == 1:
                yield first, last


def _end_of_iban(text: str, start: int, length: int) -> int | None:
    """Where `length` letters and digits end, if a word ends there."""
    place = start
    while length and place < len(text):
        if text[place].isascii() and text[place].isalnum():
            length -= 1
        elif text[place] not in " -":
            return None
        place += 1
    whole = place > start and not length and not _LETTER_OR_DIGIT.match(text, place)
    return place if whole else None


def mod_97(iban: str) -> int:
    """1 for an IBAN whose check digits are right; separators do not count."""
    plain = _without_separators(iban).decode()
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97


def us_ssns(text: str, places: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for start, end in places:
        for match in _SSN.finditer(text, start, end):
            before = text[max(match.start() - _SSN_WORD_REACH, 0) : match.start()]
            is_named = match[1] == "-" or _SSN_WORD.search(before)
            if is_named and _without_separators(match[0]) not in _NOBODYS_SSN:
                yield match.span()
