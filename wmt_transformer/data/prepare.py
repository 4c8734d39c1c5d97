"""From a corpus to memory-mapped token arrays, done once.

Two passes over training text, and nothing in memory that grows with it but 8 bytes a pair. The first
normalises every pair, writes it to a temporary file and keeps a 64-bit hash of it, which tells duplicates
(two different pairs of 36 million share a hash with probability 4e-5). Then the vocabulary is trained on an
even sample. The second pass cuts the text into pieces, one process per core, each filtering its chunk; chunks
are written in order, so the arrays are the same for any number of processes.

Development and test sets are kept whole: nothing is dropped, shortened or normalised in the text that BLEU is
computed on. Everything is built in a temporary folder beside the goal and renamed at the end: a prepared
folder is whole.
"""

from __future__ import annotations

import array
import contextlib
import dataclasses
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import corpora, mixture, tokens, vocabulary, vocabulary_files
from wmt_transformer.data.corpora.members import names
from wmt_transformer.data.manifest import (
    Manifest,
    Report,
    Stage,
    check_whole,
    make,
    print_to_stderr,
    read_manifest,
)
from wmt_transformer.data.mixture import Mixture
from wmt_transformer.data.text_digest import TextDigest
from wmt_transformer.data.tokens import CHUNK, Chunk, TokenPairs
from wmt_transformer.data.vocabulary import Vocabulary, normalise
from wmt_transformer.data.vocabulary_files import load_vocabulary


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A prepared corpus."""

    folder: Path
    vocabulary: Vocabulary
    train: TokenPairs | Mixture
    dev: TokenPairs
    dev_text: list[tuple[str, str]]
    """Raw (source, target) sentences."""
    test_text: list[tuple[str, str]]
    statistics: dict[str, Any]
    """Pairs read, kept and dropped by reason, tokens of each side, sentences of dev and test; where there are several
    corpora, the pairs of each and how often an epoch has them."""


def prepare(
    data: DataConfig,
    folder: str | os.PathLike[str],
    report: Report = print_to_stderr,
    processes: int | None = None,
    trained: bool = False,
) -> Prepared:
    """Prepares a corpus into `folder`, or opens what is there if settings and text are still the same.

    Args:
      report: is given lines for people to read, among them the table of what was kept and dropped.
      processes: that cut text into pieces; None is one per core. The result does not depend on it.
      trained: there are checkpoints, which belong to what `folder` holds: it is not made anew, but refused.

    Raises UserError for whatever is wrong with the corpus, and when the disk is full; `folder` is then as it was.
    """
    stage = Stage(corpora.files, corpora.texts, lambda building: _build(data, building, report, processes))
    make(data, Path(folder), stage, report, trained)
    return open_prepared(folder)


def open_prepared(folder: str | os.PathLike[str]) -> Prepared:
    """Opens what `prepare` made. Raises UserError if it is not there, or is damaged."""
    folder = Path(folder)
    manifest, text = read_manifest(folder), open_text(folder)
    check_whole(folder, manifest)
    dtype = manifest["dtype"]
    train = TokenPairs.open(folder, "train", dtype, manifest.get("samples", 1))
    if several := manifest["statistics"].get("corpora"):
        train = Mixture(train, [one["kept"] for one in several], [one["weight"] for one in several])
    return Prepared(
        folder=folder,
        vocabulary=load_vocabulary(folder),
        train=train,
        dev=TokenPairs.open(folder, "dev", dtype),
        dev_text=text["dev"],
        test_text=text["test"],
        statistics=manifest["statistics"],
    )


def open_text(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Returns the raw (source, target) sentences of dev and test that `prepare` kept, without the training set.

    Raises UserError if they are not there, or are damaged.
    """
    manifest = read_manifest(folder)
    languages = manifest["recipe"]["data"]["source"], manifest["recipe"]["data"]["target"]
    check_whole(folder, manifest, [f"{split}.{language}" for split in ("dev", "test") for language in languages])
    return {split: _text(folder, split, *languages) for split in ("dev", "test")}


