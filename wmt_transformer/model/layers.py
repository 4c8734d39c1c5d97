"""The parts of a layer: embeddings with positions, feed-forward network, residual with norm, and the encoder's
and the decoder's layer made of them (§3.1, §3.3-3.5).

Every sub-layer is wrapped the same way: LayerNorm(x + Dropout(Sublayer(x))) in the paper, or, with
`norm_position="pre"`, x + Dropout(Sublayer(LayerNorm(x))).
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from wmt_transformer.config import ModelConfig
from wmt_transformer.model.attention import KVCache, MultiHeadAttention, Slots
from wmt_transformer.model.dense import compute_dtype, dense
from wmt_transformer.model.dropout import dropout


def sinusoids(length: int, d_model: int, layout: str = "interleaved") -> np.ndarray:
    """Returns PE(pos, 2i) = sin(pos / 10000^(2i / d_model)), PE(pos, 2i+1) = cos(the same) (§3.5).

    Shape `[length, d_model]`, float32. `layout="concatenated"` puts all sines before all cosines.
    """
    angles = np.arange(length)[:, None] / 10000.0 ** (np.arange(0, d_model, 2) / d_model)
    if layout == "concatenated":
        table = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    else:
        table = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, -1)
    return table[:, :d_model].astype(np.float32)


@jax.custom_jvp
def relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns max(0, x), with a gradient that is told by the result: what went in need not be kept, nor be written.

    XLA then lets the product before it do bias and maximum as well. (It would read max(0, x) > 0 as x > 0.)
    """
    return jnp.maximum(x, 0)


relu.defjvps(lambda tangent, result, _: tangent * jnp.sign(result))


class FeedForward(nn.Module):
    """FFN(x) = max(0, x W1 + b1) W2 + b2 (equation 2), or with swish or GELU in place of max(0, ·)."""

    config: ModelConfig

    def setup(self) -> None:
        self.hidden = dense(self.config, self.config.d_ff)
        self.output = dense(self.config, self.config.d_model)

    def __call__(self, x: Float[Array, "*batch d_model"], train: bool = False) -> Float[Array, "*batch d_model"]:
        hidden = {"relu": relu, "swish": nn.swish, "gelu": nn.gelu}[self.config.activation](self.hidden(x))
        if train and self.config.relu_dropout:
            hidden = dropout(hidden, self.config.relu_dropout, self.make_rng("dropout"))
        return self.output(hidden)


class Residual(nn.Module):
    """One residual connection with its layer norm and dropout (§3.1, §5.4)."""

    config: ModelConfig

    def setup(self) -> None:
        self.norm = nn.LayerNorm(self.config.norm_epsilon, dtype=compute_dtype(self.config.compute_dtype))

    def __call__(
        self,
        x: Float[Array, "..."],
        sublayer: Callable[[Float[Array, "..."]], Float[Array, "..."]],
        train: bool,
    ) -> Float[Array, "..."]:
        post = self.config.norm_position == "post"
        y = sublayer(x if post else self.norm(x))
        if train and self.config.dropout:
            y = dropout(y, self.config.dropout, self.make_rng("dropout"))
        return self.norm(x + y) if post else x + y


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward (§3.1)."""

    config: ModelConfig

    def setup(self) -> None:
        self.self_attention = MultiHeadAttention(self.config)
        self.feed_forward = FeedForward(self.config)
        self.self_attention_residual = Residual(self.config)
        self.feed_forward_residual = Residual(self.config)

    def __call__(
        self, x: Float[Array, "batch length d_model"], mask: Bool[Array, "..."], train: bool = False
    ) -> Float[Array, "batch length d_model"]:
        return self.with_keys_values(x, mask, train)[0]

    def with_keys_values(
        self, x: Float[Array, "batch length d_model"], mask: Bool[Array, "..."], train: bool = False
    ) -> tuple[Float[Array, "batch length d_model"], KVCache]:
        """Returns the layer's output, and the keys and values of self-attention, which a cache begins with."""
        attend, kept = self.self_attention, None

        def attend_to_itself(y: Float[Array, "batch length d_model"]) -> Float[Array, "batch length d_model"]:
            nonlocal kept
            kept = attend.keys_values(y)
            return attend(y, kept, mask, train)

        x = self.self_attention_residual(x, attend_to_itself, train)
        assert kept is not None
        return self.feed_forward_residual(x, lambda y: self.feed_forward(y, train), train), kept

    def step(
        self, x: Float[Array, "batch hypotheses d_model"], index: Array, cache: KVCache, visible: Bool[Array, "..."]
    ) -> tuple[Float[Array, "batch hypotheses d_model"], KVCache]:
        """Returns the output of one position, which is slot `index` of the cache, and the cache with it filled in."""
        attend = CachedAttention(self.self_attention, index, cache, visible)
        x = self.self_attention_residual(x, attend, False)
        return self.feed_forward_residual(x, self.feed_forward, False), attend.cache


