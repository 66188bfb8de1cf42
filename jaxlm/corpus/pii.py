"""Personal data in a text: spans of e-mail and network addresses, phone, card, bank and security numbers, keys.

    email         an address whose domain could exist; not a reserved one (example.com, RFC 2606), not git@
    phone         national and international forms: see pii_phone
    ip            a global IPv4 or IPv6 address; private, loopback, documentation ones are nobody's: see pii_internet
    credit_card   an issuer's prefix and length, and Luhn's check digit: see pii_numbers
    iban          the country's length, and the remainder of 97 (ISO 13616)
    us_ssn        of the form 123-45-6789, in a range that is given out; nine digits in other forms beside their name
    key           a secret of a published form (AWS, GitHub, JSON web tokens, private keys ...): see pii_keys

Clean text costs one scan for long numbers and a few searches for fixed strings. Every pattern is linear in the text.

Left out: names, places, dates, postal addresses (they need a model), digits other than 0-9, what is spelt
to escape programs ("name at domain dot com").
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple, get_args

import pydantic

from jaxlm.config import Config
from jaxlm.corpus import pii_internet, pii_keys, pii_numbers, pii_phone

Kind = Literal["key", "email", "iban", "credit_card", "us_ssn", "ip", "phone"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # the more certain first: a check digit says more than a shape
UNTOLD = "(secret)"  # what a manifest says of a salt
Mode = Literal["tag", "mask", "fake", "drop"]  # what is done about it: see pii_scrub


class Span(NamedTuple):
    start: int  # characters
    end: int
    kind: Kind


class PiiConfig(Config):
    kinds: tuple[Kind, ...] = KINDS
    mode: Mode = "tag"
    salt: str = ""  # a secret of mode=fake, in no manifest: whoever knows it, or that there is none, can test a guess

    @pydantic.field_validator("salt")
    @classmethod
    def _is_the_secret_itself(cls, salt: str) -> str:
        if salt == UNTOLD:
            raise ValueError(f"salt={salt!r} is what a manifest says instead of it: give the one that was used")
        return salt


_Finder = Callable[[str, list[tuple[int, int]]], Iterator[tuple[int, int]]]

_IN_NUMBERS: dict[Kind, _Finder] = {
    "iban": pii_numbers.ibans,
    "credit_card": pii_numbers.credit_cards,
    "us_ssn": pii_numbers.us_ssns,
    "phone": pii_phone.phones,
}
_IN_TEXT: dict[Kind, Callable[[str], Iterator[tuple[int, int]]]] = {
    "key": pii_keys.keys,
    "email": pii_internet.emails,
    "ip": pii_internet.ips,
}


def find(text: str, kinds: Iterable[Kind] = KINDS) -> list[Span]:
    """The spans of these kinds, in order; where two overlap the more certain kind stays, of one kind the longer.

    >>> find("Call +44 20 7946 0958 or write to jo@mail.org.")
    [Span(start=5, end=21, kind='phone'), Span(start=34, end=45, kind='email')]
    """
    asked = set(kinds)
    found = {Span(*place, kind) for kind, finder in _IN_TEXT.items() if kind in asked for place in finder(text)}
    if asked & _IN_NUMBERS.keys():
        numbers = pii_numbers.long_numbers(text)
        found |= {
            Span(*place, kind)
            for kind, finder in _IN_NUMBERS.items()
            if numbers and kind in asked
            for place in finder(text, numbers)
        }
    return _without_overlaps(found)


def _without_overlaps(found: Iterable[Span]) -> list[Span]:
    """Sorted by their starts. A weaker span that is cut goes as a whole."""
    kept: list[Span] = []
    taken: set[int] = set()  # characters: spans are short, but for keys
    for span in sorted(found, key=lambda span: (KINDS.index(span.kind), span.start - span.end, span.start)):
        if taken.isdisjoint(range(span.start, span.end)):
            kept.append(span)
            taken.update(range(span.start, span.end))
    return sorted(kept)
