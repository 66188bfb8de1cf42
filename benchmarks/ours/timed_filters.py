"""Ours: every measure and rule of Gopher, C4 and FineWeb on documents, timed; and each rule's verdict.

    python benchmarks/ours/timed_filters.py documents.jsonl verdicts.json

The last line of its output is one JSON object; verdicts.json has a 1 for every document that a rule keeps, else 0.
"""

import json
import sys
import time
from collections.abc import Mapping

from jaxlm.corpus.lines import C4Lines, trim
from jaxlm.corpus.quality import measure
from jaxlm.corpus.rules import C4, C4Paragraphs, FineWeb, Gopher, GopherRepetition, reasons
from jaxlm.corpus.words import Lexicon

SETS = [Gopher(), GopherRepetition(), C4(), FineWeb()]
THEIRS = {  # one rule of theirs for several of ours
    "Gopher.hashes above": "Gopher.hashes or ellipses",
    "Gopher.ellipses above": "Gopher.hashes or ellipses",
    **{f"C4.{name} {side}": "C4" for name in ("sentences", "lorem_ipsum", "braces") for side in ("below", "above")},
    "C4Paragraphs.third_longest_line below": "C4Paragraphs",
}


def measures(text: str, lexicon: Lexicon) -> Mapping[str, int | float]:
    return {**measure(text, lexicon.read(text)), **trim(text.splitlines(), lexicon, C4Lines()).measures}


def main() -> None:
    source, verdicts = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    lexicon = Lexicon()  # empty: what it has to learn is in the time
    start = time.perf_counter()
    kept = sum(not reasons(measures(text, lexicon), SETS, "en") for text in texts)
    seconds = time.perf_counter() - start
    with open(verdicts, "w", encoding="utf-8") as file:
        json.dump(by_rule([measures(text, lexicon) for text in texts]), file)
    size = sum(len(text.encode()) for text in texts)
    print(json.dumps({"mb_per_second": size / seconds / 1e6, "seconds": seconds, "kept": kept}))


def by_rule(measured: list[Mapping[str, int | float]]) -> dict[str, list[int]]:
    """{rule: 1 for each document that it keeps, else 0}."""
    broken = [{named(reason) for reason in reasons(one, [*SETS, C4Paragraphs()], "en")} for one in measured]
    names = {
        named(f"{type(rules).__name__}.{name} {side} x")
        for rules in [*SETS, C4Paragraphs()]
        for name, bounds in rules.bounds("en", {}).items()
        for side, bound in (("below", bounds.least), ("above", bounds.most))
        if bound is not None
    }
    return {name: [int(name not in whys) for whys in broken] for name in sorted(names)}


def named(reason: str) -> str:
    """A reason without its bound, as the peer names it."""
    rule = reason.rpartition(" ")[0]
    return THEIRS.get(rule, rule)


if __name__ == "__main__":
    main()
