"""Batches of similar length, in a few fixed shapes, as a pure function of (seed, step).

"Sentence pairs were batched together by approximate sequence length" (§5.1). Here two pairs share a row, a long one
and a short one (the model keeps them apart): their sums are far more alike than their lengths, so that fewer slots
stay empty. An accelerator compiles once per shape, so there are at most `num_shapes` of them, each with room for the
one before: a row goes into the first that has room for both its sides. The shapes that leave the fewest slots empty
on the lengths that really occur are found exactly, by dynamic programming. A batch holds as many rows of its shape as
the token budget allows; the rows left over at the end of an epoch go up into the next shape.

The order of an epoch follows from (seed, epoch) alone: resuming needs no state but the step, and every host
cuts its rows out of the same global batch.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from wmt_transformer.data.vocabulary import PAD


class Batch(NamedTuple):
    """Token ids, int32; a row holds one sentence or two in a row, each with EOS at its end, and PAD fills the rest.

    The last batch of a shape may hold whole rows of PAD: sentences run out before the rows do.
    """

    source: np.ndarray
    """[batch, source length]; to a language model, which reads a window of text, it is the token before the window."""
    target: np.ndarray
    """[batch, target length]"""


@runtime_checkable
class Pairs(Protocol):
    """What batches are made of; `tokens.TokenPairs` is the real one."""

    source_lengths: np.ndarray
    target_lengths: np.ndarray

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]: ...


@runtime_checkable
class BatchesByStep(Protocol):
    """All batches of a run, of whatever they are made: a function of the step."""

    batches_per_epoch: int

    def __getitem__(self, step: int) -> Batch: ...


class Shape(NamedTuple):
    rows: int
    source: int
    target: int

    @property
    def slots(self) -> int:
        return self.rows * (self.source + self.target)


class Batches:
    """All batches of a run: `batches[step]` is the batch of that step, whoever asks and in whatever order.

    Attributes:
      shapes: list of (rows, source length, target length) of the global batches.
      batches_per_epoch: the same every epoch; range(batches_per_epoch) is one pass over the pairs.
      real_token_share: share of real tokens in all slots of an epoch, source and target.

    Args:
      pairs: sentence pairs with their lengths, EOS included.
      source_tokens, target_tokens: slots in a global batch, at most; a pair that is longer than the budget
        still gets a batch of `multiple` rows.
      num_shapes: at most this many different shapes.
      multiple: rows of every global batch are a multiple of this.
      seed: with the step, decides everything.
      host_index, host_count: which slice of the rows this process gets; `multiple` is shared out evenly.
    """

    def __init__(
        self,
        pairs: Pairs,
        source_tokens: int,
        target_tokens: int,
        num_shapes: int = 12,
        multiple: int = 8,
        seed: int = 1,
        host_index: int = 0,
        host_count: int = 1,
    ):
        if not len(pairs.source_lengths):
            raise ValueError("there are no sentence pairs to make batches of")
        if multiple % host_count:
            raise ValueError(f"{host_count} hosts cannot share batches whose rows are a multiple of {multiple}")
        self._pairs, self._seed = pairs, seed
        self._host_index, self._host_count = host_index, host_count

        lengths = np.stack([pairs.source_lengths, pairs.target_lengths], axis=1)
        self._rows = _two_a_row(lengths, np.array([source_tokens, target_tokens]) // multiple)
        sums = lengths[self._rows[:, 0]] + np.where(self._rows[:, 1:] < 0, 0, lengths[self._rows[:, 1]])
        plans = [
            _share_out(sides, counts, source_tokens, target_tokens, multiple)
            for sides, counts in _nested_sides(sums[:, 0], sums[:, 1], num_shapes)
        ]
        self._shares = min(plans, key=_slots)
        self._members = _members([share.shape for share in self._shares], sums[:, 0], sums[:, 1])

        # The batches of an epoch before they are shuffled: shape, and which part of the epoch's order.
        self._batches: list[tuple[Shape, int, int]] = []
        position = 0
        for share in self._shares:
            end = position + share.rows - share.rest
            for start in range(position, end, share.shape.rows):
                self._batches.append((share.shape, start, min(start + share.shape.rows, end)))
            position = end
        self.shapes = sorted({shape for shape, _, _ in self._batches}, key=lambda shape: shape[1:])
        self.batches_per_epoch = len(self._batches)
        self.real_token_share = float(lengths.sum() / _slots(self._shares))

        self._lock = threading.Lock()
        self._epochs: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __getitem__(self, step: int) -> Batch:
        """Returns this host's rows of the global batch of `step`, counted from 0 and without end."""
        if step < 0:
            raise IndexError(f"steps are counted from 0, got {step}")
        epoch, index = divmod(int(step), self.batches_per_epoch)
        row_order, batch_order = self._epoch(epoch)
        shape, start, end = self._batches[batch_order[index]]
        rows = shape.rows // self._host_count
        first = start + rows * self._host_index
        source = np.full((rows, shape.source), PAD, np.int32)
        target = np.full((rows, shape.target), PAD, np.int32)
        for row, members in enumerate(self._rows[row_order[first : max(first, min(first + rows, end))]].tolist()):
            source_end, target_end = 0, 0
            for pair in members:
                if pair >= 0:
                    source_ids, target_ids = self._pairs.pair(pair)
                    source_begin, source_end = source_end, source_end + len(source_ids)
                    target_begin, target_end = target_end, target_end + len(target_ids)
                    source[row, source_begin:source_end] = source_ids
                    target[row, target_begin:target_end] = target_ids
        return Batch(source, target)

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the order of the rows and that of the batches; keeps two epochs, as threads read ahead."""
        with self._lock:
            if epoch not in self._epochs:
                while len(self._epochs) > 1:
                    del self._epochs[max(self._epochs, key=lambda known: abs(known - epoch))]
                self._epochs[epoch] = self._shuffle(epoch)
            return self._epochs[epoch]

    def _shuffle(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng([self._seed, epoch])
        order = np.empty(sum(map(len, self._members)), np.int32)
        position, left_over = 0, order[:0]
        for share, members in zip(self._shares, self._members, strict=True):
            rows = np.concatenate([left_over, members])
            random.shuffle(rows)
            used = share.rows - share.rest
            order[position : position + used] = rows[:used]
            position, left_over = position + used, rows[used:]
        return order, random.permutation(self.batches_per_epoch)


def most_rows(source: int, target: int, source_tokens: int, target_tokens: int, multiple: int) -> int:
    """Returns how many rows of these lengths the token budget allows: a multiple of `multiple`, at least one of it."""
    return max(min(source_tokens // source, target_tokens // target) // multiple, 1) * multiple


def prefetch(batches: BatchesByStep, first_step: int, num_steps: int) -> Iterator[Batch]:
    """Yields the batches of steps first_step … first_step + num_steps - 1, made ahead by two threads."""
    import grain

    class Steps:
        def __len__(self) -> int:
            return num_steps

        def __getitem__(self, index: int) -> Batch:
            return batches[first_step + index]

    dataset = grain.MapDataset.source(Steps())
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)))


class _Share(NamedTuple):
    """What becomes of a shape's rows in an epoch; the same every epoch, only who they are changes."""

    shape: Shape
    batches: int
    rows: int
    """Its own, and those left over from the shape before."""
    rest: int
    """Rows that fill no batch and go up into the next shape."""


