"""E-mail addresses and network addresses, each found from a character that it must have.

An IPv4 address is told from a version or a section number (1.2.3.4, 10.15.7.1) by its size: two of its numbers
are 20 or more, or a word such as "IP" or "address" stands before it. Of random addresses 0.2 % are smaller.

Sources: RFC 5321 (lengths), RFC 2606 and 6761 (reserved names), the IANA registries as Python's `ipaddress` has them.
"""

import ipaddress
import re
from collections.abc import Iterator

_LETTER = "A-Za-z0-9\u00c0-\u024f"
_LOCAL_BACKWARDS = re.compile(rf"[{_LETTER}_%+-](?:[{_LETTER}.!#$&'*/=?^`{{|}}~_%+-]{{0,62}}[{_LETTER}_%+])?")
_LABEL = rf"[{_LETTER}][{_LETTER}-]{{0,62}}"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.){{1,8}}(?:[A-Za-z]{{2,24}}|xn--[a-z0-9-]{{2,59}})(?![{_LETTER}_@])")
_LOCAL_CHARACTERS = 64
_DOMAIN_CHARACTERS = 255
_RESERVED = re.compile(r"(?:\A|\.)(?:example\.(?:com|net|org)|example|test|invalid|localhost)\Z", re.IGNORECASE)
_FILES = {"png", "jpg", "jpeg", "gif", "webp", "svg", "css", "js", "html", "py"}  # icon@2x.png is no address

_IPV4_MIDDLE = re.compile(r"\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")
_IPV4 = re.compile(
    r"(?<![0-9A-Za-z_.])(?<![0-9A-Za-z]/)(?<![0-9][,-])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z_]|[.-][0-9])"
)
_IPV6_MIDDLE = re.compile(":[0-9A-Fa-f]{0,4}:")
_IPV6 = re.compile(r"(?<![0-9A-Za-z_:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![0-9A-Za-z_:]|\.[0-9])")
_IPV6_CHARACTERS = 39
_LARGE = 20  # chosen: numbers of versions and sections seldom reach it twice
_WORD_BEFORE = re.compile(r"\b(?:ip|ipv4|address|host|server|client|ping)\b[^0-9]{0,12}\Z", re.IGNORECASE)
_WORD_REACH = 24


def emails(text: str) -> Iterator[tuple[int, int]]:
    at = text.find("@")
    while at >= 0:
        local = _LOCAL_BACKWARDS.match(text[max(at - _LOCAL_CHARACTERS, 0) : at][::-1])
        domain = local and _DOMAIN.match(text, at + 1, at + 1 + _DOMAIN_CHARACTERS)
        if local and domain and _could_be_mine(local[0][::-1], domain[0]):
            yield at - local.end(), domain.end()
        at = text.find("@", at + 1)


def _could_be_mine(local: str, domain: str) -> bool:
    return local.lower() != "git" and not _RESERVED.search(domain) and domain.rsplit(".")[-1].lower() not in _FILES


def ips(text: str) -> Iterator[tuple[int, int]]:
    for middle in _IPV4_MIDDLE.finditer(text):
        match = _IPV4.search(text, max(middle.start() - 3, 0), middle.end() + 2 + 2)
        if match and _is_global(match[0]) and (_is_large(match[0]) or _has_a_word(text, match.start())):
            yield match.span()
    last = 0
    for middle in _IPV6_MIDDLE.finditer(text):
        if middle.start() < last:
            continue
        start = max(middle.start() - _IPV6_CHARACTERS, last)
        match = _IPV6.search(text, start, middle.end() + _IPV6_CHARACTERS)
        if match and match.start() <= middle.start() and _is_global(match[0]) and _is_long(match[0]):
            yield match.span()
            last = match.end()


def _is_global(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    # IPv6: most of what IANA has not given out yet counts as reserved, but stands in made-up data.
    return found.is_global and not found.is_multicast and not (found.version == 4 and found.is_reserved)


def _is_large(address: str) -> bool:
    return sum(int(number) >= _LARGE for number in address.split(".")) >= 2


def _is_long(address: str) -> bool:
    """All eight groups, or a shortened one of the block in use (2000::/3) with at least three: `std::max` has two."""
    groups = [group for group in address.split(":") if group]
    return len(groups) == 8 or (len(groups) >= 3 and len(groups[0]) == 4 and groups[0][0] in "23")


def _has_a_word(text: str, start: int) -> bool:
    return bool(_WORD_BEFORE.search(text[max(start - _WORD_REACH, 0) : start]))
