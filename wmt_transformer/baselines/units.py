"""Words or characters as tokens: a vocabulary that is a list of what occurs in one text.

It has the interface of `data.vocabulary.Vocabulary`, and its special ids. What does not occur in that text is UNKNOWN.
A document is a line where tokens are words, and the whole text where they are characters.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

import numpy as np

from wmt_transformer.reading import read_lines
from wmt_transformer.special_tokens import EOS, UNKNOWN

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
"""What PAD, BOS, EOS and UNKNOWN, ids 0 to 3, are called."""

_WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")


def documents(path: str, words: bool) -> list[str]:
    """Returns the documents of a text file (see `read_lines`): its lines, or all of it as one."""
    lines = list(read_lines(path))
    return [line for line in lines if line.strip()] if words else ["\n".join([*lines, ""])]


class Units:
    """Text to ids and back; ids follow the order of first appearance."""

    def __init__(self, texts: Iterable[str], words: bool):
        self._words = words
        seen = dict.fromkeys(itertools.chain.from_iterable(map(self.pieces, texts)))
        self._names = [*SPECIAL, *seen]
        self._ids = {piece: token for token, piece in enumerate(self._names)}

    def __len__(self) -> int:
        return len(self._names)

    def ids(self) -> dict[str, int]:
        """Returns the id of every word or character, and of the special tokens."""
        return dict(self._ids)

    def pieces(self, text: str) -> list[str]:
        """Returns what `encode` gives ids: characters, or words and single marks without the spaces."""
        return _WORD.findall(text) if self._words else list(text)

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text, without BOS and EOS."""
        return [self._ids.get(piece, UNKNOWN) for piece in self.pieces(text)]

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Returns the text up to the first EOS; words have a space between them, none before a mark."""
        before = itertools.takewhile(lambda token: token != EOS, ids)
        names = [self._names[token] for token in before if token >= len(SPECIAL)]
        return re.sub(r" (?=[^\w\s])", "", " ".join(names)) if self._words else "".join(names)
