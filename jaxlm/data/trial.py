"""Load a tokenizer in a process that may crash: `python -m jaxlm.data.trial LIBRARY SECONDS BYTES < MODEL`.

The libraries are C++ and Rust; what they do with a model that was made to harm is seen here, where there is little to
harm: so many seconds of CPU, so many bytes of memory beyond what loading the library took, no file to write, and texts
that are known to make bad patterns slow. Exit code 0: it loads, encodes and decodes; REFUSED: the library said why it
does not, and so does stdout. Whatever else happens is the end of this process alone (tried.py starts it).
"""

import os
import re
import signal
import sys
from collections.abc import Callable

REFUSED = 3  # an exit code that neither Python nor a signal gives
_RUN = 8_192  # characters of the same kind; chosen: a pattern of cubic time takes hours for them, a linear one none
_KINDS = ("a", "A", "7", " ", "\n", "-", "é", "中", "ab", "a ", "'s ", "\u0301")
PROBES = (
    "Hello, HELLO  wörld\t\tdon't stop.\r\n\n   e\u0301 ﬁ Ａ ½ ẞ İ 漢字 ภาษา 👩‍👩‍👧 "
    "\u00a0\u200b\ufeff\u2581\ufffd\U0010ffff",
    *((kind * _RUN)[:_RUN] + end for kind in _KINDS for end in ("!", "")),
)


def main() -> None:
    library, seconds, room = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    model = sys.stdin.buffer.read()
    attempt = {"sentencepiece": _sentencepiece, "tokenizers": _tokenizers}[library]()
    _limit(seconds, room)
    try:
        attempt(model)
    except MemoryError:
        raise  # the limit, and no word of the library
    except BaseException as error:  # a panic of Rust is no Exception
        print(re.sub(r"\s+", " ", str(error))[:300])
        sys.stdout.flush()
        os._exit(REFUSED)
    os._exit(0)  # and no more is asked of what was loaded


def _limit(seconds: int, room: int) -> None:
    """Bounds that the kernel keeps, from here on; a system without them keeps to the time of who waits."""
    import resource

    with open("/dev/null", "w") as nowhere:  # a library that panics tells at length
        os.dup2(nowhere.fileno(), 2)
    signal.setitimer(signal.ITIMER_PROF, seconds)  # CPU of this process; SIGPROF ends it
    spent = resource.getrusage(resource.RUSAGE_SELF)
    in_all = 1 + seconds + int(spent.ru_utime + spent.ru_stime)  # in case that somebody heeds no SIGPROF
    limits = {resource.RLIMIT_CPU: in_all, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0}
    if os.path.exists("/proc/self/statm"):
        with open("/proc/self/statm") as file:
            limits[resource.RLIMIT_AS] = int(file.read().split()[0]) * resource.getpagesize() + room
    for what, limit in limits.items():
        resource.setrlimit(what, (limit, limit))


def _sentencepiece() -> Callable[[bytes], None]:
    from sentencepiece import SentencePieceProcessor

    def attempt(model: bytes) -> None:
        processor = SentencePieceProcessor(model_proto=model)
        for ids in processor.encode(list(PROBES), num_threads=1):
            processor.decode(ids)
        for i in range(processor.vocab_size()):
            processor.id_to_piece(i)

    return attempt


def _tokenizers() -> Callable[[bytes], None]:
    from tokenizers import Tokenizer

    def attempt(model: bytes) -> None:
        tokenizer = Tokenizer.from_str(model.decode("utf-8-sig"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True  # as it is used
        for text in PROBES:
            tokenizer.encode(text, add_special_tokens=False)

    return attempt


if __name__ == "__main__":
    main()
