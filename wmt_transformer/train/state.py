"""What a training run carries from step to step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Int

from wmt_transformer.model.transformer import Transformer
from wmt_transformer.train.sharding import replicated


class TrainState(NamedTuple):
    """Parameters, the optimiser's moments, and how many updates made them."""

    step: Int[Array, ""]
    params: Any
    optimizer: Any


def abstract_state(model: Transformer, optimizer: optax.GradientTransformation, mesh: Mesh) -> TrainState:
    """Returns the shapes, dtypes and shardings of a run's state without allocating any of it."""
    shapes = jax.eval_shape(lambda: _initial(model, optimizer, jax.random.key(0)))
    place = replicated(mesh)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes)


def initial_state(model: Transformer, optimizer: optax.GradientTransformation, mesh: Mesh, seed: int) -> TrainState:
    """Returns freshly drawn parameters and zero moments, created where they will live."""
    shardings = jax.tree.map(lambda x: x.sharding, abstract_state(model, optimizer, mesh))
    return jax.jit(lambda key: _initial(model, optimizer, key), out_shardings=shardings)(jax.random.key(seed))


def _initial(model: Transformer, optimizer: optax.GradientTransformation, key: Array) -> TrainState:
    tokens = jnp.ones((1, 2), jnp.int32)
    params = model.init(key, tokens, tokens)["params"]
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))
