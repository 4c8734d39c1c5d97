"""Pairs of strings from every corpus we know, by name: `load(data, split)`; of several, `members(data)` says which.

The direction is always the one asked for, `data.source` -> `data.target`; texts are taken by language, never by
position. The text comes raw: `prepare` normalises it. Nothing is held in memory but Tatoeba, whose split needs the
whole of it. A corpus is read from the folder `data.path`, or else downloaded into the cache (see `download.py`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data.corpora import (
    built_in,
    hugging_face,
    iwslt,
    mtdata,
    multi30k,
    parallel,
    tatoeba,
    wmt14,
    wmt16,
)
from wmt_transformer.data.corpora.corpus import Corpus, Pair, Split, folder, kind
from wmt_transformer.data.corpora.members import members
from wmt_transformer.data.treebanks import corpora as treebanks

TREEBANK = Corpus(treebanks.load, ("en-tree",))
CORPORA: dict[str, Corpus] = {
    "phrasebook": built_in.CORPUS,
    "multi30k": multi30k.CORPUS,
    "tatoeba": tatoeba.CORPUS,
    "wmt14": wmt14.CORPUS,
    "wmt16": wmt16.CORPUS,
    "iwslt14": iwslt.IWSLT14,
    "iwslt17": iwslt.IWSLT17,
    "files": parallel.CORPUS,
    "hf": hugging_face.CORPUS,
    "mtdata": mtdata.CORPUS,
    "penn_treebank": TREEBANK,
    "penn_sample": TREEBANK,
    "craft": TREEBANK,
    "trees": Corpus(treebanks.load),
}
"""Every corpus of pairs, and the collections that name more of them, as in hf:NAME; what a language model reads
besides is in `documents/corpora.py`."""


def load(data: DataConfig, split: Split) -> Iterator[Pair]:
    """Yields the (source, target) strings of a split, in the corpus's order; a tag comes before every source.

    Raises UserError for a direction that the corpus does not have, a missing or damaged file, two sides of
    different length, an empty side, text that is not UTF-8 (file and line), or a failed download.
    """
    _check_direction(data)
    check_path(data)
    pairs = _corpus(data).load(data, split)
    if tag := data.tags[0] if data.tags else "":
        pairs = ((f"{tag} {source}" if source.strip() else source, target) for source, target in pairs)
    return itertools.islice(pairs, data.train_pairs) if split == "train" else pairs


def texts(data: DataConfig) -> Iterator[tuple[str, Iterable[Pair]]]:
    """Yields the name and the pairs of every split; the training set of corpus n is `train n`."""
    yield "dev", load(data, "dev")
    yield "test", load(data, "test")
    for number, member in enumerate(members(data), 1):
        yield train_name(number), load(member, "train")


def train_name(number: int) -> str:
    """Returns the name of the training set of a corpus, which are numbered from 1."""
    return "train" if number == 1 else f"train {number}"


def check_path(data: DataConfig) -> None:
    """Raises UserError where `data.path` is no folder."""
    if data.path is not None and not folder(data).is_dir():
        raise UserError(f"data.path {data.path} is not a folder; give the folder that holds the corpus")


def spelling(data: DataConfig) -> Callable[[str, str], Pair]:
    """Returns what makes of a pair that `load` yields the text that the model sees of it."""
    return partial(treebanks.spelling, data) if data.corpus in treebanks.CORPORA else lambda *pair: pair


def symbols(data: DataConfig, targets: Iterable[str]) -> list[str]:
    """Returns the words that have to be one piece: tags, and a tree's brackets, of which the targets are made."""
    brackets = {word for text in targets for word in text.split()} if data.corpus in treebanks.CORPORA else set()
    return sorted(brackets | {*data.tags} - {""})


def has_pairs(corpus: str) -> bool:
    """Tells whether a corpus holds pairs of sentences, and not text for a language model alone."""
    return kind(corpus) in CORPORA


def credits(data: DataConfig) -> list[str]:
    """Returns lines for people: licence and citation of each corpus to train on, where its source says them."""
    known = (member for member in members(data) if has_pairs(member.corpus))
    return [line for member in known for line in _corpus(member).credits(member)]


def files(data: DataConfig) -> list[Path]:
    """Returns the local files that the splits are read from, as far as they exist; downloads never change."""
    return sorted({path for member in members(data) for path in _files(member)})


def _files(data: DataConfig) -> list[Path]:
    _check_direction(data)  # before languages become parts of files' names
    if data.corpus in treebanks.CORPORA:
        return treebanks.files(data)
    paths = {folder(data) / name for name in _corpus(data).files(data)}
    return sorted(path for path in paths if path.is_file())


def _corpus(data: DataConfig) -> Corpus:
    if not has_pairs(data.corpus):
        raise UserError(f"{data.corpus} is no corpus of pairs but text for a language model; set --data.documents file")
    return CORPORA[kind(data.corpus)]


def _check_direction(data: DataConfig) -> None:
    for side, language in (("source", data.source), ("target", data.target)):
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", language):
            raise UserError(f"data.{side} is {language!r}, expected the name of a language such as en")
    if data.source == data.target:
        raise UserError(f"data.source and data.target are both {data.source!r}; name two languages")
    if data.corpus == "trees" and data.target != "tree":
        raise UserError(f"data.target is {data.target!r}, and corpus trees translates to tree")
    known = _corpus(data).directions if has_pairs(data.corpus) else ()
    if known and f"{data.source}-{data.target}" not in known:
        raise UserError(f"{data.corpus} has no {data.source}-{data.target}; it has {', '.join(known)}")
