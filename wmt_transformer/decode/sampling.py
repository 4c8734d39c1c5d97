"""One hypothesis a sentence, token by token: greedy, or drawn at random.

The loop takes the same `step` as beam search, and a sampler, which chooses a token for every row. `Greedy()` takes
the most probable one and equals a beam of 1 with alpha 0, without a beam's bookkeeping; training uses it to score the
development set. `Sample((Temperature(0.8), TopK(40), TopP(0.95)))` draws one from the model's distribution after the
filters have changed it, in their order. Every row has its own random key, so that what is drawn for a sentence does
not depend on the others in its batch.
"""

import dataclasses
import math
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from wmt_transformer.config import UserError
from wmt_transformer.decode.beam import Hypotheses, Step, length_penalty, token_log_probabilities, top
from wmt_transformer.decode.rules import Rule


@runtime_checkable
class Sampler(Protocol):
    """Chooses a token for every row; a frozen dataclass, so that a compiled program is kept for each."""

    def choose(
        self, log_probs: Float[Array, "batch vocabulary"], keys: Key[Array, "batch"] | None
    ) -> Int[Array, "batch"]: ...


@runtime_checkable
class Filter(Protocol):
    """Changes a distribution; -inf is a token that cannot be drawn, and the rest need not sum to 1."""

    def apply(self, log_probs: Float[Array, "batch vocabulary"]) -> Float[Array, "batch vocabulary"]: ...


@dataclasses.dataclass(frozen=True)
class Greedy:
    """The most probable token; the lower id wins a tie."""

    def choose(
        self, log_probs: Float[Array, "batch vocabulary"], keys: Key[Array, "batch"] | None = None
    ) -> Int[Array, "batch"]:
        return top(log_probs, 1)[1][:, 0]  # argmax takes XLA longer on a CPU than the rest of the choice


@dataclasses.dataclass(frozen=True)
class Sample:
    """A token drawn from the distribution that the filters leave."""

    filters: tuple[Filter, ...] = ()

    def choose(
        self, log_probs: Float[Array, "batch vocabulary"], keys: Key[Array, "batch"] | None
    ) -> Int[Array, "batch"]:
        if keys is None:
            raise ValueError("sampling needs a key for every row")
        for one in self.filters:
            log_probs = one.apply(log_probs)
        return jax.vmap(jax.random.categorical)(keys, log_probs).astype(jnp.int32)


@dataclasses.dataclass(frozen=True)
class Temperature:
    """p ** (1 / value): below 1 surer than the model, above 1 less sure."""

    value: float

    def __post_init__(self) -> None:
        if not (self.value > 0 and math.isfinite(self.value)):
            raise UserError(f"the temperature is {self.value}, it must be above 0 (towards 0 it is greedy)")

    def apply(self, log_probs: Float[Array, "batch vocabulary"]) -> Float[Array, "batch vocabulary"]:
        below_best = log_probs - log_probs.max(axis=-1, keepdims=True)
        return jnp.where(below_best == 0, 0.0, below_best / self.value)  # the best stays, however small the value


@dataclasses.dataclass(frozen=True)
class TopK:
    """The `count` most probable tokens; of equals, those of lower ids."""

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"top-k is {self.count}, it must be at least 1")

    def apply(self, log_probs: Float[Array, "batch vocabulary"]) -> Float[Array, "batch vocabulary"]:
        best, tokens = jax.lax.top_k(log_probs, min(self.count, log_probs.shape[-1]))
        nothing = jnp.full_like(log_probs, -jnp.inf)
        return jnp.put_along_axis(nothing, tokens, best, axis=-1, inplace=False)


@dataclasses.dataclass(frozen=True)
class TopP:
    """The fewest tokens that together have at least this share of the probability (Holtzman et al. 2020).

    Going down from the most probable one, a token is kept while those above it have less than `share`; of equals,
    the lower id stands above.
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UserError(f"top-p is {self.share}, it must be above 0 and at most 1")

    def apply(self, log_probs: Float[Array, "batch vocabulary"]) -> Float[Array, "batch vocabulary"]:
        if self.share == 1:
            return log_probs
        order = jnp.argsort(-log_probs, axis=-1, stable=True)
        probabilities = jax.nn.softmax(jnp.take_along_axis(log_probs, order, axis=-1))
        above = jnp.cumsum(probabilities, axis=-1) - probabilities
        kept = (above < self.share).at[:, 0].set(True)
        kept = jnp.put_along_axis(jnp.zeros_like(kept), order, kept, axis=-1, inplace=False)
        return jnp.where(kept, log_probs, -jnp.inf)


class _State(NamedTuple):
    length: Array  # positions generated so far
    last: Array  # [B, 1] the newest token
    tokens: Array  # [B, T]
    total: Array  # [B] log-probability
    open: Array  # [B] neither ended nor at the limit
    cache: Any


def generate(
    step: Step,
    cache: Any,
    max_lengths: Int[Array, "batch"],
    *,
    max_length: int,
    bos: int,
    eos: int,
    pad: int = 0,
    sampler: Sampler = Greedy(),
    keys: Key[Array, "batch"] | None = None,
    alpha: float | Float[Array, ""] = 0.0,
    rules: Rule | None = None,
) -> Hypotheses:
    """Returns one hypothesis of each sentence: tokens `[batch, 1, max_length]`, scores `[batch, 1]`.

    Arguments and results are those of `beam.search` with a beam of 1, whose axis is kept. `sampler` chooses each
    token; it is given the sentences' `keys`, folded with the position. Scores are the model's own log-probabilities,
    whatever the sampler made of them, over the length penalty; `alpha` changes the scores alone.
    """
    batch = max_lengths.shape[0]

    def extend(state: _State) -> _State:
        logits, cache = step(state.last, state.cache, state.length)
        log_probs = token_log_probabilities(logits, forbidden=(bos, pad))
        if rules is not None:
            log_probs = rules.allow(log_probs, state.tokens[:, None], state.length, eos, pad)
        log_probs = log_probs[:, 0]
        now = None if keys is None else jax.vmap(jax.random.fold_in, (0, None))(keys, state.length)
        chosen = sampler.choose(log_probs, now)
        token = jnp.where(state.open, chosen, pad)
        gain = jnp.take_along_axis(log_probs, chosen[:, None], axis=-1)[:, 0]
        total = jnp.where(state.open, state.total + gain, state.total)
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
