"""Packed text: documents one after the other, cut into windows of one length, as a pure function of (seed, step).

A language model learns from windows full of tokens, with nothing padded: where a document ends, EOS, the next one
begins. What the model sees of a window's past is one token; before a document's first token that is BOS. (The model
keeps documents apart that share a window.) Every epoch takes every token once, in windows whose borders are elsewhere
each time, so that no token is always where little precedes it. Of several corpora, each of which has windows of its
own, an epoch has the windows as often as the weights say (see `mixture.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wmt_transformer.config import UserError
from wmt_transformer.data.batches import Batch, Epochs
from wmt_transformer.data.mixture import Counts, Slots
from wmt_transformer.data.shapes import Shape
from wmt_transformer.special_tokens import BOS, EOS, PAD


class TokenStream:
    """The tokens of documents, EOS after each, of one corpus after the other: `stream.tokens` [token].

    `sizes` are the tokens of each corpus, and `weights` how often an epoch has them; without them it is one corpus.
    """

    def __init__(self, tokens: np.ndarray, sizes: Sequence[int] = (), weights: Sequence[float] = ()):
        self.tokens, self.sizes, self.weights = tokens, sizes or [len(tokens)], weights or [1.0]

    @classmethod
    def open(cls, folder: Path, name: str, dtype: str, corpora: Sequence[Counts] = ()) -> TokenStream:
        """Maps `name`.tokens into memory; `corpora` are the counts of those that it holds."""
        tokens = np.asarray(np.memmap(folder / f"{name}.tokens", dtype, mode="r"))
        return cls(tokens, [one["tokens"] for one in corpora], [one["weight"] for one in corpora])

    def __len__(self) -> int:
        return len(self.tokens)


class Windows:
    """All batches of a run over packed text, to be used like `batches.Batches`: `windows[step]` is a batch.

    Its target is `[rows, context]`, tokens of the stream; its source `[rows, 1]` is the token before each row's first.
    The first epoch's windows begin at the first token, those of later epochs somewhere in the first window. Where the
    tokens run out, rows end in PAD; rows of PAD alone have PAD as source.

    Args:
      context: length of a window.
      target_tokens: slots in a global batch, at most; a batch has `multiple` rows or more all the same.
      multiple, seed, host_index, host_count: as those of `Batches`.
    """

    def __init__(
        self,
        stream: TokenStream,
        context: int,
        target_tokens: int,
        multiple: int = 8,
        seed: int = 1,
        host_index: int = 0,
        host_count: int = 1,
    ):
        if not len(stream):
            raise ValueError("there is no text to make windows of")
        if multiple % host_count:
            raise ValueError(f"{host_count} hosts cannot share batches whose rows are a multiple of {multiple}")
        self._stream, self._context, self._seed = stream, context, seed
        self._host_index, self._host_count = host_index, host_count
        # One window more than the tokens fill: the borders move.
        windows = [-(-(size - 1) // context) + 1 for size in stream.sizes]
        self._ends, self._window_ends = np.cumsum(stream.sizes), np.cumsum(windows)
        self._slots = Slots(windows, stream.weights, [np.full(sum(windows), context)])
        if not len(self._slots):
            raise UserError(f"data.train_weights leave no window of {context} tokens; give larger ones")
        self.rows = max(min(target_tokens // context, len(self._slots)) // multiple, 1) * multiple
        self.batches_per_epoch = -(-len(self._slots) // self.rows)
        self._epochs = Epochs(self._shuffle)
        self._border = functools.lru_cache(self._draw_border)

    def __getitem__(self, step: int) -> Batch:
        """Returns this host's rows of the global batch of `step`, counted from 0 and without end."""
        if step < 0:
            raise IndexError(f"steps are counted from 0, got {step}")
        epoch, index = divmod(int(step), self.batches_per_epoch)
        order = self._epochs[epoch]
        rows = self.rows // self._host_count
        begin = index * self.rows + rows * self._host_index
        source = np.full((rows, 1), PAD, np.int32)
        target = np.full((rows, self._context), PAD, np.int32)
        for row, slot in enumerate(order[begin : begin + rows].tolist()):
            source[row], real = self._window(*self._slots.item(slot, epoch))
            target[row, : len(real)] = real
        return Batch(source, target)

    def shapes_from(self, first: int, last: int) -> list[Shape]:
        """Returns the one shape of all batches, where there are steps from `first` to before `last`."""
        return [Shape(self.rows, 1, self._context)] if first < last else []

    def _window(self, window: int, turn: int) -> tuple[int, np.ndarray]:
        """Returns the token before a window, and its own, at most `context`, when its text is read for the time `turn`.

        Times are counted from 0. A window of no tokens has PAD before it.
        """
        corpus = int(np.searchsorted(self._window_ends, window, "right"))
        begin, end = self._ends[corpus] - self._stream.sizes[corpus], self._ends[corpus]
        within = window - (self._window_ends[corpus - 1] if corpus else 0)
        start = begin + self._border(turn) + within * self._context
        tokens = self._stream.tokens
        real = tokens[max(start, begin) : max(min(start + self._context, end), begin)]
        if not len(real):
            return PAD, real
        before = int(tokens[start - 1]) if start > begin else EOS
        return BOS if before == EOS else before, real

    def _draw_border(self, turn: int) -> int:
        """Returns where the first window begins when a text is read for the time `turn`: at 0, or before."""
        return -int(self._random(turn).integers(self._context)) if turn else 0

    def _shuffle(self, epoch: int) -> np.ndarray:
        """Returns the order of an epoch's slots."""
        random = self._random(epoch)
        if epoch:
            random.integers(self._context)  # the border of its turn
        return random.permutation(len(self._slots)).astype(np.int32)

    def _random(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, number])
