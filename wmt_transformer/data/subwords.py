"""Words cut at random for training: BPE-dropout and unigram sampling.

A model that sees a word cut in several ways learns what its pieces have to do with each other (Kudo 2018; Provilkov et
al. 2020). SentencePiece draws, too, but its generator differs from process to process, whatever the seed. Here draw n
of a word is a function of the word and n alone, the same in every process. Where no piece reaches over a space, a text
is drawn word by word, as that gives the same probabilities, and what was drawn is remembered.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wmt_transformer.special_tokens import UNKNOWN

DRAWS = 32
"""Different draws of a word; one of them is taken each time that the word occurs."""
MOST_REMEMBERED = 1 << 20
"""Draws that are remembered, about 200 MB."""
_UNKNOWN_PENALTY = 10.0
"""SentencePiece's: how much less likely than the least likely piece a character is that has none."""


class Sampler:
    """Cuts texts at random into the pieces of a SentencePiece model.

    Args:
      processor: the model.
      ids: of its pieces; what is not there is UNKNOWN.
      alpha: probability that a merge of byte pairs is skipped; of a unigram model, the exponent on a probability.
      merges: whether it is a model of byte pairs; the scores of their pieces are the ranks of the merges.
      by_word: whether no piece reaches over a space.
    """

    def __init__(self, processor: Any, ids: Mapping[str, int], alpha: float, merges: bool, by_word: bool):
        from sentencepiece.sentencepiece_model_pb2 import ModelProto  # pyright: ignore[reportAttributeAccessIssue]

        self._processor, self._ids, self._alpha, self._by_word = processor, ids, alpha, by_word
        self._cut = self._merged if merges else self._segmented
        pieces = ModelProto.FromString(processor.serialized_model_proto()).pieces
        kinds = ModelProto.SentencePiece
        self._scores = {one.piece: one.score for one in pieces if one.type == kinds.NORMAL}
        self._longest = max(map(len, self._scores))
        self._unknown = min(self._scores.values()) - _UNKNOWN_PENALTY
        self._has_bytes = any(one.type == kinds.BYTE for one in pieces)
        defined = sorted((one.piece for one in pieces if one.type == kinds.USER_DEFINED), key=len, reverse=True)
        self._never_cut = re.compile(f"({'|'.join(map(re.escape, defined)) or '(?!)'})")
        self._drawn = functools.lru_cache(MOST_REMEMBERED)(self._draw)

    def encode(self, texts: Sequence[str], seed: int) -> list[list[int]]:
        """Returns the ids of each text, without EOS; the same texts and seed give the same."""
        generator, found = np.random.default_rng(seed), []
        for text in texts:
            units = text.split(" ") if self._by_word else [text]
            numbers = generator.integers(DRAWS, size=len(units)).tolist()
            found.append([token for unit in zip(units, numbers, strict=True) for token in self._drawn(*unit)])
        return found

    def _draw(self, text: str, number: int) -> tuple[int, ...]:
        """Returns the ids of draw `number` of a word or text."""
        generator = random.Random(f"{number} {text}")
        pieces: list[str] = []
        for number, part in enumerate(self._never_cut.split(self._processor.normalize(text))):
            pieces += [part] if number % 2 else self._cut(part, generator)
        ids: list[int] = []
        for piece in pieces:
            if piece in self._scores or self._never_cut.fullmatch(piece):
                ids.append(self._ids.get(piece, UNKNOWN))
            elif self._has_bytes:
                ids += [self._ids[f"<0x{byte:02X}>"] for byte in piece.encode()]
            elif ids[-1:] != [UNKNOWN]:  # several in a row are one
                ids.append(UNKNOWN)
        return tuple(ids)

    def _merged(self, text: str, generator: random.Random) -> list[str]:
        """Merges the letters of a text, the best merge first; one that is skipped is not tried again (BPE-dropout)."""
        pieces, untried = list(text), [True] * (len(text) - 1)
        while True:
            joined = [left + right for left, right in itertools.pairwise(pieces)]
            possible = [(-self._scores[one], i) for i, one in enumerate(joined) if untried[i] and one in self._scores]
            if not possible:
                return pieces
            _, place = min(possible)
            untried[place] = False
            if generator.random() >= self._alpha:
                pieces[place : place + 2] = [joined[place]]
                del untried[place]
                for beside in {max(place - 1, 0), min(place, len(untried) - 1)} if untried else ():
                    untried[beside] = True

    def _segmented(self, text: str, generator: random.Random) -> list[str]:
        """Draws a segmentation in proportion to its probability to the power of alpha: sums forwards, draws back."""
        ways: list[tuple[list[int], list[float]]] = [([], [])]  # where the last piece before each place may begin
        totals = [0.0]
        for end in range(1, len(text) + 1):
            begins, weights = [], []
            for begin in range(max(0, end - self._longest), end):
                score = self._scores.get(text[begin:end], self._unknown if begin == end - 1 else None)
                if score is not None:
                    begins.append(begin)
                    weights.append(totals[begin] + self._alpha * score)
            most = max(weights)
            ways.append((begins, [math.exp(weight - most) for weight in weights]))
            totals.append(most + math.log(sum(ways[-1][1])))
        pieces, end = [], len(text)
        while end:
            (begin,) = generator.choices(*ways[end])
            pieces.append(text[begin:end])
            end = begin
        return pieces[::-1]
