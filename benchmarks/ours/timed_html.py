"""The main text of web pages, timed: ours by either library, or trafilatura alone.

    python benchmarks/ours/timed_html.py default|quality|trafilatura|no-comments PAGES texts.json

`quality` is trafilatura's text as jaxlm asks for it, `no-comments` trafilatura as its own evaluation asks for it. PAGES
is a folder of .html.xz, unpacked before; texts.json gets {file: main text}. The last line of its output is one JSON
object: MB of HTML a second of the processor.
"""

import json
import lzma
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from jaxlm.corpus.formats import html

LEAST = 3.0  # seconds: chosen, all pages are read again until then


def extractor(which: str) -> Callable[[bytes], str | None]:
    if which in ("default", "quality"):
        return partial(html.main_text, quality=which == "quality")
    extract = html.trafilatura().extract
    return extract if which == "trafilatura" else partial(extract, include_comments=False)


def main() -> None:
    which, folder, texts_file = sys.argv[1:]
    extract = extractor(which)
    pages = {path.name: lzma.decompress(path.read_bytes()) for path in sorted(Path(folder).glob("*.html.xz"))}
    texts = {name: extract(page) or "" for name, page in pages.items()}  # also loads what is loaded
    Path(texts_file).write_text(json.dumps(texts), encoding="utf-8")
    start, times = time.process_time(), 0
    while time.process_time() - start < LEAST:
        for page in pages.values():
            extract(page)
        times += 1
    seconds = time.process_time() - start
    print(json.dumps({"mb_per_second": times * sum(map(len, pages.values())) / seconds / 1e6}))


if __name__ == "__main__":
    main()
