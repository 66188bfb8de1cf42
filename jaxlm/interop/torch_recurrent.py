"""Weights of PyTorch's `nn.RNN`, `nn.LSTM` and `nn.GRU`, by the names of their state dicts, and back.

PyTorch keeps two biases for each gate. Only a GRU's candidate needs both; elsewhere their sum is all that counts,
so import adds them and export leaves the second at 0.
"""

from collections.abc import Mapping

import numpy as np

from jaxlm.models.cells import CELLS
from jaxlm.models.recurrent import RecurrentConfig

MODULES = {"tanh": "rnn", "relu": "rnn", "lstm": "lstm", "gru": "gru"}  # cell -> model_type
MODEL_TYPES = tuple(dict.fromkeys(MODULES.values()))


def from_torch(cfg: RecurrentConfig, weights: Mapping[str, np.ndarray]) -> dict:
    """The parameters of the layers of `cfg`: {"layer_0": ..., "layer_0_reverse": ..., ...}."""
    params = {}
    for ours, theirs in names(cfg):
        get = lambda name, end=theirs: np.asarray(weights[f"{name}{end}"], np.float32)
        gated = lambda w: np.moveaxis(w.reshape(CELLS[cfg.cell].gates, -1, w.shape[-1]), 2, 0)  # (J H, D) -> D J H
        layer = {"input": {"w": gated(get("weight_ih"))}, "w": gated(get("weight_hh"))}
        if cfg.bias:
            first, second = (get(name).reshape(CELLS[cfg.cell].gates, -1) for name in ("bias_ih", "bias_hh"))
            if cfg.cell == "gru":
                layer["candidate_b"] = second[2]
                second = second * np.array([[1], [1], [0]], np.float32)
            layer["b"] = first + second
        if cfg.projection:
            layer["projection"] = get("weight_hr").T
        params[ours] = layer
    return params


def to_torch(cfg: RecurrentConfig, params: Mapping) -> dict[str, np.ndarray]:
    """The state dict of the module that `cfg` describes, from the parameters of its layers."""
    weights = {}
    for ours, theirs in names(cfg):
        layer = params[ours]
        flat = lambda w: np.moveaxis(np.asarray(w), 0, 2).reshape(-1, w.shape[0])
        weights[f"weight_ih{theirs}"] = flat(layer["input"]["w"])
        weights[f"weight_hh{theirs}"] = flat(layer["w"])
        if cfg.bias:
            bias = np.asarray(layer["b"])
            second = np.zeros_like(bias)
            if cfg.cell == "gru":
                second[2] = layer["candidate_b"]
            weights[f"bias_ih{theirs}"], weights[f"bias_hh{theirs}"] = bias.reshape(-1), second.reshape(-1)
        if cfg.projection:
            weights[f"weight_hr{theirs}"] = np.asarray(layer["projection"]).T
    return weights


def names(cfg: RecurrentConfig) -> list[tuple[str, str]]:
    """(our layer, the end of PyTorch's names)."""
    suffixes = ("", "_reverse")[: cfg.directions]
    return [(f"layer_{n}{suffix}", f"_l{n}{suffix}") for n in range(cfg.layers) for suffix in suffixes]
