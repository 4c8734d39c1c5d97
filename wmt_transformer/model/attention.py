"""Scaled dot-product attention, its masks, and multi-head attention with cached keys and values (§3.2).

Masks are boolean, True where a query may attend. One module serves encoder self-attention, masked decoder
self-attention and cross-attention, in training and in decoding: the keys and values are an argument, so a cache
is something that the caller holds, never hidden state.
"""

from functools import partial
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from wmt_transformer.config import ModelConfig, UserError
from wmt_transformer.model.dense import compute_dtype, dense, laid_out, laid_out_transposed, product, product_transposed
from wmt_transformer.model.dropout import dropout
from wmt_transformer.model.fused_attention import MOST_SCORES, fused_attention
from wmt_transformer.platform import backend
from wmt_transformer.special_tokens import EOS, PAD

CUDNN_LENGTH = 32
"""From this length on `auto` takes cuDNN on a GPU. Counted for 25,000 positions, forward and backward: 314 MB in 3
kernels instead of 1,013 MB in 19 at 32 positions. Kernels that compute whole tiles of 128 x 128 scores would take as
long as the other way at about 16."""


class KVCache(NamedTuple):
    """Keys and values of the positions that may be attended to: `[batch…, length, heads, d_k or d_v]`."""

    key: Float[Array, "*batch length heads k"]
    value: Float[Array, "*batch length heads v"]


class Slots(NamedTuple):
    """Keys and values as decoding reads them step after step: each as the right side of a matrix product.

    A slot is a position of the source, or what one hypothesis was at one position of the output.
    """

    key: Float[Array, "batch heads k slots"]
    value: Float[Array, "batch heads slots v"]


def padding_mask(tokens: Int[Array, "batch length"]) -> Bool[Array, "batch 1 1 length"]:
    """Returns a mask that lets every query attend to the tokens that are not padding."""
    return (tokens != PAD)[:, None, None, :]


class Sentences(NamedTuple):
    """Where each token belongs in rows that hold several sentences one after another, each ended by EOS."""

    begins: Bool[Array, "batch length"]
    """Whether this is a sentence's first token."""
    number: Int[Array, "batch length"]
    """Which sentence of its row the token is in, from 1; what follows the last EOS counts as one more."""
    position: Int[Array, "batch length"]
    """Its position in the sentence, from 0."""


def sentences(tokens: Int[Array, "batch length"]) -> Sentences:
    """Returns where each token belongs, which follows from the EOS before it."""
    begins = jnp.pad(tokens == EOS, ((0, 0), (1, 0)), constant_values=True)[:, :-1]
    index = jnp.arange(tokens.shape[1])
    first = jax.lax.cummax(jnp.where(begins, index, 0), axis=1)
    # A cumulative sum, in a form that leaves XLA one array to compare: it would put the last additions of a cumsum
    # into every mask, where on a CPU they take more time than all else there.
    number = (begins[:, None, :] & (index <= index[:, None])).sum(axis=2, dtype=jnp.int32)
    return Sentences(begins, number, index - first)


def same_sentence(queries: Sentences, keys: Sentences) -> Bool[Array, "batch 1 target source"]:
    """Returns a mask that lets every query attend to the sentence of its own number."""
    return queries.number[:, None, :, None] == keys.number[:, None, None, :]


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
    """Returns softmax(QKᵀ / √d_k) V (equation 1) and the weights; the softmax is computed in float32.

    The weights are for looking at: no gradient flows through them. Dropout acts on the weights, where a key is given.
    """
    query = query * jnp.asarray(query.shape[-1] ** -0.5, query.dtype)
    rate = 0.0 if dropout_key is None else dropout_rate
    heads_first = [laid_out(jnp.swapaxes(x, -3, -2)) for x in (query, key, value)]
    gathered, exponents, total = _traced_once(rate, *heads_first, mask, dropout_key)
    weights = jax.lax.stop_gradient(exponents * (1.0 / total)[..., None].astype(exponents.dtype))
    return jnp.swapaxes(gathered, -3, -2), weights


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(
    rate: float, query: Array, key: Array, value: Array, mask: Array, dropout_key: Array | None
) -> tuple[Array, Array, Array]:
    """Returns the weighted sums of the values, and the softmax as exponents and their sums; heads before positions.

    The plain form, whose value and gradient a test compares with these:

        scores = jnp.where(mask, jnp.einsum("...TK,...SK->...TS", query, key), -1e30)
        gathered = jnp.einsum("...TS,...SV->...TV", dropout(jax.nn.softmax(scores)), value)

    On long rows the scores, `[…, heads, target, source]`, are the largest arrays of a layer, and time goes by how
    often they are read or written. Dividing the sums `[…, heads, target, v]` instead of the weights, and the gradient
    below instead of the derived one, leave two passes forward and one backward. No product takes the scores
    transposed: on a CPU that takes twice the time.
    """
    return _attend_forward(rate, query, key, value, mask, dropout_key)[0]


