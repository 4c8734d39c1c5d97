"""The vocabulary of a data folder: which files it is, how it is read, and how one that exists already is taken over.

A vocabulary that exists keeps its pieces, so that parameters that were trained with it go on to mean the same, and text
is cut as its maker cuts it. One of ours is copied byte for byte and keeps its fingerprint. Another program's is written
in our order, PAD, BOS, EOS and UNKNOWN first and then every other piece as it was: what a text is cut into depends on
the pieces and their scores, not on their order. Such a vocabulary normalises text in its own way, and characters that
it lacks are UNKNOWN.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from wmt_transformer.config import UserError
from wmt_transformer.data.marian_vocabulary import MarianVocabulary
from wmt_transformer.data.vocabulary import Vocabulary, read_model
from wmt_transformer.special_tokens import EOS, NAMES, PAD, UNKNOWN

OURS = "vocabulary.model"
FILES = (OURS, *MarianVocabulary.FILES, MarianVocabulary.TARGET_FILE)
"""Our own, and those of a model imported from Marian."""


def load_vocabulary(folder: str | os.PathLike[str]) -> Vocabulary:
    """Reads the vocabulary in a run's data folder, ours or Marian's. Raises UserError if there is none."""
    marian = (Path(folder) / MarianVocabulary.FILES[-1]).is_file()
    return MarianVocabulary.load(folder) if marian else Vocabulary.load(Path(folder) / OURS)


def adopt(path: str | os.PathLike[str], folder: Path, symbols: Iterable[str] = (), lines: bool = False) -> Vocabulary:
    """Writes a vocabulary that exists into a data folder, with our ids, and returns it.

    Args:
      path: a SentencePiece model; or a folder: a run's, its data, or one that holds Marian's source.spm, target.spm
        and vocab.json.
      symbols: words that have to be one piece each.
      lines: it is for a language model, which needs a piece for the line break; for a translator it must have none.

    Raises UserError for a path without a vocabulary, a damaged one, and one without the pieces that are needed.
    """
    found = files(path)
    for file in found:
        if len(found) == 1:
            (folder / OURS).write_bytes(_model_in_our_order(file))
        elif file.suffix == ".json":
            (folder / file.name).write_text(_marian_ids_in_our_order(file), "utf-8")
        else:
            shutil.copyfile(file, folder / file.name)
    words = load_vocabulary(folder)
    if missing := [symbol for symbol in symbols if len(words.encode(symbol)) != 1 or UNKNOWN in words.encode(symbol)]:
        raise UserError(
            f"the vocabulary {path} has no piece {missing[0]}, which the corpus needs; use one that was trained with it"
        )
    if (words.pieces("\n") == ["\n"]) != lines:
        raise UserError(
            f"{path} has no piece for the line break, which a language model needs; use one that was trained for it"
            if lines
            else f"{path} is a language model's vocabulary, in which line breaks are pieces; use one for sentences"
        )
    return words


def files(path: str | os.PathLike[str]) -> list[Path]:
    """Returns the files of a vocabulary that exists; `path` is as for `adopt`. Raises UserError where there is none."""
    if Path(path).is_file():
        return [Path(path)]
    for folder in (Path(path), Path(path) / "data"):
        for names in (MarianVocabulary.FILES, (OURS,)):
            if all((folder / name).is_file() for name in names):
                target = folder / MarianVocabulary.TARGET_FILE
                return [folder / name for name in names] + [target] * (target.is_file() and OURS not in names)
    raise UserError(
        f"there is no vocabulary at {path}; give a SentencePiece model, the folder of a run, or a folder with "
        f"{', '.join(MarianVocabulary.FILES)}"
    )


def digest(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of the content of a vocabulary that exists. Raises UserError where there is none."""
    found = hashlib.sha256()
    for file in files(path):
        found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()


def _model_in_our_order(path: Path) -> bytes:
    """Returns a SentencePiece model with our special pieces at our ids: as it is, where they are there already."""
    from sentencepiece.sentencepiece_model_pb2 import ModelProto  # pyright: ignore[reportAttributeAccessIssue]

    model, theirs = read_model(path)
    ids = {"<pad>": theirs.pad_id(), "<s>": theirs.bos_id(), "</s>": theirs.eos_id(), "<unk>": theirs.unk_id()}
    if list(ids.values()) == list(NAMES):
        return model
    read, ours = ModelProto.FromString(model), ModelProto.FromString(model)
    control = ModelProto.SentencePiece.CONTROL
    del ours.pieces[:]
    for name, token in ids.items():  # no text is ever cut into one of them: where one is missing it can be added
        made = ModelProto.SentencePiece(piece=name, score=0.0, type=control)
        ours.pieces.append(read.pieces[token] if token >= 0 else made)
    ours.pieces.extend(piece for token, piece in enumerate(read.pieces) if token not in ids.values())
    spec = ours.trainer_spec
    spec.pad_id, spec.bos_id, spec.eos_id, spec.unk_id = NAMES
    spec.pad_piece, spec.bos_piece, spec.eos_piece, spec.unk_piece = (piece.piece for piece in ours.pieces[:4])
    spec.vocab_size = len(ours.pieces)
    return ours.SerializeToString()


def _marian_ids_in_our_order(path: Path) -> str:
    """Returns the text of a Marian vocab.json with our ids: as it is, where they are ours already."""
    try:
        text = path.read_text("utf-8")
        ids = {str(piece): int(token) for piece, token in json.loads(text).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a JSON object of pieces and ids; copy it again from where it came") from error
    if missing := [NAMES[token] for token in (EOS, UNKNOWN) if NAMES[token] not in ids]:
        raise UserError(f"{path} has no piece {missing[0]}; a vocabulary of Marian has one")
    if all(ids.get(NAMES[token]) == token for token in (PAD, EOS, UNKNOWN)):
        return text
    others = sorted(ids.keys() - set(NAMES.values()), key=ids.__getitem__)
    return json.dumps({piece: token for token, piece in enumerate([*NAMES.values(), *others])}, ensure_ascii=False)
