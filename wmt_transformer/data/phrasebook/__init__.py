"""The built-in corpus: sentences in English, German and French that a grammar makes, so that nothing is downloaded.

It is synthetic, for a first look and for tests: real declension, agreement and word order, since these are what
attention has to learn, with a small vocabulary. A sentence belongs to one split by a hash of its words, so that
test sentences are combinations that training never saw, whatever the seed. Everything follows from the seed and
is the same on every machine. Read on in this order: `tables/` and `words.py` (the words), `parts.py` and `grammar.py`
(declension), `clauses.py` (word order), `choices.py` and `actions.py` (what goes with what), `linked.py` and
`sentences.py` (the kinds of sentences).
"""

from __future__ import annotations

import itertools
import random
import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from wmt_transformer.data.phrasebook.sentences import any_sentence
from wmt_transformer.data.vocabulary import Vocabulary, train
from wmt_transformer.files import cache_folder, whole_path


class Sentence(NamedTuple):
    """The same sentence three times."""

    en: str
    de: str
    fr: str


def generate(split: str, count: int, seed: int = 0) -> Iterator[Sentence]:
    """Yields `count` distinct sentences of a split: "train", "dev" or "test".

    96 % of all sentences belong to train and 2 % to each of the others; no sentence of one split occurs in
    another, in any of the three languages.
    """
    if split not in ("train", "dev", "test"):
        raise ValueError(f"no split {split!r}; choose train, dev or test")
    source = random.Random(seed).random
    seen: set[str] = set()
    while len(seen) < count:
        sentence = any_sentence(source)
        if sentence.en not in seen and split_of(sentence.en) == split:
            seen.add(sentence.en)
            yield Sentence(*sentence)


def split_of(english: str) -> str:
    """Tells which split an English sentence belongs to.

    Pronouns that German or French do not tell apart count as one, so that sentences with the same translation are
    never in different splits.
    """
    part = zlib.crc32(_ALIKE.sub("them", english).encode()) % 100
    return "dev" if part < 2 else "test" if part < 4 else "train"


_ALIKE = re.compile(r"\b(?:him|her|it)\b")


def vocabulary(size: int = 2000) -> Vocabulary:
    """Returns a vocabulary trained on all three languages; the first call makes it, then it is in the cache."""
    path = cache_folder() / f"phrasebook-{size}.model"
    if not path.is_file():
        with whole_path(path) as temporary:
            train(itertools.chain.from_iterable(generate("train", 5000, seed=1)), temporary, size)
    return Vocabulary.load(path)
