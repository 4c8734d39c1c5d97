"""Beam search with the length penalty of §6.1; it knows nothing of the model but `step`.

A hypothesis y of log-probability log P(y) scores log P(y) / ((5 + |y|) / 6) ** alpha (Wu et al. 2016,
equation 14), where |y| counts every token that was generated, EOS included, as in tensor2tensor. Running and
finished hypotheses are kept apart. Each step looks at the 2W best continuations of a sentence's W running
hypotheses: those among the best W that end in EOS finish, the best W that do not end run on. (tensor2tensor
lets an EOS finish from anywhere among the 2W; asking for the best W, as fairseq does, makes a beam of 1 with
alpha 0 the greedy search.)

A sentence is done when no running hypothesis can still win, or at its own limit; from then on its rows do not
change, so what it is batched with never matters. Hypotheses that the limit cut fill the places that finished
ones leave empty.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from wmt_transformer.decode.rules import Rule

Step = Callable[[Array, Any, Array], tuple[Array, Any]]
"""`step(tokens [B, W], cache, index) -> (logits [B, W, V], cache)`: the scores of position `index`, whose
input is `tokens`."""

Reorder = Callable[[Any, Array], Any]
"""`reorder(cache, origin [B, W]) -> cache` in which every hypothesis goes on from the one that `origin` names."""


Grow = Callable[[Any, int], Any]
"""`grow(cache, room) -> cache` with room for so many positions."""


class Hypotheses(NamedTuple):
    """Token ids `[batch, hypotheses, length]` and scores `[batch, hypotheses]`, best first along axis 1."""

    tokens: Int[Array, "batch hypotheses length"]
    scores: Float[Array, "batch hypotheses"]


def take_hypotheses(cache: Any, origin: Int[Array, "batch hypotheses"]) -> Any:
    """Reorders a cache whose every leaf is `[batch, hypotheses, …]`, by copying it."""
    return jax.tree.map(lambda leaf: _rows(leaf, origin), cache)


class _State(NamedTuple):
    length: Array  # positions generated so far
    last: Array  # [B, W] the newest token of every running hypothesis
    running: Hypotheses  # W a sentence; scores are plain log-probabilities
    finished: Hypotheses  # as many as are asked for; scores are normalised by length
    cache: Any


def search(
    step: Step,
    cache: Any,
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
    reorder: Reorder = take_hypotheses,
    rooms: Sequence[int] = (),
    grow: Grow | None = None,
) -> Hypotheses:
    """Returns each sentence's best hypotheses, found with a beam of `beam_size`.

    Args:
      step: the model; see `Step`.
      cache: what `step` is given at index 0.
      max_lengths: most tokens of each sentence's hypotheses, EOS included; at most `max_length`.
      max_length: length of the arrays of tokens, known when this is compiled.
      alpha: exponent of the length penalty, at least 0; 0 ranks by log-probability alone.
      bos: the input at index 0. Neither `bos` nor `pad` is ever generated; log-probabilities are the model's
        own, not shared out again over the other tokens.
      num_results: hypotheses returned for each sentence, 1 to `beam_size` (default: all).
      stop_early: False runs every sentence to its limit: the same result, later.
      rules: what tokens may stand where (default: any).
      reorder: makes hypotheses go on from others (default: for caches with leaves `[batch, beam_size, …]`).
      rooms, grow: see `in_rooms`.

    Returns:
      Tokens `[batch, num_results, max_length]` with EOS where a hypothesis ended and `pad` behind, and scores
      normalised by length. Hypotheses that ended come first, then those cut at the limit, each best first; of
      equals, the one found first, then the continuation of the better hypothesis, then the lower token id.
      Where there are fewer hypotheses than results, scores are -inf and the tokens mean nothing.
    """
    batch, width, results = max_lengths.shape[0], beam_size, num_results or beam_size
    if not 1 <= results <= beam_size:
        raise ValueError(f"num_results is {num_results}, it must be from 1 to beam_size, which is {beam_size}")
    limit_penalty = length_penalty(max_lengths, alpha)

    def active(state: _State) -> Bool[Array, "batch"]:
        below_limit = state.length < max_lengths
        if not stop_early:
            return below_limit
        # Log-probabilities only fall and the penalty only grows, so no descendant of the best running
        # hypothesis scores more than it would if it kept its log-probability up to the limit.
        bound = state.running.scores[:, 0] / limit_penalty
        return below_limit & (state.finished.scores[:, -1] < bound)

    def extend(state: _State) -> _State:
        logits, cache = step(state.last, state.cache, state.length)
        normaliser = log_total(logits)
        if rules is not None:
            logits = rules.allow(logits, state.running.tokens, state.length, eos, pad)
        # Within a hypothesis logits rank as scores do; only those chosen become scores, not all the vocabulary.
        best, places = top(logits, 2 * width, forbidden=(bos, pad))
        scores, origin, token = _best_of_all(best - normaliser + state.running.scores[..., None], places, 2 * width)
        tokens = _rows(state.running.tokens, origin).at[:, :, state.length].set(token)

        ends = (token == eos) & (jnp.arange(scores.shape[1]) < width)
        ended = jnp.where(ends, scores / length_penalty(state.length + 1, alpha), -jnp.inf)
        finished = _best(_concatenate(state.finished, Hypotheses(tokens, ended)), results)[0]

        going_on = jnp.where(token == eos, -jnp.inf, scores)
        running, picked = _best(Hypotheses(tokens, going_on), width)
        running_origin, last = jnp.take_along_axis(origin, picked, 1), jnp.take_along_axis(token, picked, 1)
        if width > 1:
            cache = reorder(cache, running_origin)

        open_ = active(state)
        running, finished = jax.tree.map(
            lambda new, old: jnp.where(open_.reshape(-1, *[1] * (new.ndim - 1)), new, old),
            (running, finished),
            (state.running, state.finished),
        )
        return _State(state.length + 1, last, running, finished, cache)

    only_first = jnp.full((batch, width), -jnp.inf, jnp.float32).at[:, 0].set(0.0)  # all start alike: W copies of BOS
    state = _State(
        length=jnp.int32(0),
        last=jnp.full((batch, width), bos, jnp.int32),
        running=Hypotheses(jnp.full((batch, width, max_length), pad, jnp.int32), only_first),
        finished=Hypotheses(
            jnp.full((batch, results, max_length), pad, jnp.int32),
            jnp.full((batch, results), -jnp.inf, jnp.float32),
        ),
        cache=cache,
    )
    state = in_rooms(lambda state: active(state).any(), extend, state, rooms, grow)

    cut = Hypotheses(state.running.tokens, state.running.scores / limit_penalty[:, None])
    both = _concatenate(state.finished, cut)
    missing = jnp.concatenate([jnp.isneginf(state.finished.scores), jnp.zeros(cut.scores.shape, jnp.bool_)], axis=1)
    order = jnp.argsort(missing, axis=1, stable=True)[:, :results]  # both halves are sorted already
    return Hypotheses(_rows(both.tokens, order), _rows(both.scores, order))


def in_rooms(
    go_on: Callable[[Any], Array], extend: Callable[[Any], Any], state: Any, rooms: Sequence[int], grow: Grow | None
) -> Any:
    """Returns the state behind `while go_on(state): state = extend(state)`, whose cache grows with its length.

    A step costs as much as its cache has room, so that one with room for the longest output from the start would
    make all outputs as dear as that. The cache that comes in has the first of `rooms`, the last one is enough for all;
    every room is a loop of its own, which is compiled on its own. Without `rooms` the cache stays as it is.
    """
    for number, room in enumerate(rooms):
        if number and grow is not None:
            state = state._replace(cache=grow(state.cache, room))
        state = jax.lax.while_loop(lambda state, room=room: go_on(state) & (state.length < room), extend, state)
    return state if rooms else jax.lax.while_loop(go_on, extend, state)


def length_penalty(length: int | Int[Array, "*shape"], alpha: float | Float[Array, ""]) -> Float[Array, "*shape"]:
    """Returns ((5 + length) / 6) ** alpha, by which log-probabilities are divided (§6.1)."""
    return ((5.0 + jnp.asarray(length, jnp.float32)) / 6.0) ** alpha


def token_log_probabilities(
    logits: Float[Array, "*batch vocabulary"], forbidden: tuple[int, ...]
) -> Float[Array, "*batch vocabulary"]:
    """Returns float32 log-softmax, with -inf at the forbidden ids."""
    log_probs = logits.astype(jnp.float32) - log_total(logits)
    return jnp.where(_are(jnp.arange(logits.shape[-1]), forbidden), -jnp.inf, log_probs)


def log_total(logits: Float[Array, "*batch vocabulary"]) -> Float[Array, "*batch 1"]:
    """Returns the float32 logarithm of the exponents' sum, which `log_softmax` takes from every logit."""
    logits = logits.astype(jnp.float32)
    _, greatest, rest = _chunked(logits)  # as `top` does: one walk serves both
    highest = jnp.concatenate([greatest, rest], axis=-1).max(axis=-1, keepdims=True)
    return jnp.log(jnp.exp(logits - highest).sum(axis=-1, keepdims=True)) + highest


