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
from typing import IO, Any

import numpy as np

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import corpora, mixture, vocabulary, vocabulary_files
from wmt_transformer.data.corpora.corpus import Split
from wmt_transformer.data.corpora.members import names
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
    """Documents, lines, bytes and tokens of training, documents of dev and test, pieces of the vocabulary; where there
    are several corpora, the counts of each and how often an epoch has its text."""


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
    several = manifest["statistics"].get("corpora", ())
    train = TokenStream.open(folder, "train", manifest["dtype"], several)
    dev = TokenStream.open(folder, "dev", manifest["dtype"])
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
    for line in (credits := corpora.credits(data)):
        report(line)
    digest = TextDigest()
    texts: dict[Split, list[str]] = {
        "dev": list(digest.through("dev", documents.load(data, "dev"))),
        "test": list(digest.through("test", documents.load(data, "test"))),
    }
    for split, some in texts.items():
        (folder / f"{split}.json").write_text(json.dumps(some, ensure_ascii=False), "utf-8")
    if not texts["dev"]:
        raise UserError(f"{data.corpus} has no development text; name --data.dev_files, or give more text")
    counts = _count(data, digest)
    total = {name: sum(one[name] for one in counts) for name in counts[0]}
    words = _vocabulary(data, folder, total, report)
    dtype = "uint16" if len(words) <= 1 << 16 else "uint32"
    with open(folder / "train.tokens", "wb") as file:
        for one, member in zip(counts, corpora.members(data), strict=True):
            one["tokens"] = _write(file, words, documents.load(member, "train"), dtype)
    total["tokens"] = sum(one["tokens"] for one in counts)
    with open(folder / "dev.tokens", "wb") as file:
        dev_tokens = _write(file, words, iter(texts["dev"]), dtype)
    several = mixture.weighted(data, names(data), counts, "tokens")
    statistics = {
        "train": total,
        **({"corpora": several} if several else {}),
        "vocabulary": len(words),
        "dev": len(texts["dev"]),
        "dev_bytes": sum(len(text.encode()) for text in texts["dev"]),
        "dev_tokens": dev_tokens,
        "test": len(texts["test"]),
    }
    if several:
        report(mixture.table(several, "tokens"))
    report(
        f"{total['bytes']:,} bytes of text in {total['documents']:,} documents are {total['tokens']:,} tokens "
        f"({total['bytes'] / total['tokens']:.2f} bytes each) of {len(words):,} pieces; "
        f"{statistics['dev_bytes']:,} bytes to measure on"
    )
    return {"text": digest.hexdigest(), "dtype": dtype, "statistics": statistics, "credits": credits}


def _count(data: DataConfig, digest: TextDigest) -> list[dict[str, int]]:
    """Reads the training text of every corpus; returns the counts of each, its tokens still to be counted."""
    counts: list[dict[str, int]] = []
    for number, (name, member) in enumerate(zip(names(data), corpora.members(data), strict=True), 1):
        counts.append({"documents": 0, "lines": 0, "bytes": 0, "tokens": 0})
        for document in digest.through(corpora.train_name(number), documents.load(member, "train")):
            counts[-1]["documents"] += 1
            counts[-1]["lines"] += document.count("\n") + 1
            counts[-1]["bytes"] += len(document.encode())
        if not counts[-1]["documents"]:
            raise UserError(f"{name} has no training text: its files hold nothing but white space")
    return counts


def _vocabulary(data: DataConfig, folder: Path, counts: dict[str, int], report: Report) -> Vocabulary:
    """Writes the vocabulary that was given, or trains one on a sample of the lines."""
    if data.vocabulary is not None:
        words = vocabulary_files.adopt(data.vocabulary, folder, lines=True)
        report(f"taking over the vocabulary {data.vocabulary}, {len(words):,} pieces")
        return words
    report(f"training a vocabulary of {data.vocabulary_size:,} pieces on {counts['bytes']:,} bytes of text")
    return vocabulary.train_fitting(
        lambda: _sample(
            (text for member in corpora.members(data) for text in documents.load(member, "train")),
            counts["lines"],
            data.vocabulary_sample,
        ),
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


def _write(file: IO[bytes], words: Vocabulary, texts: Iterator[str], dtype: str) -> int:
    """Writes the ids of every text, EOS after it; returns how many ids these are."""
    count = 0
    for text in texts:
        ids = np.asarray([*words.encode(text), EOS], dtype)
        file.write(ids.tobytes())
        count += len(ids)
    return count
