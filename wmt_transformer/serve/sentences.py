"""Texts as people have them: cut into sentences, which is what a model translates, and put together again.

Line breaks, indentation and empty lines stay as they are, and so does what has no letters. sentencex knows where a
sentence of a language ends; one that is longer than the model takes in one go is cut as `translate` does it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from sentencex import segment  # pyright: ignore[reportAttributeAccessIssue] - it is written in Rust

from wmt_transformer.data.vocabulary import normalise
from wmt_transformer.decode.glossary import Glossary
from wmt_transformer.decode.lines import split
from wmt_transformer.decode.texts import lines_and_breaks
from wmt_transformer.serve.detection import has_letters
from wmt_transformer.serve.directions import Direction

WITHOUT_SPACES = {"zh", "ja", "th", "lo", "km", "my"}
"""Languages with nothing between their sentences."""


class Sentence(NamedTuple):
    """What is translated in one go."""

    text: str
    tokens: int
    """EOS included."""
    place: int
    """Where in its text it begins."""
    linked: bool = False
    """Whether its alignment is needed."""
    glossary: Glossary | None = None
    """What its terms are translated by, None where it has none."""


@dataclasses.dataclass(frozen=True)
class Cut:
    """A text as sentences, and what comes before each and after the last."""

    sentences: tuple[Sentence, ...]
    between: tuple[str, ...]

    def joined(self, translations: Sequence[str]) -> str:
        """Returns the text with translations in place of its sentences."""
        pairs = zip(self.between, [*translations, ""], strict=True)
        return "".join(before + translation for before, translation in pairs)


def cut(text: str, direction: Direction) -> Cut:
    """Returns the sentences of a text, each short enough to be translated in one go."""
    sentences: list[Sentence] = []
    between = [""]
    read = 0  # characters
    space = "" if direction.target.partition("-")[0] in WITHOUT_SPACES else " "
    rows, breaks = lines_and_breaks(text)
    for row, end in zip(rows, [*breaks, ""], strict=True):
        ended = False  # a sentence of this line, right before what comes next
        for piece in segment(direction.source.partition("-")[0], row):
            core = piece.strip()
            start = piece.index(core)
            begins, read = read + start, read + len(piece)
            if not has_letters(core):
                between[-1] += piece
                ended = False
                continue
            between[-1] += piece[:start] or (space if ended else "")
            parts = _short(core, direction)
            for part, tokens in parts:
                begins = max(begins, text.find(part, begins))
                sentences.append(Sentence(part, tokens, begins))
                begins += len(part)
            after = piece[start + len(core) :]
            between += [space] * (len(parts) - 1) + [after if space else ""]
            ended = not between[-1]
        between[-1] += end
        read += len(end)
    return Cut(tuple(sentences), tuple(between))


def _short(sentence: str, direction: Direction) -> list[tuple[str, int]]:
    """Returns a sentence, or the parts of one that is too long, each with its tokens: its tag and EOS included."""
    vocabulary, tag = direction.translator.vocabulary, bool(direction.tag)
    longest = direction.translator.longest - tag
    if (tokens := len(vocabulary.encode(sentence)) + 1) <= longest:
        return [(sentence, tokens + tag)]
    parts = split(vocabulary, normalise(sentence), longest)
    return [(part, len(vocabulary.encode(part)) + 1 + tag) for part in parts]
