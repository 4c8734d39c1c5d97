"""Our translator as a CTranslate2 model: the folder that `ctranslate2.Translator` loads.

CTranslate2 knows both norm positions, any table of positions and tied embeddings, and takes the width of a head
from the matrices, so every model of ours has an exact counterpart. Two things differ there: the projections
that read the same input are one matrix, and queries, keys and values have the same width. Where d_k and d_v differ, the
narrower is padded with zeros, which changes no product, and the scale 1 / √d_k is written out.

Its beam search ranks otherwise: a hypothesis is worth its log-probability divided by n ** length_penalty, n pieces
and EOS together (ours: ((5 + n) / 6) ** alpha), and a sentence is done when beam_size * patience hypotheses have ended
(ours: when no running one can still win). Greedy search, and a beam with both exponents 0, give the same output up to
the limit of length: 256 pieces there (`max_decoding_length`), here 50 more than the source has.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from flax import traverse_util

from wmt_transformer.config import Config, ModelConfig, UserError
from wmt_transformer.data.marian_vocabulary import MarianVocabulary
from wmt_transformer.data.vocabulary_files import load_vocabulary
from wmt_transformer.files import whole_folder
from wmt_transformer.interop.verification import REPORT, Comparison, Sample
from wmt_transformer.model.layers import sinusoids
from wmt_transformer.special_tokens import BOS, EOS, PAD, UNKNOWN

if TYPE_CHECKING:
    from ctranslate2.specs import TransformerSpec

Quantization = Literal["float32", "float16", "int8"]

_SENTENCEPIECE = ("vocabulary.model", "source.spm", "target.spm")  # the first, or the others: see `data.vocabulary`
_OURS = {"model.bin", "config.json", REPORT, *_SENTENCEPIECE}
_OURS |= {f"{which}_vocabulary.json" for which in ("shared", "source", "target")}
_SINUSOID_ROWS = 2048  # positions that CTranslate2's converters write; it cuts a source after 1,024 by default

Shape = Callable[[list[np.ndarray], ModelConfig], np.ndarray]
"""Makes one array of theirs from one or several of ours."""


def export(
    config: Config,
    params: Mapping[str, Any],
    data: str | os.PathLike[str],
    output: str | os.PathLike[str],
    quantization: Quantization = "float32",
    bleu: bool = False,
) -> Comparison:
    """Writes the model and its SentencePiece file as a folder that CTranslate2 loads, whole or not at all.

    CTranslate2 and we translate a few sentences before the folder is there; returns how they compare.

    CTranslate2's own files know the pieces, but not how to cut a text into them; hence the SentencePiece file (two of
    a model imported from Marian, one for each language).

    Args:
      config: the run's.
      params: of a checkpoint.
      data: the run's data folder, with its vocabulary.
      output: the folder. It may exist if it is empty or an earlier export, which is then replaced.
      quantization: how weights are stored; the products are computed as `Translator(compute_type=…)` says.
      bleu: measure it on the run's test set, of greedy search (see `verification.py`).

    Raises:
      UserError: ctranslate2 is not installed, the vocabulary is another model's, CTranslate2 translates otherwise, or
        `output` holds other things or cannot be written.
    """
    if config.model.architecture != "encoder_decoder":
        raise UserError("it is a language model, and a CTranslate2 model of ours translates; export a translation run")
    _ctranslate2()
    source, target = _pieces(Path(data))
    longest = max(_SINUSOID_ROWS, config.data.max_length + config.decode.extra_length)
    positions = config.model.max_positions if config.model.positions == "learned" else longest
    exported_before = (Path(output) / "model.bin").is_file()
    with whole_folder(Path(output), "--output", _OURS if exported_before else frozenset()) as folder:
        sample, translated = Sample.of(config, params, Path(data), positions, bleu), {}
        for kind in dict.fromkeys(("float32", quantization)):  # float32 is the proof, and what is asked for replaces it
            spec = specification(config.model, params, source, target, longest)
            spec.validate()
            spec.optimize(kind)
            spec.save(str(folder))
            translated[kind] = _translated(folder, sample, source, target)
        for name in _SENTENCEPIECE:
            if (Path(data) / name).is_file():
                shutil.copyfile(Path(data) / name, folder / name)
        compared = sample.compare("ctranslate2", translated)
        compared.write(folder)
    return compared


def _translated(folder: Path, sample: Sample, source: list[str], target: list[str]) -> list[list[int]]:
    """Returns what CTranslate2 makes of a sample, greedily, as ids."""
    translator = _ctranslate2().Translator(str(folder), device="cpu")
    found = translator.translate_batch(
        [[source[token] for token in ids[:-1]] for ids in sample.sources],
        beam_size=1,
        min_decoding_length=0,
        max_decoding_length=max(sample.limits),
        suppress_sequences=[[target[PAD]], [target[BOS]]],
    )
    ids = {piece: token for token, piece in enumerate(target)}
    return [[ids[piece] for piece in one.hypotheses[0]] for one in found]


def length_penalty(alpha: float, pieces: float) -> float:
    """Returns the `length_penalty` of CTranslate2 that favours length as our `alpha` does, near a length in pieces.

    The two penalties grow at the same rate where n ** p and ((5 + n) / 6) ** alpha have the same derivative on
    logarithmic axes: p = alpha n / (n + 5), where n is `pieces` and EOS.

    >>> round(length_penalty(0.6, pieces=14), 2)
    0.45
    """
    return alpha * (pieces + 1) / (pieces + 6)


def specification(
    model: ModelConfig,
    params: Mapping[str, Any],
    source: list[str],
    target: list[str],
    sinusoid_rows: int = _SINUSOID_ROWS,
) -> TransformerSpec:
    """Returns the specification of a model, ready for `validate` and `optimize`.

    `source` and `target` are the pieces of the two languages by id. Sinusoidal positions are written out up to
    `sinusoid_rows`; a learned table has the rows that it has.
    """
    specs = _ctranslate2().specs
    rows = params["target_embedding"]["table"].shape[0]
    if not rows == len(source) == len(target):
        raise UserError(
            f"the vocabulary has {len(target)} pieces and the checkpoint's embedding {rows} rows; "
            "use the vocabulary that the model was trained with"
        )
    spec = specs.TransformerSpec.from_config(
        (model.num_layers, model.decoder_layers),
        model.num_heads,
        pre_norm=model.norm_position == "pre",
        activation={
            "relu": specs.Activation.RELU,
            "swish": specs.Activation.SWISH,
            "gelu": specs.Activation.GELUTanh,
        }[model.activation],
        alignment_heads=model.num_heads,  # `return_attention` gives the mean over the heads of the last layer
    )
    spec.register_source_vocabulary(source)
    spec.register_target_vocabulary(target)
    spec.config.bos_token = spec.config.decoder_start_token = target[BOS]
    spec.config.eos_token, spec.config.unk_token = target[EOS], target[UNKNOWN]
    spec.config.add_source_eos, spec.config.add_source_bos = True, False  # a source ends with EOS, as in training
    spec.config.layer_norm_epsilon = model.norm_epsilon

    flat = traverse_util.flatten_dict(params, sep="/")
    for ours, theirs, shape in table(model):
        # float32 copies, which quantisation may write into
        _set(spec, theirs, shape([np.array(flat[path], np.float32) for path in ours], model))
    for stack in (spec.encoder, spec.decoder):
        stack.scale_embeddings = True  # by √d_model
        if model.positions != "learned":
            stack.position_encodings.encodings = sinusoids(sinusoid_rows, model.d_model, model.sinusoid_layout)
        for layer in stack.layer:
            for attention in [layer.self_attention, *([layer.attention] if hasattr(layer, "attention") else [])]:
                attention.queries_scale = np.float32(model.d_k**-0.5)
    return spec


def table(model: ModelConfig) -> list[tuple[tuple[str, ...], str, Shape]]:
    """Returns (our paths, their path, how theirs is made of ours) for every array of a model."""
    tied = model.tied_embeddings
    source = "target_embedding/table" if tied == "all" else "source_embedding/table"
    output = "output_table" if tied == "none" else "target_embedding/table"
    rows: list[tuple[tuple[str, ...], str, Shape]] = [
        ((source,), "encoder/embeddings/0/weight", _as_it_is),
        (("target_embedding/table",), "decoder/embeddings/weight", _as_it_is),
        ((output,), "decoder/projection/weight", _as_it_is),
    ]
    if model.output_bias:
        rows.append((("output_bias",), "decoder/projection/bias", _as_it_is))
    if model.positions == "learned":
        rows.append((("source_positions",), "encoder/position_encodings/encodings", _as_it_is))
        rows.append((("target_positions",), "decoder/position_encodings/encodings", _as_it_is))
    for stack, layers in (("encoder", model.num_layers), ("decoder", model.decoder_layers)):
        layer = _LAYER if stack == "encoder" else [*_LAYER, *_CROSS_ATTENTION]
        rows += [
            (tuple(f"{stack}_{i}/{path}" for path in ours), f"{stack}/layer/{i}/{theirs}", shape)
            for i in range(layers)
            for ours, theirs, shape in layer
            if model.attention_bias or not ("/linear/" in theirs and theirs.endswith("/bias"))
        ]
        if model.norm_position == "pre":
            rows += [
                ((f"{stack}_norm/{ours}",), f"{stack}/layer_norm/{theirs}", _as_it_is)
                for ours, theirs in (("scale", "gamma"), ("bias", "beta"))
            ]
    return rows


def _set(spec: TransformerSpec, path: str, value: np.ndarray) -> None:
    """Puts an array at a path of attributes and indices."""
    *steps, name = path.split("/")
    place: Any = spec
    for step in steps:
        place = place[int(step)] if step.isdigit() else getattr(place, step)
    setattr(place, name, value)


def _as_it_is(ours: list[np.ndarray], model: ModelConfig) -> np.ndarray:
    return ours[0]


def _transposed(ours: list[np.ndarray], model: ModelConfig) -> np.ndarray:
    return ours[0].T


def _into_heads(ours: list[np.ndarray], model: ModelConfig) -> np.ndarray:
    """[d_model, heads, width] of each projection -> [projections * heads * width, d_model]."""
    return np.concatenate([_padded(x, 2, model) for x in ours], axis=1).reshape(model.d_model, -1).T


def _heads_bias(ours: list[np.ndarray], model: ModelConfig) -> np.ndarray:
    """[heads, width] of each projection -> [projections * heads * width]."""
    return np.concatenate([_padded(x, 1, model) for x in ours]).reshape(-1)


def _out_of_heads(ours: list[np.ndarray], model: ModelConfig) -> np.ndarray:
    """[heads, width, d_model] -> [d_model, heads * width]."""
    return _padded(ours[0], 1, model).reshape(-1, model.d_model).T


def _padded(x: np.ndarray, axis: int, model: ModelConfig) -> np.ndarray:
    """Returns the array with zeros after its end, so that d_k and d_v are equally wide along the axis."""
    width = max(model.d_k, model.d_v)
    return np.pad(x, [(0, width - n if i == axis else 0) for i, n in enumerate(x.shape)])


def _attention(ours: str, theirs: str, groups: list[tuple[str, ...]]) -> list[tuple[tuple[str, ...], str, Shape]]:
    """Returns the rows of an attention, whose projections of one input are one matrix there."""
    rows: list[tuple[tuple[str, ...], str, Shape]] = []
    for i, group in enumerate(groups):
        rows.append((tuple(f"{ours}/{name}/kernel" for name in group), f"{theirs}/linear/{i}/weight", _into_heads))
        rows.append((tuple(f"{ours}/{name}/bias" for name in group), f"{theirs}/linear/{i}/bias", _heads_bias))
    return [
        *rows,
        ((f"{ours}/output/kernel",), f"{theirs}/linear/{len(groups)}/weight", _out_of_heads),
        ((f"{ours}/output/bias",), f"{theirs}/linear/{len(groups)}/bias", _as_it_is),
        ((f"{ours}_residual/norm/scale",), f"{theirs}/layer_norm/gamma", _as_it_is),
        ((f"{ours}_residual/norm/bias",), f"{theirs}/layer_norm/beta", _as_it_is),
    ]


_LAYER: list[tuple[tuple[str, ...], str, Shape]] = [
    *_attention("self_attention", "self_attention", [("query", "key", "value")]),
    (("feed_forward/hidden/kernel",), "ffn/linear_0/weight", _transposed),
    (("feed_forward/hidden/bias",), "ffn/linear_0/bias", _as_it_is),
    (("feed_forward/output/kernel",), "ffn/linear_1/weight", _transposed),
    (("feed_forward/output/bias",), "ffn/linear_1/bias", _as_it_is),
    (("feed_forward_residual/norm/scale",), "ffn/layer_norm/gamma", _as_it_is),
    (("feed_forward_residual/norm/bias",), "ffn/layer_norm/beta", _as_it_is),
]
# Its keys and values read another input than its queries.
_CROSS_ATTENTION = _attention("cross_attention", "attention", [("query",), ("key", "value")])


def _pieces(data: Path) -> tuple[list[str], list[str]]:
    """Returns the pieces of the source and of the target language by id, as the data folder has them."""
    words = load_vocabulary(data)
    if not isinstance(words, MarianVocabulary):
        shared = list(words.ids())
        return shared, shared
    source = json.loads((data / MarianVocabulary.FILES[-1]).read_text(encoding="utf-8"))
    path = data / MarianVocabulary.TARGET_FILE
    target = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else source
    by_id: list[list[str]] = []
    for ids in (source, target):
        names = {token: piece for piece, token in ids.items()}
        by_id.append([names.get(i, f"<unused {i}>") for i in range(len(words))])
    return by_id[0], by_id[1]


def _ctranslate2() -> ModuleType:
    try:
        import ctranslate2
    except ImportError:
        raise UserError("ctranslate2 is not installed; run: pip install 'ctranslate2>=4.6'") from None
    return ctranslate2
