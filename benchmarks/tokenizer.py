"""How fast are texts encoded, and how full are the rows they are packed into?

    python benchmarks/tokenizer.py FOLDER [--case sentencepiece|byte_bpe|packing] [--rounds 3] [--json] [--record]

FOLDER holds the folders of real text that `real_documents.py` names; tokenizers of 8,192 pieces are trained on them.
`sentencepiece` is our threads, shards written, beside a loop over `sp.encode(text)`. `byte_bpe` is the same beside
`tokenizers.encode_batch_fast`, which has threads of its own; with gigatoken installed ours is its, compared with the
library as it goes. MB are of UTF-8. `packing` is the share of rows of 1,024 tokens that documents fill, beside Grain's
first fit with as many open rows as a batch; both get documents that are longer cut into full rows and a rest.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grain
import harness
import numpy as np
from grain.experimental import FirstFitPackIterDataset
from real_documents import documents

from jaxlm.data.pack import fill_rows
from jaxlm.data.tokenizer import train
from jaxlm.data.tokenizer_base import Tokenizer
from jaxlm.data.tokenizer_config import ByteBpeConfig, SentencePieceConfig

VOCAB, LENGTH = 8_192, 1_024
BINS = 64  # open rows of Grain's, as many as a batch of benchmarks/loader.py
CONFIGS = {"sentencepiece": SentencePieceConfig(vocab=VOCAB), "byte_bpe": ByteBpeConfig(vocab=VOCAB, words="gpt2")}
PEERS = {"sentencepiece": ("sentencepiece", "sp.encode(text) loop"), "byte_bpe": ("tokenizers", "encode_batch_fast")}


def throughput(case: str, texts: list[str], scratch: Path, rounds: int) -> dict[str, Any]:
    """The row of a tokenizer; RuntimeError where the two do not give as many tokens."""
    source, folder = scratch / "documents.jsonl", scratch / case
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    train(CONFIGS[case], texts, seed=0).save(folder)
    which, name = PEERS[case]
    contender = lambda which: harness.Contender(
        ["benchmarks/ours/timed_tokenizer.py", which, str(source), str(folder)], environment={"JAX_PLATFORMS": "cpu"}
    )
    results = harness.alternate({"jaxlm": contender("jaxlm"), name: contender(which)}, rounds)
    tokens = {one["tokens"] for done in results.values() if not isinstance(done, harness.Missing) for one in done}
    if len(tokens) > 1:
        raise RuntimeError(f"{case}: the contenders give different numbers of tokens: {sorted(tokens)}")
    return harness.compare(
        case, results, "jaxlm", name, figure="mb_per_second", unit="MB/s", more_is_better=True, documents=len(texts)
    )


def packing(texts: list[str], tokenizer: Tokenizer) -> dict[str, Any]:
    """The row of packing: percent of places with a token to predict, and how many documents were cut needlessly."""
    sizes = np.array([1 + ids.size for ids in tokenizer.encode_batch(texts)])  # with the separator before each
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    packed = fill_rows(offsets, LENGTH)
    of_document = np.bincount(np.searchsorted(offsets, packed.start, side="right") - 1, minlength=sizes.size)
    needless = int((of_document != -(-sizes // LENGTH)).sum())
    ours = 100 * sizes.sum() / (packed.rows * LENGTH)
    theirs = 100 * sizes.sum() / (sum(1 for _ in first_fit(sizes)) * LENGTH)
    return {
        "case": "packing", "ours": ours, "peer": theirs, "unit": "% filled",
        "peer_name": f"Grain FirstFit, {BINS} bins",
        "ratio": ours / theirs, "ratio_min": ours / theirs, "ratio_max": ours / theirs,
        "documents": len(texts), "rows": packed.rows, "needless_cuts": needless,
    }  # fmt: skip


def first_fit(sizes: np.ndarray) -> Iterator[Any]:
    """Grain's rows of documents in their order."""
    pieces = [np.ones(min(LENGTH, size - start), np.int32) for size in sizes for start in range(0, size, LENGTH)]
    source = grain.MapDataset.source([{"tokens": piece} for piece in pieces]).to_iter_dataset()
    return iter(FirstFitPackIterDataset(source, length_struct={"tokens": LENGTH}, num_packing_bins=BINS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--case", choices=[*CONFIGS, "packing"], action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="append to RESULTS.md")
    asked = parser.parse_args()
    texts = [one["text"] for one in documents(asked.folder)]
    if not texts:
        sys.exit(f"{asked.folder} has none of the folders that real_documents.py names")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for case in asked.case or [*CONFIGS, "packing"]:
            if case == "packing":
                rows.append(packing(texts, train(CONFIGS["sentencepiece"], texts, seed=0)))
            else:
                rows.append(throughput(case, texts, Path(scratch), asked.rounds))
    result = harness.report("tokenizer", rows, json=asked.json)
    if asked.record:
        harness.record(result)


if __name__ == "__main__":
    main()
