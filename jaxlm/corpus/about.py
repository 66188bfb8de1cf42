"""AboutConfig: what only people know of a corpus, for its datasheet.

The fields follow the sections of Datasheets for Datasets (Gebru et al. 2018, arXiv:1803.09010). They are words alone:
they change no document, and a run after they changed makes nothing anew but the datasheet. What is not answered is
shown as such. Left out: what the pipeline counts by itself.
"""

from jaxlm.config import Config


class AboutConfig(Config):
    """Sentences, or None for what nobody has answered yet."""

    title: str | None = None  # of the datasheet; None: the name of the corpus
    # Motivation
    motivation: str | None = None  # what it was made for
    creators: str | None = None
    funding: str | None = None
    # Composition
    whole: str | None = None  # what larger set the sources are a part of, and how they were chosen
    sensitive: str | None = None  # what may offend, harm or tell of single people
    # Collection
    collection: str | None = None  # how the texts were got, and by whom
    period: str | None = None  # when
    consent: str | None = None  # whether those who wrote them, or are written about, know and agreed
    review: str | None = None  # by a board of ethics, or for data protection
    # Uses
    used: str | None = None  # so far
    uses: str | None = None  # that it is meant for
    not_for: str | None = None  # uses that it is not meant for
    risks: str | None = None  # that come from how it was made
    # Distribution
    distribution: str | None = None  # who gets it, how and from when
    terms: str | None = None  # licence of the whole, and limits by law or contract
    # Maintenance
    contact: str | None = None
    updates: str | None = None  # whether there will be some, and how they are told
    corrections: str | None = None  # how somebody has a text mended or taken out
