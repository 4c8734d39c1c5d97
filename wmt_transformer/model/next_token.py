"""Where tokens enter and leave a model: embeddings, positions, and the product that scores the next token (§3.4, 3.5).

The Transformer and the language model share these ends and differ in what lies between, `decoded`. Both score every
token of `target`, given `source` and the target tokens before it.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from wmt_transformer.config import ModelConfig
from wmt_transformer.model import int8
from wmt_transformer.model.dense import compute_dtype, product_transposed
from wmt_transformer.model.dropout import dropout
from wmt_transformer.model.int8 import Quantized
from wmt_transformer.model.layers import sinusoids


def table(module: nn.Module, name: str, config: ModelConfig) -> Float[Array, "vocabulary d_model"] | Quantized:
    """Returns a module's parameter with a row for every piece, in 8 bits where it has been rounded to them."""
    init = nn.initializers.normal(config.d_model**-0.5)
    return int8.of(module, name) or module.param(name, init, (config.vocabulary_size, config.d_model))


class Embedding(nn.Module):
    """Rows of a table times √d_model, plus positions, then dropout (§3.4, §3.5, §5.4)."""

    config: ModelConfig

    def setup(self) -> None:
        self.table = table(self, "table", self.config)

    def __call__(
        self,
        tokens: Int[Array, "batch length"],
        positions: Float[Array, "*#batch_length d_model"],
        train: bool = False,
    ) -> Float[Array, "batch length d_model"]:
        rows = int8.rows(self.table, tokens) if isinstance(self.table, Mapping) else self.table[tokens]
        x = rows * self.config.d_model**0.5 + positions
        x = x.astype(compute_dtype(self.config.compute_dtype))
        if train and self.config.dropout:
            x = dropout(x, self.config.dropout, self.make_rng("dropout"))
        return x


class NextTokenModel(nn.Module):
    """Scores every target token; subclasses define in `decoded` the states that the scores are computed from."""

    config: ModelConfig

    def setup(self) -> None:
        config = self.config
        self.target_embedding = Embedding(config)
        if config.tied_embeddings == "none":
            self.output_table = table(self, "output_table", config)
        if config.output_bias:
            self.output_bias = self.param("output_bias", nn.initializers.zeros, (config.vocabulary_size,))

    def __call__(
        self, source: Int[Array, "batch source"], target: Int[Array, "batch target"], train: bool = False
    ) -> Float[Array, "batch target vocabulary"]:
        """Returns the logits of every target token given the source and the target tokens before it."""
        return self.logits(self.decoded(source, target, train))

    def states(
        self, source: Int[Array, "batch source"], target: Int[Array, "batch target"], train: bool = False
    ) -> Float[Array, "batch target width"]:
        """Returns the last layer's output for every target token; times `vocabulary_table` these are the logits.

        The width is d_model; with an output bias it is one more, a 1 that meets the bias.
        """
        states = self.decoded(source, target, train)
        return jnp.pad(states, ((0, 0), (0, 0), (0, 1)), constant_values=1) if self.config.output_bias else states

    def decoded(
        self, source: Int[Array, "batch source"], target: Int[Array, "batch target"], train: bool = False
    ) -> Float[Array, "batch target d_model"]:
        """Returns the last layer's output where every target token is to be predicted."""
        raise NotImplementedError

    def logits(self, states: Float[Array, "*batch d_model"]) -> Float[Array, "*batch vocabulary"]:
        """Returns the float32 scores of every piece: states times the output table (§3.4), plus the bias if any."""
        table = self._output_table()
        # As one axis of rows: with more than one, XLA would transpose the table before a decoding loop, and on a CPU
        # the product of few rows then takes a third longer.
        rows = states.reshape(-1, states.shape[-1])
        if isinstance(table, Mapping):
            logits = int8.product(rows, table)
        else:
            logits = product_transposed(rows, table.astype(states.dtype), jnp.float32)
        logits = logits.reshape(*states.shape[:-1], -1)
        return logits + self.output_bias if self.config.output_bias else logits

    def vocabulary_table(self) -> Float[Array, "vocabulary width"]:
        """Returns the output projection (§3.4), with the bias as its last column where there is one."""
        table = self._output_table()
        if isinstance(table, Mapping):
            table = int8.dequantized(table)
        return jnp.concatenate([table, self.output_bias[:, None]], 1) if self.config.output_bias else table

    def _output_table(self) -> Float[Array, "vocabulary d_model"] | Quantized:
        """Returns the embedding table where these are tied."""
        return self.output_table if self.config.tied_embeddings == "none" else self.target_embedding.table

    def _learned_positions(self, name: str) -> Float[Array, "positions d_model"] | None:
        """Returns the table of learned positions, None where they are sinusoids; `setup` calls it."""
        if self.config.positions == "sinusoidal":
            return None
        init = nn.initializers.normal(self.config.d_model**-0.5)
        return self.param(name, init, (self.config.max_positions, self.config.d_model))

    def _positions(
        self, length: int, learned: Float[Array, "positions d_model"] | None
    ) -> Float[Array, "length d_model"]:
        """Returns the encodings of the first positions."""
        if learned is not None:
            return learned[:length]
        return jnp.asarray(sinusoids(length, self.config.d_model, self.config.sinusoid_layout))
