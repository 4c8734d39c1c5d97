"""The vocabulary that both languages share: SentencePiece, byte-pair encoding or unigram (§5.1).

Four decisions. Ids 0-3 are PAD, BOS, EOS and UNKNOWN, in every vocabulary. Text that is not in the
vocabulary falls back to its UTF-8 bytes, so no sentence is ever lost or changed: `decode(encode(text)) ==
normalise(text)` for any Unicode. For the same reason SentencePiece does no normalisation of its own;
`normalise` below is all there is (NFC, and runs of white space and control characters become one space).
BOS and EOS are never made by `encode`: batches end with EOS, and the decoder's input begins with BOS.

A vocabulary for a language model has a piece for the line break, and takes text as it is: `decode(encode(text)) ==
text`, spaces and lines included (but U+2581, which comes back as a space).
"""

from __future__ import annotations

import array
import functools
import io
import itertools
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wmt_transformer.config import UserError
from wmt_transformer.data.subwords import Sampler
from wmt_transformer.reading import open_binary
from wmt_transformer.special_tokens import BOS, EOS, NAMES, PAD, UNKNOWN

LONGEST_LINE = 1 << 16
"""Bytes. SentencePiece leaves out longer lines without a word, so that they are cut."""
_RESERVED = "\u2585"
"""SentencePiece leaves out lines that contain this character without a word, too."""
LEAST = len(NAMES) + 256
"""Special pieces and bytes, which every vocabulary of ours has."""
MOST_WORDS = 1 << 18
"""Words whose pieces are remembered, about 50 MB; from then on they are collected anew."""

# White space, control characters (Cc), lone surrogates (Cs: UTF-8 has none). Zero-width joiners and other
# format characters mean something and stay.
_SPACE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff\u2581]+")

TAG = re.compile(r">>[^\s<>]+<<")
"""What names the language to translate into, before a source, as OPUS-MT's models have it."""


def normalise(text: str) -> str:
    """Returns the text in NFC, with white space and control characters collapsed to single spaces.

    U+2581 (▁) counts as white space, because SentencePiece writes spaces with it.
    """
    return _SPACE.sub(" ", unicodedata.normalize("NFC", text)).strip(" ")


