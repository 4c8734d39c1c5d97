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

from wmt_transformer.config import ModelConfig
from wmt_transformer.model.attention import BOS, Slots, causal_mask, padding_mask, same_sentence, sentences
from wmt_transformer.model.dense import compute_dtype
from wmt_transformer.model.dropout import dropout
from wmt_transformer.model.layers import DecoderLayer, EncoderLayer, sinusoids


class Memory(NamedTuple):
    """What decoding needs of the source: each decoder layer's cross keys and values, and where words are."""

    layers: tuple[Slots, ...]
    source_mask: Bool[Array, "batch 1 1 source"]


class Cache(NamedTuple):
    """Each decoder layer's self-attention keys and values, and which of them are whose.

    What was computed stays where it is. When hypotheses go on from others, which beam search makes them do at every
    step, only their lineages change places: position t of hypothesis w is slot `t * hypotheses + lineage[w, t]`.
    """

    layers: tuple[Slots, ...]
    lineage: Int[Array, "batch hypotheses length"]
    """Which hypothesis each position of a hypothesis was computed for; -1 where there is none yet."""

    def reordered(self, origin: Int[Array, "batch hypotheses"]) -> Cache:
        """Returns the cache in which every hypothesis goes on from the one that `origin` names."""
        return self._replace(lineage=jnp.take_along_axis(self.lineage, origin[..., None], axis=1))


class Embedding(nn.Module):
    """Rows of a table times √d_model, plus positions, then dropout (§3.4, §3.5, §5.4)."""

    config: ModelConfig

    def setup(self) -> None:
        d_model = self.config.d_model
        init = nn.initializers.normal(d_model**-0.5)
        self.table = self.param("table", init, (self.config.vocabulary_size, d_model))

    def __call__(
        self,
        tokens: Int[Array, "batch length"],
        positions: Float[Array, "*#batch_length d_model"],
        train: bool = False,
    ) -> Float[Array, "batch length d_model"]:
        x = self.table[tokens] * self.config.d_model**0.5 + positions
        x = x.astype(compute_dtype(self.config.compute_dtype))
        if train and self.config.dropout:
            x = dropout(x, self.config.dropout, self.make_rng("dropout"))
        return x


