"""The peer: trafilatura on web pages, timed, as it comes or without comments. Needs neither jaxlm nor jax.

    python benchmarks/peers/trafilatura_html.py PAGES texts.json [--no-comments]

PAGES is a folder of .html.xz, unpacked before; texts.json gets {file: main text}. The last line of its output is one
JSON object: MB of HTML a second of the processor.
"""

import argparse
import json
import lzma
import time
from pathlib import Path

import trafilatura  # pyright: ignore[reportMissingImports]

LEAST = 3.0  # seconds: chosen, all pages are read again until then


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--no-comments", action="store_true", help="as its own evaluation asks for it")
    asked = parser.parse_args()
    options = {"include_comments": False} if asked.no_comments else {}
    pages = {path.name: lzma.decompress(path.read_bytes()) for path in sorted(asked.pages.glob("*.html.xz"))}
    texts = {name: trafilatura.extract(page, **options) or "" for name, page in pages.items()}
    asked.texts.write_text(json.dumps(texts), encoding="utf-8")
    start, times = time.process_time(), 0
    while time.process_time() - start < LEAST:
        for page in pages.values():
            trafilatura.extract(page, **options)
        times += 1
    seconds = time.process_time() - start
    print(json.dumps({"mb_per_second": times * sum(map(len, pages.values())) / seconds / 1e6}))


if __name__ == "__main__":
    main()
