"""Our translator as a CTranslate2 model: the folder that `ctranslate2.Translator` loads.

CTranslate2 knows both norm positions, any table of positions and tied embeddings, and takes the width of a head
from the matrices, so every model of ours has an exact counterpart. Two things look different there: the projections
that read the same input are one matrix, and queries, keys and values have one width. Where d_k and d_v differ, the
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
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wmt_transformer.config import Config, ModelConfig, UserError
from wmt_transformer.data.marian_vocabulary import MarianVocabulary
from wmt_transformer.data.runs import load_vocabulary
from wmt_transformer.files import whole_folder
from wmt_transformer.model.layers import sinusoids
from wmt_transformer.special_tokens import BOS, EOS, UNKNOWN

Quantization = Literal["float32", "float16", "int8"]

_SENTENCEPIECE = ("vocabulary.model", "source.spm", "target.spm")  # the first, or the others: see `data.vocabulary`
_OURS = {"model.bin", "config.json", *_SENTENCEPIECE}
_OURS |= {f"{which}_vocabulary.json" for which in ("shared", "source", "target")}
_SINUSOID_ROWS = 2048  # positions that CTranslate2's converters write; it cuts a source behind 1,024 by default


def export(
    config: Config,
    params: Any,
    data: str | os.PathLike[str],
    output: str | os.PathLike[str],
    quantization: Quantization = "float32",
) -> None:
    """Writes the model and its SentencePiece file as a folder that CTranslate2 loads, whole or not at all.

    CTranslate2's own files know the pieces, but not how to cut a text into them; hence the SentencePiece file (two of
    a model imported from Marian, one for each language).

    Args:
      config: the run's.
      params: of a checkpoint.
      data: the run's data folder, with its vocabulary.
      output: the folder. It may be there if it is empty or an earlier export, which is then replaced.
      quantization: how weights are stored; the products are computed as `Translator(compute_type=…)` says.

    Raises:
      UserError: ctranslate2 is not installed, the vocabulary is another model's, or `output` holds other things or
        cannot be written.
    """
    source, target = _pieces(Path(data))
    longest = max(_SINUSOID_ROWS, config.data.max_length + config.decode.extra_length)
    spec = specification(config.model, params, source, target, longest)
    spec.validate()
    spec.optimize(quantization)
    exported_before = (Path(output) / "model.bin").is_file()
    with whole_folder(Path(output), "--output", _OURS if exported_before else frozenset()) as folder:
        spec.save(str(folder))
        for name in _SENTENCEPIECE:
            if (Path(data) / name).is_file():
                shutil.copyfile(Path(data) / name, folder / name)


def length_penalty(alpha: float, pieces: float) -> float:
    """Returns the `length_penalty` of CTranslate2 that favours length as our `alpha` does, near a length in pieces.

    The two penalties grow alike where n ** p and ((5 + n) / 6) ** alpha have the same derivative on logarithmic axes:
    p = alpha n / (n + 5), where n is `pieces` and EOS.

    >>> round(length_penalty(0.6, pieces=14), 2)
    0.45
    """
    return alpha * (pieces + 1) / (pieces + 6)


def specification(
    model: ModelConfig, params: Any, source: list[str], target: list[str], sinusoid_rows: int = _SINUSOID_ROWS
) -> Any:
    """Returns the `ctranslate2.specs.TransformerSpec` of a model, ready for `validate` and `optimize`.

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
        activation={"relu": specs.Activation.RELU, "swish": specs.Activation.SWISH}[model.activation],
        alignment_heads=model.num_heads,  # `return_attention` gives the mean over the heads of the last layer
    )
    spec.register_source_vocabulary(source)
    spec.register_target_vocabulary(target)
    spec.config.bos_token = spec.config.decoder_start_token = target[BOS]
    spec.config.eos_token, spec.config.unk_token = target[EOS], target[UNKNOWN]
    spec.config.add_source_eos, spec.config.add_source_bos = True, False  # a source ends with EOS, as in training
    spec.config.layer_norm_epsilon = model.norm_epsilon

    source_table = "target_embedding" if model.tied_embeddings == "all" else "source_embedding"
    spec.encoder.embeddings[0].weight = _array(params[source_table]["table"])
    spec.decoder.embeddings.weight = _array(params["target_embedding"]["table"])
    untied = model.tied_embeddings == "none"
    spec.decoder.projection.weight = _array(params["output_table"] if untied else params["target_embedding"]["table"])
    if model.output_bias:
        spec.decoder.projection.bias = _array(params["output_bias"])
    for side, stack in (("source", spec.encoder), ("target", spec.decoder)):
        stack.scale_embeddings = True  # by √d_model
        if model.positions == "learned":
            stack.position_encodings.encodings = _array(params[f"{side}_positions"])
        else:
            stack.position_encodings.encodings = sinusoids(sinusoid_rows, model.d_model, model.sinusoid_layout)

    for name, stack in (("encoder", spec.encoder), ("decoder", spec.decoder)):
        for i, layer in enumerate(stack.layer):
            _set_layer(layer, params[f"{name}_{i}"], model)
        if model.norm_position == "pre":
            _set_norm(stack.layer_norm, params[f"{name}_norm"])
    return spec


