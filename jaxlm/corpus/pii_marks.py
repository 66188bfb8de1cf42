"""Personal data in what is told of a document beside its text: its title, licence and date, and where it stood.

No note tells of these: they are short, and searched whenever they go out.

Left out: numbers in an address. Of the ids of articles and pictures one in ten has Luhn's digit, many have the form of
a phone number, and an address with a tag in their place leads nowhere. Also left out: what it escapes, but %40.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxlm.corpus import pii, pii_scrub
from jaxlm.corpus.pii import Kind, Mode, Span

_MARKS = ("url", "date", "licence", "title")
_ADDRESS = ("http://", "https://")  # a licence often is one
# Told by more than digits: a maker's beginning, alphabet and length; of network addresses those that no name, path or
# version runs into (pii_internet). An e-mail address has its @ and a domain.
_AS_IN_TEXT: frozenset[Kind] = frozenset(("key", "ip"))
_BETWEEN = str.maketrans(dict.fromkeys("/?&=;#:,", " "))  # parts of an address, which a mailbox's name may hold


def scrub_marks(marks: Mapping[str, Any], kinds: Sequence[Kind], mode: Mode = "tag", salt: str = "") -> dict[str, Any]:
    """`marks` without personal data of these kinds; with `drop` a mark that has some is None.

    >>> scrub_marks({"url": "https://x.org/20261129123045?by=jo@mail.org", "title": "Call +44 20 7946 0958"}, pii.KINDS)
    {'url': 'https://x.org/20261129123045?by=<EMAIL>', 'title': 'Call <PHONE>'}
    """
    return {mark: _clean(mark, value, kinds, mode, salt) if mark in _MARKS else value for mark, value in marks.items()}


def _clean(mark: str, value: Any, kinds: Sequence[Kind], mode: Mode, salt: str) -> Any:
    if not isinstance(value, str):
        return value
    address = mark == "url" or value.startswith(_ADDRESS)
    plain = value.replace("%40", "@") if address else value
    spans = _of_address(plain, kinds) if address else pii.find(plain, kinds)
    if not spans:
        return value
    return None if mode == "drop" else pii_scrub.scrub(plain, spans, mode, salt)


def _of_address(address: str, kinds: Sequence[Kind]) -> list[Span]:
    emails = pii.find(address.translate(_BETWEEN), ["email"]) if "email" in kinds else []
    return pii.find(address, _AS_IN_TEXT.intersection(kinds)) + emails
