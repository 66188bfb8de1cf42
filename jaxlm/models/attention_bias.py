"""What is added to attention's scores for the distance of query and key: ALiBi's slopes, T5's buckets.

Each is a small description that crosses the seam of `attend`; whoever computes scores builds from it what they need.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlm.models.positions import buckets_of_distances


class Slopes(NamedTuple):
    """Minus slope times distance, for each head (Press et al. 2022, arXiv:2108.12409)."""

    slope_GR: Any


class Buckets(NamedTuple):
    """A learned number for each bucket of distances and each head (Raffel et al. 2020, arXiv:1910.10683)."""

    table_TGR: Any
    reach: int  # tokens; see `buckets_of_distances`


Bias = Slopes | Buckets


def of_run(bias: Bias, first: Int[Array, ""] | int, L: int, M: int, causal: bool) -> Float[Array, "1 G R L M"]:
    """`of_scores` for queries at `first` and the L - 1 positions behind it, and keys at 0 to M - 1.

    A diagonal has one distance, so a learned table is read, and its gradient added up, L + M times and not L x M.
    """
    last_1, keys_1W = jnp.asarray(first + L - 1)[None, None], jnp.arange(L + M - 1)[None]
    of_last = of_scores(bias, last_1, keys_1W, causal)  # the last query's; one before sees the same one key earlier
    _, G, R, _, W = of_last.shape
    padded = jnp.pad(of_last, ((0, 0),) * 4 + ((0, 1),))
    rows = jnp.broadcast_to(padded, (1, G, R, L, W + 1)).reshape(1, G, R, -1)
    return rows[..., : L * W].reshape(1, G, R, L, W)[..., L - 1 :]  # each row is moved by one more than the last


def of_scores(
    bias: Bias, of_query: Int[Array, "_ L"], of_key: Int[Array, "_ M"], causal: bool
) -> Float[Array, "_ G R L M"]:
    """What is added to the scores of queries and keys at these positions."""
    ahead_BLM = of_query[:, :, None] - of_key[:, None, :]
    distance_BLM = jnp.abs(ahead_BLM)
    if isinstance(bias, Slopes):
        return -jnp.asarray(bias.slope_GR)[None, :, :, None, None] * distance_BLM[:, None, None].astype(jnp.float32)
    count = len(bias.table_TGR)
    of_distance = jnp.asarray(buckets_of_distances(count, bias.reach, both=not causal))
    bucket_BLM = of_distance[jnp.minimum(distance_BLM, bias.reach)]
    # The later half is of keys after their query; causal attention sees none, and a prefix's are all at distance 0.
    bucket_BLM = jnp.where(ahead_BLM < 0, 0 if causal else bucket_BLM + count // 2, bucket_BLM)
    return jnp.moveaxis(jnp.asarray(bias.table_TGR)[bucket_BLM], (3, 4), (1, 2))
