"""Which shapes of batches leave the fewest slots empty, on the lengths that really occur: `plan`.

Two pairs share a row, a long one and a short one. An accelerator compiles once per shape, so there are few of them,
each with room for the one before: a row goes into the first that has room for both its sides. They are found exactly,
by dynamic programming.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MOST_SHAPES = 12
STEPS_PER_SHAPE = 600
"""A run has one shape for every 600 steps, MOST_SHAPES at most. To compile one takes as long as tens or hundreds of
steps; of Multi30k's slots the second saves 38 %, the third 8, the fourth 3, the twelfth 0.2."""
BATCHES_PER_SHAPE = 4
"""A shape takes longer to compile than the slots that it saves are worth where an epoch has fewer batches of it."""


def worth_compiling(steps: int) -> int:
    """Returns how many shapes a run of this many steps has unless it is told."""
    return min(max(steps // STEPS_PER_SHAPE, 1), MOST_SHAPES)


class Shape(NamedTuple):
    """The sides of a batch: rows, and the lengths of its source and target."""

    rows: int
    source: int
    target: int

    @property
    def slots(self) -> int:
        return self.rows * (self.source + self.target)


def most_rows(source: int, target: int, source_tokens: int, target_tokens: int, multiple: int) -> int:
    """Returns how many rows of these lengths the token budget allows: a multiple of `multiple`, at least one of it."""
    return max(min(source_tokens // source, target_tokens // target) // multiple, 1) * multiple


class Share(NamedTuple):
    """What becomes of a shape's rows in an epoch; the same every epoch, only who they are changes."""

    shape: Shape
    batches: int
    rows: int
    """Its own, and those left over from the shape before."""
    rest: int
    """Rows that fill no batch and go up into the next shape."""


class Plan(NamedTuple):
    """What the batches of every epoch are cut from."""

    rows: np.ndarray
    """[row, 2] int32: the pairs that share a row, -1 beside one that is alone."""
    shares: list[Share]
    """What becomes of each shape's rows, smallest shape first."""
    members: list[np.ndarray]
    """The rows (int32) of each shape."""

    @property
    def slots(self) -> int:
        """Slots in all batches of an epoch, source and target."""
        return _slots(self.shares)


def plan(
    source_lengths: np.ndarray,
    target_lengths: np.ndarray,
    source_tokens: int,
    target_tokens: int,
    num_shapes: int | None,
    multiple: int,
) -> Plan:
    """Returns the rows of these pairs and at most `num_shapes` (None: MOST_SHAPES) shapes for them, those with the
    fewest slots.

    A batch has at most `source_tokens` and `target_tokens` slots, and a multiple of `multiple` rows. Where there are
    few batches in an epoch there are fewer shapes, one for each `BATCHES_PER_SHAPE` of them.
    """
    lengths = np.stack([source_lengths, target_lengths], axis=1)
    rows = two_a_row(lengths, np.array([source_tokens, target_tokens]) // multiple)
    sums = lengths[rows[:, 0]] + np.where(rows[:, 1:] < 0, 0, lengths[rows[:, 1]])
    chains = nested_sides(sums[:, 0], sums[:, 1], num_shapes or MOST_SHAPES)
    plans = [share_out(sides, counts, source_tokens, target_tokens, multiple) for sides, counts in chains]
    one_shape = plans[0][0].batches
    shares = min(plans[: max(one_shape // BATCHES_PER_SHAPE, 1)], key=_slots)
    return Plan(rows, shares, rows_by_shape([share.shape for share in shares], sums[:, 0], sums[:, 1]))


def _slots(shares: list[Share]) -> int:
    return sum(share.batches * share.shape.slots for share in shares)


def two_a_row(lengths: np.ndarray, most: np.ndarray, bins: int = 50) -> np.ndarray:
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


def share_out(
    sides: np.ndarray, counts: np.ndarray, source_tokens: int, target_tokens: int, multiple: int
) -> list[Share]:
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
        shares.append(Share(Shape(-rows, source, target), batches, here, rest))
    return shares


def rows_by_shape(shapes: list[Shape], source_lengths: np.ndarray, target_lengths: np.ndarray) -> list[np.ndarray]:
    """Returns for each shape the rows (int32) for which it is the first with room."""

    def first_with_room(lengths: np.ndarray, room: list[int]) -> np.ndarray:
        return np.searchsorted(room, np.arange(lengths.max() + 1)).astype(np.uint8)[lengths]

    first = first_with_room(source_lengths, [shape.source for shape in shapes])
    np.maximum(first, first_with_room(target_lengths, [shape.target for shape in shapes]), out=first)
    return [np.flatnonzero(first == index).astype(np.int32) for index in range(len(shapes))]


def nested_sides(
    source_lengths: np.ndarray, target_lengths: np.ndarray, most: int, grid: int = 64, spread: float = 0.25
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns for k = 1 … `most` the k nested shapes with fewest slots, before these are cut into batches.

    Each is (sides [k, (source, target)], pairs [k]). With N(S, T) the number of pairs of at most S and T
    tokens, a shape (S, T) that follows (S', T') costs (N(S, T) - N(S', T')) (S + T) slots, so the best chain
    of k shapes that ends in (S, T) follows from the best chains of k - 1. Where there are more than `grid`
    different lengths, only `grid` of them are tried, equally many tokens apart.
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
