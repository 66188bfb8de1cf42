"""jaxlm: raw text to a trained, evaluated language model, on JAX."""

__version__ = "0.1.0"
