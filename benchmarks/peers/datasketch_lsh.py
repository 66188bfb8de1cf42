"""The peer: datasketch's MinHashLSH in the set-up of text-dedup, one process. Needs neither jaxlm nor jax.

    python benchmarks/peers/datasketch_lsh.py FOLDER --removed FILE

Shingles of 5 words, what is no letter or digit parts them; 240 hash functions, threshold 0.7; a document that has an
earlier one among its candidates goes when their exact Jaccard reaches 0.7 (text-dedup's check of false positives).
Differs from text-dedup in that clusters are not joined over neighbours of neighbours.
"""

import argparse
import json
import re
import time
from pathlib import Path

from datasketch import MinHash, MinHashLSH

HASHES, THRESHOLD, SHINGLE = 240, 0.7, 5


def shingles(text: str) -> set[bytes]:
    words = [word for word in re.split(r"\W+", text.lower()) if word]
    return {" ".join(words[i : i + SHINGLE]).encode() for i in range(max(len(words) - SHINGLE + 1, 1))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--removed", type=Path, required=True)
    asked = parser.parse_args()
    start = time.perf_counter()
    index, sets, gone, documents = MinHashLSH(threshold=THRESHOLD, num_perm=HASHES), {}, [], 0
    for path in sorted(asked.folder.glob("*.jsonl")):
        for row in map(json.loads, path.read_text().splitlines()):
            documents += 1
            own = shingles(row["text"])
            sketch = MinHash(num_perm=HASHES)
            sketch.update_batch(list(own))
            near = (sets[other] for other in index.query(sketch))
            if any(len(own & other) >= THRESHOLD * len(own | other) for other in near):
                gone.append(row["id"])
                continue
            sets[row["id"]] = own
            index.insert(row["id"], sketch)
    took = time.perf_counter() - start
    asked.removed.write_text("".join(f"{one}\n" for one in gone))
    print(json.dumps({"seconds": took, "documents_per_second": documents / took, "removed": len(gone)}))


if __name__ == "__main__":
    main()
