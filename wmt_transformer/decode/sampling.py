"""One hypothesis a sentence, token by token: greedy, or drawn at random.

The loop takes the same `step` as beam search, and a sampler, which chooses a token for every row. `Greedy()` takes
the most probable one and equals a beam of 1 with alpha 0, without the work of a beam; training uses it to score the
development set. `Sample((Temperature(0.8), TopK(40), TopP(0.95)))` draws one from the model's distribution after the
filters have changed it, in their order. Every row has its own random key, so that what is drawn for a sentence does
not depend on the others in its batch.

`generate` is the whole loop as one program. `begin` and `extend` are its parts, for a caller who wants each token as
soon as there is one.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from wmt_transformer.config import UserError
from wmt_transformer.decode.beam import Cache, Grow, Hypotheses, Step, length_penalty, while_cache_grows
from wmt_transformer.decode.rules import Position, Rule
from wmt_transformer.decode.token_scores import token_log_probabilities, top


@runtime_checkable
class Sampler(Protocol):
    """Chooses the token after `tokens` for every row; a frozen dataclass, by which compiled programs are kept."""

    def choose(
        self,
        log_probs: Float[Array, "batch vocabulary"],
        tokens: Int[Array, "batch length"],
        keys: Key[Array, "batch"] | None,
    ) -> Int[Array, "batch"]: ...


@runtime_checkable
class Filter(Protocol):
    """Changes a distribution; -inf is a token that cannot be drawn, and the rest need not sum to 1.

    `tokens` are those that a row has already; padding may be between or after them.
    """

    def apply(
        self, log_probs: Float[Array, "batch vocabulary"], tokens: Int[Array, "batch length"]
    ) -> Float[Array, "batch vocabulary"]: ...


@dataclasses.dataclass(frozen=True)
class Greedy:
    """The most probable token; the lower id wins a tie."""

    def choose(
        self,
        log_probs: Float[Array, "batch vocabulary"],
        tokens: Int[Array, "batch length"],
        keys: Key[Array, "batch"] | None = None,
    ) -> Int[Array, "batch"]:
        return top(log_probs, 1)[1][:, 0]  # argmax takes XLA longer on a CPU than the rest of the choice


GREEDY = Greedy()


@dataclasses.dataclass(frozen=True)
class Sample:
    """A token drawn from the distribution that the filters leave."""

    filters: tuple[Filter, ...] = ()

    def choose(
        self,
        log_probs: Float[Array, "batch vocabulary"],
        tokens: Int[Array, "batch length"],
        keys: Key[Array, "batch"] | None,
    ) -> Int[Array, "batch"]:
        if keys is None:
            raise ValueError("sampling needs a key for every row")
        for one in self.filters:
            log_probs = one.apply(log_probs, tokens)
        return jax.vmap(jax.random.categorical)(keys, log_probs).astype(jnp.int32)


@dataclasses.dataclass(frozen=True)
class Temperature:
    """p ** (1 / value): below 1 surer than the model, above 1 less sure; 0 is the limit, the most probable token."""

    value: float

    def __post_init__(self) -> None:
        if not (self.value >= 0 and math.isfinite(self.value)):
            raise UserError(f"the temperature is {self.value}, it must be 0 (greedy) or above")

    def apply(
        self, log_probs: Float[Array, "batch vocabulary"], tokens: Int[Array, "batch length"]
    ) -> Float[Array, "batch vocabulary"]:
        if self.value == 0:
            return TopK(1).apply(log_probs, tokens)
        below_best = log_probs - log_probs.max(axis=-1, keepdims=True)
        return jnp.where(below_best == 0, 0.0, below_best / self.value)  # the best stays, however small the value


@dataclasses.dataclass(frozen=True)
class TopK:
    """The `count` most probable tokens; of equals, those of lower ids."""

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"top-k is {self.count}, it must be at least 1")

    def apply(
        self, log_probs: Float[Array, "batch vocabulary"], tokens: Int[Array, "batch length"]
    ) -> Float[Array, "batch vocabulary"]:
        best, places = jax.lax.top_k(log_probs, min(self.count, log_probs.shape[-1]))
        nothing = jnp.full_like(log_probs, -jnp.inf)
        return jnp.put_along_axis(nothing, places, best, axis=-1, inplace=False)


@dataclasses.dataclass(frozen=True)
class TopP:
    """The fewest tokens that together have at least this share of the probability (Holtzman et al. 2020).

    From the most probable token down, a token is kept while those before it have less than `share` together; of
    equals, the lower id comes first.
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UserError(f"top-p is {self.share}, it must be above 0 and at most 1")

    def apply(
        self, log_probs: Float[Array, "batch vocabulary"], tokens: Int[Array, "batch length"]
    ) -> Float[Array, "batch vocabulary"]:
        if self.share == 1:
            return log_probs
        order = jnp.argsort(-log_probs, axis=-1, stable=True)
        probabilities = jax.nn.softmax(jnp.take_along_axis(log_probs, order, axis=-1))
        above = jnp.cumsum(probabilities, axis=-1) - probabilities
        kept = (above < self.share).at[:, 0].set(True)
        kept = jnp.put_along_axis(jnp.zeros_like(kept), order, kept, axis=-1, inplace=False)
        return jnp.where(kept, log_probs, -jnp.inf)


