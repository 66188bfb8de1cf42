"""Made-up secrets in every form that jaxlm/corpus/pii_keys.py knows, and what only looks like one.

Each key stands in a sentence and in a line such as files of settings have. Lengths and alphabets are those of keys as
their makers give them out, which are narrower than what is looked for: a Slack token's numbers have 11 to 13 digits.
"""

import base64
import json
import random
import string
import uuid
from collections.abc import Callable, Iterator
from typing import Any

_UPPER, _HEX = string.ascii_uppercase, "0123456789abcdef"
_ALNUM, _BASE32 = string.ascii_letters + string.digits, string.ascii_uppercase + "234567"
_WORD, _BASE64 = _ALNUM + "_-", _ALNUM + "+/"
EACH = 20  # of a form, and of a near miss

Random = random.Random


def _of(alphabet: str, length: int) -> Callable[[Random], str]:
    return lambda rng: "".join(rng.choices(alphabet, k=length))


def _after(beginning: str, alphabet: str, length: int) -> Callable[[Random], str]:
    return lambda rng: beginning + _of(alphabet, length)(rng)


def _number(rng: Random) -> str:
    return str(rng.randrange(10**10, 10**13))


def _slack(kind: str, numbers: int, alphabet: str, length: int) -> Callable[[Random], str]:
    return lambda rng: "-".join([kind, *(_number(rng) for _ in range(numbers)), _of(alphabet, length)(rng)])


def _hook(rng: Random) -> str:
    capitals = _of(_UPPER + string.digits, 10)
    return f"hooks.slack.com/services/T{capitals(rng)}/B{capitals(rng)}/{_of(_ALNUM, 24)(rng)}"


