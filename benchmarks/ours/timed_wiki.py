"""Ours: the pages of a Wikipedia dump as documents, timed, from its packed file and from the same unpacked.

    python benchmarks/ours/timed_wiki.py DUMP.xml.bz2

The last line of its output is one JSON object; MB are of XML, unpacked, and seconds of the processor.
"""

import bz2
import json
import sys
import tempfile
import time
from pathlib import Path

from jaxlm.corpus.document import Tally
from jaxlm.corpus.formats import wikipedia


def main() -> None:
    packed = Path(sys.argv[1])
    xml = bz2.decompress(packed.read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / packed.stem
        plain.write_bytes(xml)
        unpacked_seconds, _, _ = read(plain)
        packed_seconds, documents, tally = read(packed)
    size = len(xml) / 1e6
    print(json.dumps({
        "mb_per_second": size / packed_seconds, "mb_per_second_unpacked": size / unpacked_seconds,
        "documents": documents, "reasons": dict(tally.skipped),
    }))  # fmt: skip


def read(path: Path) -> tuple[float, int, Tally]:
    tally, start = Tally(), time.process_time()
    documents = sum(1 for _ in wikipedia.read(path, path.name, tally))
    return time.process_time() - start, documents, tally


if __name__ == "__main__":
    main()
