"""What is done about the personal data of a text: `tag` it, `mask` it, put something `fake` there, or `drop` the text.

    tag    <EMAIL>                  one token for what a model is not to learn
    mask   ******************       as long as before, so that the offsets of other spans stay right
    fake   user-3f9a0c12@example.com
           of the same kind and form, but reserved or never given out. Equal values become equal ones, however
           they are written (a hash of the value alone), so that a conversation still hangs together
    drop   the text itself stays: the caller leaves the document out

Without a salt anybody can make the fake of a value that he guesses, as this code is public: of a phone number all are
soon tried. The same salt gives the same fakes, so it is kept as a secret; a manifest does not tell it.

The fakes: names of RFC 2606 (example.com), networks of RFC 5737 (192.0.2.x) and RFC 3849 (2001:db8::), US numbers
555-0100 to 555-0199 (NANPA), area 000 of social security, cards that begin with 0 (no issuer does; ISO/IEC 7812),
IBANs of country XX (left to users by ISO 3166). Check digits are right.
"""

import hashlib
import re
from collections.abc import Callable, Sequence

from jaxlm.corpus.cuts import Cut, apply
from jaxlm.corpus.pii import Mode, Span
from jaxlm.corpus.pii_numbers import luhn, mod_97

_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")
_SPACED = {"phone", "credit_card", "iban", "us_ssn"}  # the same number with other spaces or hyphens
_SEPARATORS = re.compile(r"[^0-9a-z]")


def scrub(text: str, spans: Sequence[Span], mode: Mode, salt: str = "") -> str:
    """The text without these spans, as `pii.find` gives them; with `drop` as it is.

    >>> scrub("Write to jo@mail.org.", [Span(9, 20, "email")], "tag")
    'Write to <EMAIL>.'
    """
    return apply(text, cuts(text, spans, mode, salt))


def cuts(text: str, spans: Sequence[Span], mode: Mode, salt: str = "") -> list[Cut]:
    """What `scrub` puts where; nothing with `drop`."""
    if mode == "drop":
        return []
    return [Cut(span.start, span.end, _replacement(text[span.start : span.end], span, mode, salt)) for span in spans]


def excerpt(text: str, spans: Sequence[Span], start: int, end: int) -> str:
    """`text[start:end]` for people to look at: a tag for each span that reaches into it, whatever the mode.

    >>> excerpt("Write to jo@mail.org today.", [Span(9, 20, "email")], 0, 12)
    'Write to <EMAIL>'
    """
    own = [span for span in spans if span.start < end and start < span.end]
    tags = [Cut(max(s.start, start) - start, min(s.end, end) - start, f"<{s.kind.upper()}>") for s in own]
    return apply(text[start:end], tags)


def _replacement(value: str, span: Span, mode: Mode, salt: str) -> str:
    if mode == "tag":
        return f"<{span.kind.upper()}>"
    if mode == "mask":
        return "*" * len(value)
    plain = value if span.kind == "key" else value.lower()
    plain = _SEPARATORS.sub("", plain) if span.kind in _SPACED else plain
    hashed = hashlib.blake2b(f"{salt}\0{span.kind}\0{plain}".encode(), digest_size=32)
    return _FAKES[span.kind](value, int.from_bytes(hashed.digest()))


def _email(value: str, number: int) -> str:
    return f"user-{number % 16**8:08x}@example.com"


def _phone(value: str, number: int) -> str:
    """An area from 201 to 989 and one of the hundred numbers that films use."""
    return f"{'+1-' if value[0] == '+' else ''}{201 + number % 789}-555-01{number // 789 % 100:02}"


def _ip(value: str, number: int) -> str:
    if ":" in value:
        return f"2001:db8::{number % 0xFFFF + 1:x}:{number // 0xFFFF % 0xFFFF + 1:x}"
    return f"{_NETWORKS[number % 3]}.{1 + number // 3 % 254}"


def _credit_card(value: str, number: int) -> str:
    digits = "01" + _digits(number, sum(c.isdigit() for c in value) - 3)  # 00 would begin a phone number
    check = -luhn(f"{digits}0".encode()) % 10
    return _laid_out(value, f"{digits}{check}")


def _iban(value: str, number: int) -> str:
    account = _digits(number, sum(c.isalnum() for c in value) - 4)
    check = 98 - mod_97(f"XX00{account}")
    return _laid_out(value, f"XX{check:02}{account}")


def _us_ssn(value: str, number: int) -> str:
    return _laid_out(value, f"000{1 + number % 99:02}{1 + number // 99 % 9_999:04}")


def _key(value: str, number: int) -> str:
    return f"example-key-{number % 16**16:016x}"


_FAKES: dict[str, Callable[[str, int], str]] = {
    "email": _email,
    "phone": _phone,
    "ip": _ip,
    "credit_card": _credit_card,
    "iban": _iban,
    "us_ssn": _us_ssn,
    "key": _key,
}


def _digits(number: int, count: int) -> str:
    return str(number % 10**count).zfill(count)


def _laid_out(value: str, characters: str) -> str:
    """`characters` with the separators of `value` between them."""
    rest = iter(characters)
    return "".join(next(rest) if c.isalnum() else c for c in value)
