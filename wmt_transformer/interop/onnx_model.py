"""Our Transformer as two ONNX graphs with the names that transformers.js and optimum give a MarianMT model's.

`encoder_model`: input_ids, attention_mask -> last_hidden_state. `decoder_model_merged`: one call for the first step
and for those that go on from a cache. While `use_cache_branch` is false, it ignores the cache and computes keys and
values of the encoder's output; afterwards it takes those in the cache. Every array that it may go on from, `present.…`,
is an output in both cases.

The graphs are written from our parameters, not from Marian's, so both norm positions, learned positions, and any width
of heads are exact: only the names are Marian's. Softmax, layer norm and sums are float32 whatever the precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from flax import traverse_util

from wmt_transformer.config import ModelConfig
from wmt_transformer.interop.onnx_graph import Graph, Precision, package
from wmt_transformer.model.layers import sinusoids
from wmt_transformer.special_tokens import EOS

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

_LOWEST = np.finfo(np.float32).min
_IMPOSSIBLE = -1e4  # a score beside which any other takes the whole probability

KeysValues = tuple[str, str]
"""The names of keys and values, `[batch, heads, length, d_k or d_v]`."""


def encoder(model: ModelConfig, params: Mapping[str, Any], precision: Precision, positions: int) -> ModelProto:
    """Returns the graph of the encoder for sources of at most `positions` tokens."""
    graph = _Layers(model, params, precision)
    length = graph.length("input_ids", 1)
    x = graph.embedded("input_ids", "source", graph.constant([0]), length, positions)
    mask = graph.padding_mask("attention_mask")
    for i in range(model.num_layers):
        x = graph.attended(x, f"encoder_{i}/self_attention", mask)
        x = graph.fed_forward(x, f"encoder_{i}/feed_forward")
    graph.finished(x, "encoder", "last_hidden_state")
    tokens = ["batch_size", "encoder_sequence_length"]
    inputs = [_info("input_ids", tokens, "INT64"), _info("attention_mask", tokens, "INT64")]
    return graph.model("encoder_model", inputs, [_info("last_hidden_state", [*tokens, model.d_model])])


def decoder(model: ModelConfig, params: Mapping[str, Any], precision: Precision, positions: int) -> ModelProto:
    """Returns the graph of the decoder, with its cache, for outputs of at most `positions` tokens."""
    graph = _Layers(model, params, precision)
    layers = range(model.decoder_layers)
    encoder_caches = [name for i in layers for name in cache_names(i, "encoder")]

    def computed() -> list[str]:
        paths = [f"decoder_{i}/cross_attention" for i in layers]
        return [name for path in paths for name in graph.keys_values("encoder_hidden_states", path)]

    def kept() -> list[str]:
        return [graph.add("Identity", f"past_key_values.{name}") for name in encoder_caches]

    graph.choose("use_cache_branch", [f"present.{name}" for name in encoder_caches], kept, computed)
    # The cache counts where the caller says that there is one.
    past = graph.length(f"past_key_values.{cache_names(0, 'decoder')[0]}", 2)
    past = graph.add("Mul", past, graph.add("Cast", "use_cache_branch", to=package().TensorProto.INT64))
    new = graph.length("input_ids", 1)
    x = graph.embedded("input_ids", "target", past, new, positions)
    causal, source_mask = graph.causal_mask(past, new), graph.padding_mask("encoder_attention_mask")
    for i in layers:
        names = cache_names(i, "decoder")
        x = graph.attended(x, f"decoder_{i}/self_attention", causal, past=past, names=names)
        key, value = (f"present.{name}" for name in cache_names(i, "encoder"))
        x = graph.attended(x, f"decoder_{i}/cross_attention", source_mask, memory=(key, value))
        x = graph.fed_forward(x, f"decoder_{i}/feed_forward")
    graph.logits(graph.finished(x, "decoder"))
    source, target = (["batch_size", f"{side}_sequence_length"] for side in ("encoder", "decoder"))
    inputs = [
        _info("encoder_attention_mask", source, "INT64"),
        _info("input_ids", target, "INT64"),
        _info("encoder_hidden_states", [*source, model.d_model]),
        *_caches(model, "past_key_values", "past_decoder_sequence_length"),
        _info("use_cache_branch", [1], "BOOL"),
    ]
    outputs = [_info("logits", [*target, model.vocabulary_size])]
    outputs += _caches(model, "present", "past_decoder_sequence_length + decoder_sequence_length")
    return graph.model("decoder_model_merged", inputs, outputs)


def cache_names(layer: int, side: str) -> tuple[str, str]:
    """Returns what the keys and values of a layer are called after `past_key_values.` and `present.`."""
    return f"{layer}.{side}.key", f"{layer}.{side}.value"


def _caches(model: ModelConfig, prefix: str, decoder_length: str) -> list[ValueInfoProto]:
    lengths = {"decoder": decoder_length, "encoder": "encoder_sequence_length"}
    return [
        _info(f"{prefix}.{name}", ["batch_size", model.num_heads, length, width])
        for i in range(model.decoder_layers)
        for side, length in lengths.items()
        for name, width in zip(cache_names(i, side), (model.d_k, model.d_v), strict=True)
    ]


def _info(name: str, shape: list[Any], kind: str = "FLOAT") -> ValueInfoProto:
    onnx = package()
    return onnx.helper.make_tensor_value_info(name, getattr(onnx.TensorProto, kind), shape)


class _Layers(Graph):
    """The parts of our model, each as nodes of a graph; paths are those of our parameters."""

    def __init__(self, model: ModelConfig, params: Mapping[str, Any], precision: Precision):
        super().__init__(precision)
        self._model = model
        flat = traverse_util.flatten_dict(params, sep="/")
        self._params = {path: np.asarray(x, np.float32) for path, x in flat.items()}

    def length(self, name: str, axis: int) -> str:
        """Returns the length of an axis, as an array of one number."""
        return self.add("Shape", name, start=axis, end=axis + 1)

    def embedded(self, ids: str, side: str, first: str, length: str, positions: int) -> str:
        """Returns embeddings times √d_model plus positions, of which `first` is the first one's (§3.4, 3.5)."""
        model = self._model
        path = f"{'target' if model.tied_embeddings == 'all' else side}_embedding/table"
        x = self.rows(ids, path, self._params[path])
        x = self.add("Mul", x, self.constant(model.d_model**0.5, np.float32))
        if model.positions == "learned":
            table = self._params[f"{side}_positions"][:positions]
        else:
            table = sinusoids(positions, model.d_model, model.sinusoid_layout)
        stored = self.matrix(f"{side}_positions", table)
        return self.add("Add", x, self.add("Slice", stored, first, self.add("Add", first, length), self.constant([0])))

    def padding_mask(self, mask: str) -> str:
        """Returns `[batch, 1, 1, length]`, true where a token is not padding."""
        visible = self.add("Cast", mask, to=package().TensorProto.BOOL)
        return self.add("Unsqueeze", visible, self.constant([1, 2]))

    def causal_mask(self, past: str, new: str) -> str:
        """Returns `[new, past + new]`, true where a position may attend (§3.2.3)."""
        scalar = self.constant([], np.int64)
        start, end = (self.add("Reshape", x, scalar) for x in (past, self.add("Add", past, new)))
        queries = self.add("Range", start, end, self.constant(1))
        keys = self.add("Range", self.constant(0), end, self.constant(1))
        return self.add("LessOrEqual", keys, self.add("Unsqueeze", queries, self.constant([1])))

    def keys_values(self, x: str, path: str) -> KeysValues:
        """Returns the keys and values of every position of x."""
        key, value = (self._heads(self._projected(x, f"{path}/{name}")) for name in ("key", "value"))
        return key, value

    def attended(
        self, x: str, path: str, mask: str, *, memory: KeysValues | None = None, past: str = "", names: Any = ()
    ) -> str:
        """Returns an attention with its residual (§3.2.2).

        Keys and values are `memory`'s, or else those of x, after the first `past` positions of the cache `names`.
        """

        def sublayer(y: str) -> str:
            query = self._heads(self._projected(y, f"{path}/query"))
            query = self.add("Mul", query, self.constant(self._model.d_k**-0.5, np.float32))
            key, value = memory or self.keys_values(y, path)
            if names:
                key, value = (self._after(past, name, new) for name, new in zip(names, (key, value), strict=True))
            scores = self.add("MatMul", query, self.add("Transpose", key, perm=[0, 1, 3, 2]))
            scores = self.add("Where", mask, scores, self.constant(_LOWEST, np.float32))
            gathered = self.add("MatMul", self.add("Softmax", scores, axis=-1), value)
            gathered = self.add("Transpose", gathered, perm=[0, 2, 1, 3])
            gathered = self.add("Reshape", gathered, self.constant([0, 0, self._model.num_heads * self._model.d_v]))
            return self._projected(gathered, f"{path}/output")

        return self._residual(x, sublayer, path)

    def fed_forward(self, x: str, path: str) -> str:
        """Returns the feed-forward network with its residual (§3.3)."""

        def sublayer(y: str) -> str:
            hidden = self._projected(y, f"{path}/hidden")
            if self._model.activation == "gelu":
                hidden = self.add("Gelu", hidden, approximate="tanh")
            elif self._model.activation == "swish":
                hidden = self.add("Mul", hidden, self.add("Sigmoid", hidden))
            else:
                hidden = self.add("Relu", hidden)
            return self._projected(hidden, f"{path}/output")

        return self._residual(x, sublayer, path)

    def finished(self, x: str, stack: str, name: str = "") -> str:
        """Returns the output of a stack, which with `norm_position="pre"` ends with a layer norm."""
        if self._model.norm_position == "pre":
            return self._normed(x, f"{stack}_norm", name)
        return self.add("Identity", x, name=name)

    def logits(self, x: str) -> str:
        """Returns the scores of every piece (§3.4); after an EOS, EOS alone is left.

        transformers.js goes on with every sentence of a batch until the last one ends, and would add words to those
        that have ended.
        """
        model = self._model
        path = "output_table" if model.tied_embeddings == "none" else "target_embedding/table"
        scores = self.product(x, path, self._params[path])
        if model.output_bias:
            scores = self.add("Add", scores, self.vector("output_bias", self._params["output_bias"]))
        ended = self.add("Equal", "input_ids", self.constant(EOS))
        ended = self.add("Unsqueeze", ended, self.constant([-1]))
        only_eos = np.where(np.arange(model.vocabulary_size) == EOS, 0, _IMPOSSIBLE)
        return self.add("Where", ended, self.constant(only_eos, np.float32), scores, name="logits")

    def _projected(self, x: str, path: str) -> str:
        """Returns x times a kernel, whose heads and their widths become one axis, plus the bias if there is one."""
        kernel = self._params[f"{path}/kernel"]
        outputs = kernel.shape[-1] if path.endswith("attention/output") else int(np.prod(kernel.shape[1:]))
        x = self.product(x, f"{path}/kernel", kernel.reshape(-1, outputs).T)
        if f"{path}/bias" not in self._params:
            return x
        return self.add("Add", x, self.vector(f"{path}/bias", self._params[f"{path}/bias"].reshape(-1)))

    def _heads(self, x: str) -> str:
        """[batch, length, heads * width] -> [batch, heads, length, width]."""
        x = self.add("Reshape", x, self.constant([0, 0, self._model.num_heads, -1]))
        return self.add("Transpose", x, perm=[0, 2, 1, 3])

    def _after(self, past: str, name: str, new: str) -> str:
        """Returns the first `past` positions of a cache and then new ones."""
        kept = self.add("Slice", f"past_key_values.{name}", self.constant([0]), past, self.constant([2]))
        return self.add("Concat", kept, new, name=f"present.{name}", axis=2)

    def _residual(self, x: str, sublayer: Any, path: str) -> str:
        norm = f"{path}_residual/norm"
        if self._model.norm_position == "pre":
            return self.add("Add", x, sublayer(self._normed(x, norm)))
        return self._normed(self.add("Add", x, sublayer(x)), norm)

    def _normed(self, x: str, path: str, name: str = "") -> str:
        scale, bias = (self.vector(f"{path}/{kind}", self._params[f"{path}/{kind}"]) for kind in ("scale", "bias"))
        epsilon = self._model.norm_epsilon
        return self.add("LayerNormalization", x, scale, bias, name=name, axis=-1, epsilon=epsilon)
