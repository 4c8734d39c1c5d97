"""Batches of similar length, in a few fixed shapes, as a pure function of (seed, step).

"Sentence pairs were batched together by approximate sequence length" (§5.1). Here two pairs share a row, a long one
and a short one (the model keeps them apart): their sums are far more alike than their lengths, so that fewer slots
stay empty. A batch holds as many rows of its shape as the token budget allows; the rows left over at the end of an
epoch go up into the next shape. Which shapes there are is decided in `shapes.py`.

The order of an epoch follows from (seed, epoch) alone: resuming needs no state but the step, and every host
cuts its rows out of the same global batch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

from wmt_transformer.data.shapes import Shape, plan
from wmt_transformer.special_tokens import PAD

Order = TypeVar("Order")


class Batch(NamedTuple):
    """Token ids, int32; a row holds one sentence or two, each with EOS at its end, and PAD fills the rest.

    The last batch of a shape may hold whole rows of PAD: sentences run out before the rows do.
    """

    source: np.ndarray
    """[batch, source length]; to a language model, which reads a window of text, it is the token before the window."""
    target: np.ndarray
    """[batch, target length]"""


@runtime_checkable
class Pairs(Protocol):
    """What batches are made of: `tokens.TokenPairs`, or a `mixture.Mixture` of several corpora."""

    source_lengths: np.ndarray
    target_lengths: np.ndarray

    def pair(self, index: int, draw: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (source ids, target ids), at most as long as the lengths say; which may depend on the draw."""
        ...


@runtime_checkable
class BatchesByStep(Protocol):
    """All batches of a run, of whatever they are made: a function of the step."""

    batches_per_epoch: int

    def __getitem__(self, step: int) -> Batch: ...

    def shapes_from(self, first: int, last: int) -> list[Shape]:
        """Returns the shapes of the global batches of steps first … last - 1, each once, as they come first."""
        ...


class Epochs(Generic[Order]):
    """What is made once an epoch, such as its order: `epochs[n]`. Two are kept, since threads read ahead."""

    def __init__(self, make: Callable[[int], Order]):
        self._make, self._lock = make, threading.Lock()
        self._known: dict[int, Order] = {}

    def __getitem__(self, epoch: int) -> Order:
        with self._lock:
            if epoch not in self._known:
                while len(self._known) > 1:
                    del self._known[max(self._known, key=lambda known: abs(known - epoch))]
                self._known[epoch] = self._make(epoch)
            return self._known[epoch]


class Batches:
    """All batches of a run: `batches[step]` is the batch of that step, whoever asks and in whatever order.

    Attributes:
      shapes: list of (rows, source length, target length) of the global batches.
      batches_per_epoch: the same every epoch; range(batches_per_epoch) is one pass over the pairs.
      real_token_share: share of real tokens in all slots of an epoch, source and target; where pairs are cut at
        random, as if each were cut into its longest segmentation.

    Args:
      pairs: sentence pairs with their lengths, EOS included; each epoch asks for the next draw of them.
      source_tokens, target_tokens: slots in a global batch, at most; a pair that is longer than the budget
        still gets a batch of `multiple` rows.
      num_shapes: at most this many different shapes; None: `shapes.MOST_SHAPES`.
      multiple: rows of every global batch are a multiple of this.
      seed: with the step, decides everything.
      host_index, host_count: which slice of the rows this process gets; `multiple` is shared out evenly.
    """

    def __init__(
        self,
        pairs: Pairs,
        source_tokens: int,
        target_tokens: int,
        num_shapes: int | None = None,
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

        self._plan = plan(
            pairs.source_lengths, pairs.target_lengths, source_tokens, target_tokens, num_shapes, multiple
        )

        # The batches of an epoch before they are shuffled: shape, and which part of the epoch's order.
        self._batches: list[tuple[Shape, int, int]] = []
        position = 0
        for share in self._plan.shares:
            end = position + share.rows - share.rest
            for start in range(position, end, share.shape.rows):
                self._batches.append((share.shape, start, min(start + share.shape.rows, end)))
            position = end
        self.shapes = sorted({shape for shape, _, _ in self._batches}, key=lambda shape: shape[1:])
        self.batches_per_epoch = len(self._batches)
        self.real_token_share = int(pairs.source_lengths.sum() + pairs.target_lengths.sum()) / self._plan.slots

        self._epochs = Epochs(self._shuffle)

    def __getitem__(self, step: int) -> Batch:
        """Returns this host's rows of the global batch of `step`, counted from 0 and without end."""
        if step < 0:
            raise IndexError(f"steps are counted from 0, got {step}")
        epoch, index = divmod(int(step), self.batches_per_epoch)
        row_order, batch_order = self._epochs[epoch]
        shape, start, end = self._batches[batch_order[index]]
        rows = shape.rows // self._host_count
        first = start + rows * self._host_index
        source = np.full((rows, shape.source), PAD, np.int32)
        target = np.full((rows, shape.target), PAD, np.int32)
        for row, members in enumerate(self._plan.rows[row_order[first : max(first, min(first + rows, end))]].tolist()):
            source_end, target_end = 0, 0
            for pair in members:
                if pair >= 0:
                    source_ids, target_ids = self._pairs.pair(pair, self._seed + epoch)
                    source_begin, source_end = source_end, source_end + len(source_ids)
                    target_begin, target_end = target_end, target_end + len(target_ids)
                    source[row, source_begin:source_end] = source_ids
                    target[row, target_begin:target_end] = target_ids
        return Batch(source, target)

    def shapes_from(self, first: int, last: int) -> list[Shape]:
        """Returns the shapes of the global batches of steps first … last - 1, each once, as they come first."""
        found: dict[Shape, None] = {}
        for step in range(first, last):
            epoch, index = divmod(step, self.batches_per_epoch)
            found[self._batches[self._epochs[epoch][1][index]][0]] = None
            if len(found) == len(self.shapes):
                break
        return list(found)

    def _shuffle(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns an epoch's order of the rows, and that of the batches."""
        random = np.random.default_rng([self._seed, epoch])
        order = np.empty(len(self._plan.rows), np.int32)
        position, left_over = 0, order[:0]
        for share, members in zip(self._plan.shares, self._plan.members, strict=True):
            rows = np.concatenate([left_over, members])
            random.shuffle(rows)
            used = share.rows - share.rest
            order[position : position + used] = rows[:used]
            position, left_over = position + used, rows[used:]
        return order, random.permutation(self.batches_per_epoch)


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
