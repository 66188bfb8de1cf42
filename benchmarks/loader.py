"""How fast is the loader alone? Tokens a second from a memory map, against what others do.

    python benchmarks/loader.py [--json] [--rounds 5] [--record]

Batches of 64 rows of 1,024 tokens out of 40 M tokens (u16, random; lognormal documents of 400 tokens on
average), as the loop gets them: int32 arrays, shuffled, prefetched as `DataConfig` has it. Peers read the
same file: nanoGPT's get_batch in numpy (random offsets, a stack of int64 slices, the file mapped anew each
batch), and Grain record by record (one row an element, shuffled, then batched). The mixture is of eight sources, which
take turns at random in the stream, with weights 1 to 8; the peer mixes eight equal parts of the stream, row by row.
Each contender is a fresh process that measures 2 seconds after 50 batches.
"""

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grain
import harness
import numpy as np

from jaxlm.data.components import Names
from jaxlm.data.dataset import DataConfig
from jaxlm.data.loader import batches
from jaxlm.data.mixture import WeightsMixture
from jaxlm.data.shards import Shards, Writer, commit

LENGTH, BATCH = 1_024, 64
DOCUMENTS, VOCAB = 100_000, 50_304
SOURCES = 8  # of the mixture
MIXTURE = WeightsMixture(weights={str(source): source + 1 for source in range(SOURCES)})
WARM_UP, SECONDS = 50, 2.0  # batches, of measuring
CASES = (  # name, ours, peer
    ("memmap_1024x64", "jaxlm chunked", "nanoGPT get_batch, numpy"),
    ("memmap_1024x64_records", "jaxlm chunked", "grain, record by record"),
    ("memmap_1024x64_packed", "jaxlm packed", "grain, record by record"),  # which packs nothing
    ("memmap_1024x64_mixture", "jaxlm chunked, mixed", "grain, mixed"),
    ("memmap_1024x64_packed_mixture", "jaxlm packed, mixed", "grain, mixed"),
)
# In our trial Grain's default of 16 threads halved this peer's speed on 2 cores
READ = grain.ReadOptions(num_threads=2, prefetch_buffer_size=500)


def jaxlm_chunked(shards: Shards) -> Iterator[Any]:
    return batches(shards, DataConfig(source="random", length=LENGTH, batch=BATCH, rows="chunked"))


def jaxlm_packed(shards: Shards) -> Iterator[Any]:
    return batches(shards, DataConfig(source="random", length=LENGTH, batch=BATCH, rows="packed"))


def jaxlm_chunked_mixed(shards: Shards) -> Iterator[Any]:
    return batches(shards, DataConfig(source="random", length=LENGTH, batch=BATCH, rows="chunked", mixture=MIXTURE))


def jaxlm_packed_mixed(shards: Shards) -> Iterator[Any]:
    return batches(shards, DataConfig(source="random", length=LENGTH, batch=BATCH, rows="packed", mixture=MIXTURE))


def nanogpt_get_batch(shards: Shards) -> Iterator[Any]:
    rng = np.random.default_rng(0)
    while True:
        data = np.memmap(shards.folder / "train.tokens", dtype=np.uint16, mode="r")
        offsets = rng.integers(0, len(data) - LENGTH, BATCH)
        x = np.stack([data[i : i + LENGTH].astype(np.int64) for i in offsets])
        y = np.stack([data[i + 1 : i + 1 + LENGTH].astype(np.int64) for i in offsets])
        yield x, y


class Records:
    """One row an element: what a Grain source is in its guide."""

    def __init__(self, shards: Shards, part: int = 0, parts: int = 1):
        stream = np.asarray(shards.tokens("train"))
        self._stream = stream[part * stream.size // parts : (part + 1) * stream.size // parts]

    def __len__(self) -> int:
        return (self._stream.size - 1) // LENGTH

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        row = self._stream[index * LENGTH : (index + 1) * LENGTH + 1].astype(np.int32)
        return {"token": row[:-1], "target": row[1:]}


def grain_records(shards: Shards) -> Iterator[Any]:
    rows = grain.MapDataset.source(Records(shards)).seed(0).shuffle().repeat()
    return iter(rows.batch(BATCH).to_iter_dataset(READ))


def grain_mixed(shards: Shards) -> Iterator[Any]:
    parts = [grain.MapDataset.source(Records(shards, n, SOURCES)).seed(n).shuffle().repeat() for n in range(SOURCES)]
    rows = grain.MapDataset.mix(parts, weights=[n + 1 for n in range(SOURCES)])
    return iter(rows.batch(BATCH).to_iter_dataset(READ))


CONTENDERS: dict[str, Callable[[Shards], Iterator[Any]]] = {
    "jaxlm chunked": jaxlm_chunked,
    "jaxlm packed": jaxlm_packed,
    "jaxlm chunked, mixed": jaxlm_chunked_mixed,
    "jaxlm packed, mixed": jaxlm_packed_mixed,
    "nanoGPT get_batch, numpy": nanogpt_get_batch,
    "grain, record by record": grain_records,
    "grain, mixed": grain_mixed,
}


def tokens_per_second(stream: Iterator[Any]) -> float:
    """Rows a second times their length; padding counts, for all alike."""
    for _ in itertools.islice(stream, WARM_UP):
        pass
    start, count = time.perf_counter(), 0
    while (took := time.perf_counter() - start) < SECONDS:
        next(stream)
        count += 1
    return count * BATCH * LENGTH / took


def write_shards(folder: Path) -> Path:
    """Random shards of DOCUMENTS documents."""
    rng, building = np.random.default_rng(0), folder / "building"
    names = Names()
    writer = Writer(building, "train", vocab=VOCAB, separator=0, names=names)
    sources = np.random.default_rng(1).integers(0, SOURCES, DOCUMENTS)
    for length, source in zip(rng.lognormal(5.5, 1.0, DOCUMENTS).astype(int), sources, strict=True):
        tokens = rng.integers(1, VOCAB, length, dtype=np.int32)
        writer.add(tokens, source_bytes=4 * int(length), component=(str(source), "und"))
    commit(
        building,
        folder / "shards",
        facts={
            "vocab": VOCAB,
            "separator": 0,
            "splits": {"train": writer.close()},
            "components": names.facts(),
        },
    )
    return folder / "shards"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="append to RESULTS.md")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contender", nargs=2, metavar=("NAME", "SHARDS"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.contender:
        name, folder = asked.contender
        print(
            json.dumps({"tokens_per_second": tokens_per_second(CONTENDERS[name](Shards.open(folder)))}),
            flush=True,
        )
        sys.exit()
    with tempfile.TemporaryDirectory() as folder:
        shards = str(write_shards(Path(folder)))
        contenders = {name: harness.Contender([__file__, "--contender", name, shards]) for name in CONTENDERS}
        results = harness.alternate(contenders, asked.rounds)
    rows = [
        harness.compare(case, results, ours, peer, figure="tokens_per_second", unit="tokens/s", more_is_better=True)
        for case, ours, peer in CASES
    ]
    result = harness.report("loader", rows, json=asked.json)
    if asked.record:
        harness.record(result)


if __name__ == "__main__":
    main()
