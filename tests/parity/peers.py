"""Weights of models made elsewhere as ours, and what the tests of parity share.

Those that `jaxlm import` reads come by its table; others have a map here, in the simplest form. A map is linear and
onto, so it serves gradients as well.
"""

import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.batch import Batch
from jaxlm.flat import nested
from jaxlm.interop import huggingface, tensors
from jaxlm.interop.huggingface import Found
from jaxlm.models.family import Family

torch = pytest.importorskip("torch")


def stirred(model, seed: int = 0):
    """`model` with each parameter moved by noise: fresh biases are all 0 and norms all 1, which tests nothing."""
    noise = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.from_numpy(noise.normal(0, 0.1, parameter.shape).astype(np.float32)))
    return model.eval()


def weights(model) -> dict[str, np.ndarray]:
    return {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}


def gradients(model) -> dict[str, np.ndarray]:
    return {name: parameter.grad.numpy() for name, parameter in model.named_parameters() if parameter.grad is not None}


def placed(family: Family, params: dict) -> dict:
    """`params` on the device, each array of the shape that `family` gives it."""
    expected = jax.tree.map(jnp.shape, jax.eval_shape(family.init, jax.random.key(0)))
    assert jax.tree.map(np.shape, params) == expected
    return jax.tree.map(jnp.asarray, params)


def real_rows(token: np.ndarray, lengths: np.ndarray) -> Batch:
    """Rows of one document each, with padding behind it."""
    position = np.broadcast_to(np.arange(token.shape[1]), token.shape)
    segment = (position < lengths[:, None]).astype(np.int32)
    return Batch(token, token, segment.astype(np.float32), segment, position)


def relative(got, wanted, floor: float = 1e-2) -> float:
    """The greatest difference, relative to the greatest value; to `floor`, where that is what a sum cancelled to."""
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    return float(np.abs(got - wanted).max() / max(np.abs(wanted).max(), floor))


def same_gradients(ours: dict, theirs: dict, limit: float = 1e-4) -> None:
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for path, got in jax.tree_util.tree_leaves_with_path(ours):
        wanted = theirs
        for key in path:
            wanted = wanted[key.key]
        assert relative(got, wanted) < limit, jax.tree_util.keystr(path)


def imported(model) -> tuple[Found, dict]:
    """`model` as anybody's reaches us, saved and read by the table of layouts, and its parameters."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        found = huggingface.look(Path(folder))
        return found, nested(found.read())


def by_table(found: Found, theirs: dict[str, np.ndarray]) -> dict:
    """`theirs`, gradients for example, as our parameters lie; none is left over."""
    flat, left = {}, {*theirs}
    for place in tensors.places(found.arch, found.sizes):
        if place.ours and place.theirs in theirs:
            flat |= place.split(theirs[place.theirs], found.sizes)
            left.remove(place.theirs)
    assert not left
    return nested(flat)


def norm(w, name: str, bias: bool) -> dict:
    scale = {"scale": w[f"{name}.weight"]}
    return scale | {"b": w[f"{name}.bias"]} if bias else scale


def linear(w, name: str, into=(-1,), out=(-1,), bias: bool = False) -> dict:
    """torch keeps (out, in); `into` and `out` split those dimensions."""
    matrix = w[f"{name}.weight"].T
    into = (matrix.shape[0],) if into == (-1,) else into
    out = (matrix.shape[1],) if out == (-1,) else out
    product = {"w": matrix.reshape(*into, *out)}
    return product | {"b": w[f"{name}.bias"].reshape(out)} if bias else product


def attention(w, names: dict[str, str], G: int, R: int, K: int, bias: bool) -> dict:
    """`names` of the products q, k, v and o."""
    return {
        "q": linear(w, names["q"], out=(G, R, K), bias=bias),
        "k": linear(w, names["k"], out=(G, K), bias=bias),
        "v": linear(w, names["v"], out=(G, K), bias=bias),
        "o": linear(w, names["o"], into=(G, R, K), bias=bias),
    }


def from_modern_bert(w, layers: int, heads: int, K: int) -> dict:
    """Of ModernBertForMaskedLM; one matrix of theirs has queries, keys and values, another both products of GeGLU."""

    def block(n):
        h = f"model.layers.{n}"
        qkv = {f"{x}.weight": part for x, part in zip("qkv", np.split(w[f"{h}.attn.Wqkv.weight"], 3), strict=True)}
        names = {"q": "q", "k": "k", "v": "v", "o": f"{h}.attn.Wo"}
        gate, up = (half.T for half in np.split(w[f"{h}.mlp.Wi.weight"], 2))
        made = {
            "attention": attention(w | qkv, names, heads, 1, K, False),
            "mlp": {"gate": {"w": gate}, "up": {"w": up}, "down": linear(w, f"{h}.mlp.Wo")},
            "mlp_norm": norm(w, f"{h}.mlp_norm", False),
        }
        return made | ({"attention_norm": norm(w, f"{h}.attn_norm", False)} if n else {})

    return {
        "embedding": w["model.embeddings.tok_embeddings.weight"],
        "embedding_norm": norm(w, "model.embeddings.norm", False),
        "final_norm": norm(w, "model.final_norm", False),
        "transform": linear(w, "head.dense"),
        "transform_norm": norm(w, "head.norm", False),
        "head_b": w["decoder.bias"],
    } | {f"block_{n}": block(n) for n in range(layers)}
