"""Label-smoothed cross entropy (§5.4), computed a piece of the batch at a time.

The logits are the largest array of a Transformer: 25,000 target tokens by 37,000 pieces are 3.7 GB in float32,
and their gradient as much again. Here they never exist all at once: for each slice of the rows the logits, the
loss and the loss's gradient are computed together, so the vocabulary product is done once in each direction
(nothing is recomputed) and one slice of logits is alive at a time.

The target distribution is q = (1 - ε) onehot(y) + ε / V, the smoothing of Szegedy et al. (2016, §7) that the
paper cites. All results are sums over real tokens; the caller divides once, by the tokens of the whole batch.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from wmt_transformer.model.attention import PAD
from wmt_transformer.model.dense import product


class LossSums(NamedTuple):
    """Sums over the real target tokens of a batch; every one is a float32 scalar."""

    loss: Float[Array, ""]
    """Smoothed cross entropy, nats: what training minimises."""
    nll: Float[Array, ""]
    """-log p(y), nats: without smoothing; perplexity is exp(nll / tokens)."""
    correct: Float[Array, ""]
    """Tokens to which the model gives the highest probability."""
    tokens: Float[Array, ""]
    """Real tokens: neither padding nor beyond the end."""


def cross_entropy(
    states: Float[Array, "batch target d_model"],
    table: Float[Array, "vocabulary d_model"],
    target: Int[Array, "batch target"],
    smoothing: float = 0.0,
    slice_tokens: int = 512,
    row_shards: int = 1,
) -> LossSums:
    """Returns the sums for logits = states · tableᵀ; only `loss` can be differentiated.

    The rows are taken in slices of about `slice_tokens` positions on each of the `row_shards` devices that hold
    them. A slice is strided over the batch, so that every device has its share of each.
    """
    rows, length = target.shape
    most = slice_tokens * row_shards
    slices = next(n for n in range(1, rows + 1) if _fits(rows, n, length, row_shards, most) or n * row_shards >= rows)
    return _cross_entropy(slices, smoothing, states, table, target)


def _fits(rows: int, slices: int, length: int, row_shards: int, most: int) -> bool:
    return rows % (slices * row_shards) == 0 and rows // slices * length <= most


def _slice_terms(
    states: Float[Array, "tokens d_model"],
    table: Float[Array, "vocabulary d_model"],
    mean_row: Float[Array, " d_model"],
    target: Int[Array, " tokens"],
    smoothing: float,
) -> tuple[LossSums, Float[Array, "tokens vocabulary"]]:
    """Returns the sums of one slice, and d loss / d logits."""
    logits = jnp.einsum("ND,VD->NV", states, table, preferred_element_type=jnp.float32)
    real = (target != PAD).astype(jnp.float32)
    highest = logits.max(axis=-1)
    exponents = jnp.exp(logits - highest[:, None])
    total = exponents.sum(axis=-1)
    log_total = jnp.log(total) + highest
    chosen = jnp.take_along_axis(logits, target[:, None], axis=-1)[:, 0]
    nll = log_total - chosen
    # The mean logit is the state times the mean row of the table: no second pass over the logits.
    mean_logit = (states @ mean_row).astype(jnp.float32)
    loss = (1 - smoothing) * nll + smoothing * (log_total - mean_logit)
    sums = LossSums((loss * real).sum(), (nll * real).sum(), ((chosen >= highest) * real).sum(), real.sum())
    gradient = exponents * (real / total)[:, None] - (smoothing / table.shape[0] * real)[:, None]
    is_target = jnp.arange(table.shape[0]) == target[:, None]
    return sums, jnp.where(is_target, gradient - ((1 - smoothing) * real)[:, None], gradient)


def _sliced(x: Array, slices: int) -> Array:
    """Returns `[slices, tokens, …]`: slice i holds the tokens of rows i, i + slices, i + 2·slices, …"""
    strided = jnp.moveaxis(x.reshape(x.shape[0] // slices, slices, *x.shape[1:]), 1, 0)
    return strided.reshape(slices, -1, *x.shape[2:])


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _cross_entropy(slices: int, smoothing: float, states: Array, table: Array, target: Array) -> LossSums:
    compute, mean_row = table.astype(states.dtype), table.mean(axis=0).astype(states.dtype)

    def add(sums: LossSums, piece: tuple[Array, Array]) -> tuple[LossSums, None]:
        now, _ = _slice_terms(piece[0], compute, mean_row, piece[1], smoothing)
        return jax.tree.map(jnp.add, sums, now), None

    zero = LossSums(*[jnp.zeros((), jnp.float32)] * 4)
    return jax.lax.scan(add, zero, (_sliced(states, slices), _sliced(target, slices)))[0]


def _forward(
    slices: int, smoothing: float, states: Array, table: Array, target: Array
) -> tuple[LossSums, tuple[Array, Array]]:
    compute, mean_row = table.astype(states.dtype), table.mean(axis=0).astype(states.dtype)

    def add(carry: tuple[LossSums, Array], piece: tuple[Array, ...]) -> tuple[tuple[LossSums, Array], Array]:
        sums, d_table = carry
        now, gradient = _slice_terms(piece[0], compute, mean_row, piece[1], smoothing)
        gradient = gradient.astype(states.dtype)
        d_table += jnp.einsum("DN,NV->DV", piece[2], gradient, preferred_element_type=jnp.float32)
        d_states = product(gradient, compute)
        return (jax.tree.map(jnp.add, sums, now), d_table), d_states

    # The table's gradient is summed as [d_model, vocabulary], from transposed states: the small operand is the one
    # that is turned round.
    start = (LossSums(*[jnp.zeros((), jnp.float32)] * 4), jnp.zeros(table.shape[::-1], jnp.float32))
    pieces = _sliced(states, slices)
    (sums, d_table), d_states = jax.lax.scan(add, start, (pieces, _sliced(target, slices), jnp.swapaxes(pieces, 1, 2)))
    d_states = d_states.reshape(slices, -1, *states.shape[1:])
    # With one slice there is no loop, and XLA would turn the product itself round instead of its result: a bfloat16
    # product with float32 sums that it does not have for CPUs.
    d_table = jax.lax.optimization_barrier(d_table)
    return sums, (jnp.moveaxis(d_states, 0, 1).reshape(states.shape), d_table.T)


def _backward(
    slices: int, smoothing: float, saved: tuple[Array, Array], cotangent: LossSums
) -> tuple[Array, Array, None]:
    d_states, d_table = saved
    return d_states * cotangent.loss.astype(d_states.dtype), d_table * cotangent.loss, None


_cross_entropy.defvjp(_forward, _backward)
