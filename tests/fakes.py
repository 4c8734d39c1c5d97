"""Small things that many tests share: a tiny model, its parameters, random tokens, and a toy corpus."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wmt_transformer.config import ModelConfig
from wmt_transformer.model.build import Model, build

TINY = ModelConfig(vocabulary_size=23, num_layers=2, d_model=16, d_ff=24, num_heads=2, d_k=8, d_v=6, dropout=0.1)
"""Small enough to compile in seconds; d_k and d_v differ so that mixing them up fails."""


@functools.cache
def tiny_model(**changes: Any) -> tuple[Any, Any]:
    """Returns a tiny model, the Transformer unless told otherwise, and parameters drawn for it."""
    model = build(dataclasses.replace(TINY, **changes))
    tokens = jnp.ones((1, 2), jnp.int32)
    return model, jax.jit(lambda key: model.init(key, tokens, tokens)["params"])(jax.random.key(7))


def random_tokens(seed: int, rows: int, length: int, lengths: list[int] | None = None) -> jax.Array:
    """Returns `[rows, length]` ids without special ones; beyond a row's length there is padding."""
    tokens = np.random.default_rng(seed).integers(4, TINY.vocabulary_size, (rows, length)).astype(np.int32)
    for row, end in enumerate(lengths or []):
        tokens[row, end:] = 0
    return jnp.asarray(tokens)


def apply(model: Model, params: Any, *arguments: Any, **options: Any) -> Any:
    """Returns `model.apply` of these parameters, compiled as one program: faster than each operation alone."""
    leaves, tree = jax.tree.flatten((arguments, options))
    arrays = {place: leaf for place, leaf in enumerate(leaves) if isinstance(leaf, jax.Array | np.ndarray)}
    others = tuple(None if place in arrays else leaf for place, leaf in enumerate(leaves))
    return _applied(model, params, arrays, others, tree)


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def _applied(model: Model, params: Any, arrays: dict[int, Any], others: tuple[Any, ...], tree: Any) -> Any:
    leaves = [arrays.get(place, other) for place, other in enumerate(others)]
    arguments, options = jax.tree.unflatten(tree, leaves)
    return model.apply({"params": params}, *arguments, **options)
