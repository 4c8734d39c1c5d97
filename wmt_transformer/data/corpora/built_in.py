"""The built-in phrasebook as a corpus: as many sentences as are asked for, nothing downloaded."""

from __future__ import annotations

from collections.abc import Iterator

from wmt_transformer.config import DataConfig
from wmt_transformer.data.corpora.corpus import Corpus, Pair, Split, between

SEED = 1
PAIRS = {"train": 100_000, "dev": 500, "test": 1000}
"""Sentences generated; `data.train_pairs` replaces the first."""


def load(data: DataConfig, split: Split) -> Iterator[Pair]:
    """Yields sentences that a grammar makes and their translations."""
    from wmt_transformer.data import phrasebook

    count = PAIRS[split]
    if split == "train" and data.train_pairs is not None:
        count = data.train_pairs
    for sentence in phrasebook.generate(split, count, SEED):
        yield getattr(sentence, data.source), getattr(sentence, data.target)


CORPUS = Corpus(load, between("en", "de", "fr"))
