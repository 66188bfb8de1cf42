"""The libraries that decide a corpus' bytes beside our own code, and their versions here.

They stand in the keys of the stages that they work in, so that results of another version are not found; in the
manifest; and in what a cluster's workers must have. Python is one of them: its tables of Unicode change.

Left out: what decides how fast, and not what, as codecs of packed files and parsers of JSON.
"""

import functools
import platform
from importlib import metadata

import jaxlm
from jaxlm.corpus.config import CorpusConfig, SourceConfig


def versions(*names: str) -> dict[str, str | None]:
    """Of each; None where it is not installed."""
    return {name: _version(name) for name in names}


@functools.cache
def _version(name: str) -> str | None:
    if name == "python":
        return ".".join(platform.python_version_tuple()[:2])  # a patch changes no result
    if name == "jaxlm":
        return jaxlm.__version__  # of what runs, which may be no installed package
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def collecting(source: SourceConfig, cfg: CorpusConfig) -> tuple[str, ...]:
    """Names of those that read `source` and put its texts in one form."""
    pages = ("trafilatura",) if source.main_text == "trafilatura" else ()
    chinese = ("opencc",) if cfg.normalise.chinese != "as_it_is" else ()
    return ("python", "fastwarc", "ftfy", "resiliparse", *pages, *chinese)


def annotating(cfg: CorpusConfig) -> tuple[str, ...]:
    """Names of those that tell languages and measure texts."""
    return ("python", "py3langid", *(("fasttext-predict",) if cfg.languages.identify.fasttext else ()))


NEAR = ("rensa",)
SCORING = ("jax",)
WRITING = ("pyarrow",)  # its name and version are in each file


def of(cfg: CorpusConfig) -> tuple[str, ...]:
    """Names of all that decide what `cfg` gives."""
    read = {name for source in cfg.sources for name in collecting(source, cfg)}
    near = NEAR if cfg.duplicates.near is not None else ()
    return tuple(sorted({*read, *annotating(cfg), *(SCORING if cfg.scores else ()), *near, *WRITING}))
