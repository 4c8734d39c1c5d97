"""The Transformer (§3): encoder and decoder stacks between tied embeddings.

The same parameters serve three uses: `__call__` scores a whole target at once (teacher forcing), `states` gives
training the decoder's output before the vocabulary product (the loss does that product piece by piece), and
`start_cache` with `step` decodes one position at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from wmt_transformer.model.attention import Slots, causal_mask, padding_mask, same_sentence, sentences
from wmt_transformer.model.dense import compute_dtype
from wmt_transformer.model.layers import DecoderLayer, EncoderLayer, stack
from wmt_transformer.model.next_token import Embedding, NextTokenModel
from wmt_transformer.special_tokens import BOS


class Memory(NamedTuple):
    """What decoding needs of the source: each decoder layer's cross keys and values, and which slots are padding."""

    layers: tuple[Slots, ...]
    source_mask: Bool[Array, "batch 1 1 source"]


class Cache(NamedTuple):
    """Each decoder layer's self-attention keys and values, and which hypothesis each belongs to.

    Keys and values never move. Where beam search continues one hypothesis from another, only the lineages change:
    position t of hypothesis w is slot `t * hypotheses + lineage[w, t]`.
    """

    layers: tuple[Slots, ...]
    lineage: Int[Array, "batch hypotheses length"]
    """Which hypothesis each position of a hypothesis was computed for; -1 where there is none yet."""

    def reordered(self, origin: Int[Array, "batch hypotheses"]) -> Cache:
        """Returns the cache in which every hypothesis continues the one that `origin` names."""
        return self._replace(lineage=jnp.take_along_axis(self.lineage, origin[..., None], axis=1))

    def grown(self, length: int) -> Cache:
        """Returns the cache with room for `length` positions, as many as it has or more."""
        more = length - self.lineage.shape[2]
        slots = more * self.lineage.shape[1]
        layers = [
            Slots(jnp.pad(key, ((0, 0),) * 3 + ((0, slots),)), jnp.pad(value, ((0, 0), (0, 0), (0, slots), (0, 0))))
            for key, value in self.layers
        ]
        return Cache(tuple(layers), jnp.pad(self.lineage, ((0, 0), (0, 0), (0, more)), constant_values=-1))


class Transformer(NextTokenModel):
    """The paper's encoder-decoder, figure 1."""

    def setup(self) -> None:
        super().setup()
        config = self.config
        dtype = compute_dtype(config.compute_dtype)
        if config.tied_embeddings != "all":
            self.source_embedding = Embedding(config)
        self.source_positions = self._learned_positions("source_positions")
        self.target_positions = self._learned_positions("target_positions")
        self.encoder = stack(EncoderLayer, config, config.num_layers)
        self.decoder = stack(DecoderLayer, config, config.decoder_layers)
        if config.norm_position == "pre":
            self.encoder_norm = nn.LayerNorm(config.norm_epsilon, dtype=dtype)
            self.decoder_norm = nn.LayerNorm(config.norm_epsilon, dtype=dtype)

    def decoded(
        self, source: Int[Array, "batch source"], target: Int[Array, "batch target"], train: bool = False
    ) -> Float[Array, "batch target d_model"]:
        """Returns the decoder's output for every target token (teacher forcing)."""
        return self.decode(self.encode(source, train), source, target, train)

    def encode(self, source: Int[Array, "batch source"], train: bool = False) -> Float[Array, "batch source d_model"]:
        """Returns the encoder's output."""
        embed = self.target_embedding if self.config.tied_embeddings == "all" else self.source_embedding
        own = sentences(source)
        x = embed(source, self._positions(source.shape[1], self.source_positions)[own.position], train)
        mask = same_sentence(own, own) & padding_mask(source)
        for layer in self.encoder:
            x = layer(x, mask, train)
        return x if self.config.norm_position == "post" else self.encoder_norm(x)

    def decode(
        self,
        encoded: Float[Array, "batch source d_model"],
        source: Int[Array, "batch source"],
        target: Int[Array, "batch target"],
        train: bool = False,
    ) -> Float[Array, "batch target d_model"]:
        """Returns the decoder's output at all positions of a known target, which it sees shifted right."""
        length, own = target.shape[1], sentences(target)
        inputs = jnp.where(own.begins, BOS, jnp.pad(target, ((0, 0), (1, 0)))[:, :length])
        x = self.target_embedding(inputs, self._positions(length, self.target_positions)[own.position], train)
        causal = causal_mask(length) & same_sentence(own, own)
        source_mask = same_sentence(own, sentences(source)) & padding_mask(source)
        for layer in self.decoder:
            x = layer(x, causal, layer.cross_attention.keys_values(encoded), source_mask, train)
        return x if self.config.norm_position == "post" else self.decoder_norm(x)

    def start_cache(self, source: Int[Array, "batch source"], num_hypotheses: int, length: int) -> tuple[Cache, Memory]:
        """Returns an empty cache for `length` positions of every hypothesis, and the memory.

        The memory's keys and values are computed once per source sentence and shared by its hypotheses.
        """
        config, encoded = self.config, self.encode(source)
        batch, slots = encoded.shape[0], length * num_hypotheses
        memory = tuple(layer.cross_attention.slots(encoded) for layer in self.decoder)
        empty = Slots(
            jnp.zeros((batch, config.num_heads, config.d_k, slots), memory[0].key.dtype),
            jnp.zeros((batch, config.num_heads, slots, config.d_v), memory[0].value.dtype),
        )
        lineage = jnp.full((batch, num_hypotheses, length), -1, jnp.int32)
        return Cache((empty,) * config.decoder_layers, lineage), Memory(memory, padding_mask(source))

    def step(
        self,
        tokens: Int[Array, "batch hypotheses"],
        index: Int[Array, ""],
        cache: Cache,
        memory: Memory,
    ) -> tuple[Float[Array, "batch hypotheses vocabulary"], Cache]:
        """Returns the logits of position `index`, whose input is `tokens`, and the cache that now holds it."""
        hypotheses = jnp.arange(tokens.shape[1])
        lineage = cache.lineage.at[:, :, index].set(hypotheses)
        visible = (lineage[..., None] == hypotheses).reshape(*tokens.shape, -1)[:, None]
        x = self.target_embedding(tokens, self._positions(lineage.shape[2], self.target_positions)[index][None])
        filled = []
        for layer, kept, cross in zip(self.decoder, cache.layers, memory.layers, strict=True):
            x, now = layer.step(x, index, kept, visible, cross, memory.source_mask)
            filled.append(now)
        x = x if self.config.norm_position == "post" else self.decoder_norm(x)
        return self.logits(x), Cache(tuple(filled), lineage)
