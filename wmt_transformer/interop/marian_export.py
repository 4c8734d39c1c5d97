"""Our models as Hugging Face's Marian: a folder that `MarianMTModel` and `MarianTokenizer` load.

Ids stay ours, and the config names them: the decoder starts with BOS, and BOS and PAD are forbidden outputs. Where our
model and Marian do not mean the same, an exact rewriting is made if there is one (see `marian_table.to_theirs`), and
the rest is refused. One thing is neither: layer norm adds 1e-5 to the variance there, which no setting changes, and
1e-6 in the paper's models here; logits move by less than 1e-4.

The tokeniser there cuts text with our SentencePiece model, which normalises nothing: give it text as
`vocabulary.normalise` makes it (NFC, single spaces). It reads `</s>`, `<unk>` and `<pad>` in a text, and `>>…<<` at
its beginning, as special tokens where ours spells them, and omits UNKNOWN where ours writes " ⁇ ". After a tag of the
vocabulary write no space there: what is `>>de<< A dog` here is `>>de<<A dog`.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from wmt_transformer.config import Config, DataConfig, DecodeConfig, ModelConfig, UserError
from wmt_transformer.data.marian_vocabulary import MarianVocabulary
from wmt_transformer.data.vocabulary import Vocabulary, normalise
from wmt_transformer.data.vocabulary_files import load_vocabulary
from wmt_transformer.decode.lines import padded
from wmt_transformer.files import whole_folder
from wmt_transformer.interop import marian_table
from wmt_transformer.interop.marian_folder import ACTIVATIONS, Json, write_json
from wmt_transformer.interop.marian_table import NORM_EPSILON
from wmt_transformer.interop.model_card import CARD, Provenance, card
from wmt_transformer.interop.verification import REPORT, Comparison, Sample, compared
from wmt_transformer.special_tokens import BOS, EOS, NAMES, PAD, UNKNOWN

_FILES = {"config.json", "generation_config.json", "tokenizer_config.json", "model.safetensors"}
_BATCH = 32
"""Sentences that transformers is given at once."""
_FILES |= {*MarianVocabulary.FILES, MarianVocabulary.TARGET_FILE, REPORT, CARD}


def export(
    config: Config,
    params: Mapping[str, Any],
    data: str | os.PathLike[str],
    output: str | os.PathLike[str],
    found: Provenance | None = None,
    bleu: bool = False,
) -> Comparison:
    """Writes a model and its vocabulary as a folder that `transformers` loads, whole or not at all.

    Where transformers and torch are installed, they and we translate a few sentences before the folder is there;
    returns how they compare.

    Args:
      config: the run's.
      params: of a checkpoint.
      data: the run's data folder, with its vocabulary.
      output: the folder. It may exist if it is empty or an earlier export, which is then replaced.
      found: what its model card says of the run.
      bleu: measure it on the run's test set, of greedy search (see `verification.py`).

    Raises:
      UserError: the model has no counterpart, the vocabulary is another model's, safetensors is not installed,
        transformers translates otherwise, or `output` holds other things or cannot be written.
    """
    try:
        from safetensors.numpy import save
    except ImportError:
        raise UserError("safetensors is not installed; run: pip install 'safetensors>=0.4.3'") from None
    words = load_vocabulary(data)
    model = dataclasses.replace(config.model, vocabulary_size=params["target_embedding"]["table"].shape[0])
    if len(words) != model.vocabulary_size:
        raise UserError(
            f"the vocabulary has {len(words)} pieces and the checkpoint's embedding {model.vocabulary_size} rows; "
            "use the vocabulary that the model was trained with"
        )
    if reason := _why_not(model, config.decode):
        raise UserError(f"Marian cannot represent this model: {reason}")
    positions = max(1024, config.data.max_length + config.decode.extra_length)
    with whole_folder(Path(output), "--output", _FILES) as out:
        # Bytes that we write ourselves have the mode that the umask gives; safetensors makes its files private.
        (out / "model.safetensors").write_bytes(save(marian_table.to_theirs(params, model), {"format": "pt"}))
        write_json(out / "config.json", their_config(model, positions))
        write_json(out / "generation_config.json", their_search(config.decode, positions))
        two = _export_vocabulary(words, Path(data), out)
        write_json(out / "tokenizer_config.json", _tokenizer(config.data, positions, two))
        sample = partial(Sample.of, config, params, Path(data), positions)
        result = compared("transformers", ("transformers", "torch"), sample, partial(_translated, out), bleu)
        result.write(out)
        text = card(Path(output).resolve().name, config, model, found or Provenance(), result)
        (out / CARD).write_text(text, encoding="utf-8")
    return result


def _translated(folder: Path, sample: Sample) -> dict[str, list[list[int]]]:
    """Returns what transformers makes of a sample with the files of a folder, greedily, as ids."""
    import torch
    import transformers

    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        model: Any = transformers.MarianMTModel.from_pretrained(folder).eval()
        tokenizer = transformers.MarianTokenizer.from_pretrained(folder)
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()
    for text, ours in zip(sample.texts, sample.sources, strict=False):  # the test set has no text
        theirs = tokenizer(_for_their_tokenizer(sample.vocabulary, text)).input_ids
        if theirs != ours and not re.search(r"[<>]", text):  # these may spell what is special there
            raise UserError(
                f"transformers {transformers.__version__} cuts {text!r} into {theirs} and we into {ours}, so nothing "
                "was written; another version of transformers may do better"
            )
    found = []
    for start in range(0, len(sample.sources), _BATCH):
        batch = slice(start, start + _BATCH)
        sources, longest = sample.sources[batch], max(sample.limits[batch]) + 1  # a forced EOS is then not compared
        source = torch.tensor(padded(sources, len(sources), max(map(len, sources)))).long()
        settings = {"num_beams": 1, "do_sample": False, "min_length": 0, "max_length": None, "max_new_tokens": longest}
        found += model.generate(source, attention_mask=(source != PAD).long(), **settings)[:, 1:].tolist()
    return {"float32": found}


def _for_their_tokenizer(words: Vocabulary, text: str) -> str:
    """Returns a text as their tokeniser wants it: normalised, and no space after a tag."""
    if isinstance(words, MarianVocabulary):
        return text
    text = normalise(text)
    tag = next((tag for tag in words.tags if text.startswith(f"{tag} ")), "")
    return tag + text.removeprefix(f"{tag} ") if tag else text


def _why_not(model: ModelConfig, search: DecodeConfig) -> str:
    """Returns why Marian cannot be this model, or nothing."""
    if model.architecture != "encoder_decoder":
        return "it is a language model, and Marian's models translate"
    if model.norm_position != "post":
        return "its layer norm comes before each sub-layer (norm_position = pre), Marian's after the residual sum"
    if model.positions != "sinusoidal":
        return "its positions are learned, Marian's are sinusoids"
    if model.norm_epsilon > NORM_EPSILON:
        return f"its layer norm adds {model.norm_epsilon:g} to the variance (norm_epsilon), Marian's {NORM_EPSILON:g}"
    if model.activation not in ACTIVATIONS:
        return f"its activation is {model.activation}, where those that it can read back are {', '.join(ACTIVATIONS)}"
    if model.d_model % model.num_heads or max(model.d_k, model.d_v) > model.d_model // model.num_heads:
        widths = f"{model.num_heads} heads of d_k = {model.d_k} and d_v = {model.d_v}"
        return f"it has {widths}, and Marian's are d_model / heads = {model.d_model / model.num_heads:g} wide"
    if search.beta:
        return f"its search has a coverage penalty (decode.beta = {search.beta:g}), Marian's has none"
    return ""


def their_config(model: ModelConfig, positions: int) -> Json:
    """Returns what `MarianConfig` is made from for a model of ours, with `positions` as its most tokens."""
    shared = {theirs: getattr(model, ours) for ours, theirs in marian_table.SETTINGS}
    decoder = {name.replace("encoder_", "decoder_"): value for name, value in shared.items() if "encoder_" in name}
    return {
        "architectures": ["MarianMTModel"],
        "model_type": "marian",
        "is_encoder_decoder": True,
        "vocab_size": model.vocabulary_size,
        "decoder_vocab_size": model.vocabulary_size,
        **shared,
        **decoder,
        "decoder_layers": model.decoder_layers,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "activation_function": model.activation,
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


def their_search(search: DecodeConfig, positions: int) -> Json:
    """Returns what `GenerationConfig` is made from; their lengths count the start token and EOS, ours neither."""
    longest = min(512, positions) if search.max_length is None else search.max_length + 2
    return {
        "pad_token_id": PAD,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "forced_eos_token_id": EOS,
        "decoder_start_token_id": BOS,
        "bad_words_ids": [[PAD], [BOS]],
        "num_beams": search.beam_size,
        "length_penalty": search.alpha,
        "max_length": longest,
        **({"min_length": search.min_length + 1} if search.min_length else {}),
    }


def _tokenizer(data: DataConfig, positions: int, two: bool) -> Json:
    """Returns the settings of their tokeniser; `two` where source and target have a vocabulary each."""
    return {
        "tokenizer_class": "MarianTokenizer",
        "source_lang": data.source,
        "target_lang": data.target,
        "pad_token": NAMES[PAD],
        "eos_token": NAMES[EOS],
        "unk_token": NAMES[UNKNOWN],
        "model_max_length": positions,
        "separate_vocabs": two,
        "clean_up_tokenization_spaces": False,
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
    # Their tokeniser takes a tag for a piece of its own name, without the space before it.
    tags = {f"\u2581{tag}": tag for tag in words.tags}
    write_json(out / "vocab.json", {tags.get(piece, piece): token for piece, token in words.ids().items()})
    return False
