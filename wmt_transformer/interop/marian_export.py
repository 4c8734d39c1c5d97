"""Our models as Hugging Face's Marian: a folder that `MarianMTModel` and `MarianTokenizer` load.

Ids stay ours, and the config names them: the decoder starts with BOS, and BOS and PAD are forbidden outputs. Where our
model and Marian do not mean the same, an exact rewriting is made if there is one (see `marian_table.to_theirs`), and
the rest is refused. One thing is neither: layer norm adds 1e-5 to the variance there, which no setting changes, and
1e-6 in the paper's models here; logits move by less than 1e-4.

The tokeniser there cuts text with our SentencePiece model, which normalises nothing: give it text as
`vocabulary.normalise` makes it (NFC, single spaces). It takes `</s>`, `<unk>` and `<pad>` in a text, and `>>…<<` at
its beginning, for special tokens where ours spells them, and leaves out UNKNOWN where ours writes " ⁇ ".
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

from wmt_transformer.config import Config, ModelConfig, UserError
from wmt_transformer.data.marian_vocabulary import MarianVocabulary
from wmt_transformer.data.runs import load_vocabulary
from wmt_transformer.data.vocabulary import Vocabulary
from wmt_transformer.files import whole_folder
from wmt_transformer.interop import marian_table
from wmt_transformer.interop.marian import INSTALL, NAMES, NORM_EPSILON, write_json
from wmt_transformer.special_tokens import BOS, EOS, PAD, UNKNOWN

_FILES = {"config.json", "generation_config.json", "tokenizer_config.json", "model.safetensors"}
_FILES |= {*MarianVocabulary.FILES, MarianVocabulary.TARGET_FILE}


def export(config: Config, params: Any, data: str | os.PathLike[str], output: str | os.PathLike[str]) -> None:
    """Writes a model and its vocabulary as a folder that `transformers` loads, whole or not at all.

    Args:
      config: the run's.
      params: of a checkpoint.
      data: the run's data folder, with its vocabulary.
      output: the folder. It may be there if it is empty or an earlier export, which is then replaced.

    Raises:
      UserError: the model has no counterpart, the vocabulary is another model's, safetensors is not installed, or
        `output` holds other things or cannot be written.
    """
    words = load_vocabulary(data)
    model = dataclasses.replace(config.model, vocabulary_size=params["target_embedding"]["table"].shape[0])
    if len(words) != model.vocabulary_size:
        raise UserError(
            f"the vocabulary has {len(words)} pieces and the checkpoint's embedding {model.vocabulary_size} rows; "
            "use the vocabulary that the model was trained with"
        )
    if reason := _why_not(model):
        raise UserError(f"Marian cannot represent this model: {reason}")
    try:
        from safetensors.numpy import save_file
    except ImportError:
        raise UserError(f"safetensors is not installed; run: {INSTALL}") from None
    positions = max(1024, config.data.max_length + config.decode.extra_length)
    generation = {
        "pad_token_id": PAD,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "forced_eos_token_id": EOS,
        "decoder_start_token_id": BOS,
        "bad_words_ids": [[PAD], [BOS]],
        "num_beams": config.decode.beam_size,
        "length_penalty": config.decode.alpha,
        "max_length": min(512, positions),
    }
    with whole_folder(Path(output), "--output", _FILES) as out:
        save_file(marian_table.to_theirs(params, model), out / "model.safetensors", {"format": "pt"})
        write_json(out / "config.json", their_config(model, positions))
        write_json(out / "generation_config.json", generation)
        two = _export_vocabulary(words, Path(data), out)
        tokenizer = {
            "tokenizer_class": "MarianTokenizer",
            "source_lang": config.data.source,
            "target_lang": config.data.target,
            "pad_token": NAMES[PAD],
            "eos_token": NAMES[EOS],
            "unk_token": NAMES[UNKNOWN],
            "model_max_length": positions,
            "separate_vocabs": two,
            "clean_up_tokenization_spaces": False,
        }
        write_json(out / "tokenizer_config.json", tokenizer)


def _why_not(model: ModelConfig) -> str:
    """Returns why Marian cannot be this model, or nothing."""
    if model.norm_position != "post":
        return "its layer norm stands before each sub-layer (norm_position = pre), Marian's after the residual sum"
    if model.positions != "sinusoidal":
        return "its positions are learned, Marian's are sinusoids"
    if model.norm_epsilon > NORM_EPSILON:
        return f"its layer norm adds {model.norm_epsilon:g} to the variance (norm_epsilon), Marian's {NORM_EPSILON:g}"
    if model.d_model % model.num_heads or max(model.d_k, model.d_v) > model.d_model // model.num_heads:
        widths = f"{model.num_heads} heads of d_k = {model.d_k} and d_v = {model.d_v}"
        return f"it has {widths}, and Marian's are d_model / heads = {model.d_model / model.num_heads:g} wide"
    return ""


def their_config(model: ModelConfig, positions: int) -> dict[str, Any]:
    """Returns what `MarianConfig` is made from for a model of ours, with `positions` as its most tokens."""
    sides = {"layers": (model.num_layers, model.decoder_layers), "ffn_dim": (model.d_ff,) * 2}
    sides |= {"attention_heads": (model.num_heads,) * 2, "layerdrop": (0.0, 0.0)}
    return {
        "architectures": ["MarianMTModel"],
        "model_type": "marian",
        "is_encoder_decoder": True,
        "vocab_size": model.vocabulary_size,
        "decoder_vocab_size": model.vocabulary_size,
        "d_model": model.d_model,
        **{
            f"{side}_{name}": value[i] for name, value in sides.items() for i, side in enumerate(("encoder", "decoder"))
        },
        "activation_function": model.activation,
        "dropout": model.dropout,
        "attention_dropout": model.attention_dropout,
        "activation_dropout": model.relu_dropout,
        "scale_embedding": True,
        "static_position_embeddings": True,
        "max_position_embeddings": positions,
        "share_encoder_decoder_embeddings": model.tied_embeddings == "all",
        "tie_word_embeddings": model.tied_embeddings != "none",
        "pad_token_id": PAD,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "decoder_start_token_id": BOS,
        "forced_eos_token_id": EOS,
        "torch_dtype": "float32",
    }


def _export_vocabulary(words: Vocabulary, data: Path, out: Path) -> bool:
    """Writes the vocabulary's files; returns whether source and target have one each."""
    if isinstance(words, MarianVocabulary):
        names = [name for name in (*MarianVocabulary.FILES, MarianVocabulary.TARGET_FILE) if (data / name).is_file()]
        for name in names:
            shutil.copyfile(data / name, out / name)
        return MarianVocabulary.TARGET_FILE in names
    for name in ("source.spm", "target.spm"):
        shutil.copyfile(data / "vocabulary.model", out / name)
    write_json(out / "vocab.json", words.ids())
    return False
