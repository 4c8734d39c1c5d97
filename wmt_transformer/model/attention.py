"""Scaled dot-product attention, its masks, and multi-head attention with cached keys and values (§3.2).

Masks are boolean, True where a query may attend. One module serves encoder self-attention, masked decoder
self-attention and cross-attention, in training and in decoding: the keys and values are an argument, so a cache
is something that the caller holds, never hidden state.
"""

from functools import partial
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from wmt_transformer.config import ModelConfig, UserError
from wmt_transformer.model.dense import dense, laid_out_transposed, product, product_transposed
from wmt_transformer.model.dropout import dropout
from wmt_transformer.model.fused_attention import MOST_SCORES, fused_attention

PAD = 0
"""The id of padding: the vocabulary's, and with BOS and EOS all that the model itself has to know."""
BOS = 1
"""The id that starts every target: decoder inputs are the target shifted right behind it (§3.1)."""
EOS = 2
"""The id that ends every sentence; what follows it in a row is another sentence."""


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
    """Where the tokens of rows belong that hold one sentence behind the other, EOS at the end of each."""

    begins: Bool[Array, "batch length"]
    """Whether this is a sentence's first token."""
    number: Int[Array, "batch length"]
    """Which sentence of its row the token is in, from 1; what follows the last EOS counts as one more."""
    position: Int[Array, "batch length"]
    """Its position in the sentence, from 0."""


def sentences(tokens: Int[Array, "batch length"]) -> Sentences:
    """Returns where each token belongs: the EOS before it tell."""
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
    attend = cast(Any, _attend)  # whose type is lost on the way through custom_vjp
    heads_first = [jnp.swapaxes(x, -3, -2) for x in (query, key, value)]
    gathered, exponents, total = attend(rate, *heads_first, mask, dropout_key)
    weights = jax.lax.stop_gradient(exponents * (1.0 / total)[..., None].astype(exponents.dtype))
    return jnp.swapaxes(gathered, -3, -2), weights


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(
    rate: float, query: Array, key: Array, value: Array, mask: Array, dropout_key: Array | None
) -> tuple[Array, Array, Array]:
    """Returns the weighted sums of the values, and the softmax as exponents and their sums; heads before positions.

    On long rows the scores, `[…, heads, target, source]`, are the largest arrays of a layer, so what costs time is
    how often they are walked through. Dividing the sums `[…, heads, target, v]` instead of the weights, and the
    gradient below in place of the one that would be derived, leave two walks forward and one backward. No product
    has the scores turned round: on a CPU that takes twice the time.
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
    rowsum(dP ∘ P) = rowsum(dout ∘ out): a sum over v, not over the source, and the same with dropout between."""
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


def slots_dtype(dtype: Any) -> Any:
    """Returns the type in which decoding keeps what was computed in `dtype`: on a CPU always float32.

    There XLA writes into a bfloat16 array by converting the whole of it twice, and multiplies few rows in float32.
    """
    return jnp.float32 if jax.default_backend() == "cpu" else dtype


def attend_to_slots(
    query: Float[Array, "batch hypotheses heads k"],
    slots: Slots,
    visible: Bool[Array, "batch 1 #hypotheses slots"],
) -> Float[Array, "batch hypotheses heads v"]:
    """Returns what `attention` returns first, for queries of which each is the newest position of a hypothesis."""
    dtype, query = query.dtype, jnp.swapaxes(query * jnp.asarray(query.shape[-1] ** -0.5, query.dtype), 1, 2)
    scores = jnp.einsum("BHWK,BHKN->BHWN", query.astype(slots.key.dtype), slots.key, preferred_element_type=jnp.float32)
    scores = jnp.where(visible, scores, jnp.finfo(jnp.float32).min)
    exponents = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
    total = exponents.sum(axis=-1, keepdims=True)
    gathered = product(exponents.astype(slots.value.dtype), slots.value)
    return jnp.swapaxes(gathered * (1.0 / total).astype(gathered.dtype), 1, 2).astype(dtype)


def _drop(x: Array, rate: float, dropout_key: Array | None) -> Array:
    return x if dropout_key is None or not rate else dropout(x, rate, dropout_key)


def is_fused(config: ModelConfig) -> bool:
    """Returns whether training attends by the TPU's kernels, which know no dropout on the weights."""
    asked = config.attention == "fused" or (config.attention == "auto" and jax.default_backend() == "tpu")
    return asked and not config.attention_dropout


def check_attention(config: ModelConfig) -> None:
    """Raises UserError where the config asks for kernels that this machine's devices do not have."""
    backend = jax.default_backend()
    if config.attention == "fused" and backend != "tpu":
        raise UserError(
            f"--model.attention fused is kernels for TPUs, and the devices here are {backend.upper()}s; "
            "auto takes what is fast on them"
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
        """Returns what each hypothesis' newest position gathers from the slots that it may attend to."""
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
        if train and is_fused(self.config) and query.shape[-3] * keys_values.key.shape[-3] <= MOST_SCORES:
            gathered = fused_attention(query, *keys_values, mask)
        else:
            dropout_key = self.make_rng("dropout") if rate else None
            gathered, weights = attention(query, *keys_values, mask, rate, dropout_key)
            self.sow("intermediates", "attention_weights", weights)
        return self.output(gathered)
