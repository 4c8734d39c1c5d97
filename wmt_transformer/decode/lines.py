"""Texts and the parts that are decoded: what a model is given at once, and how the results become a text.

Each line of a text is translated for itself, and the line breaks come back between the translations.
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
from wmt_transformer.decode.texts import lines_and_breaks
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
    before: str = ""
    """What its line's translation has before that of this part: nothing, a space or line breaks."""
    draw: int = 0
    """Which of several samples of it this is."""
    terms: tuple[str, ...] = ()
    """What a glossary wants its translation to contain, as often as it is here."""
    required: Sequence[Sequence[int]] = ()
    """Ids of the terms that its output must contain."""


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
    missing: tuple[str, ...] = ()
    """Terms of a glossary that there was no room for."""


def parts_of(
    vocabulary: Vocabulary,
    texts: Sequence[str],
    prefixes: Sequence[str] | None,
    longest: int,
    warn: Callable[[str], None],
    first_line: int,
) -> tuple[list[Part], list[str]]:
    """Returns the parts of every text, each shorter than `longest` with EOS, and the line breaks that end each text.

    A blank line has no part. A text's prefix goes to its first part, its tag (`>>de<<`) to each. Raises UserError,
    naming the line, for a prefix that cannot be spelt and for a tag that the vocabulary lacks where it has others.
    """
    parts, ends = [], []
    for line, text in enumerate(texts, first_line):
        prefix = _spelt(vocabulary, normalise(prefixes[line - first_line]), line) if prefixes else []
        tag = _tag(vocabulary, text, line)
        found, end = _cut(vocabulary, text, tag, longest, line, warn)
        if prefix and not found:
            raise UserError(f"line {line} is blank and has a prefix; a blank line stays blank, leave its prefix empty")
        word_of_letter = [word for word, letters in enumerate(normalise(text).split()) for _ in letters]
        letters = 0
        for number, (before, one) in enumerate(found):
            source = [*vocabulary.encode(one), EOS]
            # A tag that is repeated is no word of the text.
            first_word = word_of_letter[letters] - bool(tag) if number else 0
            parts.append(Part(line, number, one, source, [] if number else prefix, first_word, before))
            letters += len("".join(normalise(one).split())) - len(tag) * bool(number)
        ends.append(end)
    return parts, ends


def _cut(
    vocabulary: Vocabulary, text: str, tag: str, longest: int, line: int, warn: Callable[[str], None]
) -> tuple[list[tuple[str, str]], str]:
    """Returns what is translated of a text in one go, after what comes before it, and what comes after the last."""
    found: list[tuple[str, str]] = []
    before = ""
    rows, breaks = lines_and_breaks(text)
    for row, end in zip(rows, [*breaks, ""], strict=True):
        rest = normalise(row).removeprefix(tag).strip() if tag else row
        pieces = len(vocabulary.encode(rest))
        ones = [rest] if pieces else []
        if (length := pieces + bool(tag)) >= longest:
            ones = list(split(vocabulary, normalise(rest), longest - bool(tag)))
            warn(
                f"line {line} is very long: {number_of(length, 'piece')}, and training saw at most {longest - 1}; "
                f"it is translated in {number_of(len(ones), 'part')}"
            )
        found += [(" " if number else before, f"{tag} {one}" if tag else one) for number, one in enumerate(ones)]
        before = end if ones else before + end
    return found, before


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


def join(parts: Sequence[tuple[str, list[Translation]]], end: str = "") -> list[Translation]:
    """Returns a text's n-best list from what comes before each part and the list of the part: the k-th best joined with
    the k-th best, `end` after them, and their mean score. It is as long as the shortest of them; without parts it is
    the empty translation."""
    if not parts:
        return [Translation(end, 0.0)]
    if len(parts) == 1 and parts[0][0] + end == "":
        return parts[0][1]
    between = [before for before, _ in parts]
    return [_joined(between, kth, end) for kth in zip(*(found for _, found in parts), strict=False)]


def _joined(between: Sequence[str], parts: Sequence[Translation], end: str) -> Translation:
    text, links, words = "", [], 0
    for before, part in zip(between, parts, strict=True):
        # A space is between words alone: a part may have come out empty.
        text += ("" if before == " " and not (part.text and text[-1:].strip()) else before) + part.text
        links += [(source, target + words) for source, target in part.alignment or ()]
        words += len(part.text.split())
    return Translation(
        text + end,
        sum(part.score for part in parts) / len(parts),
        None if parts[0].alignment is None else tuple(sorted(set(links))),
        tuple(attention for part in parts for attention in part.attention),
        tuple(dict.fromkeys(term for part in parts for term in part.missing)),
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
