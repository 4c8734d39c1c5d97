"""The folder of a Hugging Face Marian model: its config, how it searches, and its pieces' names.

The files are read as they are, without `transformers`. Settings that are not in a file have the value that MarianConfig
gives them. A setting that changes what is generated and has no counterpart here is refused by its name: dropped, it
would change translations in silence.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

from wmt_transformer.config import DecodeConfig, UserError
from wmt_transformer.data.marian_vocabulary import MarianVocabulary

Json = dict[str, Any]
"""An object of a JSON file."""

WEIGHTS = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "pytorch_model.bin.index.json")
ACTIVATIONS: dict[str, Literal["relu", "swish"]] = {"relu": "relu", "swish": "swish", "silu": "swish"}

_DEFAULTS: Json = {
    "vocab_size": 58101,
    "max_position_embeddings": 1024,
    "encoder_layers": 12,
    "decoder_layers": 12,
    "encoder_attention_heads": 16,
    "decoder_attention_heads": 16,
    "encoder_ffn_dim": 4096,
    "decoder_ffn_dim": 4096,
    "d_model": 1024,
    "activation_function": "gelu",
    "dropout": 0.1,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "scale_embedding": False,
    "share_encoder_decoder_embeddings": True,
    "tie_word_embeddings": True,
    "pad_token_id": 58100,
    "eos_token_id": 0,
    "decoder_start_token_id": 58100,
    "forced_eos_token_id": 0,
}
"""MarianConfig's, of what is read here."""

_LENGTHS = ("num_beams", "min_length", "max_length", "min_new_tokens", "max_new_tokens")
"""Whole numbers of their search that are read."""

_WITHOUT_EFFECT: dict[str, tuple[object, ...]] = {
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "repetition_penalty": (1.0,),
    "encoder_repetition_penalty": (1.0,),
    "diversity_penalty": (0.0,),
    "num_beam_groups": (1,),
    "forced_bos_token_id": (),
    "force_bos_token_to_be_generated": (False,),
    "forced_decoder_ids": (),
    "begin_suppress_tokens": ([],),
    "sequence_bias": ({},),
    "exponential_decay_length_penalty": (),
    "constraints": ([],),
    "force_words_ids": ([],),
    "guidance_scale": (1.0,),
    "penalty_alpha": (0.0,),
    "dola_layers": (),
    "do_sample": (False,),
    "stop_strings": ([], ""),
    "max_time": (),
    "watermarking_config": (),
    "token_healing": (False,),
}
"""Settings of their search without a counterpart here, and the values, beside null, that change nothing."""


class Search(NamedTuple):
    """How a model's generation is set, as far as it can be here."""

    decode: DecodeConfig
    start: int
    """The id that the decoder begins with."""
    eos: int
    forbidden: frozenset[int]
    """Ids that are never an output."""
    renormalised: bool
    """Whether probabilities are computed again without what is forbidden."""


