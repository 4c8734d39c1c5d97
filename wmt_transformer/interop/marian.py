"""Hugging Face's Marian models (opus-mt and their kin) as runs of ours.

Marian is the paper's model with post-norm, biases on every projection and on the logits, and sinusoids concatenated,
so the weights are the same numbers in other shapes (`marian_table.py`). Ids differ: ours begin with PAD, BOS, EOS and
UNKNOWN; in theirs the decoder usually starts with PAD, so an imported model has that row twice, once with a bias that
no softmax sees. What means something else there is refused.

Beam search is ours: a hypothesis is worth its log-probability / ((5 + n) / 6) ** alpha, there / n ** length_penalty,
and PAD is never put out, which theirs forbids by `bad_words_ids`. With both exponents 0 the results are the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from wmt_transformer import checkpoint
from wmt_transformer.config import Config, DataConfig, DecodeConfig, ModelConfig, UserError
from wmt_transformer.data.marian_vocabulary import MarianVocabulary
from wmt_transformer.experiment import to_json
from wmt_transformer.files import whole_folder
from wmt_transformer.interop import marian_table
from wmt_transformer.model.layers import sinusoids
from wmt_transformer.special_tokens import BOS, EOS, PAD, UNKNOWN

_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "pytorch_model.bin.index.json")
_ACTIVATIONS: dict[str, Literal["relu", "swish"]] = {"relu": "relu", "swish": "swish", "silu": "swish"}
_POSITIONS = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")
NORM_EPSILON = 1e-5
_SILENT = -1e4  # a bias beside which any other logit takes the whole probability
NAMES = {PAD: "<pad>", BOS: "<s>", EOS: "</s>", UNKNOWN: "<unk>"}
INSTALL = "pip install 'wmt-transformer[interop]'"


class Imported(NamedTuple):
    """A Marian model as ours: id i is their id `source_ids[i]` in a source and `target_ids[i]` in a target."""

    config: Config
    params: Any
    source_ids: np.ndarray
    target_ids: np.ndarray
    """-1 where they have no such id: one side has fewer pieces than the other."""


def import_run(folder: str | os.PathLike[str], workdir: str | os.PathLike[str]) -> Config:
    """Writes a Marian model as a run with one checkpoint, of step 0, whole or not at all; returns its config.

    Raises UserError for a folder that holds no such model or vocabulary, what cannot be represented, torch or
    transformers not installed, and a work folder that holds something.
    """
    folder = Path(folder)
    _check(folder)
    files = [*MarianVocabulary.FILES, *([MarianVocabulary.TARGET_FILE] if _two_vocabularies(folder) else [])]
    if missing := [name for name in files if not (folder / name).is_file()]:
        raise UserError(f"{folder} holds no {missing[0]}; the vocabulary of a Marian model is {', '.join(files)}")
    with whole_folder(Path(workdir), "--workdir", frozenset()) as out:
        imported = read(folder)
        data = out / "data"
        data.mkdir()
        for name in files:
            if name.endswith(".spm"):
                shutil.copyfile(folder / name, data / name)
            else:
                theirs = imported.source_ids if name == "vocab.json" else imported.target_ids
                write_json(data / name, _renamed(_json(folder / name), theirs))
        MarianVocabulary.load(data)  # or it says what is damaged
        (out / "config.json").write_text(to_json(imported.config), encoding="utf-8")
        checkpoint.write_params(out, 0, imported.params)
    return imported.config


def read(folder: str | os.PathLike[str]) -> Imported:
    """Reads the model of a folder that `MarianMTModel.save_pretrained` wrote; it need not hold SentencePiece files.

    Beam search is set as the folder's `generation_config.json` says, as far as ours can be: their length penalty is
    an exponent on the length n, ours on (5 + n) / 6. Raises UserError as `import_run` does.
    """
    folder = Path(folder)
    _check(folder)
    theirs, generation, weights = _load(folder)
    source_ids, target_ids = _ids(folder, theirs, _forbidden(generation), weights)
    weights |= _vocabulary_weights(theirs, generation, weights, source_ids, target_ids)
    source, target, output = (
        weights[f"{name}.weight"] for name in ("model.encoder.embed_tokens", "model.decoder.embed_tokens", "lm_head")
    )
    tied = "none" if not np.array_equal(target, output) else "all" if np.array_equal(source, target) else "target"
    width = theirs.d_model // theirs.encoder_attention_heads
    model = ModelConfig(
        vocabulary_size=len(target_ids),
        num_layers=theirs.encoder_layers,
        num_decoder_layers=None if theirs.decoder_layers == theirs.encoder_layers else theirs.decoder_layers,
        d_model=theirs.d_model,
        d_ff=theirs.encoder_ffn_dim,
        activation=_ACTIVATIONS[theirs.activation_function],
        num_heads=theirs.encoder_attention_heads,
        d_k=width,
        d_v=width,
        dropout=float(theirs.dropout),
        attention_dropout=float(theirs.attention_dropout),
        relu_dropout=float(theirs.activation_dropout),
        sinusoid_layout="concatenated",
        norm_epsilon=NORM_EPSILON,
        attention_bias=True,
        tied_embeddings=tied,
        output_bias=True,
    )
    languages = _languages(folder)
    data = DataConfig("files", *languages, vocabulary_size=len(target_ids), max_length=theirs.max_position_embeddings)
    penalty = 1.0 if generation.length_penalty is None else float(generation.length_penalty)
    beams = generation.num_beams if (generation.num_beams or 1) > 1 else DecodeConfig.beam_size
    config = Config(folder.resolve().name, "marian", model, data, decode=DecodeConfig(beams, max(0.0, penalty)))
    return Imported(config, marian_table.to_ours(weights, model), source_ids, target_ids)


# ---------------------------------------------------------------------------------------------------- theirs as ours


def _check(folder: Path) -> None:
    """Raises UserError for a folder that holds no Marian model, or one that ours cannot be."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} holds no config.json; give the folder of a Marian model as transformers saves it")
    theirs = _json(folder / "config.json")
    found = ", ".join(theirs.get("architectures") or []) or f"model_type {theirs.get('model_type')!r}"
    if theirs.get("model_type") != "marian" or theirs.get("architectures") not in (None, [], ["MarianMTModel"]):
        raise UserError(f"{folder} holds a model of another kind: {found}; MarianMTModel alone can be imported")
    if not any((folder / name).is_file() for name in _WEIGHTS):
        raise UserError(f"{folder} holds no weights; they are a {' or '.join(_WEIGHTS[:2])}")
    reasons = [
        f"{name} {left} in the encoder and {right} in the decoder, which are one number here"
        for name in ("attention_heads", "ffn_dim")
        if (left := theirs.get(f"encoder_{name}")) != (right := theirs.get(f"decoder_{name}"))
    ]
    if (activation := theirs.get("activation_function", "gelu")) not in _ACTIVATIONS:
        reasons.append(f"activation_function {activation!r}, where ours are {', '.join(_ACTIVATIONS)}")
    strange = ("normalize_before", "normalize_embedding", "add_final_layer_norm")
    reasons += [f"{name}, a layer norm that MarianMTModel does not have" for name in strange if theirs.get(name)]
    if reasons:
        raise UserError(f"{folder} has {reasons[0]}")


