"""A digest of the text of a corpus, by which a corpus that was moved, copied or fetched again is known."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal, TypeVar

Split = Literal["train", "dev", "test"]
Text = TypeVar("Text", bound=str | tuple[str, str])


class TextDigest:
    """The digest of a corpus's text as it is read, before anything is done to it."""

    def __init__(self) -> None:
        self._splits: dict[str, str] = {}

    def through(self, split: str, texts: Iterable[Text]) -> Iterator[Text]:
        """Yields the texts, sentence pairs or documents, of a split; when all are read, they are in the digest."""
        digest = hashlib.sha256()
        for text in texts:
            line = text if isinstance(text, str) else "\0".join(text)
            digest.update(line.encode("utf-8", "surrogatepass") + b"\0\0")
            yield text
        self._splits[split] = digest.hexdigest()

    def hexdigest(self) -> str:
        """Returns the digest of all splits read so far."""
        return hashlib.sha256(repr(sorted(self._splits.items())).encode()).hexdigest()


def digest_of(texts: Iterable[tuple[str, Iterable[str | tuple[str, str]]]]) -> str:
    """Reads all splits, each with its name, and returns the digest of their text."""
    digest = TextDigest()
    for split, some in texts:
        deque(digest.through(split, some), maxlen=0)
    return digest.hexdigest()