class Vocabulary:
    """Text to ids and back; make one with `Vocabulary.load` or `train`."""

    is_shared = True
    """Whether an id means the same piece in a source and in a target."""

    def __init__(self, processor: Any):
        self._processor = processor
        self._cut: dict[str, bytes] = {}
        self._samplers = functools.cache(self._make_samplers)
        self.takes_lines: bool = processor.piece_to_id("\n") != processor.unk_id()
        """Whether it is a language model's, and text is cut as it is."""
        self._normalise = str if self.takes_lines else normalise

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """Reads the vocabulary that `train` wrote. Raises UserError if there is none, or it is none of ours."""
        _, processor = read_model(path)
        found = processor.pad_id(), processor.bos_id(), processor.eos_id(), processor.unk_id()
        if found != (PAD, BOS, EOS, UNKNOWN):
            raise UserError(
                f"{path} is another program's SentencePiece model: PAD, BOS, EOS, UNKNOWN are {found} there, and "
                f"{(PAD, BOS, EOS, UNKNOWN)} here; prepare takes it over with --data.vocabulary {path}"
            )
        return cls(processor)

    def __len__(self) -> int:
        return self._processor.get_piece_size()

    def encode(self, text: str) -> list[int]:
        """Returns the ids of the normalised text, without BOS and EOS."""
        return self._processor.encode(self._normalise(text))

    def encode_target(self, text: str) -> list[int]:
        """Returns the ids of a text in the target language: those of `encode`, where one vocabulary serves both."""
        return self.encode(text)

    def encode_all(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the ids [token] of many normalised texts, EOS after each, and their lengths [text].

        Byte pairs are never merged over a space, and most words occurred before: each is cut once and remembered.
        (A unigram model weighs whole sentences: cut word by word, one in 40,000 came out otherwise.)
        """
        if not self._words_are_apart:
            return joined(self._processor.encode(texts, add_eos=True))
        words = " \n ".join([*texts, ""]).split(" ")  # no word is a line break: that is where a text ends
        if len(self._cut) > MOST_WORDS:
            self._cut = {}
        if new := list(set(words).difference(self._cut)):
            self._cut |= {
                word: array.array("i", ids).tobytes()
                for word, ids in zip(new, self._processor.encode(new), strict=True)
            }
            self._cut |= {"\n": array.array("i", [EOS]).tobytes(), "": b""}
        tokens = np.frombuffer(b"".join(map(self._cut.__getitem__, words)), np.int32)
        return tokens, np.diff(np.flatnonzero(tokens == EOS) + 1, prepend=0)

    def sample_all(self, texts: list[str], alpha: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns what `encode_all` does, of texts that are cut at random (see `subwords.py`): by one seed in one way.

        With byte pairs `alpha` is the probability that a merge is skipped, with a unigram model the exponent on the
        probability of a segmentation. The pieces of a text join to the same text.
        """
        return joined([[*ids, EOS] for ids in self._samplers(alpha)[0].encode(texts, seed)])

    @functools.cached_property
    def _words_are_apart(self) -> bool:
        return merges(self._processor) and words_are_apart(self._processor)

    def _make_samplers(self, alpha: float) -> tuple[Sampler, ...]:
        return (sampler(self._processor, self.ids(), alpha),)

    def serialized(self) -> bytes:
        """Returns the SentencePiece model."""
        return self._processor.serialized_model_proto()

    def ids(self) -> dict[str, int]:
        """Returns the id of every piece."""
        return {self._processor.id_to_piece(i): i for i in range(len(self))}

    @functools.cached_property
    def tags(self) -> list[str]:
        """The tags that are a piece each."""
        return sorted(piece for name in self.ids() if TAG.fullmatch(piece := name.removeprefix("\u2581")))

    def piece(self, token: int) -> str:
        """Returns the piece of a target token's id."""
        return self._processor.id_to_piece(token)

    def pieces(self, text: str) -> list[str]:
        """Returns what `encode` cuts the text into; ▁ is a space, <0xE2> for one byte."""
        return self._processor.encode(self._normalise(text), out_type=str)

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Returns the text up to the first EOS, without PAD and BOS."""
        return self._processor.decode(up_to_eos(ids))


def read_model(path: str | os.PathLike[str]) -> tuple[bytes, Any]:
    """Returns the bytes of a SentencePiece model and its processor. Raises UserError if there is none."""
    import sentencepiece

    if not Path(path).exists():
        raise UserError(f"there is no vocabulary at {path}; `wmt-transformer prepare` makes one")
    with open_binary(Path(path)) as file:
        model = file.read()
    try:
        return model, sentencepiece.SentencePieceProcessor(model_proto=model or b"\0")
    except RuntimeError as error:
        raise UserError(f"{path} is not a SentencePiece model; choose another, or prepare again") from error


def merges(processor: Any) -> bool:
    """Tells whether a model merges byte pairs; its scores are their ranks, 0, -1, -2, …, and no log-probabilities."""
    return processor.get_score(processor.get_piece_size() - 1).is_integer()


def words_are_apart(processor: Any) -> bool:
    """Tells whether no piece of a model reaches over a space, so that the pieces of a text are those of its words."""
    over_a_space = any("\u2581" in processor.id_to_piece(token)[1:] for token in range(processor.get_piece_size()))
    return not over_a_space and processor.encode("a a") == 2 * processor.encode("a")


def sampler(processor: Any, ids: Mapping[str, int], alpha: float) -> Sampler:
    """Returns what cuts texts at random into the pieces of a model."""
    return Sampler(processor, ids, alpha, merges(processor), words_are_apart(processor))


def joined(ids: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ids [token] of many texts, one after the other, and their lengths [text]."""
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    return np.fromiter(itertools.chain.from_iterable(ids), np.int32, int(lengths.sum())), lengths


def up_to_eos(ids: Iterable[int] | np.ndarray) -> list[int]:
    """Returns the ids up to the first EOS, without PAD and BOS."""
    before = itertools.takewhile(lambda token: token != EOS, ids)
    return [int(token) for token in before if token not in (PAD, BOS)]


class TooLarge(UserError):
    """A vocabulary that the text does not have the pieces for."""

    def __init__(self, size: int, most: int):
        super().__init__(
            f"data.vocabulary_size is {size:,}, but the text supports at most {most:,}; "
            f"set --data.vocabulary-size {most} or less"
        )
        self.most = most


def train_fitting(
    sentences: Callable[[], Iterable[str]],
    path: str | os.PathLike[str],
    size: int,
    model: str,
    report: Callable[[str], None],
    symbols: Sequence[str] = (),
    lines: bool = False,
) -> Vocabulary:
    """Trains as `train` does, or as many pieces as the text supports, and says so; `sentences` is called for each."""
    try:
        return train(sentences(), path, size, model, symbols, lines)
    except TooLarge as error:
        report(f"the text supports {error.most:,} pieces, fewer than data.vocabulary_size {size:,}: it gets these")
        return train(sentences(), path, error.most, model, symbols, lines)


def train(
    sentences: Iterable[str],
    path: str | os.PathLike[str],
    size: int,
    model: str = "bpe",
    symbols: Sequence[str] = (),
    lines: bool = False,
) -> Vocabulary:
    """Trains a vocabulary of `size` pieces on normalised sentences of both languages and writes it to `path`.

    Each of the `symbols` becomes one piece, with the space before it, wherever it begins a word. With `lines` it is a
    language model's, and `sentences` are the lines of its text without their ends. The same sentences in the same
    order give the same vocabulary. Raises TooLarge when the text does not have this many pieces (`char` then has
    fewer), and UserError when it has more different characters.
    """
    import sentencepiece

    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_trainable(sentences),
            model_writer=written,
            vocab_size=size,
            model_type=model,
            byte_fallback=True,
            character_coverage=0.9995,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=not lines,
            hard_vocab_limit=model != "char",
            pad_id=PAD,
            bos_id=BOS,
            eos_id=EOS,
            unk_id=UNKNOWN,
            max_sentence_length=LONGEST_LINE,
            num_threads=16,  # not the number of cores: the sums of `unigram` depend on it
            user_defined_symbols=[f"\u2581{symbol}" for symbol in symbols] + ["\n"] * lines,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _explained(str(error), size) from error
    Path(path).write_bytes(written.getvalue())
    return Vocabulary.load(path)


def _trainable(sentences: Iterable[str]) -> Iterator[str]:
    """Yields sentences in parts that SentencePiece does not leave out: cut at spaces where they are too long."""
    most = LONGEST_LINE // 4  # characters, of at most four bytes each
    for sentence in sentences:
        for part in sentence.split(_RESERVED):
            while len(part) > most:
                end = part.rfind(" ", 1, most)
                yield part[: end if end > 0 else most]
                part = part[end + 1 if end > 0 else most :]
            if part:
                yield part


def _explained(error: str, size: int) -> UserError:
    if found := re.search(r"too high .* value <= (\d+)", error):
        return TooLarge(size, int(found[1]))
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", error):
        least = f"bytes and characters alone are {int(found[1]):,}"
        return UserError(f"data.vocabulary_size is {size:,}, but {least}; set --data.vocabulary-size to more than that")
    if "sentences_.empty()" in error:
        return UserError("there is no text to train a vocabulary on; look at the training files")
    if size <= LEAST:
        least = f"bytes and special pieces alone are {LEAST}"
        return UserError(f"data.vocabulary_size is {size:,}, but {least}; set --data.vocabulary-size to more than that")
    return UserError(f"SentencePiece cannot train a vocabulary of {size:,} pieces: {error}")
