"""Glossaries: how terms of the source must be translated.

A source term is found only as whole words, in the same case: no letter, digit or mark stands right before or after it.
In scripts without spaces every place is the edge of a word. Where several terms begin at one place, the longest counts,
and what is part of a found term belongs to no other. Each occurrence asks for its translation once, letter by letter;
what follows the translation is the model's, which may add an ending. How the search meets this: `constraints.py`.
"""

from __future__ import annotations

import dataclasses
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

from wmt_transformer.config import UserError
from wmt_transformer.data.vocabulary import TAG, Vocabulary, normalise
from wmt_transformer.decode.constraints import MOST_TERMS, SIZES
from wmt_transformer.decode.lines import Part
from wmt_transformer.reading import read_lines
from wmt_transformer.special_tokens import UNKNOWN

# Thai, Lao, Burmese, Khmer, kana and Han.
_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


class Glossary:
    """Source terms and their translations, made for finding them in many sentences."""

    def __init__(self, terms: Mapping[str, str]):
        """Raises TypeError for what is no mapping of texts, and UserError for an empty term."""
        if not isinstance(terms, Mapping):
            raise TypeError(f"glossary: {terms!r:.40} is of type {type(terms).__name__}; give a dict of terms")
        self.terms: dict[str, str] = {}
        """All of them, normalised."""
        for source, target in terms.items():
            if not (isinstance(source, str) and isinstance(target, str)):
                raise TypeError(f"glossary: {source!r:.40}: {target!r:.40}; terms and translations must be strings")
            if not (normalise(source) and normalise(target)):
                raise UserError(f"the glossary has an empty term ({source!r}: {target!r}); leave it out")
            self.terms[normalise(source)] = normalise(target)
        self._lengths = sorted(set(map(len, self.terms)), reverse=True)

    def __or__(self, other: Glossary) -> Glossary:
        """Returns a glossary with the terms of both; the other's translation counts where both have a term."""
        return Glossary(self.terms | other.terms)

    def found(self, text: str) -> Iterator[str]:
        """Yields the translation of each occurrence of a term in a text, from its beginning to its end."""
        text = TAG.sub("", normalise(text), count=1) if text.lstrip().startswith(">>") else normalise(text)
        place = 0
        while place < len(text):
            ends = (place + length for length in self._lengths if not _inside_a_word(text, place))
            end = next((end for end in ends if text[place:end] in self.terms and not _inside_a_word(text, end)), None)
            if end is not None:
                yield self.terms[text[place:end]]
            place = end or place + 1

    def constrained(self, part: Part, vocabulary: Vocabulary, room: int) -> Part:
        """Returns a part with the translations of its terms, and the pieces of as many as fit, the first ones.

        Args:
          room: pieces that the output has for them.

        Raises UserError, naming the line, for a translation that the vocabulary cannot spell.
        """
        terms, pieces, left = tuple(self.found(part.text)), [], min(room, SIZES[-1])
        for term in terms:
            ids = spelt(vocabulary, term, f"line {part.line}")
            if len(ids) <= left and (ids in pieces or len(set(map(tuple, pieces))) < MOST_TERMS):
                pieces.append(ids)
                left -= len(ids)
        return dataclasses.replace(part, terms=terms, required=pieces)


def missing(text: str, terms: Sequence[str]) -> tuple[str, ...]:
    """Returns the terms that a text does not contain, or not as often as they are given."""
    return tuple(term for term in dict.fromkeys(terms) if text.count(term) < terms.count(term))


def read(path: str | os.PathLike[str]) -> Glossary:
    """Reads a file with a term, a tab and its translation in each line. Raises UserError as `parse` does."""
    return parse(read_lines(path), str(path))


def parse(lines: Iterable[str], name: str) -> Glossary:
    """Returns the glossary of lines with a term, a tab and its translation; blank lines are left out.

    Raises UserError, with `name` and the line's number, for a line that is none, and for a term with two translations.
    """
    found: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(lines, 1):
        if not normalise(line):
            continue
        columns = [normalise(column) for column in line.split("\t")]
        if len(columns) != 2 or not all(columns):
            raise UserError(
                f"{name}, line {number} is {line!r:.60}; a line of a glossary is a term, a tab and its translation"
            )
        source, target = columns
        other, before = found.setdefault(source, (target, number))
        if other != target:
            raise UserError(
                f"{name}, line {number}: {source!r} is {target!r}, and {other!r} in line {before}; give a term once"
            )
    return Glossary({source: target for source, (target, _) in found.items()})


def _inside_a_word(text: str, place: int) -> bool:
    """Tells whether the characters on both sides of a place belong to one word."""
    return 0 < place < len(text) and all(map(_is_of_a_word, text[place - 1 : place + 1]))


def _is_of_a_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN" and not _WITHOUT_SPACES.match(character)


def spelt(vocabulary: Vocabulary, term: str, where: str) -> list[int]:
    """Returns a term's ids: those at the start of a word, or in a script without spaces those after another letter.

    Raises UserError, with `where` it is wanted, for one that the vocabulary cannot spell.
    """
    ids = vocabulary.encode_target(term)
    if _WITHOUT_SPACES.match(term):
        before, both = (vocabulary.encode_target(text) for text in ("\u3002", f"\u3002{term}"))
        if both[: len(before)] == before and vocabulary.decode(both[len(before) :]) == term:
            ids = both[len(before) :]
    if UNKNOWN in ids:
        raise UserError(f"{where}: the vocabulary cannot spell {term!r}, a term of the glossary; leave it out")
    return ids