@dataclasses.dataclass(frozen=True)
class RepetitionPenalty:
    """p ** value for every token that is in the text already, the prompt included; above 1 makes them rarer.

    Keskar et al. (2019) multiply negative scores and divide positive ones; log-probabilities are all negative.
    """

    value: float

    def __post_init__(self) -> None:
        if not (self.value > 0 and math.isfinite(self.value)):
            raise UserError(f"the repetition penalty is {self.value}, it must be above 0 (1 changes nothing)")

    def apply(
        self, log_probs: Float[Array, "batch vocabulary"], tokens: Int[Array, "batch length"]
    ) -> Float[Array, "batch vocabulary"]:
        seen = jnp.zeros_like(log_probs, jnp.bool_)
        seen = jnp.put_along_axis(seen, tokens, jnp.ones_like(tokens, jnp.bool_), axis=-1, inplace=False)
        return jnp.where(seen, log_probs * self.value, log_probs)


class State(NamedTuple):
    """How far generation has come; `begin` makes the first state, `extend` each next one."""

    length: Int[Array, ""]
    """Positions generated so far."""
    last: Int[Array, "batch 1"]
    """The newest token of each row; padding where it had ended."""
    tokens: Int[Array, "batch length"]
    total: Float[Array, "batch"]
    """Log-probability of each row."""
    open: Bool[Array, "batch"]
    """Neither ended nor at its limit."""
    cache: Cache


def begin(cache: Cache, max_lengths: Int[Array, "batch"], *, max_length: int, bos: int, pad: int = 0) -> State:
    """Returns the state before the first token; the arguments are those of `generate`."""
    batch = max_lengths.shape[0]
    return State(
        length=jnp.int32(0),
        last=jnp.full((batch, 1), bos, jnp.int32),
        tokens=jnp.full((batch, max_length), pad, jnp.int32),
        total=jnp.zeros(batch, jnp.float32),
        open=max_lengths > 0,
        cache=cache,
    )


def extend(
    step: Step,
    state: State,
    max_lengths: Int[Array, "batch"],
    *,
    bos: int,
    eos: int,
    pad: int = 0,
    sampler: Sampler = GREEDY,
    keys: Key[Array, "batch"] | None = None,
    rules: Rule | None = None,
    before: Int[Array, "batch prompt"] | None = None,
) -> State:
    """Returns the state with one more token in every open row; the arguments are those of `generate`."""
    logits, cache = step(state.last, state.cache, state.length)
    log_probs = token_log_probabilities(logits, forbidden=(bos, pad))
    if rules is not None:
        log_probs = rules.allow(log_probs, Position(state.tokens[:, None], state.length, eos, pad))
    log_probs = log_probs[:, 0]
    now = None if keys is None else jax.vmap(jax.random.fold_in, (0, None))(keys, state.length)
    so_far = state.tokens if before is None else jnp.concatenate([before, state.tokens], axis=1)
    chosen = sampler.choose(log_probs, so_far, now)
    token = jnp.where(state.open, chosen, pad)
    gain = jnp.take_along_axis(log_probs, chosen[:, None], axis=-1)[:, 0]
    total = jnp.where(state.open, state.total + gain, state.total)
    tokens = state.tokens.at[:, state.length].set(token)
    still_open = state.open & (token != eos) & (state.length + 1 < max_lengths)
    return State(state.length + 1, token[:, None], tokens, total, still_open, cache)


def generate(
    step: Step,
    cache: Cache,
    max_lengths: Int[Array, "batch"],
    *,
    max_length: int,
    bos: int,
    eos: int,
    pad: int = 0,
    alpha: float | Float[Array, ""] = 0.0,
    cache_lengths: Sequence[int] = (),
    grow: Grow | None = None,
    **choosing: Any,
) -> Hypotheses:
    """Returns one hypothesis of each sentence: tokens `[batch, 1, max_length]`, scores `[batch, 1]`.

    Arguments and results are those of `beam.search` with a beam of 1, whose axis is kept; `alpha` changes only the
    scores. They are the model's own log-probabilities, however the sampler changed them, over the length penalty.

    Args:
      sampler: chooses each token (default: greedy).
      keys: one for each sentence; the sampler gets it folded with the position.
      rules: which tokens are allowed where (default: any).
      before: tokens before the first one (the prompt), for a sampler that looks back.
      cache_lengths, grow: see `beam.while_cache_grows`.
    """
    state = while_cache_grows(
        lambda state: state.open.any(),
        lambda state: extend(step, state, max_lengths, bos=bos, eos=eos, pad=pad, **choosing),
        begin(cache, max_lengths, max_length=max_length, bos=bos, pad=pad),
        cache_lengths,
        grow,
    )
    lengths = (state.tokens != pad).sum(axis=1)
    return Hypotheses(state.tokens[:, None], (state.total / length_penalty(lengths, alpha))[:, None])
