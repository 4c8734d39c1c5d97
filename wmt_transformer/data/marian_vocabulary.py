"""The vocabulary that a model imported from Marian brings, which cuts text as it always did.

A SentencePiece model for each language cuts text into pieces, `vocab.json` gives their ids. Marian's models bring their
own normalisation, so text goes to SentencePiece as it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np

from wmt_transformer.config import UserError
from wmt_transformer.data.vocabulary import Vocabulary, joined, sampled, up_to_eos
from wmt_transformer.special_tokens import EOS, UNKNOWN


class MarianVocabulary(Vocabulary):
    """Text to ids and back with the files of a Marian model; what vocab.json lacks is UNKNOWN: here text can be lost.

    A text may begin with a code such as `>>fr<<`, one piece that names the
    language to translate into. A `target_vocab.json`, where there is one, holds the ids of the target language.
    """

    FILES = ("source.spm", "target.spm", "vocab.json")
    """The files in a run's data folder; the ids in vocab.json are ours."""
    TARGET_FILE = "target_vocab.json"

    def __init__(self, source: Any, target: Any, source_ids: dict[str, int], target_ids: dict[str, int]):
        super().__init__(source)
        self._target = target
        self._source_ids, self._target_ids = source_ids, target_ids
        self._target_pieces = {token: piece for piece, token in target_ids.items()}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MarianVocabulary:
        """Reads the files of a folder. Raises UserError if one is missing or damaged."""
        import sentencepiece

        folder = Path(path)
        processors, ids = [], []
        for name in (*cls.FILES, *([cls.TARGET_FILE] if (folder / cls.TARGET_FILE).is_file() else [])):
            if not (folder / name).is_file():
                raise UserError(f"{folder} holds no {name}; a Marian vocabulary is {', '.join(cls.FILES)}")
            try:
                if name.endswith(".spm"):
                    processor = sentencepiece.SentencePieceProcessor()
                    processor.LoadFromSerializedProto((folder / name).read_bytes())
                    processors.append(processor)
                else:
                    read = json.loads((folder / name).read_text(encoding="utf-8"))
                    ids.append({str(piece): int(token) for piece, token in read.items()})
            except (RuntimeError, OSError, ValueError, TypeError, AttributeError) as error:
                kind = "a SentencePiece model" if name.endswith(".spm") else "a JSON object of pieces and ids"
                raise UserError(f"{folder / name} is not {kind}; copy the folder again from where it came") from error
        return cls(processors[0], processors[1], ids[0], ids[-1])

    def __len__(self) -> int:
        return 1 + max(*self._source_ids.values(), *self._target_ids.values())

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text in the source language, without BOS and EOS."""
        return [self._source_ids.get(piece, UNKNOWN) for piece in self.pieces(text)]

    def encode_target(self, text: str) -> list[int]:
        """Returns the ids of a text in the target language, without BOS and EOS."""
        return [self._target_ids.get(piece, UNKNOWN) for piece in _marian_pieces(self._target, text)]

    def encode_all(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the ids [token] of many texts, EOS after each, and their lengths [text].

        The texts are in the source and in the target language by turns.
        """
        return self._by_turns(texts, lambda processor, some: processor.encode(some, out_type=str))

    def sample_all(self, texts: list[str], alpha: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns what `encode_all` does, of texts that are cut at random (see `Vocabulary.sample_all`)."""
        return self._by_turns(texts, lambda processor, some: sampled(processor, some, alpha, seed, out_type=str))

    def _by_turns(
        self, texts: list[str], cut: Callable[[Any, list[str]], list[list[str]]]
    ) -> tuple[np.ndarray, np.ndarray]:
        found: list[list[int]] = [[] for _ in texts]
        for first, processor, ids in ((0, self._processor, self._source_ids), (1, self._target, self._target_ids)):
            codes, rests = zip(*map(_code_and_text, texts[first::2]), strict=True) if texts[first::2] else ((), ())
            found[first::2] = [
                [*(ids.get(piece, UNKNOWN) for piece in (*code, *pieces)), EOS]
                for code, pieces in zip(codes, cut(processor, list(rests)), strict=True)
            ]
        return joined(found)

    def ids(self) -> dict[str, int]:
        """Returns the id of every piece of the source language."""
        return dict(self._source_ids)

    def piece(self, token: int) -> str:
        """Returns the piece of a target token's id."""
        return self._target_pieces.get(token, "")

    def pieces(self, text: str) -> list[str]:
        """Returns what `encode` cuts the text into."""
        return _marian_pieces(self._processor, text)

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Returns the text in the target language up to the first EOS, without PAD, BOS and UNKNOWN."""
        pieces = [self._target_pieces.get(token, "") for token in up_to_eos(ids) if token != UNKNOWN]
        return cast(str, self._target.decode_pieces(pieces)).replace("\u2581", " ").strip()


def _marian_pieces(processor: Any, text: str) -> list[str]:
    code, rest = _code_and_text(text)
    return [*code, *processor.encode(rest, out_type=str)]


def _code_and_text(text: str) -> tuple[list[str], str]:
    """Returns the code that a text begins with, if any, and what comes after it."""
    text = text.encode("utf-8", "replace").decode()  # a lone surrogate has no UTF-8
    end = text.find("<<") + 2 if text.startswith(">>") else 1
    return ([text[:end]], text[end:]) if end > 1 else ([], text)
