"""Why counting does not scale: the numbers in a Markov chain's table against the parameters of a Transformer.

A chain that looks back n tokens of a vocabulary of V has a row of V numbers for each of V ** n contexts. A Transformer
with sinusoidal positions has as many parameters whatever it looks back on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from wmt_transformer.config import ModelConfig
from wmt_transformer.model.transformer import Transformer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONTEXTS = (1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Tokens looked back on."""


def table_rows(size: int, order: int) -> int:
    """Returns how many contexts there can be: the rows, of `size` numbers each, of a table that holds them all."""
    return size**order


def transformer_parameters(vocabulary_size: int) -> int:
    """Returns the parameters of the paper's base model with a vocabulary of this size; no array is made."""
    model = Transformer(ModelConfig(vocabulary_size=vocabulary_size))
    tokens = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), tokens, tokens)
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def lines(vocabulary_size: int) -> list[str]:
    """Returns what a table of each context takes, a line each: rows, numbers, and the Transformer's beside them."""
    found = []
    for context in CONTEXTS:
        rows = table_rows(vocabulary_size, context)
        power = f"{vocabulary_size:,}^{context}" + (f" = {rows:,}" if rows < 10**15 else "")
        found.append(f"context {context:>5,}: {power} rows, {_number(rows * vocabulary_size)} numbers")
    return [*found, f"the base Transformer: {transformer_parameters(vocabulary_size):,} parameters, for any context"]


def picture(vocabularies: Mapping[str, int]) -> Figure:
    """Returns a matplotlib figure: the numbers in a table over the context, for vocabularies of each name and size,
    and the parameters of the base Transformer with the largest of them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=150, layout="constrained")
    panel = figure.subplots()
    for name, size in vocabularies.items():
        # Powers of ten on a logarithmic axis of their own: the numbers themselves overflow any float.
        powers = [(context + 1) * math.log10(size) for context in CONTEXTS]
        panel.plot(CONTEXTS, powers, marker="o", markersize=3, label=f"Markov chain, {size:,} {name}")
    parameters = transformer_parameters(max(vocabularies.values()))
    panel.plot(
        CONTEXTS,
        [math.log10(parameters)] * len(CONTEXTS),
        color="black",
        label=f"Transformer (base), {parameters / 1e6:.0f} million parameters",
    )
    panel.axhline(80, color="gray", linestyle=":", linewidth=1, label="atoms in the visible universe, about 10⁸⁰")
    panel.set(xscale="log", yscale="log", xlabel="context (tokens)", ylabel="numbers to store", ylim=(1, None))
    panel.set_xticks(CONTEXTS, [f"{context}" for context in CONTEXTS], fontsize=8)
    panel.set_yticks([1, 10, 100, 1000], [f"$10^{{{power}}}$" for power in (1, 10, 100, 1000)])
    panel.minorticks_off()
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(alpha=0.25)
    panel.legend(frameon=False, fontsize=8)
    return figure


def _number(value: int) -> str:
    """Returns a whole number, or the power of ten that is nearest to it where it is long."""
    return f"{value:,}" if value < 10**15 else f"10^{round(math.log10(value)):,}"
