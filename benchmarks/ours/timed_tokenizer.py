"""One tokenizer over documents, timed: ours as shards are made, or the plain call of its library.

    python benchmarks/ours/timed_tokenizer.py WHICH documents.jsonl TOKENIZER_FOLDER

WHICH is jaxlm (threads, ids written to shards), sentencepiece (its encode, a text at a time) or tokenizers (its
encode_batch_fast, its own threads). The last line of its output is one JSON object.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import sentencepiece
import tokenizers

from jaxlm.corpus.document import Document
from jaxlm.corpus.encode import encode
from jaxlm.corpus.prepare import cores
from jaxlm.data import tokenizer_fast
from jaxlm.data.stand_ins import put_in
from jaxlm.data.tokenizer import load


def jaxlm(texts: list[str], folder: Path) -> Callable[[], int]:
    tokenizer = load(folder)
    documents = [("train", Document.of(text, "document")) for text in texts]

    def run() -> int:
        fast = tokenizer_fast.faster(tokenizer, texts)  # what it compares is in the time
        with tempfile.TemporaryDirectory() as scratch:
            counts = encode(
                documents, fast or tokenizer, Path(scratch), workers=cores(), characters=0, progress=lambda *_: None
            )
        return counts["train"]["tokens"] - len(texts) - 1

    return run


def plain_sentencepiece(texts: list[str], folder: Path) -> Callable[[], int]:
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.model"))
    handed = [put_in(text) for text in texts]  # as the model saw them: its own tabs are those of data/stand_ins.py
    return lambda: sum(len(processor.encode(text)) for text in handed)


def plain_tokenizers(texts: list[str], folder: Path) -> Callable[[], int]:
    library = tokenizers.Tokenizer.from_file(str(folder / "huggingface" / "tokenizer.json"))
    return lambda: sum(len(one.ids) for one in library.encode_batch_fast(texts, add_special_tokens=False))


WHICH = {"jaxlm": jaxlm, "sentencepiece": plain_sentencepiece, "tokenizers": plain_tokenizers}


def main() -> None:
    which, source, folder = sys.argv[1:]
    texts = [json.loads(line)["text"] for line in Path(source).read_text(encoding="utf-8").splitlines()]
    run = WHICH[which](texts, Path(folder))
    start = time.perf_counter()
    tokens = run()
    seconds = time.perf_counter() - start
    size = sum(len(text.encode()) for text in texts)
    print(json.dumps({"mb_per_second": size / seconds / 1e6, "seconds": seconds, "tokens": tokens}))


if __name__ == "__main__":
    main()
