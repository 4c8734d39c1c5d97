"""A Markov chain over tokens: the distribution of the next token given the last `order`, by counting (Shannon 1948).

A table with a row for every possible context has `size ** order` rows; nearly all of them are empty, so only the
n-grams that occur are kept, sorted, one level for each length of context. A context is the number of its entry in
the level below, which makes an n-gram one integer, `context * size + token`, and the levels a trie. Counting is a
sort a level, looking up a binary search, both for whole arrays.

Without smoothing the probabilities are the counts' ratios. `AddK` adds k to every count (Lidstone); `KneserNey`
takes a discount off every count and gives it to the context that is shorter by its first token, whose tokens count by
how many different tokens they follow (Kneser and Ney 1995; interpolated, as in Chen and Goodman 1998, §2.7).

A document begins with `order` times BOS and ends with EOS. `start_cache` and `step` are those of the neural language
model, so the same samplers and the same scorer work with both.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from wmt_transformer.config import UserError
from wmt_transformer.decode.sampling import Sample, generate
from wmt_transformer.special_tokens import BOS, EOS, PAD


@dataclasses.dataclass(frozen=True)
class AddK:
    """p = (count + k) / (total + k · tokens). With k = 0, an unseen context has the limit, the uniform distribution."""

    k: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.k < np.inf:
            raise UserError(f"add-k is {self.k}, it must be 0 or more")


COUNTS = AddK()
"""No smoothing."""


@dataclasses.dataclass(frozen=True)
class KneserNey:
    """Interpolated Kneser-Ney, one discount for each level.

    `discounts` are those of contexts of 0, 1, … `order` tokens. None estimates each as n1 / (n1 + 2 n2), where n1 and
    n2 n-grams of the level have a count of 1 and of 2 (Ney et al. 1994), and uses 0.5 where n1 or n2 is 0. The
    discount of the level without context goes to all tokens evenly, so that none is impossible.
    """

    discounts: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for one in self.discounts or ():
            if not 0 <= one <= 1:
                raise UserError(f"a Kneser-Ney discount is {one}, it must be from 0 to 1")


class Level(NamedTuple):
    """The n-grams of one length that occur, sorted by context, then token."""

    keys: np.ndarray
    """[n] context * size + token."""
    counts: np.ndarray
    """[n] how often; 0 for those that end in BOS, which is never predicted."""
    followed: np.ndarray
    """[n] how many different tokens precede the n-gram: the count that Kneser-Ney uses below the top level."""


class ContextRow(NamedTuple):
    """A row of the table: a context, and the tokens seen after it."""

    context: tuple[int, ...]
    tokens: np.ndarray
    counts: np.ndarray
    probabilities: np.ndarray


class NGram:
    """Counts of a text, and the distributions that follow from them."""

    def __init__(
        self,
        documents: Sequence[Sequence[int] | np.ndarray],
        order: int,
        size: int,
        smoothing: AddK | KneserNey = COUNTS,
    ):
        """Counts.

        Args:
          documents: token ids of each, without BOS and EOS.
          order: tokens of context, 0 or more; an (order + 1)-gram model.
          size: tokens in the vocabulary, PAD and BOS among them, which are never predicted.

        Raises UserError where there is nothing to count, and where the counts may need more memory than there is.
        """
        if not any(len(document) for document in documents):
            raise UserError("there is no text to count; give one that has at least one token")
        self.order, self.size, self.smoothing = order, size, smoothing
        check_memory(sum(len(document) + 1 + order for document in documents), order, size)
        edges = np.full(order, BOS), np.array([EOS])
        tokens = np.concatenate([part for one in documents for part in (edges[0], np.asarray(one, int), edges[1])])
        self.levels = _count(tokens, order, size)

    def context(self, tokens: Sequence[int]) -> np.ndarray:
        """Returns the last `order` tokens `[order]`, with BOS before them where there are fewer."""
        return np.array([*[BOS] * self.order, *tokens][len(tokens) :], np.int64)

    def probabilities(self, contexts: np.ndarray) -> np.ndarray:
        """Returns the distribution `[n, size]` of the token after each of the contexts `[n, order]`, in float64."""
        found = np.full((len(contexts), self.size), 1 / (self.size - 2))
        found[:, [PAD, BOS]] = 0.0
        if isinstance(self.smoothing, AddK):
            top = self._row(self.order, contexts, self.levels[-1].counts)
            k, total = self.smoothing.k, top.totals[:, None]
            counts = np.zeros_like(found)
            counts[top.rows, top.tokens] = top.counts
            known = total + k > 0
            smoothed = (counts + k * (found > 0)) / np.where(known, total + k * (self.size - 2), 1)
            return np.where(known, smoothed, found)
        for length, level in enumerate(self.levels):
            row = self._row(length, contexts, level.counts if length == self.order else level.followed)
            discount = self._discount(length)
            total = np.maximum(row.totals, 1)
            kept = np.maximum(row.counts - discount, 0) / total[row.rows]
            given = np.where(row.totals > 0, 1 - np.bincount(row.rows, kept, minlength=len(contexts)), 1.0)
            found *= given[:, None]
            found[row.rows, row.tokens] += kept
        return found

    def table(self) -> list[ContextRow]:
        """Returns the contexts that occur, each with the tokens seen after it, their counts and probabilities."""
        contexts = [()]
        for level in self.levels[: self.order]:
            contexts = [(*contexts[key // self.size], int(key % self.size)) for key in level.keys]
        found = []
        for context, part in zip(contexts, _split(self.levels[-1], len(contexts), self.size), strict=True):
            tokens, counts = part
            if len(tokens):
                (p,) = self.probabilities(np.array([context], np.int64).reshape(1, -1))
                found.append(ContextRow(context, tokens, counts, p[tokens]))
        return found

    def log_probabilities(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns ln p `[n]` of each of a document's ids `[n]` given those before it; -inf for what never occurs."""
        document = np.asarray(ids, np.int64)
        edged = np.concatenate([np.full(self.order, BOS), document])
        contexts = edged[np.arange(len(document))[:, None] + np.arange(self.order)]
        found = np.empty(len(document))
        rows = max(1, _PROBABILITIES_AT_ONCE // self.size)
        for start in range(0, len(document), rows):
            some = slice(start, start + rows)
            chosen = self.probabilities(contexts[some])[np.arange(len(document[some])), document[some]]
            with np.errstate(divide="ignore"):
                found[some] = np.log(chosen)
        return found

    def start_cache(self, batch: int, hypotheses: int = 1) -> Int[Array, "batch hypotheses order"]:
        """Returns the context of a document's first token."""
        return jnp.full((batch, hypotheses, self.order), BOS, jnp.int32)

    def step(self, tokens: Any, cache: Array, index: Any) -> tuple[Array, Array]:
        """Returns the log-probabilities `[B, W, size]` after each context, and the contexts.

        `tokens` `[B, W]` are the newest of each context, at first BOS. NumPy looks them up, on the host.
        """
        cache = jnp.concatenate([cache, tokens[..., None]], axis=-1)[..., 1:]
        shape = jax.ShapeDtypeStruct((*tokens.shape, self.size), jnp.float32)
        return jax.pure_callback(self._step_logits, shape, cache), cache

    def _step_logits(self, contexts: Any) -> np.ndarray:
        contexts = np.asarray(contexts)
        flat = contexts.reshape(contexts.shape[0] * contexts.shape[1], self.order)
        with np.errstate(divide="ignore"):
            found = np.log(self.probabilities(flat))
        return found.reshape(*contexts.shape[:2], self.size).astype(np.float32)

    def sample(self, count: int, seed: int) -> list[list[int]]:
        """Returns documents drawn from the chain, `count` tokens in all, ends included; the last one may be cut."""
        if not 0 <= seed < 2**32:
            raise UserError(f"the seed is {seed}, it must be from 0 to {2**32 - 1}")

        @jax.jit
        def draw(number: Int[Array, ""]) -> Array:
            keys = jax.random.fold_in(jax.random.key(seed), number)[None]
            longest: Any = {"max_lengths": jnp.array([count]), "max_length": count}
            found = generate(self.step, self.start_cache(1), **longest, bos=BOS, eos=EOS, sampler=Sample(), keys=keys)
            return found.tokens[0, 0]

        documents, left = [], count
        while left > 0:  # where a document ends early, another one begins
            ids = np.asarray(draw(jnp.int32(len(documents))))[:left]
            documents.append(ids.tolist())
            left -= np.count_nonzero(ids)
        return documents

    def _row(self, length: int, contexts: np.ndarray, counts: np.ndarray) -> _Row:
        """Returns the entries of a level after the last `length` tokens of each context; none for unseen ones."""
        labels = np.zeros(len(contexts), np.int64)
        for level, token in zip(self.levels, contexts[:, self.order - length :].T, strict=False):
            key = labels * self.size + token
            at = np.minimum(np.searchsorted(level.keys, key), len(level.keys) - 1)
            labels = np.where((labels >= 0) & (level.keys[at] == key), at, -1)
        keys = self.levels[length].keys
        starts, ends = (np.searchsorted(keys, (labels + more) * self.size) for more in (0, 1))
        lengths = np.where(labels >= 0, ends - starts, 0)
        rows = np.repeat(np.arange(len(contexts)), lengths)
        entries = np.arange(lengths.sum()) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
        seen = counts[entries] > 0
        rows, entries = rows[seen], entries[seen]
        totals = np.bincount(rows, counts[entries], minlength=len(contexts))
        return _Row(rows, keys[entries] % self.size, counts[entries], totals)

    def _discount(self, length: int) -> float:
        smoothing, level = self.smoothing, self.levels[length]
        assert isinstance(smoothing, KneserNey)
        if smoothing.discounts is not None:
            if len(smoothing.discounts) != self.order + 1:
                raise UserError(f"{len(smoothing.discounts)} discounts for order {self.order}: give {self.order + 1}")
            return smoothing.discounts[length]
        counts = level.counts if length == self.order else level.followed
        once, twice = np.count_nonzero(counts == 1), np.count_nonzero(counts == 2)
        return once / (once + 2 * twice) if once and twice else 0.5


_PROBABILITIES_AT_ONCE = 1 << 24
"""In float64 they take 128 MB."""


class _Row(NamedTuple):
    """Entries of several contexts: the context's row, the token, the count; and every context's total."""

    rows: np.ndarray
    tokens: np.ndarray
    counts: np.ndarray
    totals: np.ndarray


def _count(tokens: np.ndarray, order: int, size: int) -> tuple[Level, ...]:
    predicted = tokens != BOS
    levels: list[Level] = []
    context = shorter = np.zeros(len(tokens), np.int64)
    for _ in range(order + 1):
        keys, first, labels, counts = np.unique(
            context * size + tokens, return_index=True, return_inverse=True, return_counts=True
        )
        counts[~predicted[first]] = 0
        if levels:  # each n-gram is one more token before its own end
            suffix = shorter[first[counts > 0]]
            levels[-1].followed[:] = np.bincount(suffix, minlength=len(levels[-1].keys))
        levels.append(Level(keys, counts, counts.copy()))
        shorter = labels
        context = np.concatenate([[0], labels[:-1]])
    return tuple(levels)


def _split(level: Level, contexts: int, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the tokens that are predicted after each context of a level, and their counts."""
    seen = level.counts > 0
    keys, counts = level.keys[seen], level.counts[seen]
    edges = np.searchsorted(keys, np.arange(1, contexts) * size)
    return list(zip(np.split(keys % size, edges), np.split(counts, edges), strict=True))


def check_memory(tokens: int, order: int, size: int) -> None:
    """Raises UserError where counting a text of `tokens` tokens may need more memory than is free; it says how much.

    A level has at most as many n-grams as the text has tokens. Each takes 24 bytes, and counting a level takes another
    64 bytes a token.
    """
    entries = sum(min(tokens, size**length) for length in range(1, 1 + min(order, 16)))
    entries += tokens * (order + 1 - min(order, 16))
    needed, free = 24 * entries + 64 * tokens, free_memory()
    if needed > free:
        raise UserError(
            f"order {order:,} may need {needed / 1e9:,.1f} GB for the n-grams of {tokens:,} tokens and "
            f"{free / 1e9:,.1f} GB are free; give a lower order or a shorter text"
        )


def free_memory() -> int:
    """Returns the bytes of memory that are free or can be freed; all the memory where the system does not say."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
