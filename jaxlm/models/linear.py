"""A linear classifier of texts over hashed n-grams of tokens: fastText (Joulin et al. 2016, arXiv:1607.01759).

    hidden = mean over the text's tokens and n-grams of their rows in two tables;  logits = hidden @ classifier.T + bias

A token has a row of its own. A run of 2 to `ngrams` tokens has row `hash % buckets` of a second table, with
MurmurHash3's 32-bit hash of its ids (Appleby 2011), so runs may share a row, and a run and a token never do. Rows are
text, each token that a text opens with aside: that is the separator. Where `data.objective.at='first'` and a tokenizer
made elsewhere closes texts with another token, that one counts as a token, as `</s>` does in fastText.

Differs from fastText: rows of n-grams begin at zero, so that one which was never met says nothing; no subwords, as
tokens are pieces of words already (Bojanowski et al. 2017, arXiv:1607.04606, cut words for want of those); the softmax
is over all classes, not hierarchical.
"""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
import pydantic
from jaxtyping import Array, Float, Int, UInt32

from jaxlm.batch import Batch
from jaxlm.config import Config
from jaxlm.mesh import whole_rows
from jaxlm.models.family import SAMPLE, Family, Head, Hidden, Setting, parameters
from jaxlm.models.heads import answer, bias_of, table_of
from jaxlm.models.layers import parameter


class LinearModelConfig(Config):
    kind: Literal["linear"] = "linear"
    width: int = pydantic.Field(default=16, gt=0)  # of a row; Joulin et al. have 10, and a power of two is as fast
    ngrams: int = pydantic.Field(default=2, ge=1, le=8)  # tokens of the longest run; theirs: 2; 1: order is not seen
    # Rows that n-grams share. Joulin et al. have 10M; chosen: a step passes over all of them, and 16 MB take 5 ms.
    buckets: int = pydantic.Field(default=2**18, gt=0, lt=2**31)
    vocab: int | None = pydantic.Field(default=None, gt=0, lt=2**31)  # None: the tokenizer's
    noisy = property(lambda self: False)  # no dropout, so a training step draws nothing
    causal = property(lambda self: False)  # each position knows the whole text


class Linear(nn.Module):
    """A batch -> what its head reads, at the asked positions only: of each the mean of the text it is in."""

    cfg: LinearModelConfig
    vocab: int
    head: Head

    @nn.compact
    def __call__(self, batch: Batch) -> Array:
        c, D = self.cfg, self.cfg.width
        tokens_VD = parameter(self, "embedding", nn.initializers.normal(1 / D), (self.vocab, D), ("vocab", "width"))
        x_BLD, count_BL = jnp.zeros((*batch.token.shape, D)), jnp.zeros(batch.token.shape)
        found = [(whole_rows(tokens_VD), batch.token)]
        if c.ngrams > 1:
            runs_VD = parameter(self, "runs", nn.initializers.zeros, (c.buckets, D), ("bucket", "width"))
            runs_VD = whole_rows(runs_VD)
            found += [(runs_VD, hash_BL % c.buckets) for hash_BL in hashes(jnp.asarray(batch.token), c.ngrams)]
        for size, (table_VD, row_BL) in enumerate(found, start=1):
            # The token at position 0 is the separator; a run of `size` that ends here is all text from `size` on.
            whole_BL = (batch.segment > 0) & (batch.position >= size)
            x_BLD += jnp.where(whole_BL[..., None], table_VD[row_BL], 0.0)
            count_BL += whole_BL
        asked = batch.segment if batch.where is None else jnp.take_along_axis(batch.segment, batch.where, axis=1)
        own_BPL = (asked[:, :, None] == batch.segment[:, None, :]).astype(jnp.float32)
        sum_BPD = jnp.einsum("BPL,BLD->BPD", own_BPL, x_BLD)
        mean_BPD = sum_BPD / jnp.maximum(jnp.einsum("BPL,BL->BP", own_BPL, count_BL), 1.0)[..., None]
        return answer(self, self.head, mean_BPD, batch._replace(where=None), D**-0.5, "float32")


def hashes(token_BL: Int[Array, "B L"], ngrams: int) -> list[UInt32[Array, "B L"]]:
    """MurmurHash3_x86_32 (seed 0, an id is a word) of the run of 2, 3, ... `ngrams` tokens that ends at each.

    A run that would begin before its row is hashed too, and is for the caller to leave out.
    """
    word_BL = token_BL.astype(jnp.uint32) * jnp.uint32(0xCC9E2D51)
    word_BL = _rotated(word_BL, 15) * jnp.uint32(0x1B873593)
    state_BL, found = jnp.zeros_like(word_BL), []
    for size in range(1, ngrams + 1):
        before_BL = jnp.pad(state_BL[:, :-1], ((0, 0), (1, 0)))  # of the run of one less that ends one before
        state_BL = _rotated(before_BL ^ word_BL, 13) * jnp.uint32(5) + jnp.uint32(0xE6546B64)
        if size > 1:
            hash_BL = state_BL ^ jnp.uint32(4 * size)
            hash_BL = (hash_BL ^ (hash_BL >> 16)) * jnp.uint32(0x85EBCA6B)
            hash_BL = (hash_BL ^ (hash_BL >> 13)) * jnp.uint32(0xC2B2AE35)
            found.append(hash_BL ^ (hash_BL >> 16))
    return found


def _rotated(x: UInt32[Array, "B L"], bits: int) -> UInt32[Array, "B L"]:
    return (x << bits) | (x >> (32 - bits))


def family(cfg: LinearModelConfig, setting: Setting) -> Family:
    module = Linear(cfg, setting.vocab, setting.head)
    init, axes = parameters(module, SAMPLE)

    def apply(params, batch, noise=None, carry=()) -> Hidden:
        out: Float[Array, "B P D"] = module.apply({"params": params}, batch)  # type: ignore[assignment]
        return Hidden(out)

    return Family(
        init=init,
        axes=axes,
        apply=apply,
        head=table_of(setting.head, "embedding"),
        bias=bias_of(setting.head),
        vocab=setting.vocab,
        precision="float32",  # next to nothing is multiplied: rounding would cost exactness and save no time
        # A sum of one row for each run that ends at a token, and its gradient; the head reads only what is asked for.
        flops_per_token=lambda length: 2.0 * cfg.ngrams * cfg.width,
    )
