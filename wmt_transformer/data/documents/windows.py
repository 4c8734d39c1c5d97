"""Packed text: documents one after the other, cut into windows of one length, as a pure function of (seed, step).

A language model learns from windows full of tokens, with nothing padded: where a document ends, EOS, the next one
begins. What the model sees of a window's past is one token; before a document's first token that is BOS. (The model
keeps documents apart that share a window.) Every epoch takes every token once, in windows whose borders are elsewhere
each time, so that no token is always where little precedes it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wmt_transformer.data.batches import Batch, Epochs
from wmt_transformer.data.shapes import Shape
from wmt_transformer.special_tokens import BOS, EOS, PAD


class TokenStream:
    """The tokens of documents, EOS after each: `stream.tokens` [token]."""

    def __init__(self, tokens: np.ndarray):
        self.tokens = tokens

    @classmethod
    def open(cls, folder: Path, name: str, dtype: str) -> TokenStream:
        """Maps `name`.tokens into memory."""
        return cls(np.asarray(np.memmap(folder / f"{name}.tokens", dtype, mode="r")))

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
        self._windows = -(-(len(stream) - 1) // context) + 1
        self.rows = max(min(target_tokens // context, self._windows) // multiple, 1) * multiple
        self.batches_per_epoch = -(-self._windows // self.rows)
        self._epochs = Epochs(self._shuffle)

    def __getitem__(self, step: int) -> Batch:
        """Returns this host's rows of the global batch of `step`, counted from 0 and without end."""
        if step < 0:
            raise IndexError(f"steps are counted from 0, got {step}")
        epoch, index = divmod(int(step), self.batches_per_epoch)
        first, order = self._epochs[epoch]
        rows = self.rows // self._host_count
        begin = index * self.rows + rows * self._host_index
        source = np.full((rows, 1), PAD, np.int32)
        target = np.full((rows, self._context), PAD, np.int32)
        tokens = self._stream.tokens
        for row, window in enumerate(order[begin : begin + rows].tolist()):
            start = first + window * self._context
            real = tokens[max(start, 0) : max(start + self._context, 0)]
            if len(real):
                before = tokens[start - 1] if start > 0 else EOS
                source[row] = BOS if before == EOS else before
                target[row, : len(real)] = real
        return Batch(source, target)

    def shapes_from(self, first: int, last: int) -> list[Shape]:
        """Returns the one shape of all batches, where there are steps from `first` to before `last`."""
        return [Shape(self.rows, 1, self._context)] if first < last else []

    def _shuffle(self, epoch: int) -> tuple[int, np.ndarray]:
        """Returns where an epoch's first window begins, 0 or before, and the order of the windows."""
        random = np.random.default_rng([self._seed, epoch])
        first = -int(random.integers(self._context)) if epoch else 0
        return first, random.permutation(self._windows).astype(np.int32)
