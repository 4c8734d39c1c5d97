"""Treebanks as parallel text: the words of a sentence and, as one line of brackets, its cleaned tree (§6.3).

To the rest of the package parsing is translation: the source is the sentence as the treebank tokenises it, and what the
model learns to write for its tree are the brackets alone (`spelling`). Trees are read one by one, however many there
are. The standard split of the Penn Treebank is by section; where there is none, the last trees are held out.

`data.train_files` adds trees to the training set of any of them (automatically parsed ones, say), and
`data.train_weights` says how often an epoch has each: 10 is ten times, 0.5 every second tree. Unlike pairs of several
corpora (`mixture.py`), trees are repeated or left out when they are read: the vocabulary counts them as often, and
every epoch has the same ones.
"""

from __future__ import annotations

import glob
import itertools
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data.treebanks import trees
from wmt_transformer.data.treebanks.trees import Tree

SECTIONS = {"train": range(2, 22), "dev": range(22, 23), "test": range(23, 24)}
"""The standard sections of the Wall Street Journal."""
_SECTION_FOLDERS = (".", "wsj", "mrg/wsj", "parsed/mrg/wsj")
"""Where the folders 00 to 24 are, below the one that the user names: LDC99T42 has the last."""


class _Public(NamedTuple):
    """A treebank without a standard split: its files in the forms that it is found in, and where it is to be had."""

    forms: tuple[tuple[str, ...], ...]
    where: str
    dev: int
    """Trees held out before those of the test set."""
    test: int
    """Trees held out at the end."""


_PUBLIC = {
    "craft": _Public(
        forms=(("craft_train.trees*",), ("structural-annotation/treebank/penn/*.tree",), ("*.tree",)),
        where="clone https://github.com/UCDenver-ccp/CRAFT and give its folder",
        dev=1356,
        test=1357,
    ),
    "penn_sample": _Public(
        forms=(("wsj_sample_train.mrg*", "wsj_sample_test.mrg*"), ("combined/wsj_0*.mrg",), ("wsj_0*.mrg",)),
        where="run `python -m nltk.downloader treebank` and give ~/nltk_data/corpora/treebank",
        dev=200,
        test=518,  # wsj_0160 to wsj_0199
    ),
}

CORPORA = ("penn_treebank", "trees", *_PUBLIC)
"""Those that `load` reads."""


def load(data: DataConfig, split: str) -> Iterator[tuple[str, str]]:
    """Yields (words, cleaned tree) of a split, in the treebank's order; trees of traces alone are left out.

    Raises UserError for missing files or sections, weights that do not fit, and for brackets that are no tree.
    """
    sources = [_own(data, split)] if data.corpus != "trees" else []
    if data.corpus == "trees" or split == "train":
        names = {"train": data.train_files, "dev": data.dev_files, "test": data.test_files}[split]
        sources += [_read(_files(data, (name,))) for name in names]
    if not sources and split == "test":
        return
    if not sources:
        raise UserError(f"data.{split}_files is empty; corpus trees needs files of trees there, such as wsj_*.mrg")
    weights = data.train_weights if split == "train" and data.train_weights else (1.0,) * len(sources)
    if len(weights) != len(sources):
        raise UserError(
            f"data.train_weights has {len(weights)} numbers for {len(sources)} sources of trees: "
            f"{'' if data.corpus == 'trees' else data.corpus + ' itself, then '}each of data.train_files"
        )
    if data.deduplicate and max(weights) > 1:
        raise UserError("data.train_weights has a number above 1: set --data.deduplicate False to keep the repetitions")
    for source, weight in zip(sources, weights, strict=True):
        for tree in _weighted(source, weight):
            yield " ".join(tree.words()), str(tree)


def spelling(data: DataConfig, words: str, tree: str) -> tuple[str, str]:
    """Returns what the model sees of a pair of `load`: of the tree its brackets alone, `(S (NP XX XX )NP … )S`."""
    numbered, parsed = data.tree_leaves == "numbers", gold(tree)
    source = " ".join(trees.number(parsed.words())) if numbered else words
    return source, " ".join(trees.linearise(parsed, numbered))


