"""A sample of a corpus' sources: enough to see what the rules would do, in seconds.

Of each source some files are read, those with the smallest hashes of their names, so that the choice is even, the same
everywhere, and mostly the same after files were added; and of each file its first documents. Duplicates are thus found
among the sample alone, and a large file is judged by its beginning. What lies in a store is chosen before it is copied,
and then copied whole.
"""

from collections.abc import Iterator, Sequence

import xxhash

from jaxlm.config import override
from jaxlm.corpus.config import CorpusConfig
from jaxlm.corpus.document import Document
from jaxlm.corpus.files import END, File

SOURCE_BYTES = 4 << 20  # of a source: chosen; a core annotates as much in a second or two
FILE_BYTES = 256 << 10  # of text of a file: chosen, sixteen files or more of a source


def choose(files: Sequence[File], most: int = SOURCE_BYTES, each: int = FILE_BYTES) -> list[File]:
    """Files of about `most` bytes together, of each no more than `each` counted; one at least, in their order."""
    chosen, size = [], 0
    for file in sorted(files, key=lambda file: (xxhash.xxh3_64_intdigest(file.name.encode()), file.name)):
        if chosen and size >= most:
            break
        chosen.append(file)
        size += min(file.size, each)
    return sorted(chosen)


def choose_whole(files: Sequence[File]) -> list[File]:
    """The same of files that have to be copied whole before they are read: fewer where they are large."""
    return choose(files, each=END)


def first(documents: Iterator[Document], most: int | None) -> Iterator[Document]:
    """Documents until they have `most` bytes together, one at least; all where it is None."""
    if most is None:
        yield from documents
        return
    size = 0
    for document in documents:
        yield document
        size += len(document.text.encode())
        if size >= most:
            return


def lenient(cfg: CorpusConfig) -> CorpusConfig:
    """`cfg` without what would end a run: a sample is to show it."""
    capped = (name for name, how in cfg.duplicates if "cap" in getattr(type(how), "model_fields", ()))
    caps = [f"duplicates.{name}.cap.share=1.0" for name in capped]
    return override(cfg, [*caps, "bad_records=0.999999"])
