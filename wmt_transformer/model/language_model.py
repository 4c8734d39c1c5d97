"""The decoder without an encoder: a language model, made of the Transformer's own layers.

Without cross-attention, a decoder layer is an encoder layer under a causal mask, so there is no new layer here. Like
the Transformer, the model gives the probability of `target` given `source`; here the source is the text before the
target. In training that is one token, the last one before the window; in use it is the prompt, padded at the *left*.
A text begins with BOS and ends with EOS. Windows of packed text hold several: the EOS between two texts is read as the
BOS of the second, which attends to nothing before it and counts its positions from 0.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from wmt_transformer.model.attention import KVCache, causal_mask
from wmt_transformer.model.dense import compute_dtype
from wmt_transformer.model.layers import EncoderLayer, stack
from wmt_transformer.model.next_token import NextTokenModel
from wmt_transformer.special_tokens import BOS, EOS, PAD


class Prompt(NamedTuple):
    """What decoding needs of the prompt beside the cache that holds it."""

    last: Int[Array, "batch"]
    """Its last token: the input of the first step."""
    visible: Bool[Array, "batch slots"]
    """Slots of the cache that hold the tokens before that one."""


class DecoderOnlyTransformer(NextTokenModel):
    """A stack of self-attention and feed-forward layers, each position seeing those before it (§3.2.3)."""

    def setup(self) -> None:
        super().setup()
        config = self.config
        self.target_positions = self._learned_positions("target_positions")
        self.decoder = stack(EncoderLayer, config, config.decoder_layers)
        if config.norm_position == "pre":
            self.decoder_norm = nn.LayerNorm(config.norm_epsilon, dtype=compute_dtype(config.compute_dtype))

    def decoded(
        self, source: Int[Array, "batch source"], target: Int[Array, "batch target"], train: bool = False
    ) -> Float[Array, "batch target d_model"]:
        """Returns the last layer's output where every target token is to be predicted."""
        x, mask = self._embedded(jnp.concatenate([source, target[:, :-1]], axis=1), train)
        for layer in self.decoder:
            x = layer(x, mask, train)
        return self._normed(x)[:, source.shape[1] - 1 :]

    def start_cache(
        self, source: Int[Array, "batch source"], num_hypotheses: int, length: int
    ) -> tuple[tuple[KVCache, ...], Prompt]:
        """Returns caches that hold all of the prompt but its last token, with room for `length` tokens more.

        Leaves are `[batch, num_hypotheses, source - 1 + length, heads, width]`, one KVCache a layer.
        """

        def with_room(kept: Float[Array, "batch slots heads width"]) -> Float[Array, "..."]:
            kept = jnp.pad(kept[:, :-1], ((0, 0), (0, length), (0, 0), (0, 0)))
            return jnp.broadcast_to(kept[:, None], (kept.shape[0], num_hypotheses, *kept.shape[1:]))

        cache = []
        x, mask = self._embedded(source)
        for layer in self.decoder:
            x, kept = layer.with_keys_values(x, mask)
            cache.append(jax.tree.map(with_room, kept))
        return tuple(cache), Prompt(source[:, -1], source[:, :-1] != PAD)

    def step(
        self, tokens: Int[Array, "batch hypotheses"], index: Int[Array, ""], cache: tuple[KVCache, ...], memory: Prompt
    ) -> tuple[Float[Array, "batch hypotheses vocabulary"], tuple[KVCache, ...]]:
        """Returns the logits of token `index` after the prompt, and the cache that now holds its input.

        The input is `tokens`, the prompt's last one at index 0, whatever is given there.
        """
        tokens = jnp.where(index == 0, memory.last[:, None], tokens)
        room, slots = cache[0].key.shape[2], memory.visible.shape[1]
        positions = self._positions(room, self.target_positions)[memory.visible.sum(axis=1) + index]
        generated = jnp.arange(room - slots) <= index
        visible = jnp.concatenate([memory.visible, jnp.broadcast_to(generated, (len(tokens), room - slots))], axis=1)
        x = self.target_embedding(tokens, positions[:, None])
        filled = []
        for layer, kept in zip(self.decoder, cache, strict=True):
            x, now = layer.step(x, slots + index, kept, visible[:, None, None, None])
            filled.append(now)
        return self.logits(self._normed(x)), tuple(filled)

    def _embedded(
        self, inputs: Int[Array, "batch length"], train: bool = False
    ) -> tuple[Float[Array, "batch length d_model"], Bool[Array, "batch 1 length length"]]:
        """Returns the embeddings of packed text, and what each position may attend to."""
        inputs = jnp.where(inputs == EOS, BOS, inputs)
        positions, mask = layout(inputs)
        table = self._positions(inputs.shape[1], self.target_positions)
        return self.target_embedding(inputs, table[positions], train), mask

    def _normed(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        return x if self.config.norm_position == "post" else self.decoder_norm(x)


def layout(
    inputs: Int[Array, "batch length"],
) -> tuple[Int[Array, "batch length"], Bool[Array, "batch 1 length length"]]:
    """Returns the position of every token in its text, and which tokens each may attend to: those of its own text up
    to itself. A text begins with BOS, or, where its beginning is cut off, at the first token that is not padding."""
    length = inputs.shape[1]
    text = jnp.cumsum(inputs == BOS, axis=1)
    begins = (inputs == BOS) | (jnp.pad(inputs, ((0, 0), (1, 0)))[:, :length] == PAD)
    first = jax.lax.cummax(jnp.where(begins, jnp.arange(length), 0), axis=1)
    mask = causal_mask(length) & (text[:, None, :, None] == text[:, None, None, :]) & (inputs != PAD)[:, None, None]
    return jnp.arange(length) - first, mask
