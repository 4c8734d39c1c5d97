"""Hugging Face's Marian models, such as opus-mt, as runs of ours.

Marian is the paper's model with post-norm, biases on every projection and on the logits, and sinusoids concatenated,
so the weights are the same numbers in other shapes (`marian_table.py`). Ids differ: ours begin with PAD, BOS, EOS and
UNKNOWN; in theirs the decoder usually starts with PAD, so an imported model has that row twice, once with a bias so
low that its probability is 0. What has another meaning there is refused.

Beam search is ours: a hypothesis is worth its log-probability / ((5 + n) / 6) ** alpha, there / n ** length_penalty,
and PAD is never an output, which theirs forbids by `bad_words_ids`. With both exponents 0 the results are the same, up
to the limit of length: ours is also 50 pieces more than the source has (`decode.extra_length`).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from wmt_transformer import checkpoint, parent
from wmt_transformer.config import Config, DataConfig, ModelConfig, UserError
from wmt_transformer.data.marian_vocabulary import MarianVocabulary
from wmt_transformer.experiment import to_json
from wmt_transformer.files import whole_folder
from wmt_transformer.interop import marian_folder, marian_table, marian_weights
from wmt_transformer.interop.marian_folder import Json, Search
from wmt_transformer.model.transformer import Transformer
from wmt_transformer.parent import Parent
from wmt_transformer.special_tokens import BOS, EOS, NAMES, PAD, UNKNOWN

_SILENT = -1e4  # a bias beside which any other logit takes the whole probability


class Imported(NamedTuple):
    """A Marian model as ours: id i is their id `source_ids[i]` in a source and `target_ids[i]` in a target."""

    config: Config
    params: dict[str, Any]
    source_ids: np.ndarray
    target_ids: np.ndarray
    """-1 where they have no such id: one side has fewer pieces than the other."""


def import_run(folder: str | os.PathLike[str], workdir: str | os.PathLike[str], origin: Parent | None = None) -> Config:
    """Writes a Marian model as a run with one checkpoint, of step 0, whole or not at all; returns its config.

    The run remembers its `origin` as its parent (see `hub.locate`; default: the folder).

    Raises UserError for a folder that holds no such model or vocabulary, what cannot be represented, a package that is
    not installed, and a work folder that holds something.
    """
    folder = Path(folder)
    origin = origin or Parent(str(folder.resolve()))
    marian_folder.settings(folder)
    two = marian_folder.has_two_vocabularies(folder)
    files = [*MarianVocabulary.FILES, *([MarianVocabulary.TARGET_FILE] if two else [])]
    if missing := [name for name in files if not (folder / name).is_file()]:
        raise UserError(f"{folder} holds no {missing[0]}; the vocabulary of a Marian model is {', '.join(files)}")
    with whole_folder(Path(workdir), "--workdir", frozenset()) as out:
        imported = read(folder, Path(origin.run).name)
        parent.write(out, origin)
        data = out / "data"
        data.mkdir()
        for name in files:
            if name.endswith(".spm"):
                shutil.copyfile(folder / name, data / name)
            else:
                theirs = imported.source_ids if name == "vocab.json" else imported.target_ids
                marian_folder.write_json(data / name, _renamed(marian_folder.read_json(folder / name), theirs))
        MarianVocabulary.load(data)  # or it says what is damaged
        (out / "config.json").write_text(to_json(imported.config), encoding="utf-8")
        checkpoint.write_params(out, 0, imported.params)
    return imported.config


def read(folder: str | os.PathLike[str], name: str | None = None) -> Imported:
    """Reads the model of a folder that `MarianMTModel.save_pretrained` wrote; it need not hold SentencePiece files.

    Its `name` may tell its languages, as opus-mt-en-de does (default: the folder's).

    Beam search is set as the folder says (see `marian_folder.search`), as far as ours can be: their length penalty is
    an exponent on the length n, ours on (5 + n) / 6. Raises UserError as `import_run` does.
    """
    folder = Path(folder)
    name = name or folder.resolve().name
    theirs = marian_folder.settings(folder)
    search = marian_folder.search(folder, theirs)
    weights = marian_weights.read(folder, theirs)
    if missing := [array for array in _WITH_ROWS if array not in weights]:
        raise UserError(f"the weights of {folder} lack {missing[0]}")
    source_ids, target_ids = _ids(folder, theirs, search, weights)
    weights |= _vocabulary_weights(theirs, search, weights, source_ids, target_ids)
    source, target, output = (weights[name] for name in _WITH_ROWS[:3])
    model = ModelConfig(
        **{ours: theirs[name] for ours, name in marian_table.SETTINGS},
        num_decoder_layers=None if theirs["decoder_layers"] == theirs["encoder_layers"] else theirs["decoder_layers"],
        activation=marian_folder.ACTIVATIONS[theirs["activation_function"]],
        vocabulary_size=len(target_ids),
        d_k=theirs["d_model"] // theirs["encoder_attention_heads"],
        d_v=theirs["d_model"] // theirs["encoder_attention_heads"],
        tied_embeddings=_tied(source, target, output),
        sinusoid_layout="concatenated",
        norm_epsilon=marian_table.NORM_EPSILON,
        attention_bias=True,
        output_bias=True,
    )
    data = DataConfig(
        "files",
        *marian_folder.languages(folder, name),
        vocabulary_size=len(target_ids),
        max_length=theirs["max_position_embeddings"],
    )
    config = Config(name, "marian", model, data, decode=search.decode)
    return Imported(config, _params(folder, weights, model), source_ids, target_ids)


_WITH_ROWS = (
    "model.encoder.embed_tokens.weight",
    "model.decoder.embed_tokens.weight",
    "lm_head.weight",
    "final_logits_bias",
)
"""Arrays with a row, or a number, for every piece."""


def _tied(source: np.ndarray, target: np.ndarray, output: np.ndarray) -> Literal["all", "target", "none"]:
    """Returns which of the tables are one."""
    if not np.array_equal(target, output):
        return "none"
    return "all" if np.array_equal(source, target) else "target"


def _params(folder: Path, weights: dict[str, np.ndarray], model: ModelConfig) -> dict[str, Any]:
    """Returns our parameters. Raises UserError where an array is missing or has another size than the config says."""
    names = [name for _, name, _ in marian_table.table(model)]
    if missing := sorted(set(names) - set(weights)):
        count = "1 array is" if len(missing) == 1 else f"{len(missing)} arrays are"
        raise UserError(f"the weights of {folder} lack {missing[0]} ({count} missing)")
    some = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    shapes = jax.eval_shape(Transformer(model).init, jax.random.key(0), some, some)["params"]
    expected = traverse_util.flatten_dict(jax.tree.map(lambda x: x.shape, shapes), sep="/")
    for path, name, shape in marian_table.table(model):
        try:
            fits = shape.ours(weights[name], model).shape == expected[path]
        except (ValueError, IndexError):
            fits = False
        if not fits:
            raise UserError(f"{folder}: {name} has the shape {weights[name].shape}, which config.json does not fit")
    return marian_table.to_ours(weights, model)


def _ids(folder: Path, theirs: Json, search: Search, weights: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns their id of each of ours, on either side; see `Imported`."""
    source_rows, target_rows = (
        weights[f"{name}.weight"].shape[0] for name in ("model.encoder.embed_tokens", "lm_head")
    )
    two = marian_folder.has_two_vocabularies(folder)
    names = marian_folder.piece_ids(folder / (MarianVocabulary.TARGET_FILE if two else "vocab.json"), target_rows)
    pad, start, eos = theirs["pad_token_id"], search.start, search.eos
    unknown = names.get("<unk>") if names else min({0, 1, 2, 3} - {pad, start, eos})
    left_out = {start} & search.forbidden
    target_ids = source_ids = _order(folder, target_rows, left_out, pad=pad, decoder_start=start, eos=eos, unk=unknown)
    if two:
        names = marian_folder.piece_ids(folder / "vocab.json", source_rows)
        pad, eos, unknown = (names.get(NAMES[i]) for i in (PAD, EOS, UNKNOWN))
        source_ids = _order(folder, source_rows, set(), pad=pad, decoder_start=pad, eos=eos, unk=unknown)
    elif source_rows != target_rows:
        raise UserError(f"{folder} has {source_rows} source and {target_rows} target pieces, but one vocab.json")
    rows = max(len(source_ids), len(target_ids))
    source_ids, target_ids = (np.pad(x, (0, rows - len(x)), constant_values=-1) for x in (source_ids, target_ids))
    return source_ids, target_ids


def _order(folder: Path, rows: int, left_out: set[int], **special: int | None) -> np.ndarray:
    """Returns all their ids in our order: pad, the decoder's start, eos and unk first, then the others as they were.

    A start token that is none of the three and not left out is a word too, and occurs twice.
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
    theirs: Json, search: Search, weights: dict[str, np.ndarray], source_ids: np.ndarray, target_ids: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the arrays that have a row for every piece, in our order."""
    bias = np.where(target_ids < 0, _SILENT, weights["final_logits_bias"][0][target_ids]).astype(np.float32)
    for i in (PAD, BOS):
        # A row that occurs twice counts once in the softmax; not at all where theirs is computed again without it.
        if target_ids[i] in target_ids[i + 1 :] or (search.renormalised and search.forbidden):
            bias[i] = _SILENT

    def rows(name: str, ids: np.ndarray, scale: float = 1.0) -> np.ndarray:
        return np.where(ids[:, None] < 0, np.float32(0), weights[name][ids] * np.float32(scale))

    scale = 1.0 if theirs["scale_embedding"] else theirs["d_model"] ** -0.5  # ours always multiplies by √d_model
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