def _web_token(rng: Random) -> str:
    algorithm, size = rng.choice((("HS256", 32), ("HS512", 64), ("RS256", 256)))
    head = {"alg": algorithm, "typ": "JWT"} if rng.random() < 0.5 else {"typ": "JWT", "kid": "k1", "alg": algorithm}
    body = {"sub": str(rng.randrange(10**9)), "iat": rng.randrange(10**9, 2 * 10**9), "admin": True}
    parts = [json.dumps(one, separators=(",", ":")).encode() for one in (head, body)] + [rng.randbytes(size)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def _lines(rng: Random, size: int, width: int = 64) -> str:
    packed = base64.b64encode(rng.randbytes(size)).decode()
    return "\n".join(packed[start : start + width] for start in range(0, len(packed), width))


def _frame(name: str, size: int, head: str = "") -> Callable[[Random], str]:
    return lambda rng: f"-----BEGIN {name}-----\n{head}{_lines(rng, size)}\n-----END {name}-----"


FORMS: dict[str, Callable[[Random], str]] = {
    "AWS key": _after("AKIA", _BASE32, 16), "AWS key for a session": _after("ASIA", _BASE32, 16),
    "GitLab": _after("glpat-", _WORD, 20),
    "Slack, bot": _slack("xoxb", 2, _ALNUM, 24), "Slack, person": _slack("xoxp", 3, _HEX, 32),
    "Slack, hook": _hook,
    "Google": _after("AIza", _WORD, 35), "Google, client": _after("GOCSPX-", _WORD, 28),
    "Anthropic": lambda rng: _after("sk-ant-api03-", _WORD, 93)(rng) + "AA",
    "OpenAI, project": lambda rng: _after("sk-proj-", _WORD, 74)(rng) + "T3BlbkFJ" + _of(_WORD, 74)(rng),
    "OpenAI": lambda rng: _after("sk-", _ALNUM, 20)(rng) + "T3BlbkFJ" + _of(_ALNUM, 20)(rng),
    "PyPI": _after("pypi-AgEIcHlwaS5vcmc", _WORD, 160),
    "SendGrid": lambda rng: f"SG.{_of(_WORD, 22)(rng)}.{_of(_WORD, 43)(rng)}",
    "web token": _web_token,
    **{f"GitHub, gh{kind}": _after(f"gh{kind}_", _ALNUM, 36) for kind in "pousr"},
    "GitHub, fine": lambda rng: f"github_pat_{_of(_ALNUM, 22)(rng)}_{_of(_ALNUM, 59)(rng)}",
    "Stripe": _after("sk_live_", _ALNUM, 24), "Stripe, long": _after("sk_live_", _ALNUM, 99),
    "Stripe, restricted": _after("rk_live_", _ALNUM, 24),
    "Hugging Face": _after("hf_", string.ascii_letters, 34), "npm": _after("npm_", _ALNUM, 36),
    "DigitalOcean": _after("dop_v1_", _HEX, 64),
    "private key": _frame("PRIVATE KEY", 1_218), "private key, RSA": _frame("RSA PRIVATE KEY", 1_191),
    "private key, EC": _frame("EC PRIVATE KEY", 121), "private key, OpenSSH": _frame("OPENSSH PRIVATE KEY", 411),
    "private key, RSA with a password": _frame(
        "RSA PRIVATE KEY", 1_191, "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,8D4F0E2A\n\n"
    ),
    "private key, PGP": _frame("PGP PRIVATE KEY BLOCK", 900, "Version: GnuPG v2\n\n"),
}  # fmt: skip
SENTENCES = (
    "My token is {}, please do not pass it on.", "I have pasted {} there. Then it worked.", "Send it (that is, {}).",
    "Is it “{}”?", "The old one was:\n\n{}\n\nIt is void now.", "密钥是{}，请勿外传。", "It ended in {}.",
)  # fmt: skip
SETTINGS = (
    "TOKEN={}\nDEBUG=1", "token: {}", 'token = "{}"', "export TOKEN='{}'", '{{"token": "{}", "retries": 3}}',
    'curl -H "Authorization: Bearer {}" https://api.x.org/v1', "https://api.x.org/v1?key={}&page=2",
    "git clone https://oauth2:{}@git.x.org/a.git", "<add key=\"token\" value=\"{}\"/>", "token={};",
)  # fmt: skip
AWS_SENTENCES = (
    "My aws_secret_access_key is {}, do not pass it on.", "Set AWS_SECRET_ACCESS_KEY to {}.",
    "The aws_secret_access_key: {}.",
)  # fmt: skip
AWS_SETTINGS = (
    "aws_secret_access_key = {}\nregion = eu-west-1", "AWS_SECRET_ACCESS_KEY={}", "aws_secret_access_key: {}",
    '"aws_secret_access_key": "{}",', "aws configure set aws_secret_access_key {}", "'aws_secret_access_key' => '{}',",
)  # fmt: skip


def _words(rng: Random, count: int, between: str = "-") -> str:
    some = "learn kit ant hill proj your key goes here token access secret project replace with the one of my own"
    return between.join(rng.choices(some.split(), k=count))


NEAR_MISSES: dict[str, Callable[[Random], str]] = {
    "git log": lambda rng: f"commit {_of(_HEX, 40)(rng)}\n\n    Merge {_of(_HEX, 7)(rng)} into {_of(_HEX, 7)(rng)}",
    "UUID": lambda rng: f"id: {uuid.UUID(int=rng.getrandbits(128), version=4)}",
    "digest": lambda rng: f"{_of(_HEX, rng.choice((32, 64, 128)))(rng)}  jaxlm-1.0.tar.gz",
    "digest with a name": lambda rng: f"hf_{_of(_HEX, 32)(rng)} npm_{_of(_HEX, 40)(rng)} sk-{_of(_HEX, 40)(rng)}",
    "integrity": lambda rng: f'"integrity": "sha512-{base64.b64encode(rng.randbytes(64)).decode()}"',
    "picture": lambda rng: f"data:image/png;base64,{base64.b64encode(rng.randbytes(20_000)).decode()}",
    "picture in lines": lambda rng: _lines(rng, 20_000, 76),
    "JSON in base64": lambda rng: base64.b64encode(
        json.dumps({"by": _words(rng, 9), "at": rng.randrange(10**9)}).encode()
    ).decode(),
    "words": lambda rng: f"sk-{_words(rng, 9)} task-ant-{_words(rng, 9)} xoxo-{_words(rng, 3)} SG.{_words(rng, 5)}",
    "words to fill in": lambda rng: f"sk-ant-api03-{_words(rng, 12)} sk-proj-{_words(rng, 12)} glpat-{_words(rng, 6)}",
    "names in code": lambda rng: f"hf_{_words(rng, 9, '_')} npm_config_{_words(rng, 6, '_')} ghp_{_words(rng, 9, '_')}",
    "letters to fill in": lambda rng: " ".join(
        beginning + rng.choice("xX0*a") * length
        for beginning, length in (("ghp_", 36), ("AKIA", 16), ("sk_live_", 24), ("hf_", 34), ("AIza", 35), ("npm_", 36))
    ),
    "the manual's": lambda rng: (
        f"AKIA{_of(_BASE32, 9)(rng)}EXAMPLE aws_secret_access_key={_of(_BASE64, 30)(rng)}EXAMPLEKEY"
    ),
    "secret without its name": _of(_BASE64, 40),
    "part of a word": lambda rng: f"xAKIA{_of(_BASE32, 16)(rng)} AKIA{_of(_BASE32, 17)(rng)} a_ghp_{_words(rng, 9)}",
    "public key": _frame("PUBLIC KEY", 294), "certificate": _frame("CERTIFICATE", 900),
    "frame alone": lambda rng: f"-----BEGIN PRIVATE KEY-----\n{_words(rng, 20, ' ')}\n-----END PRIVATE KEY-----",
}  # fmt: skip


def records(seed: int) -> Iterator[dict[str, Any]]:
    """{"text", "spans": [[start, end, "KEY"]]}, and "form": what is planted in it."""
    rng = Random(seed)
    for form, make in FORMS.items():
        for some in (SENTENCES, SETTINGS):
            yield from (_planted(form, make(rng), rng.choice(some), rng) for _ in range(EACH))
    for some in (AWS_SENTENCES, AWS_SETTINGS):  # its name tells it, and nothing else
        yield from (_planted("AWS secret", _of(_BASE64, 40)(rng), rng.choice(some), rng) for _ in range(EACH))
    for form, make in NEAR_MISSES.items():
        yield from ({"text": make(rng), "spans": [], "form": form} for _ in range(EACH))


def _planted(form: str, key: str, around: str, rng: Random) -> dict[str, Any]:
    if "\n" in key and around in SETTINGS and rng.random() < 0.5:
        key = key.replace("\n", "\\n")  # as in JSON
    text = around.format(key)
    start = text.index(key)
    return {"text": text, "spans": [[start, start + len(key), "KEY"]], "form": form}
