"""From documents to one memory-mapped stream of tokens for each split: `prepare` for a language model.

Three passes over the training text, a document in memory at a time: counting, the vocabulary on an even sample of its
lines, and cutting it into pieces. Development and test texts are kept beside their tokens, for the scores.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import vocabulary, vocabulary_files
from wmt_transformer.data.corpora.corpus import Split
from wmt_transformer.data.documents import corpora as documents
from wmt_transformer.data.documents.windows import TokenStream
from wmt_transformer.data.manifest import (
    Manifest,
    Report,
    Stage,
    check_whole,
    make,
    print_to_stderr,
    read_manifest,
)
from wmt_transformer.data.text_digest import TextDigest
from wmt_transformer.data.vocabulary import Vocabulary
from wmt_transformer.data.vocabulary_files import load_vocabulary
from wmt_transformer.special_tokens import EOS


@dataclasses.dataclass(frozen=True)
class PreparedText:
    """Prepared text of a language model; the fields are those of `prepare.Prepared`."""

    folder: Path
    vocabulary: Vocabulary
    train: TokenStream
    dev: TokenStream
    dev_text: list[str]
    test_text: list[str]
    statistics: dict[str, Any]
    """Documents, lines, bytes and tokens of training, documents of dev and test, pieces of the vocabulary."""


def prepare(
    data: DataConfig,
    folder: str | os.PathLike[str],
    report: Report = print_to_stderr,
    trained: bool = False,
) -> PreparedText:
    """Prepares text into `folder`, or opens what is there if settings and text are still the same.

    With `trained` there are checkpoints, which belong to what `folder` holds: it is not made anew, but refused.
    Raises UserError for whatever is wrong with the text or the vocabulary; `folder` is then as it was before.
    """
    stage = Stage(documents.local_files, documents.texts, lambda building: _build(data, building, report))
    make(data, Path(folder), stage, report, trained)
    return open_prepared(folder)


def open_prepared(folder: str | os.PathLike[str]) -> PreparedText:
    """Opens what `prepare` made. Raises UserError if it is not there, or is damaged."""
    folder = Path(folder)
    manifest, text = read_manifest(folder), open_text(folder)
    check_whole(folder, manifest)
    train, dev = (TokenStream.open(folder, split, manifest["dtype"]) for split in ("train", "dev"))
    words = load_vocabulary(folder)
    return PreparedText(folder, words, train, dev, text["dev"], text["test"], manifest["statistics"])


def open_text(folder: Path) -> dict[str, list[str]]:
    """Returns the documents of dev and test that `prepare` kept, without the training set.

    Raises UserError if they are not there, or are damaged.
    """
    check_whole(folder, read_manifest(folder), ["dev.json", "test.json"])
    return {split: json.loads((folder / f"{split}.json").read_text("utf-8")) for split in ("dev", "test")}


def _build(data: DataConfig, folder: Path, report: Report) -> Manifest:
    """Writes vocabulary, tokens and texts into the folder; returns what to remember. Raises UserError."""
    digest = TextDigest()
    texts: dict[Split, list[str]] = {
        "dev": list(digest.through("dev", documents.load(data, "dev"))),
        "test": list(digest.through("test", documents.load(data, "test"))),
    }
    for split, some in texts.items():
        (folder / f"{split}.json").write_text(json.dumps(some, ensure_ascii=False), "utf-8")
    if not texts["dev"]:
        raise UserError(f"{data.corpus} has no development text; name --data.dev_files, or give more text")
    counts = {"documents": 0, "lines": 0, "bytes": 0, "tokens": 0}
    for document in digest.through("train", documents.load(data, "train")):
        counts["documents"] += 1
        counts["lines"] += document.count("\n") + 1
        counts["bytes"] += len(document.encode())
    if not counts["documents"]:
        raise UserError(f"{data.corpus} has no training text: its files hold nothing but white space")

    words = _vocabulary(data, folder, counts, report)
    dtype = "uint16" if len(words) <= 1 << 16 else "uint32"
    counts["tokens"] = _write(folder / "train.tokens", words, documents.load(data, "train"), dtype)
    dev_tokens = _write(folder / "dev.tokens", words, iter(texts["dev"]), dtype)
    statistics = {
        "train": counts,
        "vocabulary": len(words),
        "dev": len(texts["dev"]),
        "dev_bytes": sum(len(text.encode()) for text in texts["dev"]),
        "dev_tokens": dev_tokens,
        "test": len(texts["test"]),
    }
    report(
        f"{counts['bytes']:,} bytes of text in {counts['documents']:,} documents are {counts['tokens']:,} tokens "
        f"({counts['bytes'] / counts['tokens']:.2f} bytes each) of {len(words):,} pieces; "
        f"{statistics['dev_bytes']:,} bytes to measure on"
    )
    return {"text": digest.hexdigest(), "dtype": dtype, "statistics": statistics}


def _vocabulary(data: DataConfig, folder: Path, counts: dict[str, int], report: Report) -> Vocabulary:
    """Writes the vocabulary that was given, or trains one on a sample of the lines."""
    if data.vocabulary is not None:
        words = vocabulary_files.adopt(data.vocabulary, folder, lines=True)
        report(f"taking over the vocabulary {data.vocabulary}, {len(words):,} pieces")
        return words
    report(f"training a vocabulary of {data.vocabulary_size:,} pieces on {counts['bytes']:,} bytes of text")
    return vocabulary.train_fitting(
        lambda: _sample(documents.load(data, "train"), counts["lines"], data.vocabulary_sample),
        folder / vocabulary_files.OURS,
        data.vocabulary_size,
        data.vocabulary_model,
        report,
        lines=True,
    )


def _sample(texts: Iterator[str], lines: int, most: int) -> Iterator[str]:
    """Yields at most `most` lines that are not empty, evenly spaced."""
    numbered = enumerate(line for text in texts for line in text.split("\n"))
    for number, line in numbered:
        if line and (lines <= most or number * most // lines != (number + 1) * most // lines):
            yield line


def _write(path: Path, words: Vocabulary, texts: Iterator[str], dtype: str) -> int:
    """Writes the ids of every text, EOS after it; returns how many ids these are."""
    count = 0
    with open(path, "wb") as file:
        for text in texts:
            ids = np.asarray([*words.encode(text), EOS], dtype)
            file.write(ids.tobytes())
            count += len(ids)
    return count
