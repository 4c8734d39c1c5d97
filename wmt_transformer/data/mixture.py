"""Several corpora as one: how often an epoch has the pairs of each, or the windows of its text.

A weight says how often: 2 is twice, 0.5 is every second pair, 0 is never. An epoch is a fixed number of slots, so that
the shapes of batches, and which step belongs to which epoch, are the same in each. A slot is filled by the same pair
always, or by a few pairs of about the same length in turn, and is as long as the longest of them: with a weight of 0.5
two epochs in a row have all pairs of a corpus.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data.tokens import TokenPairs

Counts = dict[str, Any]
"""What was read and kept of a corpus, by name; where there are several, its `name` and its `weight` too."""


def weighted(data: DataConfig, names: Sequence[str], counts: Sequence[Counts], size: str) -> list[Counts]:
    """Returns the counts of each corpus with its name and how often an epoch has it.

    A single one without a weight is no mixture: it returns none. `size` names the count that is mixed. Raises UserError
    where the weights leave nothing of it.
    """
    if len(names) == 1 and (not data.train_weights or data.target == "tree"):
        return []
    sizes = [one[size] for one in counts]
    weights = weights_of(sizes, data.train_weights, data.temperature)
    if not any(round(count * weight) for count, weight in zip(sizes, weights, strict=True)):
        raise UserError(f"data.train_weights leave nothing of {sum(sizes):,} ({size}); give larger ones")
    return [{"name": n, **one, "weight": w} for n, one, w in zip(names, counts, weights, strict=True)]


def weights_of(sizes: Sequence[int], weights: Sequence[float], temperature: float) -> list[float]:
    """Returns how often an epoch has each corpus of `sizes`.

    The temperature samples them in proportion to size ** (1 / temperature) (Arivazhagan et al. 2019): small ones are
    repeated, so that the largest, of n pairs, is taken as often as its weight says and the others
    (size / n) ** (1 / temperature - 1) times as often as theirs.
    """
    most = max(sizes)
    return [
        weight * (size / most) ** (1 / temperature - 1)
        for size, weight in zip(sizes, weights or [1.0] * len(sizes), strict=True)
    ]


def table(corpora: Sequence[Counts], size: str) -> str:
    """Returns a table of the corpora of a mixture: their counts, weights and shares of an epoch."""
    from rich.console import Console
    from rich.table import Table

    names = [name for name in corpora[0] if name not in ("name", "weight")]
    rows = Table("corpus")
    for name in (*names, "weight", "share of an epoch"):
        rows.add_column(name.replace("_", " "), justify="right")
    epoch = sum(one[size] * one["weight"] for one in corpora)
    for one in corpora:
        share = one[size] * one["weight"] / epoch
        rows.add_row(one["name"], *(f"{one[name]:,}" for name in names), f"{one['weight']:.4g}", f"{share:.1%}")
    output = io.StringIO()
    Console(file=output, width=110, markup=False, emoji=False, force_jupyter=False).print(rows)
    return output.getvalue().rstrip()


class Slots:
    """Which item of several corpora, a pair or a window of text, is in which slot of an epoch.

    Args:
      sizes, weights: of each corpus; the items of all are numbered one corpus after the other.
      lengths: of every item, on each side.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], lengths: Sequence[np.ndarray]):
        none = np.zeros(0, int)
        order, choices, copies, begin = [none], [none], [none], 0
        for size, weight in zip(sizes, weights, strict=True):
            whole, part = int(weight), round(size * (weight - int(weight)))
            corpus = np.arange(begin, begin + size)
            order += [corpus] * whole
            choices += [np.ones(size, int)] * whole
            copies += [np.full(size, copy) for copy in range(whole)]
            if part:
                sides = [side[begin : begin + size] for side in lengths]
                order.append(begin + np.lexsort((sides[-1], np.sum(sides, axis=0))))
                choices.append(np.diff(np.arange(part + 1) * size // part))
                copies.append(np.full(part, whole))
            begin += size
        self._order, self._choices, self._copies = map(np.concatenate, (order, choices, copies))
        self._first = np.cumsum(self._choices) - self._choices

    def __len__(self) -> int:
        return len(self._first)

    def item(self, slot: int, epoch: int) -> tuple[int, int]:
        """Returns which item is in a slot in an epoch, and how often it was taken before that."""
        turn, choice = divmod(epoch, int(self._choices[slot]))
        return int(self._order[self._first[slot] + choice]), turn + int(self._copies[slot])

    def longest(self, lengths: np.ndarray) -> np.ndarray:
        """Returns the length of every slot, which has room for each of its items, from those of the items."""
        return np.maximum.reduceat(lengths[self._order], self._first)


class Mixture:
    """The pairs of several corpora as what batches are made of: `mixture.pair(i, draw)` is the pair in slot i.

    Args:
      pairs: those of all corpora, one corpus after the other.
      sizes, weights: of each corpus, in the same order.
    """

    def __init__(self, pairs: TokenPairs, sizes: Sequence[int], weights: Sequence[float]):
        self._pairs = pairs
        self._slots = Slots(sizes, weights, (pairs.source_lengths, pairs.target_lengths))
        self.source_lengths = self._slots.longest(pairs.source_lengths)
        self.target_lengths = self._slots.longest(pairs.target_lengths)

    def __len__(self) -> int:
        return len(self._slots)

    def pair(self, index: int, draw: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Returns the (source ids, target ids) of a slot in epoch `draw`, each ending with EOS."""
        return self._pairs.pair(*self._slots.item(index, draw))