def _attend_forward(
    rate: float, query: Array, key: Array, value: Array, mask: Array, dropout_key: Array | None
) -> tuple[tuple[Array, Array, Array], tuple[Array | None, ...]]:
    lowest = jnp.finfo(jnp.float32).min
    scores = jnp.einsum("...TK,...SK->...TS", query, key, preferred_element_type=jnp.float32)
    scores = jnp.where(mask, scores, lowest)
    highest = scores.max(axis=-1)
    exponents = jnp.exp(scores - highest[..., None])
    total = exponents.sum(axis=-1)
    exponents = exponents.astype(value.dtype)
    gathered = product(_drop(exponents, rate, dropout_key), value)
    gathered = gathered * (1.0 / total)[..., None].astype(value.dtype)
    # A row with nothing to attend to gets equal weights, and passes no gradient to its scores.
    scale = jnp.where(highest > lowest, 1.0 / total, 0.0)
    return (gathered, exponents, total), (query, key, value, dropout_key, exponents, total, scale, gathered)


def _attend_backward(
    rate: float, saved: tuple[Any, ...], cotangents: tuple[Array, Array, Array]
) -> tuple[Array, Array, Array, None, None]:
    """With weights P, out = P V and dP = dout Vᵀ, the softmax's gradient is dS = P ∘ (dP - rowsum(dP ∘ P)), where
    rowsum(dP ∘ P) = rowsum(dout ∘ out): a sum over v, not over the source; dropout does not change that."""
    query, key, value, dropout_key, exponents, total, scale, gathered = saved
    divided = cotangents[0] * (1.0 / total)[..., None].astype(value.dtype)
    d_value = product(laid_out_transposed(divided), _drop(exponents, rate, dropout_key))
    scaled = cotangents[0] * scale[..., None].astype(value.dtype)
    d_weights = _drop(product_transposed(scaled, value), rate, dropout_key)
    mean = (scaled * gathered).sum(axis=-1)
    d_scores = exponents * (d_weights - mean[..., None])
    d_query = product(d_scores, key)
    d_key = product(laid_out_transposed(query), d_scores)
    return d_query, jnp.swapaxes(d_key, -1, -2), jnp.swapaxes(d_value, -1, -2), None, None


_attend.defvjp(_attend_forward, _attend_backward)
_traced_once: Any = jax.jit(_attend, static_argnums=0)


def slots_dtype(dtype: Any) -> Any:
    """Returns the type in which decoding keeps what was computed in `dtype`: on a CPU always float32.

    There XLA writes into a bfloat16 array by converting the whole of it twice, and multiplies few rows in float32.
    """
    return jnp.float32 if backend() == "cpu" else dtype


def attend_to_slots(
    query: Float[Array, "batch hypotheses heads k"],
    slots: Slots,
    visible: Bool[Array, "batch 1 #hypotheses slots"],
) -> Float[Array, "batch hypotheses heads v"]:
    """Returns the weighted sums that `attention` returns, where each query is the newest position of a hypothesis."""
    dtype, query = query.dtype, jnp.swapaxes(query * jnp.asarray(query.shape[-1] ** -0.5, query.dtype), 1, 2)
    scores = jnp.einsum("BHWK,BHKN->BHWN", query.astype(slots.key.dtype), slots.key, preferred_element_type=jnp.float32)
    scores = jnp.where(visible, scores, jnp.finfo(jnp.float32).min)
    exponents = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
    total = exponents.sum(axis=-1, keepdims=True)
    gathered = product(exponents.astype(slots.value.dtype), slots.value)
    return jnp.swapaxes(gathered * (1.0 / total).astype(gathered.dtype), 1, 2).astype(dtype)