def _slots(shares: list[_Share]) -> int:
    return sum(share.batches * share.shape.slots for share in shares)


def _two_a_row(lengths: np.ndarray, most: np.ndarray, bins: int = 50) -> np.ndarray:
    """Returns the pairs that share a row, `[row, 2]` int32, and -1 beside one that is alone.

    The longest pair (`lengths` are [pair, (source, target)]) meets the shortest, the second longest the second
    shortest, and so on. Some pairs are long in the source, others in the target: among those of about one length,
    the `bins`-th part of all, the one that is longest in the source meets the one that is longest in the target.
    Two that have no room in `most` (source, target) stay alone.
    """
    order = np.argsort(lengths.sum(axis=1), kind="stable").astype(np.int32)
    half = len(order) // 2
    near = np.arange(half) // -(-len(order) // bins)
    tilt = (lengths[:, 0] - lengths[:, 1])[order]
    short = order[np.lexsort((tilt[:half], near))]
    long = order[::-1][np.lexsort((-tilt[::-1][:half], near))]
    fits = (lengths[short] + lengths[long] <= most).all(axis=1)
    alone = np.concatenate([short[~fits], long[~fits], order[half : len(order) - half]])
    return np.concatenate([np.stack([short, long], axis=1)[fits], np.stack([alone, np.full_like(alone, -1)], axis=1)])


