"""Beam search with the length penalty of §6.1; it knows nothing of the model but `step`.

A hypothesis y of log-probability log P(y) scores log P(y) / ((5 + |y|) / 6) ** alpha (Wu et al. 2016,
equation 14), where |y| counts every token that was generated, EOS included, as in tensor2tensor. Running and
finished hypotheses are kept apart. Each step looks at the 2W best continuations of a sentence's W running
hypotheses: those among the best W that end in EOS finish, the best W that do not end run on. (tensor2tensor
lets an EOS finish from anywhere among the 2W; asking for the best W, as fairseq does, makes a beam of 1 with
alpha 0 the greedy search.)

A sentence is done when no running hypothesis can still win, or at its own limit; from then on its rows do not
change, so what it is batched with never matters. Hypotheses that the limit cut fill the places that finished
ones leave empty. Where an output must contain terms, `constraints` chooses the continuations instead.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from wmt_transformer.decode.constraints import Constraints, Progress
from wmt_transformer.decode.rules import Position, Rule
from wmt_transformer.decode.token_scores import log_total, top

Cache = Any
"""What a model keeps of earlier positions: a pytree of its own, of which nothing here looks at the inside."""

Step = Callable[[Array, Cache, Array], tuple[Array, Cache]]
"""`step(tokens [B, W], cache, index) -> (logits [B, W, V], cache)`: the scores of position `index`, whose
input is `tokens`."""

Reorder = Callable[[Cache, Array], Cache]
"""`reorder(cache, origin [B, W]) -> cache` in which every hypothesis continues the one that `origin` names."""

Grow = Callable[[Cache, int], Cache]
"""`grow(cache, length) -> cache` with room for `length` positions."""

Fewer = Callable[[Array], Step]
"""`fewer(chosen [N]) -> step` for these sentences of the batch alone."""

LEAST_ROWS = 8
"""Sentences that a batch is not made smaller than: fewer take about as long."""

S = TypeVar("S", bound=Any)
"""The state of a loop: a NamedTuple with `length` and `cache`."""


class Hypotheses(NamedTuple):
    """Token ids `[batch, hypotheses, length]` and scores `[batch, hypotheses]`, best first along axis 1."""

    tokens: Int[Array, "batch hypotheses length"]
    scores: Float[Array, "batch hypotheses"]


def take_hypotheses(cache: Cache, origin: Int[Array, "batch hypotheses"]) -> Cache:
    """Reorders a cache whose every leaf is `[batch, hypotheses, …]`, by copying it."""
    return jax.tree.map(lambda leaf: _rows(leaf, origin), cache)


def search(
    step: Step,
    cache: Cache,
    max_lengths: Int[Array, "batch"],
    *,
    beam_size: int,
    max_length: int,
    alpha: float | Float[Array, ""],
    bos: int,
    eos: int,
    pad: int = 0,
    num_results: int | None = None,
    stop_early: bool = True,
    rules: Rule | None = None,
    constraints: Constraints | None = None,
    reorder: Reorder = take_hypotheses,
    cache_lengths: Sequence[int] = (),
    grow: Grow | None = None,
    fewer: Fewer | None = None,
) -> Hypotheses:
    """Returns each sentence's best hypotheses, found with a beam of `beam_size`.

    Args:
      step: the model; see `Step`.
      cache: what `step` is given at index 0.
      max_lengths: most tokens of each sentence's hypotheses, EOS included; at most `max_length`.
      max_length: length of the arrays of tokens, known when this is compiled.
      alpha: exponent of the length penalty, at least 0; 0 ranks by log-probability alone.
      bos: the input at index 0. Neither `bos` nor `pad` is ever generated. Log-probabilities are the model's own: the
        share of these two is not given to the other tokens.
      num_results: hypotheses returned for each sentence, 1 to `beam_size` (default: all).
      stop_early: False runs every sentence to its limit: the same result, later.
      rules: which tokens are allowed where (default: any).
      constraints: terms that each hypothesis must contain (default: none); hypotheses without them are no results.
      reorder: gives each hypothesis the cache of the one that it continues (default: for caches with leaves
        `[batch, beam_size, …]`).
      cache_lengths, grow: see `while_cache_grows`.
      fewer: with it, the batch is halved when half of its sentences are done: the same result, sooner where half of the
        sentences take half of the time, for one more loop to compile. Every leaf of the cache is `[batch, …]`.

    Returns:
      Tokens `[batch, num_results, max_length]` with EOS where a hypothesis ended and `pad` after it, and scores
      normalised by length. Hypotheses that ended come first, then those cut at the limit, each best first; of
      equals, the one found first, then the continuation of the better hypothesis, then the lower token id.
      Where there are fewer hypotheses than results, scores are -inf and the tokens mean nothing.
    """
    results = beam_size if num_results is None else num_results
    if not 1 <= results <= beam_size:
        raise ValueError(f"num_results is {num_results}, it must be from 1 to beam_size, which is {beam_size}")
    penalty, special = length_penalty(max_lengths, alpha), (bos, eos, pad)
    beam = _Beam(
        step, max_lengths, penalty, beam_size, results, alpha, special, stop_early, rules, constraints, reorder
    )
    return beam.best(_searched(beam, beam.start(cache, max_length), cache_lengths, grow, fewer))


class _State(NamedTuple):
    length: Array  # positions generated so far
    last: Array  # [B, W] the newest token of every running hypothesis
    running: Hypotheses  # W a sentence; scores are plain log-probabilities
    finished: Hypotheses  # `results` a sentence; scores are normalised by length
    progress: Progress | None  # with the terms of constraints
    cache: Cache


@dataclasses.dataclass(frozen=True, eq=False)  # JAX hashes what it traces, and arrays have no hash
class _Beam:
    """A search's settings, and its parts: how it starts, whether a sentence goes on, one step, and the results."""

    step: Step
    limits: Int[Array, "batch"]
    limit_penalty: Float[Array, "batch"]
    """The length penalty at each sentence's limit, computed once outside the loop."""
    width: int
    results: int
    alpha: float | Float[Array, ""]
    special: tuple[int, int, int]
    """BOS, EOS and padding."""
    stop_early: bool
    rules: Rule | None
    constraints: Constraints | None
    reorder: Reorder

    def of(self, chosen: Array, step: Step) -> "_Beam":
        """Returns the search of some sentences of the batch alone."""
        own = (self.limits, self.limit_penalty, self.rules, self.constraints)
        limits, penalty, rules, constraints = _at(own, chosen)
        return dataclasses.replace(
            self, step=step, limits=limits, limit_penalty=penalty, rules=rules, constraints=constraints
        )

    def start(self, cache: Cache, max_length: int) -> _State:
        """Returns the state before the first token."""
        (batch,), (bos, _, pad) = self.limits.shape, self.special
        # All W hypotheses are BOS alone: only the first counts, or the beam would be W copies of one hypothesis.
        scores = jnp.full((batch, self.width), -jnp.inf, jnp.float32).at[:, 0].set(0.0)
        return _State(
            length=jnp.int32(0),
            last=jnp.full((batch, self.width), bos, jnp.int32),
            running=Hypotheses(jnp.full((batch, self.width, max_length), pad, jnp.int32), scores),
            finished=Hypotheses(
                jnp.full((batch, self.results, max_length), pad, jnp.int32),
                jnp.full((batch, self.results), -jnp.inf, jnp.float32),
            ),
            progress=None if self.constraints is None else self.constraints.start(self.width),
            cache=cache,
        )

    def active(self, state: _State) -> Bool[Array, "batch"]:
        """Returns which sentences may still find a better hypothesis."""
        below_limit = state.length < self.limits
        if not self.stop_early:
            return below_limit
        # Log-probabilities only fall and the penalty only grows, so no descendant of the best running
        # hypothesis scores more than it would if it kept its log-probability up to the limit.
        bound = state.running.scores[:, 0] / self.limit_penalty
        return below_limit & (state.finished.scores[:, -1] < bound)

    def extend(self, state: _State) -> _State:
        """Returns the state after one more token in every active sentence."""
        (bos, eos, pad), width = self.special, self.width
        logits, cache = self.step(state.last, state.cache, state.length)
        normaliser = log_total(logits)
        if self.rules is not None:
            logits = self.rules.allow(logits, Position(state.running.tokens, state.length, eos, pad))
        if self.constraints is None or state.progress is None:
            # Within a hypothesis logits rank as scores do: the normaliser is taken from the chosen ones only.
            best, places = top(logits, 2 * width, forbidden=(bos, pad))
            scores, origin, token = _best_of_all(best - normaliser + state.running.scores[..., None], places, 2 * width)
        else:
            offset = state.running.scores[..., None] - normaliser
            scores, origin, token = self.constraints.best(logits, offset, state.progress, eos, forbidden=(bos, pad))
        tokens = _rows(state.running.tokens, origin).at[:, :, state.length].set(token)

        ends = (token == eos) & (jnp.arange(scores.shape[1]) < width)
        ended = jnp.where(ends, scores / length_penalty(state.length + 1, self.alpha), -jnp.inf)
        finished = _best(_concatenate(state.finished, Hypotheses(tokens, ended)), self.results)[0]

        going_on = jnp.where(token == eos, -jnp.inf, scores)
        running, picked = _best(Hypotheses(tokens, going_on), width)
        running_origin, last = jnp.take_along_axis(origin, picked, 1), jnp.take_along_axis(token, picked, 1)
        if width > 1:
            cache = self.reorder(cache, running_origin)
        progress = state.progress
        if self.constraints is not None:
            progress = self.constraints.advance(take_hypotheses(progress, running_origin), last)

        active = self.active(state)
        running, finished, progress = jax.tree.map(
            lambda new, old: jnp.where(active.reshape(-1, *[1] * (new.ndim - 1)), new, old),
            (running, finished, progress),
            (state.running, state.finished, state.progress),
        )
        return _State(state.length + 1, last, running, finished, progress, cache)

    def best(self, state: _State) -> Hypotheses:
        """Returns the results of the last state: what ended, then what the limit cut."""
        running = state.running
        if state.progress is not None:
            lacking = (state.progress.left > 0).any(axis=-1)
            running, _ = _best(running._replace(scores=jnp.where(lacking, -jnp.inf, running.scores)), self.width)
        cut_scores = running.scores / self.limit_penalty[:, None]
        both = _concatenate(state.finished, Hypotheses(running.tokens, cut_scores))
        missing = jnp.concatenate([jnp.isneginf(state.finished.scores), jnp.zeros(cut_scores.shape, jnp.bool_)], axis=1)
        order = jnp.argsort(missing, axis=1, stable=True)[:, : self.results]  # both halves are sorted already
        return Hypotheses(_rows(both.tokens, order), _rows(both.scores, order))


