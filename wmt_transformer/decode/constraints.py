"""Terms that an output must contain, wherever they fit best: lexically constrained beam search.

This is dynamic beam allocation (Post & Vilar 2018), in the vectorised form of Hu et al. 2019. A hypothesis that has
written m pieces of its terms is in bank m. The candidates of a step are the usual ones and, for every hypothesis, the
next piece of each term. The best candidate of every bank goes on, then the second best of every bank, and so on until
the beam is full: who has paid for a term competes with those who have paid as much. A hypothesis ends only when all of
its terms are there. Scores are the model's own log-probabilities.

The pieces of a term follow one another; terms may overlap. All of them are found if the output has room for their
pieces: the best hypothesis of the fullest bank always goes on, also with its next piece.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from wmt_transformer.decode.token_scores import top
from wmt_transformer.special_tokens import PAD

MOST_TERMS = 8
"""Of one output, a repeated one counted once."""
SIZES = (8, 32)
"""Pieces that all terms of an output have at most; each of these is a program, whose beam is as much wider."""


class Progress(NamedTuple):
    """How far hypotheses have come with the terms."""

    matched: Bool[Array, "batch *hypotheses terms pieces"]
    """Whether the output ends with the term's pieces up to this one."""
    left: Int[Array, "batch *hypotheses terms"]
    """How many times the term must still come."""


class Constraints(NamedTuple):
    """The terms of each sentence, arrays that are arguments of a compiled search."""

    pieces: Int[Array, "batch terms pieces"]
    """Ids of each term; padding after them."""
    times: Int[Array, "batch terms"]
    """How many times each must come; 0 where there is no term."""

    def start(self, width: int) -> Progress:
        """Returns the progress of `width` hypotheses that have written nothing."""
        batch, terms, pieces = self.pieces.shape
        left = jnp.broadcast_to(self.times[:, None], (batch, width, terms))
        return Progress(jnp.zeros((batch, width, terms, pieces), jnp.bool_), left)

    def advance(self, progress: Progress, tokens: Int[Array, "batch *hypotheses"]) -> Progress:
        """Returns the progress with one more token in each hypothesis."""
        matched = progress.matched
        begun = jnp.concatenate([jnp.ones_like(matched[..., :1]), matched[..., :-1]], axis=-1)
        matched = begun & (tokens[..., None, None] == self._like(self.pieces, tokens.ndim))
        whole = (matched & self._like(self._last, tokens.ndim)).any(axis=-1)
        return Progress(matched, jnp.maximum(progress.left - whole, 0))

    def met(self, progress: Progress) -> Int[Array, "batch *hypotheses"]:
        """Returns how many pieces there are: those of whole terms, and of the longest that is begun."""
        times, lengths = (self._like(one, progress.left.ndim - 1) for one in (self.times, self._lengths))
        done = (times - progress.left) * lengths
        return done.sum(axis=-1) + self._begun(progress).max(axis=-1)

    def best(
        self,
        logits: Float[Array, "batch width vocabulary"],
        offset: Float[Array, "batch width 1"],
        progress: Progress,
        eos: int,
        forbidden: tuple[int, ...],
    ) -> tuple[Float[Array, "batch k"], Int[Array, "batch k"], Int[Array, "batch k"]]:
        """Returns score, origin and token of the continuations that are chosen of a sentence's hypotheses.

        There are twice as many as hypotheses: first those that end, and in the other half those that go on. Unused
        places score -inf. `offset` makes a hypothesis' logits its continuations' scores.
        """
        _, width, vocabulary = logits.shape
        ends = jnp.arange(vocabulary) == eos
        logits = jnp.where(ends & (progress.left > 0).any(axis=-1, keepdims=True), -jnp.inf, logits)
        needed = self._next(progress, nothing=vocabulary)
        of_needed = jnp.take_along_axis(logits, needed, axis=-1, mode="fill", fill_value=-jnp.inf)
        others = jnp.put_along_axis(logits, needed, -jnp.inf, axis=-1, inplace=False, mode="drop")
        of_others, places = top(others, width + 1, forbidden)  # of one hypothesis no more can be chosen

        tokens = jnp.concatenate([needed, places], axis=-1)
        scores = jnp.concatenate([of_needed, of_others], axis=-1) + offset
        bank = self.met(self.advance(jax.tree.map(lambda leaf: leaf[:, :, None], progress), tokens))
        origins = jnp.broadcast_to(jnp.arange(width)[:, None], tokens.shape[1:])
        chosen = _in_turns(scores.reshape(len(scores), -1), bank.reshape(len(bank), -1), self.pieces.shape[-1] + 1)
        score, token = (jnp.take_along_axis(x.reshape(len(x), -1), chosen, axis=1) for x in (scores, tokens))
        origin = origins.reshape(-1)[chosen]

        ending = jnp.where(token == eos, score, -jnp.inf)[:, :width], origin[:, :width], token[:, :width]
        going_on = jnp.argsort(token == eos, axis=1, stable=True)[:, :width]
        rest = (jnp.take_along_axis(x, going_on, axis=1) for x in (score, origin, token))
        score, origin, token = (jnp.concatenate(pair, axis=1) for pair in zip(ending, rest, strict=True))
        return score, origin, token

    @property
    def _lengths(self) -> Int[Array, "batch terms"]:
        return (self.pieces != PAD).sum(axis=-1)

    @property
    def _last(self) -> Bool[Array, "batch terms pieces"]:
        """Which is the last piece of its term."""
        return jnp.arange(self.pieces.shape[-1]) == self._lengths[..., None] - 1

    def _begun(self, progress: Progress) -> Int[Array, "batch *hypotheses terms"]:
        """Returns how many pieces of each term that must still come the output ends with, the whole term excepted."""
        matched = progress.matched & ~self._like(self._last, progress.left.ndim - 1)
        longest = (matched * jnp.arange(1, matched.shape[-1] + 1)).max(axis=-1)
        return jnp.where(progress.left > 0, longest, 0)

    def _next(self, progress: Progress, nothing: int) -> Int[Array, "batch hypotheses terms"]:
        """Returns the piece that each term needs next, each piece once; in other places `nothing`."""
        begun = self._begun(progress)
        pieces = jnp.take_along_axis(self.pieces[:, None], begun[..., None], axis=-1)[..., 0]
        pieces = jnp.where(progress.left > 0, pieces, nothing)
        earlier = jnp.tri(pieces.shape[-1], k=-1, dtype=jnp.bool_)
        again = ((pieces[..., None] == pieces[..., None, :]) & earlier).any(axis=-1)
        return jnp.where(again, nothing, pieces)

    def _like(self, of_terms: Array, axes: int) -> Array:
        """Returns an array of the terms with axes of length 1 after its batch: it broadcasts over hypotheses."""
        return of_terms.reshape(len(of_terms), *[1] * (axes - 1), *of_terms.shape[1:])


