"""Scores of a whole vocabulary: as log-probabilities, and the best of them.

On a CPU, reading these scores takes most of the time of a decoding step that the matrix products do not take, so both
functions read them as few times as possible.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def token_log_probabilities(
    logits: Float[Array, "*batch vocabulary"], forbidden: tuple[int, ...]
) -> Float[Array, "*batch vocabulary"]:
    """Returns float32 log-softmax, with -inf at the forbidden ids."""
    log_probs = logits.astype(jnp.float32) - log_total(logits)
    return jnp.where(_is_one_of(jnp.arange(logits.shape[-1]), forbidden), -jnp.inf, log_probs)


def log_total(logits: Float[Array, "*batch vocabulary"]) -> Float[Array, "*batch 1"]:
    """Returns log Σ exp(logit) in float32, which `log_softmax` subtracts from every logit."""
    logits = logits.astype(jnp.float32)
    _, greatest, rest = _chunked(logits)  # as `top` does: one walk serves both
    highest = jnp.concatenate([greatest, rest], axis=-1).max(axis=-1, keepdims=True)
    return jnp.log(jnp.exp(logits - highest).sum(axis=-1, keepdims=True)) + highest


def top(
    values: Float[Array, "*batch n"], count: int, forbidden: tuple[int, ...] = ()
) -> tuple[Float[Array, "*batch k"], Int[Array, "*batch k"]]:
    """Returns what `jax.lax.top_k` returns: the `count` greatest values and their places, of equals the first.

    It reads the values once, for the greatest of every 128 (a chunk). The `count` greatest values all lie in the
    `count` chunks whose greatest values are greatest: a value in any other chunk has `count` values before it.
    `forbidden` places count as -inf; only chunks with one of them are read again.
    """
    whole, greatest, rest = _chunked(values)
    *batch, chunks = greatest.shape
    if chunks <= count:
        allowed = jnp.where(_is_one_of(jnp.arange(values.shape[-1]), forbidden), -jnp.inf, values)
        best, places = jax.lax.top_k(allowed, min(count, values.shape[-1]))
        return best, places
    in_chunk = jnp.arange(_CHUNK)
    for chunk in {place // _CHUNK for place in forbidden if place < chunks * _CHUNK}:
        allowed = jnp.where(_is_one_of(chunk * _CHUNK + in_chunk, forbidden), -jnp.inf, whole[..., chunk, :])
        greatest = greatest.at[..., chunk].set(allowed.max(axis=-1))
    chosen = jnp.sort(jax.lax.top_k(greatest, count)[1], axis=-1)
    places = (chosen[..., None] * _CHUNK + in_chunk).reshape(*batch, -1)
    candidates = jnp.take_along_axis(whole, chosen[..., None], axis=-2).reshape(*batch, -1)
    if rest.shape[-1]:
        after = jnp.arange(chunks * _CHUNK, values.shape[-1])
        candidates = jnp.concatenate([candidates, rest], axis=-1)
        places = jnp.concatenate([places, jnp.broadcast_to(after, (*batch, len(after)))], axis=-1)
    best, picked = jax.lax.top_k(jnp.where(_is_one_of(places, forbidden), -jnp.inf, candidates), count)
    return best, jnp.take_along_axis(places, picked, axis=-1)


_CHUNK = 128


def _chunked(values: Array) -> tuple[Array, Array, Array]:
    """Returns the values in chunks, the greatest of each chunk, and the values after the last whole chunk."""
    whole = values.shape[-1] // _CHUNK * _CHUNK
    chunks = values[..., :whole].reshape(*values.shape[:-1], -1, _CHUNK)
    return chunks, chunks.max(axis=-1), values[..., whole:]


def _is_one_of(ids: Array, chosen: tuple[int, ...]) -> Array:
    return (ids[..., None] == jnp.asarray(chosen, jnp.int32)).any(axis=-1)