class CachedAttention:
    """Self-attention of one position to those in a cache `[batch, hypotheses, room, heads, width]`.

    The position's own keys and values fill slot `index` first; `visible` are the slots that it may attend to. `cache`
    is the cache after the call.
    """

    def __init__(
        self, attention: MultiHeadAttention, index: Array, cache: KVCache, visible: Bool[Array, "..."]
    ) -> None:
        self._attention, self._index, self._visible, self.cache = attention, index, visible, cache

    def __call__(self, x: Float[Array, "batch hypotheses d_model"]) -> Float[Array, "batch hypotheses d_model"]:
        new = self._attention.keys_values(x)
        self.cache = KVCache(*(old.at[:, :, self._index].set(now) for old, now in zip(self.cache, new, strict=True)))
        return self._attention(x[:, :, None, :], self.cache, self._visible)[:, :, 0]


class DecoderLayer(nn.Module):
    """Masked self-attention, attention to the encoder's output, then feed-forward (§3.1)."""

    config: ModelConfig

    def setup(self) -> None:
        self.self_attention = MultiHeadAttention(self.config)
        self.cross_attention = MultiHeadAttention(self.config)
        self.feed_forward = FeedForward(self.config)
        self.self_attention_residual = Residual(self.config)
        self.cross_attention_residual = Residual(self.config)
        self.feed_forward_residual = Residual(self.config)

    def __call__(
        self,
        x: Float[Array, "batch target d_model"],
        causal: Bool[Array, "..."],
        memory: KVCache,
        source_mask: Bool[Array, "..."],
        train: bool = False,
    ) -> Float[Array, "batch target d_model"]:
        """Returns the layer's output at every position of the target at once (teacher forcing)."""
        attend, cross = self.self_attention, self.cross_attention
        x = self.self_attention_residual(x, lambda y: attend(y, attend.keys_values(y), causal, train), train)
        x = self.cross_attention_residual(x, lambda y: cross(y, memory, source_mask, train), train)
        return self.feed_forward_residual(x, lambda y: self.feed_forward(y, train), train)

    def step(
        self,
        x: Float[Array, "batch hypotheses d_model"],
        index: Int[Array, ""],
        kept: Slots,
        visible: Bool[Array, "batch 1 hypotheses slots"],
        memory: Slots,
        source_mask: Bool[Array, "batch 1 1 source"],
    ) -> tuple[Float[Array, "batch hypotheses d_model"], Slots]:
        """Returns the output at position `index` alone, and the slots with this position's filled in.

        Position t of W hypotheses is slots t · W to t · W + W - 1. The hypotheses of a sentence share these and its
        memory: both attentions are one matrix product a sentence and head, with the hypotheses as its rows.
        """
        filled = kept

        def attend_to_slots(
            y: Float[Array, "batch hypotheses d_model"],
        ) -> Float[Array, "batch hypotheses d_model"]:
            nonlocal filled
            new, first = self.self_attention.slots(y), index * y.shape[1]
            filled = Slots(
                jax.lax.dynamic_update_slice_in_dim(kept.key, new.key, first, axis=3),
                jax.lax.dynamic_update_slice_in_dim(kept.value, new.value, first, axis=2),
            )
            return self.self_attention.from_slots(y, filled, visible)

        x = self.self_attention_residual(x, attend_to_slots, False)
        x = self.cross_attention_residual(x, lambda y: self.cross_attention.from_slots(y, memory, source_mask), False)
        return self.feed_forward_residual(x, self.feed_forward, False), filled


def stack(layer: type[EncoderLayer] | type[DecoderLayer], config: ModelConfig, count: int) -> list[Any]:
    """Returns `count` layers; with `config.remat` the gradient computes again what happens inside them."""
    if config.remat:  # `train` is Python's, not an array: the third and the fifth argument
        kind: Any = nn.remat(layer, static_argnums=3 if layer is EncoderLayer else 5)
    else:
        kind = layer
    return [kind(config) for _ in range(count)]
