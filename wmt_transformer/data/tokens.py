"""Text to token arrays on disk, one process per core, and back out of them one pair at a time.

Tokens are in one file, pair by pair, source before target, EOS at the end of each, as 16-bit integers where
the vocabulary allows; a second file holds where each side starts. Reading a pair touches one place on the
disk. The text is cut into chunks of `CHUNK` lines, which processes take in turn; results are written in order,
so the arrays are the same for any number of processes.

Where pairs are cut at random (BPE-dropout, unigram sampling) several segmentations of each are drawn here, one after
the other, and an epoch has one of them. So batches stay a pure function of (seed, step), their shapes can be planned,
and training does not wait for SentencePiece, whose draws have no seed of their own for each sentence. The price:
cutting takes this many times as long, and the disk as much room; a pair's room in a batch is that of its longest one.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wmt_transformer.config import UserError
from wmt_transformer.data.vocabulary import Vocabulary
from wmt_transformer.data.vocabulary_files import load_vocabulary

CHUNK = 8192
"""Pairs that a process encodes at a time."""


class TokenPairs:
    """Sentence pairs as token ids on disk, EOS at the end of each side; `pairs.pair(i)` reads one."""

    def __init__(self, tokens: np.ndarray, offsets: np.ndarray, samples: int = 1):
        """Takes all tokens [token], pair by pair, source before target, and offsets [2 * samples * pairs + 1].

        There are `samples` segmentations of each pair; lengths are those of the longest.
        """
        self._tokens, self._offsets, self._samples = tokens, offsets, samples
        lengths = np.diff(offsets).astype(np.int32).reshape(-1, samples, 2).max(axis=1)
        self.source_lengths = np.ascontiguousarray(lengths[:, 0])
        self.target_lengths = np.ascontiguousarray(lengths[:, 1])

    @classmethod
    def open(cls, folder: Path, name: str, dtype: str, samples: int = 1) -> TokenPairs:
        """Maps what `write` wrote into memory."""
        # Plain arrays that view the mapping: slices of np.memmap itself are several times slower.
        tokens = np.asarray(np.memmap(folder / f"{name}.tokens", dtype, mode="r"))
        return cls(tokens, np.asarray(np.memmap(folder / f"{name}.offsets", np.int64, mode="r")), samples)

    def __len__(self) -> int:
        return len(self.source_lengths)

    def pair(self, index: int, draw: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Returns (source ids, target ids), each ending with EOS, as segmentation `draw` has them; after the last comes
        the first again."""
        first = 2 * (index * self._samples + draw % self._samples)
        start, middle, end = self._offsets[first : first + 3].tolist()
        return self._tokens[start:middle], self._tokens[middle:end]


class Chunk(NamedTuple):
    """Some lines of a file of normalised source<TAB>target: where they are, and which of them to keep."""

    start: int
    size: int
    keep: np.ndarray
    corpus: int = 0
    """The number of the corpus that they are from."""


class Job(NamedTuple):
    """What to do with every chunk; strings and numbers only, as it travels to other processes."""

    folder: str
    """where the vocabulary is"""
    text: str
    max_length: int
    max_length_ratio: float
    dtype: str
    sampling: float = 0.0
    """as data.subword_sampling; 0: each pair is cut once"""
    samples: int = 1
    """segmentations of each pair"""


class Encoded(NamedTuple):
    """The tokens of a chunk, and how many of its pairs were dropped, by reason."""

    tokens: np.ndarray
    """[token] of the pairs kept"""
    lengths: np.ndarray
    """[2 * samples * pair], EOS included"""
    samples: int = 1
    too_long: int = 0
    length_ratio: int = 0
    corpus: int = 0


class Written(NamedTuple):
    """How many pairs were kept and dropped, by reason, and their tokens: the mean of its samples."""

    kept: int = 0
    too_long: int = 0
    length_ratio: int = 0
    source_tokens: int = 0
    target_tokens: int = 0


def read_chunk(path: Path | str, chunk: Chunk) -> list[list[str]]:
    """Returns the [source, target] of the lines to keep."""
    with open(path, "rb") as file:
        file.seek(chunk.start)
        lines = file.read(chunk.size).decode().split("\n")[:-1]
    return [line.split("\t") for line, keep in zip(lines, chunk.keep.tolist(), strict=True) if keep]


