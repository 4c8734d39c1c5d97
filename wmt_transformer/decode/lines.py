"""Lines of text and the parts that are decoded: what a model is given at once, and how the results become a line.

A line longer than any that training saw (`data.max_length`) would be translated badly and slowly in one go: it is
split at ends of sentences where it has any, and a warning names it. Nothing is ever dropped. Lengths come from a short
list, so that XLA compiles few programs.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from wmt_transformer.config import DecodeConfig, UserError
from wmt_transformer.data.vocabulary import TAG, Vocabulary, normalise
from wmt_transformer.decode.alignment import Attention, Links
from wmt_transformer.messages import number_of
from wmt_transformer.special_tokens import EOS, PAD, UNKNOWN


@dataclasses.dataclass(frozen=True)
class Part:
    """A line, or a piece of one that is too long."""

    line: int
    """The number of the line that it is from."""
    number: int
    """Which of its line's parts it is."""
    text: str
    source: list[int]
    """Ids of the text, EOS included."""
    prefix: list[int]
    """Ids that its output begins with."""
    first_word: int
    """How many of its line's words come before it."""


@dataclasses.dataclass(frozen=True)
class Translation:
    """One hypothesis: its text, and its log-probability divided by the length penalty of §6.1 (beta adds its own).

    With alignments, also the links between words, and the attention of every part of the line (one, unless the line
    was too long to be translated in one go).
    """

    text: str
    score: float
    alignment: Links | None = None
    attention: tuple[Attention, ...] = dataclasses.field(default=(), compare=False)


def parts_of(
    vocabulary: Vocabulary,
    sentences: Sequence[str],
    prefixes: Sequence[str] | None,
    longest: int,
    warn: Callable[[str], None],
    first_line: int,
) -> list[Part]:
    """Returns the parts of every line, each shorter than `longest` with EOS; a blank line has none.

    A line's prefix goes to its first part, its tag (`>>de<<`) to each. Raises UserError, naming the line, for a prefix
    that cannot be spelt and for a tag that the vocabulary lacks where it has others.
    """
    parts = []
    for line, sentence in enumerate(sentences, first_line):
        prefix = _spelt(vocabulary, normalise(prefixes[line - first_line]), line) if prefixes else []
        length = len(vocabulary.encode(sentence))
        texts = [sentence] if length else []
        tag = _tag(vocabulary, sentence, line)
        if length >= longest:
            rest = normalise(sentence).removeprefix(tag).strip()
            texts = [f"{tag} {part}".strip() for part in split(vocabulary, rest, longest - bool(tag))]
            warn(
                f"line {line} is very long: {number_of(length, 'piece')}, and training saw at most {longest - 1}; "
                f"it is translated in {number_of(len(texts), 'part')}"
            )
        if prefix and not texts:
            raise UserError(f"line {line} is blank and has a prefix; a blank line stays blank, leave its prefix empty")
        word_of_letter = [word for word, letters in enumerate(normalise(sentence).split()) for _ in letters]
        letters = 0
        for count, one in enumerate(texts):
            source = [*vocabulary.encode(one), EOS]
            # A tag that is repeated is no word of the line.
            first_word = word_of_letter[letters] - bool(tag) if count else 0
            parts.append(Part(line, count, one, source, [] if count else prefix, first_word))
            letters += len("".join(one.split())) - len(tag) * bool(count)
    return parts


def _tag(vocabulary: Vocabulary, sentence: str, line: int) -> str:
    """Returns the tag that a line begins with, or nothing."""
    found = TAG.match(normalise(sentence))
    if found is None or not vocabulary.tags:
        return ""
    if found[0] not in vocabulary.tags:
        raise UserError(f"line {line}: the model does not know {found[0]}; it knows {', '.join(vocabulary.tags)}")
    return found[0]


def _spelt(vocabulary: Vocabulary, prefix: str, line: int) -> list[int]:
    ids = vocabulary.encode_target(prefix)
    if UNKNOWN in ids:
        raise UserError(f"line {line}: the vocabulary cannot spell the prefix {prefix!r}; change it or leave it empty")
    return ids


def most_tokens(source: int, settings: DecodeConfig, positions: int) -> int:
    """Returns the most tokens of the output for a source of `source` tokens, EOS included in both (§6.1)."""
    most = min(source + settings.extra_length, positions)
    return most if settings.max_length is None else min(most, settings.max_length + 1)


def check_room(part: Part, settings: DecodeConfig, positions: int) -> None:
    """Raises UserError, naming the line, for a prefix or a minimum length that is longer than its output may be."""
    most, source = most_tokens(len(part.source), settings, positions) - 1, len(part.source) - 1
    for length, what in ((len(part.prefix), "the prefix has"), (settings.min_length, "the minimum length is")):
        if length > most:
            raise UserError(
                f"line {part.line}: {what} {number_of(length, 'piece')}, and the output at most {most} (the source has "
                f"{source}; extra_length is {settings.extra_length}, max_length {settings.max_length}); shorten it or "
                "allow longer outputs"
            )


def split(vocabulary: Vocabulary, text: str, longest: int) -> Iterator[str]:
    """Yields the parts of a text: halves, halves of halves, … until each is shorter than `longest` with EOS."""
    if len(vocabulary.encode(text)) < longest or len(text) < 2:
        yield text
    else:
        middle = _middle(text)
        yield from split(vocabulary, text[:middle].strip(), longest)
        yield from split(vocabulary, text[middle:].strip(), longest)


def _middle(text: str) -> int:
    """Returns where to split a text in two: after a sentence, else between words, else between characters.

    The place is between a quarter and three quarters of the text, as near to the middle as possible.
    """
    middle = len(text) / 2
    for between in (r"(?<=[.!?…;:])\s+|(?<=\u3002)", r"\s+"):
        places = [match.start() for match in re.finditer(between, text)]
        nearest = min(places, key=lambda place: abs(place - middle), default=0)
        if abs(nearest - middle) <= middle / 2:
            return nearest
    return len(text) // 2


def join(parts: Sequence[list[Translation]]) -> list[Translation]:
    """Returns a line's n-best list from those of its parts: the k-th best joined with the k-th best, and their mean
    score. It is as long as the shortest of them; without parts it is the empty translation."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return [Translation("", 0.0)]
    return [_joined(kth) for kth in zip(*parts, strict=False)]


def _joined(parts: Sequence[Translation]) -> Translation:
    links, words = [], 0
    for part in parts:
        links += [(source, target + words) for source, target in part.alignment or ()]
        words += len(part.text.split())
    return Translation(
        " ".join(part.text for part in parts if part.text),
        sum(part.score for part in parts) / len(parts),
        None if parts[0].alignment is None else tuple(sorted(set(links))),
        tuple(attention for part in parts for attention in part.attention),
    )


def round_up(length: int) -> int:
    """Returns the least of 8, 12, 16, 24, 32, 48, 64, 96, … that is not less than `length`."""
    power = max(8, 1 << (length - 1).bit_length())
    return power * 3 // 4 if 8 < length <= power * 3 // 4 else power


def padded(sequences: Sequence[Sequence[int]], rows: int, length: int) -> np.ndarray:
    """Returns ids `[rows, length]` with padding after every sequence and below the last."""
    ids = np.full((rows, length), PAD, np.int32)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
    return ids
