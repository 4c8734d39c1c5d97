"""Our vocabulary as the tokenizer.json that Hugging Face's `tokenizers` reads, in Rust, Python and JavaScript.

A SentencePiece model of byte pairs has pieces with ranks, a tokenizer.json has merges: the two halves of each piece, in
every way that both are pieces, in the order of the pieces' ranks. `vocabulary.normalise` becomes a normaliser of four
steps, and a character without a piece becomes its UTF-8 bytes. In one thing the two differ: of two overlapping merges
into the same piece SentencePiece takes the left one, here the order of the list decides (a + aa, or aa + a).

Special tokens are found in a text where it spells them, `</s>` for one; ours takes them for letters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wmt_transformer.config import UserError
from wmt_transformer.data.marian_vocabulary import MarianVocabulary
from wmt_transformer.data.vocabulary import Vocabulary
from wmt_transformer.data.vocabulary_files import load_vocabulary
from wmt_transformer.interop.marian_folder import Json
from wmt_transformer.special_tokens import BOS, EOS, NAMES, PAD, UNKNOWN

# What `vocabulary.normalise` takes for white space, but lone surrogates, which UTF-8 cannot write. Spelt out, since
# what \s is differs from one language to the next.
_SPACES = r"[\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\u2581]+"
_UNIGRAM, _BPE, _CHAR = 1, 2, 4  # SentencePiece's numbers
_KINDS = {_UNIGRAM: "a unigram model", 3: "a model of words"}


def tokenizer_json(data: Path) -> Json:
    """Returns the content of tokenizer.json for the vocabulary of a data folder.

    Raises UserError for a vocabulary that it cannot represent: of another kind than byte pairs or characters, with a
    normalisation of its own, or one for each language.
    """
    words = load_vocabulary(data)
    if reason := _why_not(words):
        raise UserError(f"tokenizer.json, as transformers.js reads it, cannot represent this vocabulary: {reason}")
    names = {token: name for name, token in words.ids().items()}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            *(_added(names[token], token, special=True) for token in (PAD, BOS, EOS)),
            *(_added(piece, words.ids()[piece], special=False) for piece in _tags(words)),
        ],
        "normalizer": _sequence(
            "normalizers",
            {"type": "NFC"},
            {"type": "Prepend", "prepend": " "},
            _replace("Regex", _SPACES, " "),
            _replace("Regex", " $", ""),
            _replace("String", " ", "\u2581"),
        ),
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [_part("Sequence", "A"), _part("SpecialToken", names[EOS])],
            "pair": [_part("Sequence", "A"), _part("Sequence", "B"), _part("SpecialToken", names[EOS])],
            "special_tokens": {names[EOS]: {"id": names[EOS], "ids": [EOS], "tokens": [names[EOS]]}},
        },
        "decoder": _sequence(
            "decoders",
            _replace("String", names[UNKNOWN], " \u2047 "),
            _replace("String", "\u2581", " "),
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": names[UNKNOWN],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": words.ids(),
            "merges": _merges(words),
        },
    }


def tokenizer_config(source: str, target: str, longest: int) -> Json:
    """Returns the content of tokenizer_config.json, where texts are cut to `longest` tokens.

    The class is the general one: transformers.js's MarianTokenizer adds a warning that it is inaccurate, and Python's
    would want SentencePiece files.
    """
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "source_lang": source,
        "target_lang": target,
        "pad_token": NAMES[PAD],
        "bos_token": NAMES[BOS],
        "eos_token": NAMES[EOS],
        "unk_token": NAMES[UNKNOWN],
        "model_max_length": longest,
        "clean_up_tokenization_spaces": False,
    }


def _why_not(words: Vocabulary) -> str:
    """Returns why tokenizer.json cannot be this vocabulary, or nothing."""
    if isinstance(words, MarianVocabulary):
        return "it was imported from Marian, with a SentencePiece model and a normalisation for each language"
    model = _model(words)
    kind, rules = model.trainer_spec.model_type, model.normalizer_spec
    if kind not in (_BPE, _CHAR):
        reason = f"it is {_KINDS[kind]} (data.vocabulary_model), where there are byte pairs (bpe) and characters (char)"
        return f"{reason}: only these fall back to bytes there, so that no character is lost"
    if rules.precompiled_charsmap:
        return f"it normalises text by SentencePiece's rules {rules.name!r}, which transformers.js only approximates"
    if not rules.add_dummy_prefix:
        return "it puts no space before the first word, which is a language model's way"
    return ""


def _merges(words: Vocabulary) -> list[list[str]]:
    """Returns the pairs of pieces that are merged, those of the best rank first."""
    model = _model(words)
    if model.trainer_spec.model_type == _CHAR:
        return []
    normal = {one.piece: one.score for one in model.pieces if one.type == one.NORMAL}
    found = []
    for piece, score in normal.items():
        halves = ((piece[:i], piece[i:]) for i in range(len(piece) - 1, 0, -1))
        found += [(score, [left, right]) for left, right in halves if left in normal and right in normal]
    return [pair for _, pair in sorted(found, key=lambda one: -one[0])]


def _model(words: Vocabulary) -> Any:
    from sentencepiece.sentencepiece_model_pb2 import ModelProto  # pyright: ignore[reportAttributeAccessIssue]

    return ModelProto.FromString(words.serialized())


def _tags(words: Vocabulary) -> list[str]:
    """Returns the pieces that name a language, as a source begins with them."""
    return [f"\u2581{tag}" for tag in words.tags]


def _added(content: str, token: int, special: bool) -> Json:
    """Returns a piece that no merge makes: a special one in the text as it is, another in the normalised text."""
    kind = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": not special, "special": special}
    return {"id": token, "content": content, **kind}


def _sequence(name: str, *steps: Json) -> Json:
    return {"type": "Sequence", name: list(steps)}


def _replace(kind: str, pattern: str, content: str) -> Json:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def _part(kind: str, name: str) -> Json:
    return {kind: {"id": name, "type_id": 0}}