def settings(folder: Path) -> Json:
    """Returns the model's config. Raises UserError for a folder without a Marian model, or one that ours cannot be."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} holds no config.json; give the folder of a Marian model as transformers saves it")
    theirs = read_json(folder / "config.json")
    found = ", ".join(theirs.get("architectures") or []) or f"model_type {theirs.get('model_type')!r}"
    if theirs.get("model_type") != "marian" or theirs.get("architectures") not in (None, [], ["MarianMTModel"]):
        raise UserError(f"{folder} holds a model of another kind: {found}; MarianMTModel alone can be imported")
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise UserError(f"{folder} holds no weights; they are a {' or '.join(WEIGHTS[:2])}")
    for name, default in _DEFAULTS.items():
        value = theirs.setdefault(name, default)
        if value is not None and not isinstance(value, int | float if isinstance(default, float) else type(default)):
            raise UserError(f"{folder / 'config.json'}: {name} is {value!r}; expected one such as {default!r}")
    reasons = [
        f"{name} {left} in the encoder and {right} in the decoder, which are one number here"
        for name in ("attention_heads", "ffn_dim")
        if (left := theirs[f"encoder_{name}"]) != (right := theirs[f"decoder_{name}"])
    ]
    if (activation := theirs["activation_function"]) not in ACTIVATIONS:
        reasons.append(f"activation_function {activation!r}, where ours are {', '.join(ACTIVATIONS)}")
    strange = ("normalize_before", "normalize_embedding", "add_final_layer_norm")
    reasons += [f"{name}, a layer norm that MarianMTModel does not have" for name in strange if theirs.get(name)]
    if reasons:
        raise UserError(f"{folder} has {reasons[0]}")
    return theirs


def search(folder: Path, theirs: Json) -> Search:
    """Returns how the model searches: as generation_config.json says, or config.json where there is no such file.

    Their lengths count the start token, and EOS: ours neither. Raises UserError for a setting without a counterpart.
    """
    path = folder / "generation_config.json"
    said, path = (read_json(path), path) if path.is_file() else (theirs, folder / "config.json")

    def refuse(name: str, why: str) -> UserError:
        return UserError(
            f"{path} sets {name} = {json.dumps(said[name])}, {why}: translations would differ; "
            "take it out of the file to import the model without it"
        )

    _check_kinds(path, said)
    for name, harmless in _WITHOUT_EFFECT.items():
        if said.get(name) is not None and said[name] not in harmless:
            raise refuse(name, "which has no counterpart here")
    eos = said.get("eos_token_id", theirs["eos_token_id"])
    eos = eos[0] if isinstance(eos, list) and len(eos) == 1 else eos
    if not isinstance(eos, int):
        raise UserError(f"{path} has {eos!r} as its eos token, where one id is needed")
    start, pad = (said.get(name, theirs[name]) for name in ("decoder_start_token_id", "pad_token_id"))
    forbidden = [tuple(word) for word in said.get("bad_words_ids") or []]
    forbidden += [(token,) for token in said.get("suppress_tokens") or []]
    if strange := set(forbidden) - {(pad,), (start,)}:
        raise UserError(f"{path} forbids the output {[*min(strange)]}; here pad and the start token alone can be")
    ends = said.get("forced_eos_token_id")
    if ends not in (None, eos, [eos]) and _most_pieces(said, forced=True) is not None:
        raise refuse("forced_eos_token_id", f"which is not the end of a sentence here ({eos})")
    penalty = said.get("length_penalty")
    if penalty is not None and penalty < 0:
        raise refuse("length_penalty", "and ours is never negative")
    decode = DecodeConfig(
        beam_size=said.get("num_beams") or DecodeConfig.beam_size,
        alpha=1.0 if penalty is None else float(penalty),
        min_length=max(0, (said.get("min_length") or 0) - 1, said.get("min_new_tokens") or 0),
        max_length=_most_pieces(said, forced=ends is not None),
    )
    if decode.max_length is not None and decode.min_length > decode.max_length:
        raise UserError(f"{path}: outputs of at least {decode.min_length} pieces and at most {decode.max_length}")
    return Search(decode, start, eos, frozenset(token for (token,) in forbidden), bool(said.get("renormalize_logits")))


def _check_kinds(path: Path, said: Json) -> None:
    """Raises UserError for a setting that is read here and is of another kind than it must be."""
    kinds: dict[str, type | tuple[type, ...]] = dict.fromkeys(_LENGTHS, int)
    kinds |= {"length_penalty": (int, float), "bad_words_ids": list, "suppress_tokens": list}
    for name, kind in kinds.items():
        if said.get(name) is not None and not isinstance(said[name], kind):
            raise UserError(f"{path}: {name} is {said[name]!r}; copy the folder again from where it came")


def _most_pieces(said: Json, forced: bool) -> int | None:
    """Returns the most pieces of an output before its EOS, which is the last token or, if not `forced`, cut off."""
    tokens = said.get("max_new_tokens")
    if tokens is None and said.get("max_length") is not None:
        tokens = said["max_length"] - 1
    return None if tokens is None else max(1, tokens - forced)


def has_two_vocabularies(folder: Path) -> bool:
    """Tells whether source and target have ids of their own."""
    said = read_json(folder / "tokenizer_config.json", {})
    return bool(said.get("separate_vocabs")) and (folder / MarianVocabulary.TARGET_FILE).is_file()


def piece_ids(path: Path, rows: int) -> dict[str, int]:
    """Returns the ids of a vocab.json's pieces, none where there is no such file."""
    names = read_json(path, {})
    if strange := [piece for piece, token in names.items() if not isinstance(token, int) or not 0 <= token < rows]:
        raise UserError(f"{path} gives {strange[0]!r} the id {names[strange[0]]}, and the model has {rows} ids")
    return names


def languages(folder: Path, name: str) -> tuple[str, str]:
    """Returns the languages as the tokeniser names them, or the model's name (opus-mt-en-de), or "und"."""
    said = read_json(folder / "tokenizer_config.json", {})
    named = re.search(r"-([a-z]{2,3})-([a-z]{2,3})$", name)
    by_name = named.groups() if named else ("und", "und")
    source, target = (said.get(f"{side}_lang") for side in ("source", "target"))
    return source or by_name[0], target or by_name[1]


def read_json(path: Path, default: Json | None = None) -> Json:
    """Returns a file's JSON object, or the default where there is no such file."""
    if default is not None and not path.is_file():
        return default
    again = "copy the folder again from where it came"
    try:
        read = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {path}: byte {error.start + 1} is not UTF-8; {again}") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"cannot read {path}: {place} is not JSON ({error.msg}); {again}") from error
    except RecursionError as error:
        raise UserError(f"cannot read {path}: its JSON is nested too deeply; {again}") from error
    if not isinstance(read, dict):
        raise UserError(f"{path} holds no JSON object; {again}")
    return read


def write_json(path: Path, value: Json) -> None:
    """Writes an object as indented JSON."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
