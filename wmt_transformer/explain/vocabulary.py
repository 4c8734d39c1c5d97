"""A vocabulary as `page/pieces.js` reads it: the name of every piece, and how good it is to join text into it."""

from __future__ import annotations

from typing import Any

from wmt_transformer.config import UserError
from wmt_transformer.data.marian_vocabulary import MarianVocabulary
from wmt_transformer.data.vocabulary import Vocabulary

MOST_PIECES = 1 << 16
"""Ids of the page's sample of text are 16-bit integers."""


def described(vocabulary: Vocabulary) -> dict[str, Any]:
    """Returns a vocabulary for JSON. Raises UserError for one that the page's JavaScript does not cut text by."""
    from sentencepiece.sentencepiece_model_pb2 import ModelProto  # pyright: ignore[reportAttributeAccessIssue]

    if isinstance(vocabulary, MarianVocabulary):
        raise UserError(
            "the run's vocabulary is Marian's, and the page cuts text by byte pairs of our own vocabularies"
        )
    model = ModelProto.FromString(vocabulary.serialized())
    spec, rules, kinds = model.trainer_spec, model.normalizer_spec, ModelProto.SentencePiece
    if spec.model_type not in (spec.BPE, spec.CHAR):
        kind = spec.ModelType.Name(spec.model_type).lower()
        raise UserError(f"the run's vocabulary is a {kind} model; the page cuts text by byte pairs (bpe) or char alone")
    as_ours = spec.byte_fallback and not rules.precompiled_charsmap and not rules.remove_extra_whitespaces
    if not as_ours or rules.add_dummy_prefix == vocabulary.takes_lines:
        raise UserError("the run's vocabulary normalises text as another program does, which the page cannot")
    if len(model.pieces) > MOST_PIECES:
        raise UserError(f"the run's vocabulary has {len(model.pieces):,} pieces, and a page takes {MOST_PIECES:,}")
    joined = kinds.NORMAL, kinds.USER_DEFINED
    return {
        "pieces": [one.piece for one in model.pieces],
        "ranks": [one.score if one.type in joined else None for one in model.pieces],
        "bytes": [one.type for one in model.pieces].index(kinds.BYTE),
        "symbols": [token for token, one in enumerate(model.pieces) if one.type == kinds.USER_DEFINED],
        "lines": vocabulary.takes_lines,
    }