def encode_pairs(words: Vocabulary, pairs: Iterable[Iterable[str]], dtype: str) -> Encoded:
    """Encodes normalised pairs and keeps them all."""
    tokens, lengths = words.encode_all([side for pair in pairs for side in pair])
    return Encoded(tokens.astype(dtype), lengths)


def encode(
    job: Job, chunks: list[Chunk], processes: int, report: Callable[[str], None]
) -> Generator[Encoded, None, None]:
    """Yields every chunk encoded and filtered, in order. Raises UserError when a process dies."""
    if processes == 1 or len(chunks) <= 4:  # starting processes takes longer than this
        words = load_vocabulary(job.folder)
        for chunk in chunks:
            yield _encode_chunk(words, job, chunk)
        return
    import multiprocessing

    # Spawned, not forked: JAX may be running threads here. The workers never import it.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _start_worker, (job,)) as pool:
        waiting: deque[Future[Encoded]] = deque()
        try:
            for number, chunk in enumerate(chunks, 1):
                waiting.append(pool.submit(_work, chunk))
                if len(waiting) > 4 * processes:  # not all at once: results wait in memory
                    yield waiting.popleft().result()
                if number % 128 == 0:
                    report(f"cut {number * CHUNK:,} pairs")
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise UserError(
                "a process that cuts text into pieces died: out of memory, or a script that calls prepare() "
                'without `if __name__ == "__main__":`; try again with processes=1'
            ) from error
        finally:
            for future in waiting:
                future.cancel()


def write(folder: Path, name: str, encoded: Iterable[Encoded]) -> dict[int, Written]:
    """Writes `name`.tokens and `name`.offsets, and counts for each corpus."""
    position = 0
    counts: defaultdict[int, Written] = defaultdict(Written)
    with open(folder / f"{name}.tokens", "wb") as tokens, open(folder / f"{name}.offsets", "wb") as offsets:
        offsets.write(np.zeros(1, np.int64).tobytes())
        for part in encoded:
            tokens.write(part.tokens.tobytes())
            offsets.write((position + np.cumsum(part.lengths, dtype=np.int64)).tobytes())
            position += len(part.tokens)
            pairs = len(part.lengths) // (2 * part.samples)
            source, target = (part.lengths.reshape(-1, 2).sum(axis=0) // part.samples).tolist()
            here = Written(pairs, part.too_long, part.length_ratio, source, target)
            counts[part.corpus] = Written(*np.add(counts[part.corpus], here).tolist())
    return counts


def _encode_chunk(words: Vocabulary, job: Job, chunk: Chunk) -> Encoded:
    """Encodes a chunk and drops the pairs that are too long, or one side of which is, in any segmentation."""
    texts = [side for pair in read_chunk(job.text, chunk) for side in pair]
    tokens, lengths = _cut(words, job, texts, chunk.start)
    sides = lengths.reshape(-1, job.samples, 2).max(axis=1)
    too_long = sides.max(axis=1) > job.max_length
    pieces = sides - 1  # without EOS
    unequal = ~too_long & (pieces.max(axis=1) >= job.max_length_ratio * pieces.min(axis=1))
    keep = np.repeat(~(too_long | unequal), 2 * job.samples)
    kept = tokens[np.repeat(keep, lengths)].astype(job.dtype)
    return Encoded(kept, lengths[keep], job.samples, int(too_long.sum()), int(unequal.sum()), chunk.corpus)


def _cut(words: Vocabulary, job: Job, texts: list[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns tokens [token] and lengths [2 * samples * pair] of texts, source and target by turns."""
    if not job.sampling:
        return words.encode_all(texts)
    seeds = np.random.default_rng(seed).integers(2**32, size=job.samples).tolist()
    drawn = [words.sample_all(texts, job.sampling, one) for one in seeds]
    tokens = np.concatenate([tokens for tokens, _ in drawn])
    lengths = np.stack([lengths.reshape(-1, 2) for _, lengths in drawn])  # [sample, pair, side]
    starts = (np.cumsum(lengths) - lengths.ravel()).reshape(lengths.shape)
    starts, lengths = (each.swapaxes(0, 1).ravel() for each in (starts, lengths))
    return tokens[np.arange(len(tokens)) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)], lengths


_worker: tuple[Vocabulary, Job]


def _start_worker(job: Job) -> None:
    import signal

    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    _worker = load_vocabulary(job.folder), job


def _work(chunk: Chunk) -> Encoded:
    return _encode_chunk(*_worker, chunk)
