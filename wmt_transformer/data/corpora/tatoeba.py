"""Tatoeba: short sentences and their translations, as manythings.org collects them for flash cards.

The collection grows every few months and its publisher names no checksum: a download is not verified, and scores
compare only between runs on the same file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import get_args

from wmt_transformer.config import DataConfig
from wmt_transformer.data import download
from wmt_transformer.data.corpora import text_files
from wmt_transformer.data.corpora.corpus import Corpus, Pair, Split, foreign, to_and_from_english
from wmt_transformer.data.vocabulary import normalise
from wmt_transformer.files import cache_folder

_ARCHIVES = {"de": "deu-eng.zip", "fr": "fra-eng.zip"}
_URL = "https://www.manythings.org/anki/{}"


def load(data: DataConfig, split: Split) -> Iterator[Pair]:
    """Reads `train.en-de.tsv[.gz]` and its like as they are, or splits manythings.org's file.

    That file grows every few months, so it has no checksum, and scores on it compare only with the same file.
    """
    if data.path is not None:
        path = text_files.find(data.path, _names(data, split))
    else:
        archive = _ARCHIVES[foreign(data)]
        path = cache_folder() / "tatoeba" / archive
        download.fetch(_URL.format(archive), path)
    pairs = text_files.tab_separated(path)
    if ".tsv" not in path.name:
        pairs = iter(split_by_components(pairs)[split])
    return pairs if data.source == "en" else ((target, source) for source, target in pairs)


def _names(data: DataConfig, split: Split) -> list[str]:
    archive = _ARCHIVES[foreign(data)]
    ready = f"{split}.en-{foreign(data)}.tsv"
    return [f"{ready}.gz", ready, archive, archive.replace("zip", "txt"), f"{archive[:3]}.txt"]


def split_by_components(pairs: Iterable[Pair]) -> dict[Split, list[Pair]]:
    """Splits so that no sentence of dev or test occurs in train, or in each other, on either side.

    Sentences are joined to their translations, these to theirs, and so on; a whole component goes into one
    split, by a hash of its least sentence. The few large components go into train.
    """
    pairs = list(dict.fromkeys(pairs))
    keys = [((0, normalise(source)), (1, normalise(target))) for source, target in pairs]
    parent: dict[tuple[int, str], tuple[int, str]] = {key: key for both in keys for key in both}

    def root(key: tuple[int, str]) -> tuple[int, str]:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for source, target in keys:
        first, second = sorted((root(source), root(target)))
        parent[second] = first  # the root is the component's least sentence
    members: dict[tuple[int, str], list[Pair]] = {}
    for pair, (source, _) in zip(pairs, keys, strict=True):
        members.setdefault(root(source), []).append(pair)

    splits: dict[Split, list[Pair]] = {"train": [], "dev": [], "test": []}
    for (_, sentence), component in members.items():
        percent = int.from_bytes(hashlib.sha256(sentence.encode()).digest()[:4], "big") / 2**32 * 100
        small = len(component) <= 20
        splits["dev" if small and percent < 1.5 else "test" if small and percent < 3 else "train"] += component
    return splits


def _files(data: DataConfig) -> list[str]:
    return [name for split in get_args(Split) for name in _names(data, split)]


CORPUS = Corpus(load, to_and_from_english("de", "fr"), _files)
