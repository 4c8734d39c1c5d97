"""One update of the parameters, and one measurement on held-out text: the two functions that are compiled."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float

from wmt_transformer.config import TrainConfig
from wmt_transformer.data.batches import Batch
from wmt_transformer.model.transformer import Transformer
from wmt_transformer.train.loss import LossSums, cross_entropy
from wmt_transformer.train.sharding import by_rows, replicated
from wmt_transformer.train.state import TrainState


class StepMetrics(NamedTuple):
    """What one update measured."""

    sums: LossSums
    gradient_norm: Float[Array, ""]


def loss_sums(
    model: Transformer, params: Any, batch: Batch, smoothing: float, dropout_key: Array | None = None
) -> LossSums:
    """Returns the loss of one batch; dropout acts where a key is given."""
    train, apply = dropout_key is not None, cast(Any, model.apply)
    rngs = {"dropout": dropout_key} if train else {}
    states = apply({"params": params}, batch.source, batch.target, train, rngs=rngs, method="states")
    table = apply({"params": params}, method="vocabulary_table")
    return cross_entropy(states, table, jnp.asarray(batch.target), smoothing)


def gradients(
    model: Transformer, params: Any, batch: Batch, smoothing: float, accumulation: int, key: Array
) -> tuple[LossSums, Any]:
    """Returns the sums over the batch and the gradient of its mean loss a token.

    With `accumulation` > 1 the rows are taken in so many micro-batches whose gradients are added; the one
    division is by the tokens of the whole batch, so the result is that of one large batch.
    """
    differentiate = jax.value_and_grad(lambda p, b, k: _with_sums(loss_sums(model, p, b, smoothing, k)), has_aux=True)
    if accumulation == 1:
        (_, sums), total = differentiate(params, batch, key)
    else:
        rows = batch.target.shape[0]
        if rows % accumulation:
            raise ValueError(f"{rows} rows cannot be split into {accumulation} micro-batches of one size")
        micro = jax.tree.map(lambda x: x.reshape(rows // accumulation, accumulation, -1).swapaxes(0, 1), batch)

        def add(carry: tuple[LossSums, Any], item: tuple[Batch, Array]) -> tuple[tuple[LossSums, Any], None]:
            (_, now), gradient = differentiate(params, item[0], jax.random.fold_in(key, item[1]))
            return jax.tree.map(jnp.add, carry, (now, gradient)), None

        start = (LossSums(*[jnp.zeros((), jnp.float32)] * 4), jax.tree.map(jnp.zeros_like, params))
        (sums, total), _ = jax.lax.scan(add, start, (micro, jnp.arange(accumulation)))
    return sums, jax.tree.map(lambda g: g / jnp.maximum(sums.tokens, 1.0), total)


def make_train_step(
    model: Transformer, optimizer: optax.GradientTransformation, train: TrainConfig, mesh: Mesh
) -> Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]:
    """Returns the compiled update `step(state, batch)`; the state that goes in is donated to the one that comes out.

    Dropout's key is fold_in(seed, step), so a step is a function of the state and the batch alone.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        key = jax.random.fold_in(jax.random.key(train.seed), state.step)
        sums, gradient = gradients(model, state.params, batch, train.label_smoothing, train.accumulation, key)
        updates, moments = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, moments), StepMetrics(sums, optax.tree.norm(gradient))

    return jax.jit(
        step, donate_argnums=0, in_shardings=(replicated(mesh), by_rows(mesh)), out_shardings=replicated(mesh)
    )


def make_eval_step(model: Transformer, mesh: Mesh) -> Callable[[Any, Batch], LossSums]:
    """Returns the compiled measurement `eval_step(params, batch)`: no dropout, no label smoothing."""

    def step(params: Any, batch: Batch) -> LossSums:
        return loss_sums(model, params, batch, smoothing=0.0)

    return jax.jit(step, in_shardings=(replicated(mesh), by_rows(mesh)), out_shardings=replicated(mesh))


def _with_sums(sums: LossSums) -> tuple[Float[Array, ""], LossSums]:
    return sums.loss, sums
