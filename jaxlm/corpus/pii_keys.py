"""Secrets by the forms that their makers publish: a fixed beginning, an alphabet and a length.

Sources: the makers' own pages on the form of their keys (AWS unique identifiers, GitHub token formats of 2021,
GitLab token prefixes, Slack tokens, Google API keys, Stripe, OpenAI, Anthropic, Hugging Face, npm, PyPI,
SendGrid, DigitalOcean), RFC 7519 for JSON web tokens and RFC 7468 for the frame of private keys.

What a manual shows in the place of a key (`ghp_xxxx...`, `sk-proj-your-key-goes-here...`) is none.

Left out: passwords, and keys without a form of their own (40 hex digits may be a commit).
"""

import base64
import re
from collections.abc import Iterator

_WORD = "[0-9A-Za-z_-]"
_END = f"(?!{_WORD})"

# Beginning -> forms of the whole. A beginning must stand where a word begins.
_FORMS = {
    "AKIA": (rf"AKIA[A-Z2-7]{{16}}{_END}",),
    "ASIA": (rf"ASIA[A-Z2-7]{{16}}{_END}",),
    "glpat-": (rf"glpat-{_WORD}{{20,}}",),
    "xox": (r"xox[abeoprs]-(?:[0-9]+-)+[0-9A-Za-z-]{10,}",),
    "hooks.slack.com/services/": (r"hooks\.slack\.com/services/T[0-9A-Z]{8,}/B[0-9A-Z]{8,}/[0-9A-Za-z]{20,}",),
    "AIza": (rf"AIza{_WORD}{{35}}{_END}",),
    "GOCSPX-": (rf"GOCSPX-{_WORD}{{28}}{_END}",),
    "sk-": (
        rf"sk-ant-[a-z0-9]+-{_WORD}{{32,}}",
        rf"sk-proj-{_WORD}{{32,}}",
        rf"sk-[0-9A-Za-z]{{20}}T3BlbkFJ[0-9A-Za-z]{{20}}{_END}",
    ),
    "pypi-": (rf"pypi-AgEIcHlwaS5vcmc{_WORD}{{50,}}",),
    "SG.": (rf"SG\.{_WORD}{{22}}\.{_WORD}{{43}}{_END}",),
    "eyJ": (rf"(?P<header>eyJ{_WORD}+)\.eyJ{_WORD}+\.{_WORD}{{20,}}",),
}
_FORMS_WITH_UNDERSCORE = {  # which most prose has not: then none of these is searched
    **{f"gh{kind}_": (rf"gh{kind}_[0-9A-Za-z]{{36,251}}{_END}",) for kind in "pousr"},
    "github_pat_": (rf"github_pat_[0-9A-Za-z]{{22}}_[0-9A-Za-z]{{59}}{_END}",),
    "sk_live_": (r"sk_live_[0-9A-Za-z]{16,}",),
    "rk_live_": (r"rk_live_[0-9A-Za-z]{16,}",),
    "hf_": (rf"hf_[0-9A-Za-z]{{34,}}{_END}",),
    "npm_": (rf"npm_[0-9A-Za-z]{{36}}{_END}",),
    "dop_v1_": (rf"dop_v1_[0-9a-f]{{64}}{_END}",),
}
_IN_A_WORD = re.compile(_WORD)
_EXAMPLE = "EXAMPLE"  # ends the keys in Amazon's manuals
_LAST = 16  # characters of a key that were drawn by chance: the fewest that a form has
_DIFFERENT = 3  # among these; of hex digits fewer are there once in 10**12 keys
_DIGIT_OR_CAPITAL = re.compile("[0-9A-Z]")  # of keys that are letters alone one in 65,536 has neither there

_AWS_SECRET = re.compile(
    r"""aws_secret_access_key(?:["']?[ ]{0,4}(?:=>|[=:])[ ]{0,4}|[ ](?:(?:is|to):?[ ])?)["']?"""
    r"([0-9A-Za-z/+]{40})(?![0-9A-Za-z/+])",
    re.IGNORECASE,
)
_AWS_SECRET_NAMES = ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY")

_FRAME = "-----BEGIN "
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?P<body>(?:[^-]|-(?!----)){40,20000})"  # to the next frame, whichever it is: so a text is read once
    r"(?:-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----)?"
)
_SECRET_LINE = re.compile("[0-9A-Za-z+/]{40}")  # a page about keys shows the frame alone


def keys(text: str) -> Iterator[tuple[int, int]]:
    yield from _of(_FORMS, text)
    if "_" in text:
        yield from _of(_FORMS_WITH_UNDERSCORE, text)
        yield from _aws_secrets(text)
    for place in _places(text, _FRAME):
        match = _PRIVATE_KEY.match(text, place)
        if match and _SECRET_LINE.search(match["body"]):
            yield match.span()


def _of(forms: dict[str, tuple[str, ...]], text: str) -> Iterator[tuple[int, int]]:
    for beginning, patterns in forms.items():
        for place in _places(text, beginning):
            if place and _IN_A_WORD.match(text, place - 1):
                continue
            for pattern in patterns:
                match = re.compile(pattern).match(text, place)
                if match and _is_secret(match):
                    yield match.span()


def _aws_secrets(text: str) -> Iterator[tuple[int, int]]:
    for name in _AWS_SECRET_NAMES:
        for place in _places(text, name):
            match = _AWS_SECRET.match(text, place)
            if match and _EXAMPLE not in match[1] and _is_drawn(match[1]):
                yield match.span(1)


def _places(text: str, beginning: str) -> Iterator[int]:
    place = text.find(beginning)
    while place >= 0:
        yield place
        place = text.find(beginning, place + len(beginning))


def _is_secret(match: re.Match[str]) -> bool:
    header = match.groupdict().get("header")
    if header is None:
        return _is_drawn(match[0]) and not match[0].endswith(_EXAMPLE)
    try:
        return b'"alg"' in base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))
    except ValueError:
        return False


def _is_drawn(key: str) -> bool:
    """Whether it ends in what looks drawn by chance: no letter again and again, and no words."""
    last = key[-_LAST:]
    return len(set(last)) >= _DIFFERENT and bool(_DIGIT_OR_CAPITAL.search(last))