def _set_layer(layer: Any, params: Mapping[str, Any], model: ModelConfig) -> None:
    """Fills in an encoder's or a decoder's layer."""
    _set_attention(layer.self_attention, params["self_attention"], [("query", "key", "value")], model)
    _set_norm(layer.self_attention.layer_norm, params["self_attention_residual"]["norm"])
    if "cross_attention" in params:  # whose keys and values read another input than its queries
        _set_attention(layer.attention, params["cross_attention"], [("query",), ("key", "value")], model)
        _set_norm(layer.attention.layer_norm, params["cross_attention_residual"]["norm"])
    for linear, ours in ((layer.ffn.linear_0, "hidden"), (layer.ffn.linear_1, "output")):
        linear.weight = _array(params["feed_forward"][ours]["kernel"]).T
        linear.bias = _array(params["feed_forward"][ours]["bias"])
    _set_norm(layer.ffn.layer_norm, params["feed_forward_residual"]["norm"])


def _set_attention(
    attention: Any, params: Mapping[str, Any], groups: list[tuple[str, ...]], model: ModelConfig
) -> None:
    """Fills in an attention: one matrix for each group of projections, `[group * heads * width, d_model]`."""
    width = max(model.d_k, model.d_v)
    for linear, group in zip(attention.linear[:-1], groups, strict=True):
        linear.weight = np.concatenate([_pad(params[name]["kernel"], 2, width) for name in group], axis=1)
        linear.weight = linear.weight.reshape(model.d_model, -1).T
        if model.attention_bias:
            linear.bias = np.concatenate([_pad(params[name]["bias"], 1, width) for name in group]).reshape(-1)
    output = attention.linear[-1]
    output.weight = _pad(params["output"]["kernel"], 1, width).reshape(-1, model.d_model).T
    if model.attention_bias:
        output.bias = _array(params["output"]["bias"])
    attention.queries_scale = np.float32(model.d_k**-0.5)


def _set_norm(norm: Any, params: Mapping[str, Any]) -> None:
    norm.gamma, norm.beta = _array(params["scale"]), _array(params["bias"])


def _pad(x: Any, axis: int, width: int) -> np.ndarray:
    """Returns the array with zeros behind, up to `width` along the axis."""
    x = _array(x)
    return np.pad(x, [(0, width - n if i == axis else 0) for i, n in enumerate(x.shape)])


def _array(x: Any) -> np.ndarray:
    """Returns a float32 copy, which quantisation may write into."""
    return np.array(x, np.float32)


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


def _ctranslate2() -> Any:
    try:
        import ctranslate2
    except ImportError:
        raise UserError("ctranslate2 is not installed; run: pip install 'wmt-transformer[interop]'") from None
    return ctranslate2