def _load(folder: Path) -> tuple[Any, Any, dict[str, np.ndarray]]:
    """Returns the config, the generation config and the arrays by name, float32."""
    try:
        import torch
        import transformers
    except ImportError as error:
        raise UserError(f"{error.name} is not installed, and Marian models are read with it; run: {INSTALL}") from None
    from_pretrained: Any = transformers.MarianMTModel.from_pretrained
    with _quiet(transformers.utils.logging):
        try:
            model, report = from_pretrained(folder, local_files_only=True, output_loading_info=True)
        except Exception as error:  # whatever a damaged file makes of it
            raise UserError(f"transformers cannot load {folder}: {str(error).strip().splitlines()[0]}") from error
    if missing := sorted(set(report["missing_keys"]) - {"final_logits_bias"} - set(_POSITIONS)):
        raise UserError(f"the weights of {folder} lack {missing[0]} ({len(missing)} arrays are missing)")
    weights = {name: x.to(torch.float32).numpy() for name, x in model.state_dict().items()}
    for name in _POSITIONS:
        positions = weights.pop(name)
        if not np.allclose(
            positions, sinusoids(len(positions), positions.shape[1], "concatenated"), atol=2e-3
        ):  # float16 is possible
            raise UserError(f"{folder} has positions of its own ({name}); ours are sinusoids")
    return model.config, model.generation_config, weights


@contextlib.contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Keeps transformers from reporting on the screen what is checked here."""
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _forbidden(generation: Any) -> set[tuple[int, ...]]:
    """Returns what their generation never puts out."""
    return {tuple(word) for word in generation.bad_words_ids or []}


def _ids(
    folder: Path, theirs: Any, forbidden: set[tuple[int, ...]], weights: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns their id of each of ours, on either side; see `Imported`."""
    source_rows, target_rows = (
        weights[f"{name}.weight"].shape[0] for name in ("model.encoder.embed_tokens", "lm_head")
    )
    two = _two_vocabularies(folder)
    names = _names(folder / (MarianVocabulary.TARGET_FILE if two else "vocab.json"), target_rows)
    pad, start, eos = theirs.pad_token_id, theirs.decoder_start_token_id, theirs.eos_token_id
    if strange := forbidden - {(pad,), (start,)}:
        raise UserError(f"{folder} forbids the output {[*strange.pop()]}; here pad and the start token alone can be")
    unknown = names.get("<unk>") if names else min({0, 1, 2, 3} - {pad, start, eos})
    left_out = {start} if (start,) in forbidden else set()
    target_ids = source_ids = _order(folder, target_rows, left_out, pad=pad, decoder_start=start, eos=eos, unk=unknown)
    if two:
        names = _names(folder / "vocab.json", source_rows)
        pad, eos, unknown = (names.get(NAMES[i]) for i in (PAD, EOS, UNKNOWN))
        source_ids = _order(folder, source_rows, set(), pad=pad, decoder_start=pad, eos=eos, unk=unknown)
    elif source_rows != target_rows:
        raise UserError(f"{folder} has {source_rows} source and {target_rows} target pieces, but one vocab.json")
    rows = max(len(source_ids), len(target_ids))
    source_ids, target_ids = (np.pad(x, (0, rows - len(x)), constant_values=-1) for x in (source_ids, target_ids))
    return source_ids, target_ids