def _searched(
    beam: _Beam, state: _State, cache_lengths: Sequence[int], grow: Grow | None, fewer: Fewer | None
) -> _State:
    """Returns the state when every sentence is done."""
    batch = len(beam.limits)
    half = batch // 2 if fewer is not None and batch >= 2 * LEAST_ROWS else 0
    state = while_cache_grows(lambda state: beam.active(state).sum() > half, beam.extend, state, cache_lengths, grow)
    if fewer is None or not half:
        return state
    chosen = jnp.argsort(~beam.active(state), stable=True)[:half]
    smaller = beam.of(chosen, fewer(chosen))
    rest = _searched(
        smaller,
        _State(state.length, *_at(state[1:], chosen)),
        cache_lengths[-1:],
        None,
        lambda places: fewer(chosen[places]),
    )
    found = (state.running, state.finished, state.progress)
    running, finished, progress = jax.tree.map(
        lambda old, new: old.at[chosen].set(new), found, (rest.running, rest.finished, rest.progress)
    )
    return state._replace(running=running, finished=finished, progress=progress)


def while_cache_grows(
    go_on: Callable[[S], Array],
    extend: Callable[[S], S],
    state: S,
    cache_lengths: Sequence[int],
    grow: Grow | None,
) -> S:
    """Returns the last state of `while go_on(state): state = extend(state)`, whose cache grows with its length.

    The time of a step grows with the length of its cache: with one long enough for the longest output from the start,
    every output would cost as much as the longest. The cache that comes in has the first of `cache_lengths`, and the
    last of them is enough for every output; each length is one more loop to compile. Without `cache_lengths` the cache
    stays as it is.
    """
    for number, length in enumerate(cache_lengths):
        if number and grow is not None:
            state = state._replace(cache=grow(state.cache, length))
        state = jax.lax.while_loop(lambda state, length=length: go_on(state) & (state.length < length), extend, state)
    return state if cache_lengths else jax.lax.while_loop(go_on, extend, state)


