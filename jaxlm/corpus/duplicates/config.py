"""What counts as a duplicate, and how hard it is looked for."""

from typing import Literal

from pydantic import Field, model_validator

from jaxlm.config import Config


class CapConfig(Config):
    """The run stops where more than a share of one source would go: a rule that wipes a source out is wrong more
    often than the source is (marin-community/marin#6854: 859,092 rows became 2)."""

    share: float = Field(default=0.5, ge=0, le=1)  # of the documents of a source; chosen: more than half wants a look
    documents: int = Field(default=100, ge=1)  # chosen: a share of a smaller source says little, so it is not capped


class NearConfig(Config):
    """MinHash with bands proposes, exact Jaccard over shingles decides."""

    words: int = Field(default=5, ge=1, le=64)  # in a shingle; as FineWeb (Penedo et al. 2024, arXiv:2406.17557)
    # In a shingle of a script without spaces. Measured 2026-11-29, shingles that occur again in other texts: 3.2 % of
    # 5 words in four English novels; in 1.2 M characters of Chinese classics 4.0 % of 5 characters, 2.5 % of 6,
    # 1.2 % of 8; in 2,104 passages of modern Chinese 3.8, 2.4 and 1.4 %. Longer ones lose more by each edit.
    characters: int = Field(default=6, ge=1, le=64)
    # bands x rows signatures a document; P(candidate | Jaccard s) = 1 - (1 - s^rows)^bands. FineWeb's 14 x 8 finds
    # 0.924 of the pairs at 0.8; 16 x 7 are as many signatures and find 0.977, since proposals too many do no harm.
    bands: int = Field(default=16, ge=1, le=256)
    rows: int = Field(default=7, ge=1, le=32)
    # Of the shingle sets, reached or exceeded. Between 0.7, below which nothing may go, and 0.8, from which on pairs
    # must be found; FineWeb's bands turn at 0.72, and verification leaves the recall above 0.8 as the bands make it.
    threshold: float = Field(default=0.75, gt=0, le=1)
    # Documents of one bucket that all others of it are compared with, the first in the order of keeping; in a bucket
    # of at most as many every pair is compared. marin caps at 32 to 64; chosen: 16, since 200,000 near copies of one
    # text took one process 150 s with 32 and 78 s with 16, and no measured recall changed.
    representatives: int = Field(default=16, ge=1)
    memory: int = Field(default=1 << 29, ge=1 << 20)  # bytes for a task that joins band keys; changes no result
    seed: int = Field(default=42, ge=0, lt=2**64)  # of the hash functions
    cap: CapConfig = CapConfig()


class _EqualConfig(Config):
    # normal: compatible characters are one (NFKC), so are cases, and white space is not compared
    form: Literal["raw", "normal"] = "normal"
    memory: int = Field(default=1 << 29, ge=1 << 20)  # bytes for a task that joins hashes; changes no result
    cap: CapConfig = CapConfig()


class ExactConfig(_EqualConfig):
    """Equal documents: the first in the order of keeping stays, of whatever length."""


class PassagesConfig(_EqualConfig):
    """Equal paragraphs or lines are cut out: the first in the order of keeping stays, also within a document."""

    unit: Literal["paragraph", "line"] = "paragraph"
    # Characters of what may be cut out. 100: a sentence or two, as headings and lone braces repeat by right (chosen;
    # Dolma, arXiv:2402.00159, asks 13 words).
    shortest: int = Field(default=100, ge=1)
    # Characters that have to be left of a document, or it goes. Chosen: less is no text, a few words at most
    left: int = Field(default=20, ge=1)

    @model_validator(mode="after")
    def _what_stays_is_enough(self) -> "PassagesConfig":
        if self.left > self.shortest:
            raise ValueError(
                f"left={self.left} is more than shortest={self.shortest}: a document could go although it has the "
                f"{self.unit} that was cut out of others; set left to {self.shortest} or less"
            )
        return self
