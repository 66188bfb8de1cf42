"""Cases of corpus.py for what becomes of files: main text of web pages, damaged text mended, pages of a wiki.

HTML: strings of `html-cc` to keep and to drop are looked for in the text, white space squeezed, as trafilatura's own
evaluation does it. `default` is resiliparse, `quality` trafilatura as jaxlm asks for it; the extra `jaxlm[quality]`
brings the peer too, so both run here. Goals, chosen beforehand: with `quality` no F1 under trafilatura's, by default at
most 0.03 below it, at 50 MB/s.
"""

import bz2
import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ftfy
import harness

from jaxlm.corpus.normalise import NormaliseConfig, normalise

Rows = list[dict[str, Any]]

RATE, WITHIN = 50.0, 0.03
PEER, EVALUATED = "trafilatura", "trafilatura without comments"
OURS = ("default", "quality")
WHICH = {"default": "default", "quality": "quality", PEER: "trafilatura", EVALUATED: "no-comments"}


class Scores(NamedTuple):
    precision: float
    recall: float
    f1: float


def html(data: Path, rounds: int) -> Rows:
    folder = data / "html-cc"
    gold = [json.loads(line) for line in (folder / "gold.jsonl").read_text("utf-8").splitlines()]
    with tempfile.TemporaryDirectory() as scratch:
        texts = {name: Path(scratch) / f"{name}.json" for name in WHICH}
        contenders = {
            name: harness.Contender(
                ["benchmarks/ours/timed_html.py", which, str(folder / "pages"), str(texts[name])],
                packages=() if which == "default" else ("trafilatura",),
            )
            for name, which in WHICH.items()
        }
        results = harness.alternate(contenders, rounds)
        found = {
            name: string_scores(gold, json.loads(path.read_text("utf-8")))
            for name, path in texts.items()
            if not isinstance(results[name], harness.Missing)
        }
    how: dict[str, Any] = {"figure": "mb_per_second", "unit": "MB/s", "more_is_better": True}
    rows = [harness.against("html: default, of a core", results["default"], "mb_per_second", "MB/s", RATE)]
    rows += [harness.compare(f"html: {name}, of a core", results, name, PEER, **how) for name in OURS]
    if PEER not in found:
        return rows
    for name in OURS:
        rows += [row for peer in (PEER, EVALUATED) for row in _scored(name, found[name], peer, found[peer])]
    least = found[EVALUATED].f1 - WITHIN
    return [*rows, harness.counted("html: default, F1", found["default"].f1, least, "F1", f"the goal, {WITHIN} below")]


def _scored(name: str, ours: Scores, peer: str, theirs: Scores) -> Rows:
    pairs = zip(Scores._fields, ours, theirs, strict=True)
    return [harness.counted(f"html: {name}, {what} of strings", a, b, what, peer) for what, a, b in pairs]


def string_scores(gold: Sequence[Mapping[str, Any]], texts: Mapping[str, str]) -> Scores:
    """Of the strings "with" and "without" of each page of `gold`, whose texts are by its "file"."""
    hits = {"with": 0, "without": 0}
    for page in gold:
        text = squeezed(texts[page["file"]])
        for kind in hits:
            hits[kind] += sum(squeezed(string) in text for string in page[kind])
    kept, wanted = hits["with"], sum(len(page["with"]) for page in gold)
    everything = sum(hits.values())
    return Scores(kept / everything if everything else 1.0, kept / wanted, 2 * kept / (everything + wanted))


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def mojibake(data: Path, rounds: int) -> Rows:
    """Cases that ftfy passes, and which of them ours passes; a row a file. `rounds` change nothing."""
    rows = []
    for path in sorted((data / "mojibake-ftfy").glob("*.json")):
        passed = [case for case in json.loads(path.read_text("utf-8")) if mends(ftfy.fix_encoding, case)]
        wrong = [case["label"] for case in passed if not mends(_mended, case)]
        case = f"mojibake: {path.stem}"
        rows.append(harness.counted(case, len(passed) - len(wrong), len(passed), "cases", "ftfy", wrong=wrong))
    return rows


def mends(mend: Callable[[str], str], case: Mapping[str, str]) -> bool:
    """Whether the encoding is mended as the case says; what is left of control characters and form is no matter."""
    wanted = case.get("fixed-encoding", case["fixed"])
    return _plain(mend(case["original"])) == _plain(wanted)


def _mended(text: str) -> str:
    return normalise(text, NormaliseConfig(form="none", spaces=False))[0]


def _plain(text: str) -> str:
    return normalise(text, NormaliseConfig(mojibake=False))[0]


def wiki(data: Path, rounds: int) -> Rows:
    """Pages that are a document or a counted reason, beside all pages."""
    (path,) = (data / "enwiki-xml-sample").glob("*.xml.bz2")
    pages = len(re.findall(rb"<page[\s>]", bz2.decompress(path.read_bytes())))
    results = harness.alternate({"jaxlm": harness.Contender(["benchmarks/ours/timed_wiki.py", str(path)])}, rounds)
    done = results["jaxlm"]
    assert not isinstance(done, harness.Missing)
    last = done[-1]
    told = last["documents"] + sum(last["reasons"].values())
    named = f"pages in the file; {last['documents']} became documents"
    return [
        harness.counted("wiki: accounted for", told, pages, "pages", named, reasons=last["reasons"]),
        harness.alone("wiki: out of bzip2", harness.median(done, "mb_per_second"), "MB/s"),
        harness.alone("wiki: out of plain XML", harness.median(done, "mb_per_second_unpacked"), "MB/s"),
    ]
