"""What a training run carries from step to step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Int

from wmt_transformer.model.build import Model
from wmt_transformer.train.sharding import shardings


class TrainState(NamedTuple):
    """Parameters, the optimiser's moments, and how many steps made them."""

    step: Int[Array, ""]
    params: Any
    optimizer: Any
    skipped: Int[Array, ""]
    """How many of the last steps in a row had a gradient that was not finite, and changed nothing."""


def abstract_state(model: Model, optimizer: optax.GradientTransformation, mesh: Mesh) -> TrainState:
    """Returns the shapes, dtypes and shardings of a run's state without allocating any of it."""
    shapes = jax.eval_shape(lambda: _initial(model, optimizer, jax.random.key(0)))
    return jax.tree.map(
        lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes, shardings(shapes, mesh)
    )


def initial_state(model: Model, optimizer: optax.GradientTransformation, mesh: Mesh, seed: int) -> TrainState:
    """Returns freshly drawn parameters and zero moments, each part created by the device where it will live."""
    places = jax.tree.map(lambda x: x.sharding, abstract_state(model, optimizer, mesh))
    return jax.jit(lambda key: _initial(model, optimizer, key), out_shardings=places)(jax.random.key(seed))


def with_embeddings(state: TrainState, ids: np.ndarray, vectors: np.ndarray) -> TrainState:
    """Returns the state with rows `ids` [n] of every embedding table, and of the output's, set to `vectors`.

    Args:
      ids: [n] rows.
      vectors: [n, d_model].
    """

    def replaced(path: Any, leaf: Any) -> Any:
        if path[-1].key not in ("table", "output_table"):
            return leaf
        return jax.jit(lambda table: table.at[ids].set(vectors), out_shardings=leaf.sharding)(leaf)

    return state._replace(params=jax.tree_util.tree_map_with_path(replaced, state.params))


def _initial(model: Model, optimizer: optax.GradientTransformation, key: Array) -> TrainState:
    tokens = jnp.ones((1, 2), jnp.int32)
    params = model.init(key, tokens, tokens)["params"]
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params), jnp.zeros((), jnp.int32))