def gold(tree: str) -> Tree:
    """Returns a tree of `load` from its line."""
    return next(trees.read([tree], "tree"))


def files(data: DataConfig) -> list[Path]:
    """Returns the local files that the splits are read from, as far as they exist."""
    found: list[Path] = []
    names = data.train_files + data.dev_files + data.test_files
    for patterns in [(name,) for name in names]:
        found += _matches(data, patterns)
    if data.corpus == "penn_treebank":
        for number in itertools.chain(*SECTIONS.values()):
            found += _section(data, number)
    elif data.corpus in _PUBLIC:
        found += next(filter(None, (_matches(data, form) for form in _PUBLIC[data.corpus].forms)), [])
    return [path for path in found if path.is_file()]  # a pipe is none


# ---- Which trees


def _own(data: DataConfig, split: str) -> Iterator[Tree]:
    if data.corpus == "penn_treebank":
        if missing := [f"{n:02}" for numbers in SECTIONS.values() for n in numbers if not _section(data, n)]:
            raise UserError(
                f"{_folder(data)} lacks the sections {', '.join(missing)} of the Penn Treebank (LDC99T42); give "
                "--data.path its folder: parsed/mrg/wsj, which holds 02/wsj_0200.mrg and so on"
            )
        return _read([path for number in SECTIONS[split] for path in _section(data, number)])
    public = _PUBLIC[data.corpus]
    paths = next(filter(None, (_matches(data, form) for form in public.forms)), [])
    if data.path is None or not paths:
        expected = ", or ".join(" and ".join(form) for form in public.forms)
        raise UserError(f"{_folder(data)} has no {expected}; for {data.corpus}, {public.where} as --data.path")
    return _held_out(_read(paths), split, public)


def _held_out(some: Iterator[Tree], split: str, public: _Public) -> Iterator[Tree]:
    last: deque[Tree] = deque()
    for tree in some:
        last.append(tree)
        if len(last) > public.dev + public.test:
            first = last.popleft()
            if split == "train":
                yield first
    if split != "train":
        yield from itertools.islice(last, *((0, public.dev) if split == "dev" else (public.dev, None)))


def _weighted(source: Iterator[Tree], weight: float) -> Iterator[Tree]:
    """Yields each tree as many times as the weight says, evenly where it is no whole number."""
    if weight <= 0:
        raise UserError(f"data.train_weights has {weight:g}; a weight is above 0")
    for number, tree in enumerate(source):
        yield from itertools.repeat(tree, int((number + 1) * weight) - int(number * weight))


def _read(paths: list[Path]) -> Iterator[Tree]:
    for path in paths:
        for raw in trees.read_file(path):
            tree = trees.clean(raw)
            if tree is not None:
                yield tree


# ---- Which files


def _folder(data: DataConfig) -> Path:
    return Path(data.path or ".").expanduser()


def _section(data: DataConfig, number: int) -> list[Path]:
    for below in _SECTION_FOLDERS:
        if found := sorted((_folder(data) / below / f"{number:02}").glob("*.mrg*")):
            return found
    return []


def _files(data: DataConfig, patterns: tuple[str, ...]) -> list[Path]:
    found = _matches(data, patterns)
    if not found:
        raise UserError(f"there is no file {_folder(data) / patterns[0]}; check the name and --data.path")
    return found


def _matches(data: DataConfig, patterns: tuple[str, ...]) -> list[Path]:
    """Returns the files of these names, in their order; * matches any letters."""
    folder = glob.escape(str(_folder(data)))
    paths = [sorted(glob.glob(str(Path(folder, Path(pattern).expanduser())))) for pattern in patterns]
    return [Path(path) for path in itertools.chain(*paths) if not Path(path).is_dir()]
