"""Greedy decoding: the most probable token at every position, one hypothesis a sentence.

It takes the same `step` as beam search and equals a beam of 1 with alpha 0, without a beam's bookkeeping: no
candidates to sort, no caches to reorder. Training uses it to score the development set.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from wmt_transformer.decode.beam import Hypotheses, Step, length_penalty, token_log_probabilities


class _State(NamedTuple):
    length: Array  # positions generated so far
    last: Array  # [B, 1] the newest token
    tokens: Array  # [B, T]
    total: Array  # [B] log-probability
    open: Array  # [B] neither ended nor at the limit
    cache: Any


def greedy(
    step: Step,
    cache: Any,
    max_lengths: Int[Array, "batch"],
    *,
    max_length: int,
    bos: int,
    eos: int,
    pad: int = 0,
    alpha: float | Float[Array, ""] = 0.0,
) -> Hypotheses:
    """Returns the greedy hypothesis of each sentence: tokens `[batch, 1, max_length]`, scores `[batch, 1]`.

    Arguments and results are those of `beam.search` with a beam of 1, whose axis is kept; the lower id wins a
    tie. `alpha` changes the scores alone.
    """
    batch = max_lengths.shape[0]

    def extend(state: _State) -> _State:
        logits, cache = step(state.last, state.cache, state.length)
        log_probs = token_log_probabilities(logits[:, 0], forbidden=(bos, pad))
        token = jnp.where(state.open, jnp.argmax(log_probs, axis=-1).astype(jnp.int32), pad)
        total = jnp.where(state.open, state.total + log_probs.max(axis=-1), state.total)
        tokens = state.tokens.at[:, state.length].set(token)
        still_open = state.open & (token != eos) & (state.length + 1 < max_lengths)
        return _State(state.length + 1, token[:, None], tokens, total, still_open, cache)

    state = _State(
        length=jnp.int32(0),
        last=jnp.full((batch, 1), bos, jnp.int32),
        tokens=jnp.full((batch, max_length), pad, jnp.int32),
        total=jnp.zeros(batch, jnp.float32),
        open=max_lengths > 0,
        cache=cache,
    )
    state = jax.lax.while_loop(lambda state: state.open.any(), extend, state)
    lengths = (state.tokens != pad).sum(axis=1)
    return Hypotheses(state.tokens[:, None], (state.total / length_penalty(lengths, alpha))[:, None])