def _drop(x: Array, rate: float, dropout_key: Array | None) -> Array:
    return x if dropout_key is None or not rate else dropout(x, rate, dropout_key)


def cudnn_attention(
    query: Float[Array, "batch target heads k"],
    key: Float[Array, "batch source heads k"],
    value: Float[Array, "batch source heads k"],
    mask: Bool[Array, "#batch 1 #target source"],
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> Float[Array, "batch target heads k"]:
    """Returns softmax(QKᵀ / √d_k) V as `attention` does, by cuDNN's kernels; they want a mask for every row."""
    mask = jnp.broadcast_to(mask, (query.shape[0], 1, query.shape[1], key.shape[1]))
    return jax.nn.dot_product_attention(query, key, value, mask=mask, implementation=implementation)


def kernels_for(config: ModelConfig, target: int, source: int) -> Literal["explicit", "fused", "cudnn"]:
    """Returns by whose kernels training attends from `target` to `source` positions: those that are asked for, or that
    are fast, where they can. They know no dropout on the weights; cuDNN's with a mask want even lengths."""
    asked = config.attention
    if asked == "auto":
        long = max(target, source) >= CUDNN_LENGTH
        asked = "fused" if backend() == "tpu" else "cudnn" if backend() == "gpu" and long else "explicit"
    even = target % 2 == 0 and source % 2 == 0
    widths = config.d_k == config.d_v <= 128 and config.d_k % 8 == 0
    can = {
        "explicit": True,
        "fused": target * source <= MOST_SCORES,
        "cudnn": even and widths and compute_dtype(config.compute_dtype) == jnp.bfloat16,
    }
    return asked if can[asked] and not config.attention_dropout else "explicit"


def check_attention(config: ModelConfig) -> None:
    """Raises UserError where the config asks for kernels that this machine's devices do not have."""
    needed = {"fused": "tpu", "cudnn": "gpu"}.get(config.attention, backend())
    if needed != backend():
        raise UserError(
            f"--model.attention {config.attention} is kernels for {needed.upper()}s, and the devices here are "
            f"{backend().upper()}s; auto takes what is fast on them"
        )


class MultiHeadAttention(nn.Module):
    """Projections to h heads, attention in each, concatenation, projection back (§3.2.2)."""

    config: ModelConfig

    def setup(self) -> None:
        config, bias = self.config, self.config.attention_bias
        self.query = dense(config, (config.num_heads, config.d_k), bias=bias)
        self.key = dense(config, (config.num_heads, config.d_k), bias=bias)
        self.value = dense(config, (config.num_heads, config.d_v), bias=bias)
        self.output = dense(config, config.d_model, axis=(-2, -1), bias=bias)

    def keys_values(self, x: Float[Array, "*batch length d_model"]) -> KVCache:
        """Returns the keys and values of every position of x."""
        return KVCache(self.key(x), self.value(x))

    def slots(self, x: Float[Array, "batch length d_model"]) -> Slots:
        """Returns the keys and values of every position of x, each position a slot."""
        key, value = self.keys_values(x)
        dtype = slots_dtype(x.dtype)
        return Slots(jnp.einsum("BSHK->BHKS", key).astype(dtype), jnp.einsum("BSHV->BHSV", value).astype(dtype))

    def from_slots(
        self, x: Float[Array, "batch hypotheses d_model"], slots: Slots, visible: Bool[Array, "batch 1 #w slots"]
    ) -> Float[Array, "batch hypotheses d_model"]:
        """Returns what the newest position of each hypothesis gathers from the slots that it may attend to."""
        return self.output(attend_to_slots(self.query(x), slots, visible))

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
        kernels = kernels_for(self.config, query.shape[-3], keys_values.key.shape[-3]) if train else "explicit"
        if kernels == "fused":
            gathered = fused_attention(query, *keys_values, mask)
        elif kernels == "cudnn":
            gathered = cudnn_attention(query, *keys_values, mask)
        else:
            dropout_key = self.make_rng("dropout") if rate else None
            gathered, weights = attention(query, *keys_values, mask, rate, dropout_key)
            self.sow("intermediates", "attention_weights", weights)
        return self.output(gathered)