def length_penalty(length: int | Int[Array, "*shape"], alpha: float | Float[Array, ""]) -> Float[Array, "*shape"]:
    """Returns ((5 + length) / 6) ** alpha, by which log-probabilities are divided (§6.1)."""
    return ((5.0 + jnp.asarray(length, jnp.float32)) / 6.0) ** alpha


def _best_of_all(scores: Array, tokens: Array, count: int) -> tuple[Array, Array, Array]:
    """Returns score, origin and token of the `count` best continuations of a sentence, `[batch, count]` each.

    They are among the `count` best of each of its hypotheses, which `scores` and `tokens` are, `[batch, width, each]`.
    """
    _, width, each = scores.shape
    best, picked = jax.lax.top_k(scores.reshape(-1, width * each), min(count, width * each))
    return best, picked // each, jnp.take_along_axis(tokens.reshape(-1, width * each), picked, axis=1)


def _best(hypotheses: Hypotheses, count: int) -> tuple[Hypotheses, Array]:
    """Returns the `count` best by score, the earlier one first where two are equal, and where they stood."""
    scores, picked = jax.lax.top_k(hypotheses.scores, count)
    return Hypotheses(_rows(hypotheses.tokens, picked), scores), picked


def _concatenate(first: Hypotheses, second: Hypotheses) -> Hypotheses:
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), first, second)


def _at(tree: Any, chosen: Array) -> Any:
    """Returns the chosen sentences of a tree whose every leaf is `[batch, …]`."""
    return jax.tree.map(lambda leaf: leaf[chosen], tree)


def _rows(leaf: Array, picked: Array) -> Array:
    """Returns `leaf[b, picked[b, w]]` for every b and w: each sentence's hypotheses in another order."""
    return leaf.at[jnp.arange(leaf.shape[0])[:, None], picked].get(mode="promise_in_bounds")