def _in_turns(scores: Float[Array, "batch n"], bank: Int[Array, "batch n"], banks: int) -> Int[Array, "batch n"]:
    """Returns the order in which candidates are chosen: the best of each bank, the fullest bank first, then the second
    best of each, and so on; last those of score -inf."""
    by_score = jnp.argsort(-scores, axis=1, stable=True)
    sorted_bank = jnp.take_along_axis(bank, by_score, axis=1)
    rank = jnp.cumsum(jax.nn.one_hot(sorted_bank, banks, dtype=jnp.int32), axis=1)
    rank = jnp.take_along_axis(rank, sorted_bank[..., None], axis=2)[..., 0]
    none = jnp.isneginf(jnp.take_along_axis(scores, by_score, axis=1))
    order = jnp.argsort(jnp.where(none, jnp.iinfo(jnp.int32).max, rank * banks - sorted_bank), axis=1, stable=True)
    return jnp.take_along_axis(by_score, order, axis=1)


def size_of(terms: Sequence[Sequence[int]]) -> int:
    """Returns which of `SIZES` has room for the terms of an output, repeated ones repeated; 0 where there are none."""
    pieces = sum(map(len, terms))
    return next(size for size in (0, *SIZES) if pieces <= size)


def of_rows(rows: Sequence[Sequence[Sequence[int]]], count: int, size: int) -> Constraints:
    """Returns the constraints of a batch of `count` rows, the first of which have these terms, in any order."""
    pieces, times = np.full((count, MOST_TERMS, size), PAD, np.int32), np.zeros((count, MOST_TERMS), np.int32)
    for row, terms in enumerate(rows):
        distinct = list(dict.fromkeys(map(tuple, terms)))
        for number, term in enumerate(distinct):
            pieces[row, number, : len(term)] = term
            times[row, number] = sum(tuple(one) == term for one in terms)
    return Constraints(jnp.asarray(pieces), jnp.asarray(times))
