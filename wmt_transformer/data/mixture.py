"""Several corpora as one: how often an epoch has the pairs of each.

A weight says how often: 2 is twice, 0.5 is every second pair, 0 is never. An epoch is a fixed number of slots, so that
the shapes of batches, and which step belongs to which epoch, are the same in each. A slot is filled by the same pair
always, or by a few pairs of about the same length in turn, and is as long as the longest of them: with a weight of 0.5
two epochs in a row have all pairs of a corpus.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wmt_transformer.data.tokens import TokenPairs


def weights_of(sizes: Sequence[int], weights: Sequence[float], temperature: float) -> list[float]:
    """Returns how often an epoch has each corpus of `sizes` pairs.

    The temperature samples them in proportion to size ** (1 / temperature) (Arivazhagan et al. 2019): small ones are
    repeated, so that the largest, of n pairs, is taken as often as its weight says and the others
    (size / n) ** (1 / temperature - 1) times as often as theirs.
    """
    most = max(sizes)
    return [
        weight * (size / most) ** (1 / temperature - 1)
        for size, weight in zip(sizes, weights or [1.0] * len(sizes), strict=True)
    ]


class Mixture:
    """The pairs of several corpora as what batches are made of: `mixture.pair(i, draw)` is the pair in slot i.

    Args:
      pairs: those of all corpora, one corpus after the other.
      sizes, weights: of each corpus, in the same order.
    """

    def __init__(self, pairs: TokenPairs, sizes: Sequence[int], weights: Sequence[float]):
        self._pairs = pairs
        order, choices, copies, begin = [], [], [], 0
        for size, weight in zip(sizes, weights, strict=True):
            whole, part = int(weight), round(size * (weight - int(weight)))
            corpus = np.arange(begin, begin + size)
            order += [corpus] * whole
            choices += [np.ones(size, int)] * whole
            copies += [np.full(size, copy) for copy in range(whole)]
            if part:
                lengths = pairs.source_lengths[begin : begin + size], pairs.target_lengths[begin : begin + size]
                order.append(begin + np.lexsort((lengths[1], lengths[0] + lengths[1])))
                choices.append(np.diff(np.arange(part + 1) * size // part))
                copies.append(np.full(part, whole))
            begin += size
        self._order, self._choices = np.concatenate(order), np.concatenate(choices)
        self._copies = np.concatenate(copies)
        self._first = np.cumsum(self._choices) - self._choices
        self.source_lengths = np.maximum.reduceat(pairs.source_lengths[self._order], self._first)
        self.target_lengths = np.maximum.reduceat(pairs.target_lengths[self._order], self._first)

    def __len__(self) -> int:
        return len(self._first)

    def pair(self, index: int, draw: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Returns the (source ids, target ids) of a slot in epoch `draw`, each ending with EOS."""
        turn, choice = divmod(draw, int(self._choices[index]))
        return self._pairs.pair(int(self._order[self._first[index] + choice]), turn + int(self._copies[index]))
