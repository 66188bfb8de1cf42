"""Which document trains and which is held out.

`hash`: the content alone decides, so equal texts fall together and a larger corpus moves nothing.
`contiguous`: the corpus is cut at two characters; a document that lies across is cut there, as nanoGPT cuts
its one text at 90 %.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction

from jaxlm.corpus.document import Document
from jaxlm.data.dataset import ContiguousSplit, HashSplit


def by_hash(documents: Iterable[Document], cfg: HashSplit) -> Iterator[tuple[str, Document]]:
    test_end = _exact(cfg.test)
    validation_end = test_end + _exact(cfg.validation)
    for document in documents:
        place = Fraction(int(document.id, 16), 16 ** len(document.id))  # in [0, 1)
        if place < test_end:
            yield "test", document
        elif place < validation_end:
            yield "validation", document
        else:
            yield "train", document


def contiguous(documents: Iterable[Document], cfg: ContiguousSplit, characters: int) -> Iterator[tuple[str, Document]]:
    """`characters` is the length of all documents together."""
    train_end = int(characters * (1 - _exact(cfg.validation) - _exact(cfg.test)))
    validation_end = int(characters * (1 - _exact(cfg.test)))
    spans = (
        ("train", 0, train_end),
        ("validation", train_end, validation_end),
        ("test", validation_end, characters),
    )
    start = 0
    for document in documents:
        if "pieces" in document.marks:  # an example is not cut
            yield next(split for split, _, last in spans if start < last), document
            start += len(document.text)
            continue
        for split, first, last in spans:
            part = document.text[max(first - start, 0) : max(last - start, 0)]
            if len(part) == len(document.text):
                yield split, document
            elif part:
                yield split, Document.of(part, document.source)._replace(marks=document.marks)
        start += len(document.text)


def _exact(fraction: float) -> Fraction:
    """The number that was written: as floats, 1 - 0.05 - 0.05 is below 0.9."""
    return Fraction(str(fraction))
