"""Texts for a language model, one string each, from every corpus: `load(data, split)`.

A document is what a model reads from its beginning to its end: a whole file, a paragraph (what blank lines part), or a
line, as `data.documents` says. Text is taken as it is, line breaks included. Of sentence pairs the target side is
read, a sentence a document. A document is held in memory as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import corpora, download
from wmt_transformer.data.corpora import parallel, text_files
from wmt_transformer.data.corpora.corpus import Split, folder
from wmt_transformer.files import cache_folder
from wmt_transformer.reading import check_read_again, read_text

DEV_SHARE = 0.1
"""Where no development file is named, this last part of each training file's characters is the development set."""

# "Tiny Shakespeare": 40,000 lines of the plays, as collected for char-rnn. nanoGPT, too, trains on the first 90 % of
# its characters and measures on the others.
_SHAKESPEARE_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
_SHAKESPEARE_NAMES = ["tinyshakespeare.txt.gz", "tinyshakespeare.txt", "input.txt"]
_SHAKESPEARE_SIZE = 1_115_394
_SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


def load(data: DataConfig, split: Split) -> Iterator[str]:
    """Yields the documents of a split, none of them empty, in the corpus's order.

    Raises UserError for a missing or damaged file, text that is not UTF-8 (file and line), a failed download, and for
    what only pairs can have.
    """
    for name in ("tags", "subword_sampling"):
        if getattr(data, name):
            raise UserError(f"data.{name} is for pairs of sentences, and a language model reads text; leave it out")
    if corpora.has_pairs(data.corpus):
        yield from (target for _, target in corpora.load(data, split) if target)
        return
    corpora.check_path(data)
    for path, share in files(data, split):
        check_read_again(path, "a language model")
        text = read_text(path)
        yield from parted(text[int(len(text) * share[0]) : int(len(text) * share[1])], data.documents)


def texts(data: DataConfig) -> Iterator[tuple[str, Iterator[str]]]:
    """Yields the name and the documents of every split."""
    yield "dev", load(data, "dev")
    yield "test", load(data, "test")
    for number, member in enumerate(corpora.members(data), 1):
        yield corpora.train_name(number), load(member, "train")


def parted(text: str, documents: str) -> Iterator[str]:
    """Yields the documents of a text: its paragraphs or lines without the line breaks between them, or all of it."""
    border = {"paragraph": r"\n\s*\n", "line": r"\n", "file": r"\Z"}[documents]
    yield from (part for part in re.split(border, text) if part.strip())


def files(data: DataConfig, split: Split) -> list[tuple[Path, tuple[float, float]]]:
    """Returns the files that a split is read from and which share of their characters is the split's, from … to.

    Shakespeare is downloaded where `data.path` does not hold it.
    """
    shares = {"train": (0.0, 1 - DEV_SHARE), "dev": (1 - DEV_SHARE, 1.0)}
    if data.corpus == "shakespeare":
        return [] if split == "test" else [(_shakespeare(data), shares[split])]
    if not data.train_files:
        raise UserError("data.train_files names no file; corpus text needs one or more files of text")
    names = {"train": data.train_files, "dev": data.dev_files or data.train_files, "test": data.test_files}[split]
    share = (0.0, 1.0) if data.dev_files or split == "test" else shares[split]
    return [(folder(data) / name, share) for name in names]


def local_files(data: DataConfig) -> list[Path]:
    """Returns the local files that the splits are read from, as far as they exist; downloads never change."""
    return sorted({path for member in corpora.members(data) for path in _local_files(member)})


def _local_files(data: DataConfig) -> list[Path]:
    if corpora.has_pairs(data.corpus):
        return corpora.files(data)
    shakespeare = _SHAKESPEARE_NAMES if data.path is not None else []
    names = shakespeare if data.corpus == "shakespeare" else parallel.named(data)
    return [path for path in (folder(data) / name for name in names) if path.is_file()]


def _shakespeare(data: DataConfig) -> Path:
    if data.path is not None:
        return text_files.find(data.path, _SHAKESPEARE_NAMES)
    path = cache_folder() / "shakespeare" / "input.txt"
    return download.fetch(_SHAKESPEARE_URL, path, _SHAKESPEARE_SIZE, _SHAKESPEARE_SHA256)
