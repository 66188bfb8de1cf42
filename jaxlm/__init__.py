"""jaxlm: raw text to a trained, evaluated language model, on JAX.

    import jaxlm
    config = jaxlm.load_config("quickstart", "loop.steps=200", "name=short")
    outcome = jaxlm.train(config)
    model, params, tokenizer, *_ = jaxlm.load(outcome.run)
    print(jaxlm.generate(outcome.run, ["def "], tokens=50).completions[0].text)
    print(jaxlm.evaluate(outcome.run)["bits_per_byte"])
    jaxlm.export_huggingface(outcome.run, "for_transformers")

Nothing is imported before it is used, so that `import jaxlm` is quick and starts no device.
"""

import logging
from typing import TYPE_CHECKING, Any

from jaxlm import redact

if TYPE_CHECKING:
    from jaxlm.corpus.prepare import prepare
    from jaxlm.exchange import export_huggingface, import_huggingface
    from jaxlm.losses import logits
    from jaxlm.run import train
    from jaxlm.run_config import load_config
    from jaxlm.saved import generate, load
    from jaxlm.score import evaluate

__version__ = "0.1.0"
__all__ = [
    "evaluate", "export_huggingface", "generate", "import_huggingface", "load", "load_config", "logits", "prepare",
    "train",
]  # fmt: skip

logging.getLogger("jaxlm").addFilter(redact.record)

_HOMES = {
    "train": "jaxlm.run",
    "load": "jaxlm.saved",
    "load_config": "jaxlm.run_config",
    "evaluate": "jaxlm.score",
    "generate": "jaxlm.saved",
    "logits": "jaxlm.losses",
    "prepare": "jaxlm.corpus.prepare",
    "import_huggingface": "jaxlm.exchange",
    "export_huggingface": "jaxlm.exchange",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxlm' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