class Transformer(nn.Module):
    """The paper's encoder-decoder, figure 1."""

    config: ModelConfig

    def setup(self) -> None:
        config = self.config
        dtype = compute_dtype(config.compute_dtype)
        self.target_embedding = Embedding(config)
        if config.tied_embeddings != "all":
            self.source_embedding = Embedding(config)
        if config.tied_embeddings == "none":
            shape, init = (
                (config.vocabulary_size, config.d_model),
                nn.initializers.normal(config.d_model**-0.5),
            )
            self.output_table = self.param("output_table", init, shape)
        if config.output_bias:
            self.output_bias = self.param("output_bias", nn.initializers.zeros, (config.vocabulary_size,))
        if config.positions == "learned":
            shape, init = (config.max_positions, config.d_model), nn.initializers.normal(config.d_model**-0.5)
            self.source_positions = self.param("source_positions", init, shape)
            self.target_positions = self.param("target_positions", init, shape)
        encoder_layer, decoder_layer = EncoderLayer, DecoderLayer
        if config.remat:  # `train` is Python's, not an array: the third and the fifth argument
            encoder_layer, decoder_layer = (
                nn.remat(EncoderLayer, static_argnums=3),
                nn.remat(DecoderLayer, static_argnums=5),
            )
        self.encoder = [encoder_layer(config) for _ in range(config.num_layers)]
        self.decoder = [decoder_layer(config) for _ in range(config.decoder_layers)]
        if config.norm_position == "pre":
            self.encoder_norm = nn.LayerNorm(config.norm_epsilon, dtype=dtype)
            self.decoder_norm = nn.LayerNorm(config.norm_epsilon, dtype=dtype)

    def __call__(
        self, source: Int[Array, "batch source"], target: Int[Array, "batch target"], train: bool = False
    ) -> Float[Array, "batch target vocabulary"]:
        """Returns the logits of every target token given the source and the target tokens before it."""
        return self.logits(self.decode(self.encode(source, train), source, target, train))

    def states(
        self, source: Int[Array, "batch source"], target: Int[Array, "batch target"], train: bool = False
    ) -> Float[Array, "batch target width"]:
        """Returns the decoder's last layer for every target token; times `vocabulary_table` these are the logits.

        The width is d_model; with an output bias it is one more, a 1 that meets the bias.
        """
        states = self.decode(self.encode(source, train), source, target, train)
        return jnp.pad(states, ((0, 0), (0, 0), (0, 1)), constant_values=1) if self.config.output_bias else states

    def encode(self, source: Int[Array, "batch source"], train: bool = False) -> Float[Array, "batch source d_model"]:
        """Returns the encoder's output."""
        embed = self.target_embedding if self.config.tied_embeddings == "all" else self.source_embedding
        own = sentences(source)
        x = embed(source, self._positions(source.shape[1], "source")[own.position], train)
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
        x = self.target_embedding(inputs, self._positions(length, "target")[own.position], train)
        causal = causal_mask(length) & same_sentence(own, own)
        source_mask = same_sentence(own, sentences(source)) & padding_mask(source)
        for layer in self.decoder:
            x = layer(x, causal, layer.cross_attention.keys_values(encoded), source_mask, train)
        return x if self.config.norm_position == "post" else self.decoder_norm(x)

    def start_cache(
        self,
        encoded: Float[Array, "batch source d_model"],
        source: Int[Array, "batch source"],
        num_hypotheses: int,
        length: int,
    ) -> tuple[Cache, Memory]:
        """Returns an empty cache for `length` positions of every hypothesis, and the memory.

        The memory's keys and values are computed once per source sentence and shared by its hypotheses.
        """
        config, batch, slots = self.config, encoded.shape[0], length * num_hypotheses
        empty = Slots(
            jnp.zeros((batch, config.num_heads, config.d_k, slots), encoded.dtype),
            jnp.zeros((batch, config.num_heads, slots, config.d_v), encoded.dtype),
        )
        memory = tuple(layer.cross_attention.slots(encoded) for layer in self.decoder)
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
        x = self.target_embedding(tokens, self._positions(lineage.shape[2], "target")[index][None])
        filled = []
        for layer, kept, cross in zip(self.decoder, cache.layers, memory.layers, strict=True):
            x, now = layer.step(x, index, kept, visible, cross, memory.source_mask)
            filled.append(now)
        x = x if self.config.norm_position == "post" else self.decoder_norm(x)
        return self.logits(x), Cache(tuple(filled), lineage)

    def logits(self, states: Float[Array, "*batch d_model"]) -> Float[Array, "*batch vocabulary"]:
        """Returns the float32 scores of every piece: states times the output table (§3.4), plus the bias if any."""
        table = self._output_table().astype(states.dtype)
        logits = jnp.einsum("...D,VD->...V", states, table, preferred_element_type=jnp.float32)
        return logits + self.output_bias if self.config.output_bias else logits

    def vocabulary_table(self) -> Float[Array, "vocabulary width"]:
        """Returns the output projection (§3.4), with the bias as its last column where there is one."""
        table = self._output_table()
        return jnp.concatenate([table, self.output_bias[:, None]], 1) if self.config.output_bias else table

    def _output_table(self) -> Float[Array, "vocabulary d_model"]:
        """Returns the embedding table where these are tied."""
        return self.output_table if self.config.tied_embeddings == "none" else self.target_embedding.table

    def _positions(self, length: int, side: str) -> Float[Array, "length d_model"]:
        if self.config.positions == "learned":
            return (self.source_positions if side == "source" else self.target_positions)[:length]
        return jnp.asarray(sinusoids(length, self.config.d_model, self.config.sinusoid_layout))
