"""The vocabulary that both languages share: SentencePiece, byte-pair encoding or unigram (§5.1).

Four decisions. Ids 0-3 are PAD, BOS, EOS and UNKNOWN, in every vocabulary. Text that is not in the
vocabulary falls back to its UTF-8 bytes, so no sentence is ever lost or changed: `decode(encode(text)) ==
normalise(text)` for any Unicode. For the same reason SentencePiece does no normalisation of its own;
`normalise` below is all there is (NFC, and runs of white space and control characters become one space).
BOS and EOS are never made by `encode`: batches end with EOS, and the decoder's input begins with BOS.
"""

from __future__ import annotations

import io
import itertools
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from wmt_transformer.config import UserError

PAD, BOS, EOS, UNKNOWN = 0, 1, 2, 3

# White space, control characters (Cc), lone surrogates (Cs: UTF-8 has none). Zero-width joiners and other
# format characters mean something and stay.
_SPACE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff\u2581]+")


def normalise(text: str) -> str:
    """Returns the text in NFC, with white space and control characters collapsed to single spaces.

    U+2581 (▁) counts as white space, because SentencePiece writes spaces with it.
    """
    return _SPACE.sub(" ", unicodedata.normalize("NFC", text)).strip(" ")


class Vocabulary:
    """Text to ids and back; make one with `Vocabulary.load` or `train`."""

    def __init__(self, processor: Any):
        self._processor = processor

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """Reads the vocabulary that `train` wrote. Raises UserError if there is none."""
        import sentencepiece

        if not Path(path).is_file():
            raise UserError(f"there is no vocabulary at {path}; `wmt-transformer prepare` makes one")
        try:
            return cls(sentencepiece.SentencePieceProcessor(model_file=str(path)))
        except (RuntimeError, OSError) as error:
            raise UserError(f"{path} is not a SentencePiece model; delete it and prepare again") from error

    def __len__(self) -> int:
        return self._processor.get_piece_size()

    def encode(self, text: str) -> list[int]:
        """Returns the ids of the normalised text, without BOS and EOS."""
        return self._processor.encode(normalise(text))

    def encode_all(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the ids [token] of many normalised texts, EOS after each, and their lengths [text]."""
        ids = self._processor.encode(texts, add_eos=True)
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        return np.fromiter(itertools.chain.from_iterable(ids), np.int32, int(lengths.sum())), lengths

    def pieces(self, text: str) -> list[str]:
        """Returns what `encode` cuts the text into; ▁ stands for a space, <0xE2> for one byte."""
        return self._processor.encode(normalise(text), out_type=str)

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Returns the text up to the first EOS, without PAD and BOS."""
        kept = []
        for token in ids:
            if token == EOS:
                break
            if token not in (PAD, BOS):
                kept.append(int(token))
        return self._processor.decode(kept)


def train(sentences: Iterable[str], path: str | os.PathLike[str], size: int, model: str = "bpe") -> Vocabulary:
    """Trains a vocabulary of `size` pieces on normalised sentences of both languages and writes it to `path`.

    The same sentences in the same order give the same vocabulary. Raises UserError when the text does not
    have so many pieces, or has more different characters than that.
    """
    import sentencepiece

    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=written,
            vocab_size=size,
            model_type=model,
            byte_fallback=True,
            character_coverage=0.9995,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            pad_id=PAD,
            bos_id=BOS,
            eos_id=EOS,
            unk_id=UNKNOWN,
            max_sentence_length=1 << 16,
            num_threads=16,  # not the number of cores: the sums of `unigram` depend on it
            minloglevel=2,
        )
    except RuntimeError as error:
        raise UserError(_explain(str(error), size)) from error
    Path(path).write_bytes(written.getvalue())
    return Vocabulary.load(path)


def _explain(error: str, size: int) -> str:
    if found := re.search(r"too high .* value <= (\d+)", error):
        most = f"the text supports at most {int(found[1]):,}"
        return f"data.vocabulary_size is {size:,}, but {most}; set --data.vocabulary-size {found[1]} or less"
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", error):
        least = f"bytes and characters alone are {int(found[1]):,}"
        return f"data.vocabulary_size is {size:,}, but {least}; set --data.vocabulary-size to more than that"
    if "sentences_.empty()" in error:
        return "there is no text to train a vocabulary on; look at the training files"
    return f"SentencePiece cannot train a vocabulary of {size:,} pieces: {error}"