def _share_out(
    sides: np.ndarray, counts: np.ndarray, source_tokens: int, target_tokens: int, multiple: int
) -> list[_Share]:
    """Decides for each shape, smallest first, its rows, how many batches it fills and how many of them go up.

    Rows may be fewer than the budget allows where that leaves fewer slots empty: 2,000 rows are ten batches
    of 200, or nine of 208 and a rest. A tenth fewer rows is worth 0.3 % fewer slots.
    """
    shares, rest = [], 0
    for index, (source, target) in enumerate(sides.tolist()):
        here = int(counts[index]) + rest
        most = most_rows(source, target, source_tokens, target_tokens, multiple)
        last = index == len(sides) - 1
        growth = 0 if last else int(sides[index + 1].sum()) - source - target
        options = []
        for rows in range(most, 0, -multiple):
            full, over = divmod(here, rows)
            fewer = 0.03 * (1 - rows / most) * here * (source + target)
            options.append((-here % rows * (source + target) + fewer, -rows, full + bool(over), 0))
            if not last:
                options.append((over * growth + fewer, -rows, full, over))
        _, rows, batches, rest = min(options)
        shares.append(_Share(Shape(-rows, source, target), batches, here, rest))
    return shares


def _members(shapes: list[Shape], source_lengths: np.ndarray, target_lengths: np.ndarray) -> list[np.ndarray]:
    """Returns for each shape the rows (int32) for which it is the first with room."""

    def first_with_room(lengths: np.ndarray, room: list[int]) -> np.ndarray:
        return np.searchsorted(room, np.arange(lengths.max() + 1)).astype(np.uint8)[lengths]

    first = first_with_room(source_lengths, [shape.source for shape in shapes])
    np.maximum(first, first_with_room(target_lengths, [shape.target for shape in shapes]), out=first)
    return [np.flatnonzero(first == index).astype(np.int32) for index in range(len(shapes))]


def _nested_sides(
    source_lengths: np.ndarray, target_lengths: np.ndarray, most: int, grid: int = 64, spread: float = 0.25
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns for k = 1 … `most` the k nested shapes with fewest slots, before these are cut into batches.

    Each is (sides [k, (source, target)], pairs [k]). With N(S, T) the number of pairs of at most S and T
    tokens, a shape (S, T) that follows (S', T') costs (N(S, T) - N(S', T')) (S + T) slots, so the best chain
    of k shapes that ends in (S, T) follows from the best chains of k - 1. Where there are more than `grid`
    different lengths, only so many are tried, equally many tokens apart.
    """

    def tried(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        counts = np.bincount(lengths)
        if (counts > 0).sum() <= grid:
            tried = np.flatnonzero(counts)
        else:
            tokens = np.cumsum(counts * np.arange(len(counts)))
            tried = np.unique(np.searchsorted(tokens, np.arange(1, grid + 1) / grid * tokens[-1]))
            tried[-1] = len(counts) - 1
        return tried, np.searchsorted(tried, np.arange(len(counts))).astype(np.uint8)

    (sources, row_of), (targets, column_of) = tried(source_lengths), tried(target_lengths)
    bins = row_of[source_lengths] * np.uint16(len(targets)) + column_of[target_lengths]
    within = np.bincount(bins, minlength=len(sources) * len(targets)).reshape(len(sources), len(targets))
    within = within.cumsum(axis=0).cumsum(axis=1)  # N(S, T)

    # Both sides grow together: corners farther than `spread` off the diagonal are not tried, which saves
    # most of the memory.
    away = np.arange(len(sources))[:, None] / len(sources) - np.arange(len(targets)) / len(targets)
    rows, columns = np.nonzero((np.abs(away) <= spread) | (away == away[-1, -1]))
    sides, within = np.stack([sources[rows], targets[columns]], axis=1), within[rows, columns]
    width = sides.sum(axis=1).astype(np.float64)
    follows = (rows[:, None] <= rows) & (columns[:, None] <= columns)  # [(S', T'), (S, T)]
    step = np.where(follows, (within - within[:, None]) * width, np.inf)

    cost, came_from, chains = within * width, [], []
    for length in range(most):
        if length:
            total = cost[:, None] + step
            came_from.append(total.argmin(axis=0))
            cost = total.min(axis=0)
        chain = [len(sides) - 1]
        for back in reversed(came_from):
            chain.append(int(back[chain[-1]]))
        chain = sorted(set(chain))
        chains.append((sides[chain], np.diff(within[chain], prepend=0)))
    return chains