def table(statistics: dict[str, Any]) -> str:
    """Returns a table of what was kept and dropped, and why: of all training pairs, then of each corpus."""
    import io

    from rich.console import Console
    from rich.table import Table

    train = statistics["train"]
    rows = Table("training pairs", title_justify="left")
    rows.add_column("number", justify="right")
    rows.add_column("share", justify="right")
    for name, number in train.items():
        rows.add_row(name.replace("_", " "), f"{number:,}", f"{number / max(train['read'], 1):.1%}")
    output = io.StringIO()
    console = Console(file=output, width=110, markup=False, emoji=False, force_jupyter=False)
    console.print(rows)
    if several := statistics.get("corpora"):
        output.write(mixture.table(several, "kept") + "\n")
    sides = statistics["tokens"]
    console.print(
        f"{statistics['vocabulary']:,} pieces; {sides['source']:,} source and {sides['target']:,} target "
        f"tokens; {statistics['dev']:,} development and {statistics['test']:,} test sentences"
    )
    return output.getvalue().rstrip()


# ---- Doing it


def _build(
    data: DataConfig,
    folder: Path,
    report: Report,
    processes: int | None,
) -> Manifest:
    for line in (credits := corpora.credits(data)):
        report(line)
    # Dev and test first: whatever is wrong with them shows before the long work.
    digest = TextDigest()
    sizes = {split: _copy_text(data, split, folder, digest) for split in ("dev", "test")}
    text = folder / "train.tsv"
    counts, chunks = _normalise_train(data, text, report, digest)
    words = _vocabulary(data, folder, lambda: _sample(text, chunks, max(data.vocabulary_sample // 2, 1)), report)
    dtype = "uint16" if len(words) <= 1 << 16 else "uint32"

    cores = processes or os.cpu_count() or 1
    report(f"cutting {sum(int(chunk.keep.sum()) for chunk in chunks):,} pairs into pieces, {cores} processes")
    samples = data.subword_samples if data.subword_sampling else 1
    limits = data.max_length, data.max_length_ratio
    job = tokens.Job(str(folder), str(text), *limits, dtype, data.subword_sampling, samples)
    with contextlib.closing(tokens.encode(job, chunks, cores, report)) as encoded:
        trained = tokens.write(folder, "train", encoded)
    text.unlink()
    for number, one in enumerate(counts):
        part = trained.get(number, tokens.Written())
        one |= {"too_long": part.too_long, "length_ratio": part.length_ratio, "kept": part.kept}
    statistics = _statistics(data, counts)
    spell = corpora.spelling(data)
    pairs = _text(folder, "dev", data.source, data.target)
    dev = [map(normalise, spell(*pair)) for pair in pairs]
    tokens.write(folder, "dev", [tokens.encode_pairs(words, dev, dtype)])

    parts = trained.values()
    sides = {"source": sum(one.source_tokens for one in parts), "target": sum(one.target_tokens for one in parts)}
    statistics |= {"tokens": sides, "vocabulary": len(words), **sizes}
    report(table(statistics))
    made = {"text": digest.hexdigest(), "dtype": dtype, "samples": samples}
    return {**made, "statistics": statistics, "credits": credits}


def _vocabulary(
    data: DataConfig, folder: Path, sample: Callable[[], Iterator[list[str]]], report: Report
) -> Vocabulary:
    """Writes the vocabulary that was given, or trains one on a sample of the pairs."""
    symbols = corpora.symbols(data, (target for _, target in sample()))
    if data.vocabulary is not None:
        words = vocabulary_files.adopt(data.vocabulary, folder, symbols)
        report(f"taking over the vocabulary {data.vocabulary}, {len(words):,} pieces")
        return words
    report(f"training a vocabulary of {data.vocabulary_size:,} pieces")
    return vocabulary.train_fitting(
        lambda: itertools.chain.from_iterable(sample()),
        folder / vocabulary_files.OURS,
        data.vocabulary_size,
        data.vocabulary_model,
        report,
        symbols,
    )


def _statistics(data: DataConfig, counts: list[dict[str, int]]) -> dict[str, Any]:
    """Returns how many pairs were kept and dropped, and how often an epoch has those of each corpus.

    Raises UserError where nothing is left, of all corpora or of one.
    """
    total = {name: sum(one[name] for one in counts) for name in counts[0]}
    for name, one in zip(names(data), counts, strict=True):
        if not one["kept"]:
            which = "" if len(counts) == 1 else f" of corpus {name}"
            hint = "look at --data.max-length and --data.max-length-ratio"
            raise UserError(f"no training pair{which} is left: {one}; {hint}")
    several = mixture.weighted(data, names(data), counts, "kept")
    return {"train": total, **({"corpora": several} if several else {})}


def _copy_text(data: DataConfig, split: corpora.Split, folder: Path, digest: TextDigest) -> int:
    """Writes both sides of dev or test, one sentence a line, unchanged but for line breaks inside one."""
    count = 0
    with (
        open(folder / f"{split}.{data.source}", "w", encoding="utf-8", newline="\n") as sources,
        open(folder / f"{split}.{data.target}", "w", encoding="utf-8", newline="\n") as targets,
    ):
        for source, target in digest.through(split, corpora.load(data, split)):
            count += 1
            sources.write(_one_line(source) + "\n")
            targets.write(_one_line(target) + "\n")
    return count


def _text(folder: Path, split: str, source: str, target: str) -> list[tuple[str, str]]:
    lines = ((folder / f"{split}.{side}").read_bytes().decode().split("\n")[:-1] for side in (source, target))
    return list(zip(*lines, strict=True))


def _one_line(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ")


def _normalise_train(
    data: DataConfig, path: Path, report: Report, digest: TextDigest
) -> tuple[list[dict[str, int]], list[Chunk]]:
    """Writes normalised pairs as lines source<TAB>target, one corpus after the other; returns the counts so far of
    each corpus, and the file's chunks."""
    counts: list[dict[str, int]] = []
    hashes, starts, position = array.array("Q"), [], 0
    with open(path, "wb", buffering=1 << 20) as file:
        for number, (name, member) in enumerate(zip(names(data), corpora.members(data), strict=True)):
            counts.append(dict.fromkeys(("read", "empty", "duplicate", "too_long", "length_ratio", "kept"), 0))
            spell, first = corpora.spelling(member), len(hashes)
            pairs = digest.through(corpora.train_name(number + 1), corpora.load(member, "train"))
            for source, target in pairs:
                counts[-1]["read"] += 1
                if counts[-1]["read"] % 1_000_000 == 0:
                    report(f"read {counts[-1]['read']:,} pairs")
                source, target = map(normalise, spell(source, target))
                if not source or not target:
                    counts[-1]["empty"] += 1
                    continue
                line = f"{source}\t{target}\n".encode()
                if (len(hashes) - first) % CHUNK == 0:
                    starts.append((position, len(hashes), number))
                hashes.append(int.from_bytes(hashlib.blake2b(line, digest_size=8).digest(), "little"))
                file.write(line)
                position += len(line)
            if len(hashes) == first:
                raise UserError(f"{name} has no training pairs: read {counts[-1]['read']:,}, all with an empty side")
    keep = np.ones(len(hashes), bool)
    if data.deduplicate and len(hashes):
        keep = _first_occurrences(np.frombuffer(hashes, np.uint64))
    chunks = []
    for (start, line, number), (end, next_line, _) in itertools.pairwise([*starts, (position, len(hashes), -1)]):
        chunks.append(Chunk(start, end - start, keep[line:next_line], number))
        counts[number]["duplicate"] += int((~chunks[-1].keep).sum())
    return counts, chunks


def _first_occurrences(hashes: np.ndarray) -> np.ndarray:
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    first = np.ones(len(hashes), bool)
    first[order[1:]] = ordered[1:] != ordered[:-1]
    return first


def _sample(path: Path, chunks: list[Chunk], most: int) -> Iterator[list[str]]:
    """Yields at most `most` pairs, evenly spaced over the corpus."""
    total = sum(int(chunk.keep.sum()) for chunk in chunks)
    number = 0
    for chunk in chunks:
        for pair in tokens.read_chunk(path, chunk):
            # Pair n is taken when n * most / total passes a whole number: `most` times, evenly.
            if total <= most or number * most // total != (number + 1) * most // total:
                yield pair
            number += 1
