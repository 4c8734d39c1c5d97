"""Scaled dot-product attention, its masks, and multi-head attention with cached keys and values (§3.2).

Masks are boolean, True where a query may attend. One module serves encoder self-attention, masked decoder
self-attention and cross-attention, in training and in decoding: the keys and values are an argument, so a cache
is something that the caller holds, never hidden state.
"""

from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from wmt_transformer.config import ModelConfig
from wmt_transformer.model.dropout import dropout

PAD = 0
"""The id of padding: the vocabulary's, and the only one that the model itself has to know beside BOS."""
BOS = 1
"""The id that starts every target: decoder inputs are the target shifted right behind it (§3.1)."""


class KVCache(NamedTuple):
    """Keys and values of the positions that may be attended to: `[batch…, length, heads, d_k or d_v]`."""

    key: Float[Array, "*batch length heads k"]
    value: Float[Array, "*batch length heads v"]


def padding_mask(tokens: Int[Array, "batch length"]) -> Bool[Array, "batch 1 1 length"]:
    """Returns a mask that lets every query attend to the tokens that are not padding."""
    return (tokens != PAD)[:, None, None, :]


def causal_mask(length: int) -> Bool[Array, "1 1 length length"]:
    """Returns a mask that lets position t attend to positions 0 to t (§3.2.3)."""
    return jnp.tril(jnp.ones((length, length), jnp.bool_))[None, None]


def attention(
    query: Float[Array, "*batch target heads k"],
    key: Float[Array, "*batch source heads k"],
    value: Float[Array, "*batch source heads v"],
    mask: Bool[Array, "*#batch #heads #target source"],
    dropout_rate: float = 0.0,
    dropout_key: Array | None = None,
) -> tuple[Float[Array, "*batch target heads v"], Float[Array, "*batch heads target source"]]:
    """Returns softmax(QKᵀ / √d_k) V (equation 1) and the weights; the softmax is computed in float32."""
    query = query * jnp.asarray(query.shape[-1] ** -0.5, query.dtype)
    scores = jnp.einsum("...THK,...SHK->...HTS", query, key, preferred_element_type=jnp.float32)
    scores = jnp.where(mask, scores, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    dropped = weights if dropout_key is None else dropout(weights, dropout_rate, dropout_key)
    return jnp.einsum("...HTS,...SHK->...THK", dropped, value), weights


def fused_attention(
    query: Float[Array, "*batch target heads k"],
    key: Float[Array, "*batch source heads k"],
    value: Float[Array, "*batch source heads v"],
    mask: Bool[Array, "*#batch #heads #target source"],
) -> Float[Array, "*batch target heads v"]:
    """Returns what `attention` returns first, by `jax.nn.dot_product_attention` (no weights, no dropout)."""
    rows = query.shape[:-3]
    mask = jnp.broadcast_to(mask, (*rows, *mask.shape[-3:])).reshape(-1, *mask.shape[-3:])
    query, key, value = (x.reshape(-1, *x.shape[-3:]) for x in (query, key, value))
    return jax.nn.dot_product_attention(query, key, value, mask=mask).reshape(*rows, *query.shape[1:3], -1)


def compute_dtype(name: Literal["auto", "float32", "bfloat16"]) -> jnp.dtype:
    """Returns the dtype of the matrix products; auto is bfloat16 where the hardware has it."""
    if name == "auto":
        name = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return jnp.dtype(name)


class MultiHeadAttention(nn.Module):
    """Projections to h heads, attention in each, concatenation, projection back (§3.2.2)."""

    config: ModelConfig

    def setup(self) -> None:
        config = self.config

        def projection(features: int | tuple[int, int], axis: int | tuple[int, int] = -1) -> nn.DenseGeneral:
            dtype, bias = compute_dtype(config.compute_dtype), config.attention_bias
            init = nn.initializers.glorot_uniform()
            return nn.DenseGeneral(features, axis=axis, use_bias=bias, dtype=dtype, kernel_init=init)

        self.query = projection((config.num_heads, config.d_k))
        self.key = projection((config.num_heads, config.d_k))
        self.value = projection((config.num_heads, config.d_v))
        self.output = projection(config.d_model, axis=(-2, -1))

    def keys_values(self, x: Float[Array, "*batch length d_model"]) -> KVCache:
        """Returns the keys and values of every position of x."""
        return KVCache(self.key(x), self.value(x))

    def __call__(
        self,
        x: Float[Array, "*batch target d_model"],
        keys_values: KVCache,
        mask: Bool[Array, "*#batch #heads #target source"],
        train: bool = False,
    ) -> Float[Array, "*batch target d_model"]:
        """Returns what the queries of x gather from `keys_values`; sows the weights as `attention_weights`."""
        rate = self.config.attention_dropout if train else 0.0
        query = self.query(x)
        if self.config.attention == "fused" and rate == 0.0:
            gathered = fused_attention(query, *keys_values, mask)
        else:
            dropout_key = self.make_rng("dropout") if rate else None
            gathered, weights = attention(query, *keys_values, mask, rate, dropout_key)
            self.sow("intermediates", "attention_weights", weights)
        return self.output(gathered)
