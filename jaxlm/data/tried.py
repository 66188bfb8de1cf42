"""Which tokenizers may be loaded into this process: those that jaxlm made here, and those that were tried (trial.py).

A hash of each is kept in the folder of caches, XDG_CACHE_HOME/jaxlm/tokenizers or ~/.cache/jaxlm/tokenizers, so that a
trial, a tenth of a second, is made once for a tokenizer and never for one's own. The hash is SHA-256: whoever hands
over a run folder cannot make another model of the same one. Where the folder cannot be written, every process tries
anew.
"""

import contextlib
import hashlib
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Literal

from jaxlm.data import sentencepiece_file
from jaxlm.data.trial import REFUSED
from jaxlm.errors import UserError

Library = Literal["sentencepiece", "tokenizers"]
SECONDS = 1  # of CPU, and one more for every so many bytes; chosen: a model of 8,192 pieces takes 0.07
BYTES_A_SECOND = 4_000_000  # chosen: a quarter of what `tokenizers` reads here
ROOM = 250_000_000  # bytes of memory, and so many for each byte of the model
ROOM_A_BYTE = 40  # chosen: a tokenizer.json of 10 MB takes 8 bytes a byte
PATIENCE = 20  # times its seconds, as others may need the CPU too
_KEPT = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "TMPDIR")  # of the environment; a model sees no secret of it
_KEPT_PREFIXES = ("PYTHON", "LD_", "DYLD_")

_known: set[str] = set()  # of this process


def note_ours(library: Library, model: bytes) -> None:
    """`model` was made here, so it need not be tried."""
    _remember(_name(library, model))


def require(library: Library, model: bytes, origin: str) -> None:
    """UserError where `library` cannot load `model`, from the file `origin`, in a process of its own."""
    name = _name(library, model)
    if name in _known or (_folder() / name).is_file():
        return
    if library == "sentencepiece":  # tokenizer.json is looked at where it is parsed: tokenizer_json.check
        sentencepiece_file.check(model, origin)
    seconds, room = SECONDS + len(model) // BYTES_A_SECOND, ROOM + ROOM_A_BYTE * len(model)
    environment = {k: v for k, v in os.environ.items() if k in _KEPT or k.startswith(_KEPT_PREFIXES)}
    try:
        child = subprocess.run(
            [sys.executable, "-m", "jaxlm.data.trial", library, str(seconds), str(room)],
            input=model, capture_output=True, timeout=PATIENCE * seconds, check=False,
            cwd=Path(__file__).parent.parent.parent,  # where Python finds jaxlm, and nobody's else
            env=environment | {"TOKENIZERS_PARALLELISM": "false"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise UserError(f"{origin}: {library} had not loaded it after {PATIENCE * seconds} s: {_MEND}") from None
    if child.returncode == REFUSED:
        told = child.stdout.decode("utf-8", errors="replace").strip()
        raise UserError(f"{origin} is no tokenizer that `{library}` {metadata.version(library)} reads: {told}")
    if child.returncode:
        how = f"ended by signal {-child.returncode}" if child.returncode < 0 else f"exit code {child.returncode}"
        raise UserError(
            f"{origin}: loading it and encoding a text took {library} over {seconds} s or {room:,} bytes, or crashed "
            f"it ({how}): {_MEND}"
        )
    _remember(name)


_MEND = "the file is damaged, or made to harm; take it from whom you trust"


def _name(library: Library, model: bytes) -> str:
    """Another version of the library is another program: what it loads is tried again."""
    return f"{library}-{metadata.version(library)}-{hashlib.sha256(model).hexdigest()}"


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxlm" / "tokenizers"


def _remember(name: str) -> None:
    _known.add(name)
    with contextlib.suppress(OSError):  # then the next process tries it again
        _folder().mkdir(parents=True, exist_ok=True)
        (_folder() / name).touch()
