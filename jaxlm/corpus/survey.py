"""The pass over the corpus that samples: counts it, and refuses one that is too little for its splits."""

from collections.abc import Iterable, Iterator

from jaxlm.corpus.collect import Progress
from jaxlm.corpus.document import Document, Tally
from jaxlm.data.dataset import DataConfig
from jaxlm.data.shards import SPLITS
from jaxlm.errors import UserError


class Survey:
    """Documents of each split, and characters of all."""

    def __init__(self) -> None:
        self.documents: dict[str, int] = dict.fromkeys(SPLITS, 0)
        self.characters = 0

    def training_texts(
        self, splitted: Iterable[tuple[str, Document]], cfg: DataConfig, tally: Tally, progress: Progress
    ) -> Iterator[str]:
        """The texts that train; UserError at the end if a split that `cfg` asks for is empty."""
        for split, document in splitted:
            self.documents[split] += 1
            self.characters += len(document.text)
            progress(self.characters, None, "reading characters")
            if split == "train":
                yield document.text
        if not any(self.documents.values()):
            raise UserError(_no_text(cfg, tally))
        fractions = {"train": 1.0, "validation": cfg.split.validation, "test": cfg.split.test}
        for split, fraction in fractions.items():
            if fraction and not self.documents[split]:
                raise UserError(self._too_little(split, cfg))

    def _too_little(self, empty: str, cfg: DataConfig) -> str:
        mend = "give more text"
        if cfg.split.kind == "hash":
            mend = "set data.split.kind=contiguous, which cuts inside documents, give more documents"
        return (
            f"the {empty} split would be empty: data.source={cfg.source!r} has {self.characters:,} characters"
            f" in {sum(self.documents.values())} documents, too little for kind={cfg.split.kind}, "
            f"validation={cfg.split.validation}, test={cfg.split.test}; {mend}, or change the fractions "
            f"(0 asks for no such split)"
        )


def _no_text(cfg: DataConfig, tally: Tally) -> str:
    only = f" with data.include={list(cfg.include)}" if cfg.include else ""
    why = f"left out were {tally}" if str(tally) else "no file with text in it was found"
    other = "another file, folder or pattern" if cfg.include else "another file or folder"
    return f"data.source={cfg.source!r}{only} holds no text: {why}; name {other}"
