"""Label-smoothed cross entropy (§5.4), computed a piece of the batch at a time.

The logits are the largest array of a Transformer: 25,000 target tokens by 37,000 pieces are 3.7 GB in float32,
and their gradient as much again. Here they never exist all at once: for each slice of the tokens the logits, the
loss and the loss's gradient are computed together, so the vocabulary product is done once in each direction
(nothing is recomputed) and one slice of logits is in memory at a time.

The target distribution is q = (1 - ε) onehot(y) + ε / V, the smoothing of Szegedy et al. (2016, §7) that the
paper cites. All results are sums over real tokens; the caller divides once, by the tokens of the whole batch.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from wmt_transformer.model.dense import laid_out_transposed, product
from wmt_transformer.platform import backend
from wmt_transformer.special_tokens import PAD

FEW_TOKENS = 512
"""A slice whose logits stay in a CPU's caches or in a TPU's memory on the chip: 76 MB with 37,000 pieces."""
GPU_LOGITS = 640e6
"""Bytes of a slice's logits on a GPU, where they go through main memory anyway. Each slice reads the table twice, and
reads and writes its gradient, 0.23 GB at base: 6 slices of 4,096 tokens instead of 48 of 512 save 9 GB a step."""


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


def slice_tokens(vocabulary: int) -> int:
    """Returns of how many target tokens a device holds the logits at a time."""
    return max(FEW_TOKENS, int(GPU_LOGITS / (4 * vocabulary))) if backend() == "gpu" else FEW_TOKENS


def cross_entropy(
    states: Float[Array, "batch target d_model"],
    table: Float[Array, "vocabulary d_model"],
    target: Int[Array, "batch target"],
    smoothing: float = 0.0,
    slice_tokens: int = FEW_TOKENS,
    row_shards: int = 1,
) -> LossSums:
    """Returns the sums for logits = states · tableᵀ; only `loss` can be differentiated.

    The tokens are taken in slices of at most `slice_tokens` on each of the `row_shards` devices that hold the rows.
    """
    shards = math.gcd(target.shape[0], row_shards)
    slices = math.ceil(target.size / shards / slice_tokens)
    return _cross_entropy(slices, shards, smoothing, states, table, target)


def _slice_terms(
    states: Float[Array, "tokens d_model"],
    table: Float[Array, "vocabulary d_model"],
    mean_row: Float[Array, " d_model"],
    target: Int[Array, " tokens"],
    smoothing: float,
) -> tuple[LossSums, Float[Array, "tokens vocabulary"]]:
    """Returns the sums of one slice, and d loss / d logits.

    The plain form, whose value and gradient a test compares with these:

        q = (1 - smoothing) * jax.nn.one_hot(target, V) + smoothing / V
        loss = -(q * jax.nn.log_softmax(states @ table.T)).sum(-1)
    """
    logits = jnp.einsum("ND,VD->NV", states, table, preferred_element_type=jnp.float32)
    real = (target != PAD).astype(jnp.float32)
    highest, total = jax.lax.platform_dependent(logits, cuda=highest_and_total_in_one_walk, default=highest_and_total)
    log_total = jnp.log(total) + highest
    chosen = jnp.take_along_axis(logits, target[:, None], axis=-1)[:, 0]
    nll = log_total - chosen
    # The mean logit is the state times the mean row of the table: no second pass over the logits.
    mean_logit = (states @ mean_row).astype(jnp.float32)
    loss = (1 - smoothing) * nll + smoothing * (log_total - mean_logit)
    terms = jnp.stack([loss, nll, chosen >= highest, jnp.ones_like(real)])
    gradient = jnp.exp(logits - highest[:, None]) * (real / total)[:, None] - (smoothing / len(table) * real)[:, None]
    is_target = jnp.arange(len(table)) == target[:, None]
    gradient = jnp.where(is_target, gradient - ((1 - smoothing) * real)[:, None], gradient)
    return LossSums(*(terms * real).sum(axis=1)), gradient


def highest_and_total(
    logits: Float[Array, "tokens vocabulary"],
) -> tuple[Float[Array, " tokens"], Float[Array, " tokens"]]:
    """Returns the softmax's two numbers of every token: the highest logit h, and Σ exp(logit - h)."""
    highest = logits.max(axis=-1)
    return highest, jnp.exp(logits - highest[:, None]).sum(axis=-1)