def top(
    values: Float[Array, "*batch n"], count: int, forbidden: tuple[int, ...] = ()
) -> tuple[Float[Array, "*batch k"], Int[Array, "*batch k"]]:
    """Returns what `jax.lax.top_k` does, the `count` greatest and where they stand, of equals the first.

    It walks through the values only once, for the greatest of every 128. The `count` chunks whose greatest are
    greatest hold what is looked for, because whatever lies in another chunk comes behind `count` others. `forbidden`
    places count as -inf; only chunks with one of them are looked at again.
    """
    whole, greatest, rest = _chunked(values)
    *batch, chunks = greatest.shape
    if chunks <= count:
        allowed = jnp.where(_are(jnp.arange(values.shape[-1]), forbidden), -jnp.inf, values)
        best, places = jax.lax.top_k(allowed, min(count, values.shape[-1]))
        return best, places
    in_chunk = jnp.arange(_CHUNK)
    for chunk in {place // _CHUNK for place in forbidden if place < chunks * _CHUNK}:
        allowed = jnp.where(_are(chunk * _CHUNK + in_chunk, forbidden), -jnp.inf, whole[..., chunk, :])
        greatest = greatest.at[..., chunk].set(allowed.max(axis=-1))
    chosen = jnp.sort(jax.lax.top_k(greatest, count)[1], axis=-1)
    places = (chosen[..., None] * _CHUNK + in_chunk).reshape(*batch, -1)
    candidates = jnp.take_along_axis(whole, chosen[..., None], axis=-2).reshape(*batch, -1)
    if rest.shape[-1]:
        behind = jnp.arange(chunks * _CHUNK, values.shape[-1])
        candidates = jnp.concatenate([candidates, rest], axis=-1)
        places = jnp.concatenate([places, jnp.broadcast_to(behind, (*batch, len(behind)))], axis=-1)
    best, picked = jax.lax.top_k(jnp.where(_are(places, forbidden), -jnp.inf, candidates), count)
    return best, jnp.take_along_axis(places, picked, axis=-1)


_CHUNK = 128


def _chunked(values: Array) -> tuple[Array, Array, Array]:
    """Returns the values in chunks, the greatest of each chunk, and the values behind the last whole chunk."""
    whole = values.shape[-1] // _CHUNK * _CHUNK
    chunks = values[..., :whole].reshape(*values.shape[:-1], -1, _CHUNK)
    return chunks, chunks.max(axis=-1), values[..., whole:]


def _are(places: Array, some: tuple[int, ...]) -> Array:
    return (places[..., None] == jnp.asarray(some, jnp.int32)).any(axis=-1)


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


def _rows(leaf: Array, picked: Array) -> Array:
    """Returns `leaf[b, picked[b, w]]` for every b and w: each sentence's hypotheses in another order."""
    return leaf.at[jnp.arange(leaf.shape[0])[:, None], picked].get(mode="promise_in_bounds")
