"""The names and shapes of a Marian model's arrays, there and here: one table, read in both directions.

Theirs are PyTorch's: a linear layer is `[out, in]`, and heads and their width are one axis, `heads * width`, where
ours are two. Their heads are d_model / heads wide; narrower ones of ours are padded with zeros, which change no sum.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from wmt_transformer.config import ModelConfig

NORM_EPSILON = 1e-5
"""What their layer norm adds to the variance, always."""
SETTINGS = [
    ("num_layers", "encoder_layers"),
    ("num_heads", "encoder_attention_heads"),
    ("d_ff", "encoder_ffn_dim"),
    ("d_model", "d_model"),
    ("dropout", "dropout"),
    ("attention_dropout", "attention_dropout"),
    ("relu_dropout", "activation_dropout"),
]
"""(our field, their setting) where both are the same number."""


class Shape(NamedTuple):
    """How one array is written by them (`[out, in]`, heads and their width as one axis) and by us."""

    ours: Callable[[np.ndarray, ModelConfig], np.ndarray]
    theirs: Callable[[np.ndarray, ModelConfig], np.ndarray]
    d_model_axis: int | None
    """The axis of theirs that is d_model wide."""


def table(model: ModelConfig) -> list[tuple[str, str, Shape]]:
    """Returns (our path, their name, shape) of every array of a model."""
    rows = [*_VOCABULARY[model.tied_embeddings], ("output_bias", "final_logits_bias", _LOGITS_BIAS)]
    stacks = [("encoder", i, _LAYER) for i in range(model.num_layers)]
    stacks += [("decoder", i, _DECODER_LAYER) for i in range(model.decoder_layers)]
    for stack, i, layer in stacks:
        rows += [(f"{stack}_{i}/{ours}", f"model.{stack}.layers.{i}.{theirs}", shape) for ours, theirs, shape in layer]
    return rows


def to_ours(weights: Mapping[str, np.ndarray], model: ModelConfig) -> dict[str, Any]:
    """Returns the parameters of a model whose arrays are given by their names."""
    flat = {path: jnp.array(shape.ours(weights[name], model)) for path, name, shape in table(model)}
    return traverse_util.unflatten_dict(flat, sep="/")


def to_theirs(params: Mapping[str, Any], model: ModelConfig) -> dict[str, np.ndarray]:
    """Returns the arrays by their names, float32; biases that our model lacks are zeros.

    Interleaved sinusoids become concatenated ones by another order of the d_model axis of every array. Padding heads
    changes the 1 / √d_k by which scores are multiplied, so the queries make up for it.
    """
    flat = {path: np.asarray(x, np.float32) for path, x in traverse_util.flatten_dict(params, sep="/").items()}
    if not model.output_bias:
        flat["output_bias"] = np.zeros(model.vocabulary_size, np.float32)
    order = np.arange(model.d_model)
    if model.sinusoid_layout == "interleaved":
        order = np.concatenate([order[::2], order[1::2]])
    theirs = {}
    for path, name, shape in table(model):
        if path not in flat:  # an attention without biases
            flat[path] = np.zeros((model.d_model,) if shape is _AS_IT_IS else (model.num_heads, 1), np.float32)
        x = flat[path]
        if "/query/" in path:
            x = x * np.float32(math.sqrt(model.d_model / model.num_heads / model.d_k))
        x = shape.theirs(x, model)
        x = x if shape.d_model_axis is None else np.take(x, order, shape.d_model_axis)
        theirs[name] = np.ascontiguousarray(x)
    return theirs


def _padded(x: np.ndarray, model: ModelConfig, axis: int) -> np.ndarray:
    """Returns the array with heads as wide as theirs: d_model / heads, with zeros after them."""
    widths = [(0, model.d_model // model.num_heads - n if i == axis else 0) for i, n in enumerate(x.shape)]
    return np.pad(x, widths)


_AS_IT_IS = Shape(lambda x, _: x, lambda x, _: x, 0)
_HIDDEN_BIAS = _AS_IT_IS._replace(d_model_axis=None)
_ROWS = _AS_IT_IS._replace(d_model_axis=1)
_LOGITS_BIAS = Shape(lambda x, _: x[0], lambda x, _: x[None], None)
_INTO_HIDDEN = Shape(lambda x, _: x.T, lambda x, _: x.T, 1)
_OUT_OF_HIDDEN = _INTO_HIDDEN._replace(d_model_axis=0)
_INTO_HEADS = Shape(  # [heads * width, d_model] <-> [d_model, heads, width]
    lambda x, model: x.T.reshape(model.d_model, model.num_heads, -1),
    lambda x, model: _padded(x, model, 2).reshape(model.d_model, -1).T,
    1,
)
_HEADS_BIAS = Shape(
    lambda x, model: x.reshape(model.num_heads, -1),
    lambda x, model: _padded(x, model, 1).reshape(-1),
    None,
)
_OUT_OF_HEADS = Shape(  # [d_model, heads * width] <-> [heads, width, d_model]
    lambda x, model: x.T.reshape(model.num_heads, -1, model.d_model),
    lambda x, model: _padded(x, model, 1).reshape(-1, model.d_model).T,
    0,
)

_ATTENTION = [
    ("query/kernel", "q_proj.weight", _INTO_HEADS),
    ("query/bias", "q_proj.bias", _HEADS_BIAS),
    ("key/kernel", "k_proj.weight", _INTO_HEADS),
    ("key/bias", "k_proj.bias", _HEADS_BIAS),
    ("value/kernel", "v_proj.weight", _INTO_HEADS),
    ("value/bias", "v_proj.bias", _HEADS_BIAS),
    ("output/kernel", "out_proj.weight", _OUT_OF_HEADS),
    ("output/bias", "out_proj.bias", _AS_IT_IS),
]
_LAYER = [
    *[(f"self_attention/{ours}", f"self_attn.{theirs}", shape) for ours, theirs, shape in _ATTENTION],
    ("self_attention_residual/norm/scale", "self_attn_layer_norm.weight", _AS_IT_IS),
    ("self_attention_residual/norm/bias", "self_attn_layer_norm.bias", _AS_IT_IS),
    ("feed_forward/hidden/kernel", "fc1.weight", _INTO_HIDDEN),
    ("feed_forward/hidden/bias", "fc1.bias", _HIDDEN_BIAS),
    ("feed_forward/output/kernel", "fc2.weight", _OUT_OF_HIDDEN),
    ("feed_forward/output/bias", "fc2.bias", _AS_IT_IS),
    ("feed_forward_residual/norm/scale", "final_layer_norm.weight", _AS_IT_IS),
    ("feed_forward_residual/norm/bias", "final_layer_norm.bias", _AS_IT_IS),
]
_DECODER_LAYER = [
    *_LAYER,
    *[(f"cross_attention/{ours}", f"encoder_attn.{theirs}", shape) for ours, theirs, shape in _ATTENTION],
    ("cross_attention_residual/norm/scale", "encoder_attn_layer_norm.weight", _AS_IT_IS),
    ("cross_attention_residual/norm/bias", "encoder_attn_layer_norm.bias", _AS_IT_IS),
]
_VOCABULARY = {
    "all": [("target_embedding/table", "model.shared.weight", _ROWS)],
    "target": [
        ("source_embedding/table", "model.encoder.embed_tokens.weight", _ROWS),
        ("target_embedding/table", "model.decoder.embed_tokens.weight", _ROWS),
    ],
}
_VOCABULARY["none"] = [*_VOCABULARY["target"], ("output_table", "lm_head.weight", _ROWS)]
