"""Word vectors from other programs and for them: word2vec's text and binary formats, GloVe's text.

All three are a table of words and numbers. word2vec's begin with a line of how many and how wide; GloVe's begin with
the first word. A file of ours, or any in which some word begins with SentencePiece's ▁, is a table of pieces and is
matched as it is. In any other the word `house` is our piece `▁house`, and what begins with neither letter nor
digit, such as a comma, is also the piece of that name; a piece from the middle of a word has no vector there.
"""

from __future__ import annotations

import gzip
import io
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from wmt_transformer.config import UserError
from wmt_transformer.reading import open_binary

Bytes = io.BufferedReader | gzip.GzipFile
"""What `open_binary` opens."""


def rows(path: Path, ids: Mapping[str, int], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ids `[n]` of the pieces that a file has vectors for, ascending, and the vectors `[n, width]`.

    One factor makes the root mean square of all their numbers width ** -0.5, that of a fresh table: angles and ratios
    stay as they were. Raises UserError for a file that cannot be read, of another width, or without any of the pieces.
    """
    words = {piece[1:]: token for piece, token in ids.items() if piece.startswith("▁")}
    words |= {piece: token for piece, token in ids.items() if not piece[0].isalnum() and piece[0] != "▁"}
    found = read(path, ids.keys() | words.keys(), width)
    names = ids if any(word.startswith("▁") for word in found) else words
    vectors = {names[word]: vector for word, vector in found.items() if word in names}
    if not vectors:
        raise UserError(f"{path} has a vector for none of the {len(ids):,} pieces; is it of another language?")
    chosen = np.array(sorted(vectors), np.int32)
    table = np.stack([vectors[token] for token in chosen.tolist()])
    scale = np.sqrt(np.mean(np.square(table, dtype=np.float64)))
    return chosen, np.asarray(table * (width**-0.5 / (scale or 1.0)), np.float32)


def read(path: Path, wanted: Collection[str], width: int) -> dict[str, np.ndarray]:
    """Returns the vectors `[width]`, float32, of the words that are wanted and there; others are not kept in memory.

    The file is one of word2vec's (text or binary) or of GloVe's, plain or .gz. Raises UserError where it is not.
    """
    with open_binary(path) as file:
        return {word: vector for word, vector in _entries(file, path, wanted, width) if word in wanted}


def write(file: io.TextIOBase | IO[str], names: Sequence[str], table: np.ndarray) -> None:
    """Writes rows `[n, width]` and their names as word2vec's text, with all digits of a float32.

    A line break in a name, which would end the line, is written `\\n`.
    """
    file.write(f"{len(names)} {table.shape[1]}\n")
    for name, row in zip(names, np.asarray(table, np.float32), strict=True):
        shown = name.replace("\n", "\\n").replace(" ", "▁")
        file.write(f"{shown} {' '.join(format(value, '.9g') for value in row.tolist())}\n")


def nearest(table: np.ndarray, row: int, count: int = 10) -> list[tuple[int, float]]:
    """Returns the `count` rows of a table `[n, width]` with the greatest cosine to one row, which is left out."""
    units = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)
    cosines = units @ units[row]
    order = [int(other) for other in np.argsort(-cosines, kind="stable") if other != row]
    return [(other, float(cosines[other])) for other in order[:count]]


def _entries(file: Bytes, path: Path, wanted: Collection[str], width: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yields words and vectors; those that are not wanted may be left out."""
    first = file.readline()
    header = first.split()
    count, found, line = None, len(header) - 1, first
    if len(header) == 2 and all(field.isdigit() for field in header):
        count, found = int(header[0]), int(header[1])
        line = file.readline()  # nothing is read twice: it may be a pipe
    text = _is_text(line, found)
    if found < 1 or (not text and count is None):
        raise UserError(f"{path} does not begin as word2vec's or GloVe's files do: a word, then numbers")
    if found != width:
        raise UserError(f"{path} has vectors of {found} numbers, and model.d_model is {width}; they must agree")
    lines = itertools.chain([line], file)
    yield from (
        _text(lines, path, wanted, width, count) if text else _binary(_After(line, file), path, count or 0, width)
    )


class _After:
    """Bytes that were read already, and then those of a file."""

    def __init__(self, first: bytes, file: Bytes):
        self._first, self._file = io.BytesIO(first), file

    def read(self, size: int) -> bytes:
        """Returns this many bytes, fewer at the end."""
        found = self._first.read(size)
        return found if len(found) == size else found + self._file.read(size - len(found))


def _is_text(line: bytes, width: int) -> bool:
    """Tells whether a line is a word and `width` numbers."""
    fields = line.split()[-width:]
    try:
        return len([float(field) for field in fields]) == width and len(line.split()) > width
    except ValueError:
        return False


def _text(
    lines: Iterable[bytes], path: Path, wanted: Collection[str], width: int, count: int | None
) -> Iterator[tuple[str, np.ndarray]]:
    """`count` is the number of words that the file's first line gives, where it gives one."""
    first, number = (1, 0) if count is None else (2, 1)
    for number, line in enumerate(lines, first):
        fields = line.rstrip().rsplit(b" ", width)  # GloVe has a few words with spaces in them
        try:
            word = fields[0].decode("utf-8", "replace")
            if len(fields) != width + 1:
                raise ValueError
            vector = np.array(fields[1:], np.float32) if word in wanted else None
            if vector is not None and not np.isfinite(vector).all():
                raise ValueError
        except ValueError:
            raise UserError(f"{path}, line {number} is not a word and {width} numbers; fetch it again") from None
        if vector is not None:
            yield word, vector
    if count is not None and number - 1 < count:
        raise UserError(f"{path} ends after {number - 1:,} of {count:,} words; fetch it again")


def _binary(file: _After, path: Path, count: int, width: int) -> Iterator[tuple[str, np.ndarray]]:
    for number in range(1, count + 1):
        word = bytearray()
        while (byte := file.read(1)) not in (b" ", b""):
            word += byte
        numbers = file.read(4 * width)
        if len(numbers) < 4 * width:
            raise UserError(f"{path} ends in word {number:,} of {count:,}; fetch it again")
        vector = np.frombuffer(numbers, "<f4")
        if not np.isfinite(vector).all():
            raise UserError(f"{path}, word {number:,} of {count:,}: its vector is not finite; fetch it again")
        yield word.decode("utf-8", "replace").lstrip("\n"), vector