def _order(folder: Path, rows: int, left_out: set[int], **special: Any) -> np.ndarray:
    """Returns all their ids in our order: pad, the decoder's start, eos and unk first, then the others as they were.

    A start that is neither of the three and not left out is a word too, and comes twice.
    """
    for name, token in special.items():
        if not isinstance(token, int) or not 0 <= token < rows:
            raise UserError(f"{folder} has {token} as its {name} token, which is not one of its {rows} ids")
    first = list(special.values())
    alone = {first[i] for i in (PAD, EOS, UNKNOWN)}
    if len(alone) < 3:
        raise UserError(
            f"{folder} has one id for two of pad, eos and unk: {first[PAD]}, {first[EOS]}, {first[UNKNOWN]}"
        )
    return np.array([*first, *[token for token in range(rows) if token not in alone | left_out]])


def _vocabulary_weights(
    theirs: Any, generation: Any, weights: dict[str, np.ndarray], source_ids: np.ndarray, target_ids: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the arrays that have a row for every piece, in our order."""
    bias = np.where(target_ids < 0, _SILENT, weights["final_logits_bias"][0][target_ids]).astype(np.float32)
    for i in (PAD, BOS):
        # A row that is there twice counts once in the softmax; not at all where theirs is taken again without it.
        if target_ids[i] in target_ids[i + 1 :] or (generation.renormalize_logits and _forbidden(generation)):
            bias[i] = _SILENT

    def rows(name: str, ids: np.ndarray, scale: float = 1.0) -> np.ndarray:
        return np.where(ids[:, None] < 0, np.float32(0), weights[name][ids] * np.float32(scale))

    scale = 1.0 if theirs.scale_embedding else theirs.d_model**-0.5  # ours always multiplies by √d_model
    target = rows("model.decoder.embed_tokens.weight", target_ids, scale)
    return {
        "model.shared.weight": target,
        "model.encoder.embed_tokens.weight": rows("model.encoder.embed_tokens.weight", source_ids, scale),
        "model.decoder.embed_tokens.weight": target,
        "lm_head.weight": rows("lm_head.weight", target_ids),
        "final_logits_bias": bias[None],
    }


def _renamed(names: dict[str, int], ids: np.ndarray) -> dict[str, int]:
    """Returns the pieces of a vocabulary with our ids, and some name for every id that has none."""
    words_too = {*ids[EOS:].tolist()}  # the start token may be one: then that is what its name means
    ours = {token: i for i, token in reversed([*enumerate(ids.tolist())]) if i != BOS or token not in words_too}
    words = {piece: ours[token] for piece, token in names.items() if ours[token] not in NAMES}
    words |= {name: i for i, name in NAMES.items() if i != BOS or name not in words}
    named = {*words.values()}
    words |= {f"<unused {i}>": i for i in range(len(ids)) if i not in named}
    return dict(sorted(words.items(), key=lambda item: item[1]))


def _two_vocabularies(folder: Path) -> bool:
    settings = _json(folder / "tokenizer_config.json", {})
    return bool(settings.get("separate_vocabs")) and (folder / MarianVocabulary.TARGET_FILE).is_file()


def _names(path: Path, rows: int) -> dict[str, int]:
    """Returns the ids of a vocab.json's pieces, none where there is no such file."""
    names = _json(path, {})
    if strange := [piece for piece, token in names.items() if not isinstance(token, int) or not 0 <= token < rows]:
        raise UserError(f"{path} gives {strange[0]!r} the id {names[strange[0]]}, and the model has {rows} ids")
    return names


def _languages(folder: Path) -> tuple[str, str]:
    """Returns the languages as the tokeniser names them, or the folder's name (opus-mt-en-de), or "und"."""
    settings = _json(folder / "tokenizer_config.json", {})
    named = re.search(r"-([a-z]{2,3})-([a-z]{2,3})$", folder.resolve().name)
    by_name = named.groups() if named else ("und", "und")
    source, target = (settings.get(f"{side}_lang") for side in ("source", "target"))
    return source or by_name[0], target or by_name[1]


def _json(path: Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
    """Returns a file's JSON object, or the default where there is no such file."""
    if default is not None and not path.is_file():
        return default
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    if not isinstance(read, dict):
        raise UserError(f"{path} holds no JSON object; copy the folder again from where it came")
    return read


def write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
