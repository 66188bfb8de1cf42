"""Secrets taken out of what is kept or told: logs, errors, configs of runs, manifests, reports.

What is one:
    - user and password of a URL, and those of its parameters that sign or prove (X-Amz-Signature, sig, token, ...);
    - values of environment variables whose names say so (..._TOKEN, ..._SECRET, ..._PASSWORD, ..._KEY);
    - what follows such a name and "=" or ":" in a text;
    - tokens that are known by how they begin (of AWS, GitHub, GitLab, Hugging Face, OpenAI, Slack, Google, npm, PyPI,
      Stripe), JSON Web Tokens, and private keys.

Left out: what a document of a corpus says, which corpus/pii_keys.py looks for. A secret that none of these knows stays.
"""

import functools
import logging
import os
import re
from typing import Any

HIDDEN = "***"
LEAST_CHARACTERS = 8  # of a value of the environment; chosen: shorter ones are words
_WORDS = r"(?:[A-Za-z0-9]{1,32}[_.-]){0,4}"  # before the one that tells
_SURE = (
    r"secret|passw(?:or)?d|passphrase|(?:api|access|secret|private|account)[_-]?key(?:[_-]?id)?|credentials?"
    r"|authorization|(?:api|access|auth|bearer|session|security|refresh)[_-]?token"
)
_NAME = rf"{_WORDS}(?:{_SURE}|token|sig|signature|auth|code|key)"  # of a parameter, where also these are secrets
_VARIABLE = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASS|CREDENTIALS?|SIGNATURE|SAS)(?:_|$)", re.I)
_USER = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]{1,20}://)[^\s/@'\"<>?#]{1,1000}@")
_PARAMETER = re.compile(rf"([?&;#]{_NAME}=)[^\s&;#'\"<>]{{1,4000}}", re.I)
_NAMED = re.compile(  # what stands before such a name stays anyhow
    rf"((?:{_SURE})[\"']?\s{{0,2}}[=:]\s{{0,2}}[\"']?(?:(?:bearer|basic)\s)?)(?![*\[<(])[^\s\"',;&<>]{{6,4000}}", re.I
)
_FIELD = re.compile(rf"{_WORDS}(?:{_SURE}|token)", re.I)
_KNOWN = re.compile(
    r"\b(?:(?:AKIA|ASIA)[A-Z0-9]{16}|gh[opsur]_[A-Za-z0-9]{20,255}|github_pat_\w{20,255}|glpat-[\w-]{20,64}"
    r"|hf_[A-Za-z0-9]{20,64}|sk-[\w-]{20,255}|xox[abeoprs]-[\w-]{10,255}|AIza[\w-]{35}|npm_[A-Za-z0-9]{36}"
    r"|pypi-[\w-]{40,255}|[rs]k_(?:live|test)_\w{16,255}|eyJ[\w-]{10,4000}\.eyJ[\w-]{10,4000}\.[\w-]{10,4000})"
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[A-Za-z0-9+/=\s\\]{1,9000}(?:-----END [A-Z ]{0,20}PRIVATE KEY-----)?"
)


def text(told: str) -> str:
    """`told` with *** in the place of each secret.

    >>> text("https://ann:pass@example.org/a.jsonl?x=1&X-Amz-Signature=0a1b")
    'https://***@example.org/a.jsonl?x=1&X-Amz-Signature=***'
    """
    for value in _of_environment(tuple(os.environ.items())):
        told = told.replace(value, HIDDEN)
    told = _USER.sub(rf"\1{HIDDEN}@", told)
    told = _PARAMETER.sub(rf"\1{HIDDEN}", told)
    return _KNOWN.sub(HIDDEN, _NAMED.sub(rf"\1{HIDDEN}", told))


def values(told: Any) -> Any:
    """`text` of every string in plain JSON values, and *** for what a name says to be a secret."""
    match told:
        case str():
            return text(told)
        case dict():
            return {name: HIDDEN if _is_secret(name, value) else values(value) for name, value in told.items()}
        case list() | tuple():
            return [values(value) for value in told]
    return told


def _is_secret(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, str) and value != "" and _FIELD.fullmatch(name) is not None


def record(entry: logging.LogRecord) -> bool:
    """A filter for a logger: the message as it will be shown, without its secrets."""
    entry.msg, entry.args = text(entry.getMessage()), ()
    return True


class Formatter(logging.Formatter):
    """What other libraries log too, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return text(super().format(record))


@functools.lru_cache(maxsize=1)
def _of_environment(variables: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Values that are secrets by the names of their variables, the longest first; files and plain words are none."""
    found = {
        value
        for name, value in variables
        if _VARIABLE.search(name) and len(value) >= LEAST_CHARACTERS and not value.startswith(("/", "~"))
    }
    return tuple(sorted(found, key=len, reverse=True))
