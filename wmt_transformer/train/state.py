"""What a training run carries from step to step."""

import functools
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
    """Parameters, the optimiser's moments, how many steps made them, and the parameters' running mean, if any."""

    step: Int[Array, ""]
    params: Any
    optimizer: Any
    skipped: Int[Array, ""]
    """How many of the last steps in a row had a gradient that was not finite, and changed nothing."""
    ema: Any = None
    """The exponential moving average of the parameters where `train.ema_decay` asks for one."""

    @property
    def used(self) -> Any:
        """The parameters that are evaluated and translated with: the running mean where there is one."""
        return self.params if self.ema is None else self.ema

    def items(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps: `params` to use, and `trained` to go on from where these are others."""
        items = {"params": self.used, "optimizer": self.optimizer}
        return items if self.ema is None else {**items, "trained": self.params}


def abstract_state(model: Model, optimizer: optax.GradientTransformation, mesh: Mesh, ema: bool = False) -> TrainState:
    """Returns the shapes, dtypes and shardings of a run's state without allocating any of it."""
    shapes = _shapes(model, optimizer, ema)  # pyright: ignore[reportArgumentType]  Linen's modules can be hashed
    return jax.tree.map(
        lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes, shardings(shapes, mesh)
    )


def initial_state(
    model: Model, optimizer: optax.GradientTransformation, mesh: Mesh, seed: int, ema: bool = False
) -> TrainState:
    """Returns freshly drawn parameters and zero moments, each part created by the device where it will live."""
    places = jax.tree.map(lambda x: x.sharding, abstract_state(model, optimizer, mesh, ema))
    return jax.jit(lambda key: _initial(model, optimizer, key, ema), out_shardings=places)(jax.random.key(seed))


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

    params, ema = (jax.tree_util.tree_map_with_path(replaced, tree) for tree in (state.params, state.ema))
    return state._replace(params=params, ema=ema)


@functools.lru_cache(maxsize=2)
def _shapes(model: Model, optimizer: optax.GradientTransformation, ema: bool) -> TrainState:
    """Is kept: a start asks for it several times, and each time the whole model would be traced."""
    return jax.eval_shape(lambda: _initial(model, optimizer, jax.random.key(0), ema))


def _initial(model: Model, optimizer: optax.GradientTransformation, key: Array, ema: bool) -> TrainState:
    tokens = jnp.ones((1, 2), jnp.int32)
    params = model.init(key, tokens, tokens)["params"]
    zero = jnp.zeros((), jnp.int32)
    return TrainState(zero, params, optimizer.init(params), zero, params if ema else None)
