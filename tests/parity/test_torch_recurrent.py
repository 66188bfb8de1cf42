"""RNN, LSTM and GRU in float32 beside PyTorch's in float64: outputs, last states and every gradient.

Its float64 has no rounding to speak of; two float32 programs differ in a sum that cancels by more than either is off.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.flat import flatten
from jaxlm.interop import torch_folder
from jaxlm.interop.torch_recurrent import from_torch, to_torch
from jaxlm.models.build import build
from jaxlm.models.cells import CELLS
from jaxlm.models.family import tokens
from jaxlm.models.recurrent import RecurrentConfig

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
import safetensors.torch  # noqa: E402  # needs torch

from tests.parity import peers  # noqa: E402

relative = functools.partial(peers.relative, floor=1e-3)

CELL = {"tanh": ("RNN", {"nonlinearity": "tanh"}), "relu": ("RNN", {"nonlinearity": "relu"})}
CELL |= {"lstm": ("LSTM", {}), "gru": ("GRU", {})}
CASES = [(cell, seed) for cell in CELL for seed in range(20)]


@pytest.fixture(autouse=True)
def forget_programs():
    """Each shape compiles its own; all of them at once are more than a process may map."""
    yield
    jax.clear_caches()


@pytest.mark.parametrize(("cell", "seed"), CASES)
def test_a_random_shape_equals_pytorch(cell, seed):
    rng = np.random.default_rng(seed)
    B, L, width, layers = (int(rng.integers(1, high)) for high in (5, 13, 18, 4))
    bidirectional, projected = bool(seed % 2), cell == "lstm" and seed % 4 == 2
    projection = int(rng.integers(1, width + 1)) if projected and width > 1 else None
    projection = None if projection == width else projection
    cfg = RecurrentConfig(
        cell=cell, width=width, layers=layers, embedding=int(rng.integers(1, 18)), tied=False, precision="float32",
        bidirectional=bidirectional, projection=projection, bias=seed % 3 != 1,
    )  # fmt: skip
    name, options = CELL[cell]
    torch.manual_seed(seed)
    module = getattr(torch.nn, name)(
        cfg.embedding, width, layers, batch_first=True, bidirectional=bidirectional, bias=cfg.bias,
        **options, **({"proj_size": projection} if projection else {}),
    )  # fmt: skip
    family = build(cfg, vocab=9, length=L, packed=True, platform="cpu")
    params = family.init(jax.random.key(seed))
    imported = from_torch(cfg, {k: v.detach().numpy() for k, v in module.state_dict().items()})
    # Rows of length 1: with larger ones a gradient of a single number, at width 1, is what is left of a cancelling sum.
    table_VD = params["embedding"] * cfg.embedding**-0.5
    params = jax.tree.map(jnp.asarray, {**params, **imported, "embedding": table_VD})
    module = module.double()

    token = rng.integers(0, 9, (B, L))
    lengths = np.sort(rng.integers(1, L + 1, B))[::-1].copy()
    real = np.arange(L)[None] < lengths[:, None]
    carried = not bidirectional  # a state before the row; reading from the end begins at 0 with us
    position = np.broadcast_to(np.arange(L) + int(carried), (B, L))
    batch = tokens(jnp.array(token), jnp.array(position), jnp.array(real))
    carry = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), family.carry(B))
    if not carried:
        carry = jax.tree.map(jnp.zeros_like, carry)
    of_output, of_last = rng.normal(size=(B, L, family.hidden(params, batch).shape[-1])), rng.normal()

    def loss(params, carry):
        hidden = family.apply(params, batch, None, carry)
        last = sum(jnp.sum(x) for x in jax.tree.leaves(hidden.carry))
        return (hidden.array * of_output * real[..., None]).sum() + of_last * last, hidden

    (_, hidden), (grads, carry_grads) = jax.value_and_grad(loss, (0, 1), has_aux=True)(params, carry)

    def parameter(x):
        return torch.tensor(np.array(x, np.float64), requires_grad=True)

    table = parameter(params["embedding"])
    layers_of = list(carry)
    stack = lambda state: parameter(np.stack([carry[layer][state] for layer in layers_of]))
    first = {state: stack(state) for state in CELLS[cell].states}
    states = (first["h"], first["c"]) if cell == "lstm" else first["h"]
    packed = torch.nn.utils.rnn.pack_padded_sequence(table[torch.tensor(token)], lengths, batch_first=True)
    out, last = module(packed, states)
    out, _ = torch.nn.utils.rnn.pad_packed_sequence(out, batch_first=True, total_length=L)
    last = dict(zip(CELLS[cell].states, last if cell == "lstm" else (last,), strict=True))
    total = (out * torch.tensor(of_output)).sum() + of_last * sum(x.sum() for x in last.values())
    total.backward()

    assert relative(hidden.array * real[..., None], out.detach()) < 1e-5
    for state, value in last.items():
        ours = np.stack([hidden.carry[layer][state] for layer in layers_of])
        assert relative(ours, value.detach()) < 1e-5
        ours = np.stack([carry_grads[layer][state] for layer in layers_of])
        assert not carried or relative(ours, first[state].grad) < 1e-5
    assert relative(grads["embedding"], table.grad) < 1e-5
    theirs = from_torch(cfg, {k: v.grad.numpy() for k, v in module.named_parameters()})
    for layer in layers_of:
        for path, ours in jax.tree_util.tree_leaves_with_path(grads[layer]):
            want = theirs[layer]
            for key in path:
                want = want[key.key]
            if path[-1].key == "b":  # import adds PyTorch's two biases, whose gradients are equal
                want = module_bias_gradient(cfg, module, layer)
            assert relative(ours, want) < 1e-5, (layer, path)


def module_bias_gradient(cfg, module, layer):
    end = f"_l{layer.removeprefix('layer_')}"
    return getattr(module, f"bias_ih{end}").grad.numpy().reshape(CELLS[cfg.cell].gates, -1)


@pytest.mark.parametrize("cell", CELL)
def test_a_state_dict_comes_back_as_it_went(cell):
    cfg = RecurrentConfig(cell=cell, width=6, layers=2, tied=False, bidirectional=True)
    params = build(cfg, vocab=5, length=4, packed=False, platform="cpu").init(jax.random.key(0))
    back = from_torch(cfg, to_torch(cfg, params))
    jax.tree.map(np.testing.assert_array_equal, back, {layer: params[layer] for layer in back})
    name, options = CELL[cell]
    module = getattr(torch.nn, name)(6, 6, 2, bidirectional=True, **options)
    module.load_state_dict({k: torch.tensor(v) for k, v in to_torch(cfg, params).items()})


@pytest.mark.parametrize("cell", ["relu", "lstm", "gru"])
def test_an_export_opens_in_pytorch_and_gives_the_same_logits(cell, tmp_path):
    """As the README's lines open it."""
    cfg = RecurrentConfig(cell=cell, width=6, embedding=4, layers=2, tied=False, vocab=9, precision="float32")
    family = build(cfg, vocab=9, length=7, packed=False, platform="cpu")
    params = jax.tree.map(lambda x: x + 0.3, family.init(jax.random.key(0)))
    torch_folder.write(tmp_path, cfg, {name: np.asarray(x) for name, x in flatten(params).items()}, ids={})

    config = json.loads((tmp_path / "config.json").read_text())
    name, options = CELL[cell]
    sizes = [config[key] for key in ("input_size", "hidden_size", "num_layers")]
    model = torch.nn.ModuleDict(
        {
            "embedding": torch.nn.Embedding(config["vocab_size"], config["input_size"]),
            "rnn": getattr(torch.nn, name)(*sizes, batch_first=True, **options),
            "head": torch.nn.Linear(config["hidden_size"], config["vocab_size"]),
        }
    )
    model.load_state_dict(safetensors.torch.load_file(tmp_path / "model.safetensors"))
    token = np.random.default_rng(0).integers(0, 9, (3, 7))
    theirs = model["head"](model["rnn"](model["embedding"](torch.tensor(token)))[0]).detach()
    batch = tokens(jnp.array(token), jnp.broadcast_to(jnp.arange(7), (3, 7)))
    ours = family.hidden(params, batch) @ family.head(params).T + family.bias(params)[None, None]
    assert relative(ours, theirs) < 1e-5
