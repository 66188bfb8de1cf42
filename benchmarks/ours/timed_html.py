"""Ours: the main text of web pages, timed; with --quality trafilatura's text as jaxlm asks for it.

    python benchmarks/ours/timed_html.py PAGES texts.json [--quality]

PAGES is a folder of .html.xz, unpacked before; texts.json gets {file: main text}. The last line of its output is one
JSON object: MB of HTML a second of the processor.
"""

import argparse
import json
import lzma
import time
from pathlib import Path

from jaxlm.corpus.formats.html import main_text

LEAST = 3.0  # seconds: chosen, all pages are read again until then


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--quality", action="store_true")
    asked = parser.parse_args()
    pages = {path.name: lzma.decompress(path.read_bytes()) for path in sorted(asked.pages.glob("*.html.xz"))}
    texts = {name: main_text(page, quality=asked.quality) for name, page in pages.items()}  # also loads what is loaded
    asked.texts.write_text(json.dumps(texts), encoding="utf-8")
    start, times = time.process_time(), 0
    while time.process_time() - start < LEAST:
        for page in pages.values():
            main_text(page, quality=asked.quality)
        times += 1
    seconds = time.process_time() - start
    print(json.dumps({"mb_per_second": times * sum(map(len, pages.values())) / seconds / 1e6}))


if __name__ == "__main__":
    main()