def highest_and_total_in_one_walk(
    logits: Float[Array, "tokens vocabulary"],
) -> tuple[Float[Array, " tokens"], Float[Array, " tokens"]]:
    """Returns the same reading the logits once: each part's total is kept with the part's own highest logit
    (Milakov & Gimelshein 2018). That takes two exponentials a logit, which a GPU has time for while it reads."""

    def join(one: tuple[Array, Array], other: tuple[Array, Array]) -> tuple[Array, Array]:
        highest = jnp.maximum(one[0], other[0])
        return highest, one[1] * jnp.exp(one[0] - highest) + other[1] * jnp.exp(other[0] - highest)

    nothing = (jnp.finfo(jnp.float32).min, jnp.float32(0.0))
    highest, total = jax.lax.reduce((logits, jnp.ones_like(logits)), nothing, join, (1,))
    return highest, total


def _sliced(x: Array, slices: int, shards: int) -> Array:
    """Returns `[slices, tokens, …]`: slice i holds the i-th part of every device's tokens; padding fills the last."""
    tokens = x.reshape(shards, -1, *x.shape[2:])
    size = math.ceil(tokens.shape[1] / slices)
    padded = jnp.pad(tokens, ((0, 0), (0, slices * size - tokens.shape[1]), *((0, 0),) * (x.ndim - 2)))
    parts = padded.reshape(shards, slices, size, *x.shape[2:])
    return jnp.moveaxis(parts, 1, 0).reshape(slices, shards * size, *x.shape[2:])


def _joined(parts: Array, shards: int, shape: tuple[int, ...]) -> Array:
    """Returns the array of this shape that `_sliced` took apart."""
    slices, tokens, *rest = parts.shape
    padded = jnp.moveaxis(parts.reshape(slices, shards, tokens // shards, *rest), 0, 1).reshape(shards, -1, *rest)
    return padded[:, : math.prod(shape[:2]) // shards].reshape(shape)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _cross_entropy(slices: int, shards: int, smoothing: float, states: Array, table: Array, target: Array) -> LossSums:
    compute, mean_row = table.astype(states.dtype), table.mean(axis=0).astype(states.dtype)

    def add(sums: LossSums, piece: tuple[Array, Array]) -> tuple[LossSums, None]:
        now, _ = _slice_terms(piece[0], compute, mean_row, piece[1], smoothing)
        return jax.tree.map(jnp.add, sums, now), None

    zero = LossSums(*[jnp.zeros((), jnp.float32)] * 4)
    return jax.lax.scan(add, zero, (_sliced(states, slices, shards), _sliced(target, slices, shards)))[0]


def _forward(
    slices: int, shards: int, smoothing: float, states: Array, table: Array, target: Array
) -> tuple[LossSums, tuple[Array, Array]]:
    compute, mean_row = table.astype(states.dtype), table.mean(axis=0).astype(states.dtype)

    def add(carry: tuple[LossSums, Array], piece: tuple[Array, Array]) -> tuple[tuple[LossSums, Array], Array]:
        sums, d_table = carry
        now, gradient = _slice_terms(piece[0], compute, mean_row, piece[1], smoothing)
        gradient = gradient.astype(states.dtype)
        transposed = laid_out_transposed(piece[0])
        d_table += jnp.einsum("DN,NV->DV", transposed, gradient, preferred_element_type=jnp.float32)
        return (jax.tree.map(jnp.add, sums, now), d_table), product(gradient, compute)

    # The table's gradient is summed as [d_model, vocabulary], from transposed states: the small operand is the one
    # to transpose.
    start = (LossSums(*[jnp.zeros((), jnp.float32)] * 4), jnp.zeros(table.shape[::-1], jnp.float32))
    pieces = (_sliced(states, slices, shards), _sliced(target, slices, shards))
    (sums, d_table), d_states = jax.lax.scan(add, start, pieces)
    # With one slice there is no loop, and XLA would turn the product itself round instead of its result: a bfloat16
    # product with float32 sums that it does not have for CPUs.
    d_table = jax.lax.optimization_barrier(d_table)
    return sums, (_joined(d_states, shards, states.shape), d_table.T)


def _backward(
    slices: int, shards: int, smoothing: float, saved: tuple[Array, Array], cotangent: LossSums
) -> tuple[Array, Array, None]:
    d_states, d_table = saved
    return d_states * cotangent.loss.astype(d_states.dtype), d_table * cotangent.loss, None


_cross_entropy.defvjp(_forward, _backward)
