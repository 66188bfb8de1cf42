"""How often does BERT-mini find the hidden token, and how often do counts of tokens?

    python benchmarks/bert_mini.py BOOKS... [--json] [--record]

Trains `configs/bert_mini.py` by `jaxlm train` on a folder of the given files, and reads the accuracy on hidden tokens
of its held-out text at each evaluation. Beside it stand, on the very same hidden tokens: the commonest token of the
training text (unigram), and the token that most often follows the one to the left there, or comes before the one to
the right (bigrams; the unigram where the neighbour is hidden too, or was never seen).
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import harness
import numpy as np
from war_and_peace import jaxlm

from jaxlm.batch import Batch
from jaxlm.config import parse
from jaxlm.data.loader import evaluation_batches
from jaxlm.data.shards import Shards
from jaxlm.run_config import RunConfig
from jaxlm.run_folder import RunFolder, read_json

CONFIG = "bert_mini"


class Counts:
    """What training text says of a token by one neighbour, or by none."""

    def __init__(self, stream: np.ndarray, vocab: int):
        stream = stream.astype(np.int64)
        self.commonest = int(np.bincount(stream).argmax())
        self.after = self.likeliest(stream[:-1], stream[1:], vocab)
        self.before = self.likeliest(stream[1:], stream[:-1], vocab)

    def likeliest(self, given: np.ndarray, token: np.ndarray, vocab: int) -> np.ndarray:
        """The commonest `token` beside each `given` id; the commonest of all beside ids that do not occur."""
        pair, count = np.unique(given * vocab + token, return_counts=True)
        best = np.full(vocab + 1, self.commonest)  # the last is the id that hides
        order = np.argsort(count, kind="stable")  # a later one, which is commoner, stays
        best[pair[order] // vocab] = pair[order] % vocab
        return best


def hits(batch: Batch, counts: Counts) -> dict[str, np.ndarray]:
    """For each hidden token, who finds it."""
    last = batch.token.shape[1] - 1
    beside = lambda step: np.take_along_axis(batch.token, np.clip(batch.where + step, 0, last), axis=1)
    asked = batch.weight > 0
    found = {
        "unigram": np.full(batch.where.shape, counts.commonest),
        "bigram, left": counts.after[beside(-1)],
        "bigram, right": counts.before[beside(+1)],
    }
    return {name: (token == batch.target)[asked] for name, token in found.items()}


def baselines(run: Path) -> dict[str, float]:
    cfg = parse(read_json(run / "config.json"), RunConfig)
    shards = Shards.open(RunFolder(run).read_data()["shards"])
    counts = Counts(np.asarray(shards.tokens("train")), shards.vocab)
    of_batches = [hits(batch, counts) for batch in evaluation_batches(shards, cfg.data)]
    return {name: float(np.concatenate([each[name] for each in of_batches]).mean()) for name in of_batches[0]}


def main() -> None:
    asked = flags()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "books").mkdir()
        for book in asked.books:
            shutil.copy(book, folder / "books")
        run, sets = folder / "run", [word for pair in asked.set for word in ("--set", pair)]
        where = ["--run-dir", str(run), "--shards-dir", str(folder / "shards")]
        jaxlm("train", CONFIG, "--set", f"data.source={folder / 'books'}", *where, *sets)
        counted = baselines(run)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    curve = [(line["step"], line["eval/accuracy"], line["eval/loss"]) for line in lines if "eval/accuracy" in line]
    seconds = max(line["seconds"] for line in lines if "seconds" in line)
    rows = [row(name, curve[-1][1], accuracy, curve, seconds) for name, accuracy in counted.items()]
    result = harness.report(CONFIG, rows, json=asked.json)
    if asked.record:
        harness.record(result, note=note(curve, counted, seconds))


def row(name: str, ours: float, peer: float, curve: list, seconds: float) -> dict[str, Any]:
    ratio = ours / peer
    spread = {"ratio": ratio, "ratio_min": ratio, "ratio_max": ratio}
    about = {"peer_name": name, "unit": "accuracy on hidden tokens", "curve": curve, "seconds": seconds}
    return {"case": CONFIG, "ours": ours, "peer": peer, **spread, **about}


def note(curve: list, counted: dict[str, float], seconds: float) -> str:
    lines = [f"{seconds:.0f} s of training. Accuracy on hidden tokens of the held-out text:\n"]
    lines += ["| step | accuracy | nats/hidden token |", "| --- | --- | --- |"]
    lines += [f"| {step:,} | {accuracy:.4f} | {loss:.4f} |" for step, accuracy, loss in curve]
    lines += [f"| {name} | {accuracy:.4f} | |" for name, accuracy in counted.items()]
    return "\n".join(lines) + "\n"


def flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("books", type=Path, nargs="+", help="text files")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override a field, as jaxlm")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="append to RESULTS.md")
    asked = parser.parse_args()
    if missing := [str(book) for book in asked.books if not book.is_file()]:
        sys.exit(f"no such file: {', '.join(missing)}")
    return asked


if __name__ == "__main__":
    main()
