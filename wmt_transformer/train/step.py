"""One update of the parameters, and one measurement on held-out text: the two functions that are compiled."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from wmt_transformer.config import TrainConfig
from wmt_transformer.data.batches import Batch
from wmt_transformer.model.build import Model
from wmt_transformer.model.dense import compute_dtype
from wmt_transformer.platform import backend
from wmt_transformer.train.loss import LossSums, cross_entropy, slice_tokens
from wmt_transformer.train.parameters import without_frozen
from wmt_transformer.train.sharding import by_rows, divides_parameters, on_parts, replicated, row_shards
from wmt_transformer.train.state import TrainState, abstract_state


class StepMetrics(NamedTuple):
    """What one update measured."""

    sums: LossSums
    gradient_norm: Float[Array, ""]
    skipped: Int[Array, ""]
    """1 where the gradient was not finite and the step changed nothing, else 0."""


def loss_sums(
    model: Model,
    params: Any,
    batch: Batch,
    smoothing: float,
    dropout_key: Array | None = None,
    row_shards: int = 1,
) -> LossSums:
    """Returns the loss of one batch, whose rows lie on `row_shards` devices; dropout acts where a key is given."""
    train, apply = dropout_key is not None, cast(Any, model.apply)
    rngs = {"dropout": dropout_key} if train else {}
    states = apply({"params": params}, batch.source, batch.target, train, rngs=rngs, method="states")
    table = apply({"params": params}, method="vocabulary_table")
    most = slice_tokens(len(table))
    return cross_entropy(states, table, jnp.asarray(batch.target), smoothing, most, row_shards)


def gradients(
    model: Model,
    params: Any,
    batch: Batch,
    smoothing: float,
    accumulation: int,
    key: Array,
    row_shards: int = 1,
    freeze: Sequence[str] = (),
) -> tuple[LossSums, Any]:
    """Returns the sums over the batch and the gradient of its loss, which is 0 for frozen parameters.

    With `accumulation` > 1 the rows are split into that many micro-batches, whose gradients are added. Nothing is
    divided yet: the one division is by the tokens of the whole batch, wherever its rows are, so the result is that of
    one large batch on one device.
    """

    def loss(params: Any, batch: Batch, key: Array) -> tuple[Float[Array, ""], LossSums]:
        sums = loss_sums(model, without_frozen(params, freeze), batch, smoothing, key, row_shards)
        return sums.loss, sums

    differentiate = jax.value_and_grad(loss, has_aux=True)
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
    return sums, total


def norm_of(gradient: Any) -> Float[Array, ""]:
    """Returns the square root of the sum of all squares, leaves of one shape added up before they are summed: a GPU
    would run two kernels for each leaf."""
    alike: dict[tuple[int, ...], list[Array]] = {}
    for leaf in jax.tree.leaves(gradient):
        alike.setdefault(leaf.shape, []).append(jnp.square(leaf))
    return jnp.sqrt(sum((sum(squares, start=jnp.zeros(())).sum() for squares in alike.values()), start=jnp.zeros(())))


def clipped(gradient: Any, norm: Float[Array, ""], most: float | None) -> Any:
    """Returns the gradient, of this norm, scaled down to the norm `most` where it is larger (Pascanu et al. 2013)."""
    if most is None:
        return gradient
    scale = jnp.minimum(most / norm, 1.0)
    return jax.tree.map(lambda g: g * scale, gradient)


def moved(ema: Any, params: Any, decay: float, step: Int[Array, ""]) -> Any:
    """Returns the running mean after update `step`, counted from 1, which made `params`.

    It is ema + (1 - d) (params - ema), where d is the decay, or (1 + step) / (10 + step) while that is less, as in
    TensorFlow: the parameters that a run began with are soon forgotten.
    """
    share = 1 - jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda mean, now: mean + share * (now - mean), ema, params)


def make_train_step(
    model: Model, optimizer: optax.GradientTransformation, train: TrainConfig, mesh: Mesh
) -> Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]:
    """Returns the compiled update `step(state, batch)`; the state that goes in is donated to the one that comes out.

    Dropout's key is fold_in(seed, step), so a step is a function of the state and the batch alone.
    """
    ema = train.ema_decay > 0
    state_places = jax.tree.map(lambda x: x.sharding, abstract_state(model, optimizer, mesh, ema))
    divided = divides_parameters(mesh)

    def compute(params: Any, batch: Batch, key: Array) -> tuple[LossSums, Any]:
        shards = 1 if divided else row_shards(mesh)
        return gradients(model, params, batch, train.label_smoothing, train.accumulation, key, shards, train.freeze)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        key = jax.random.fold_in(jax.random.key(train.seed), state.step)
        dtype = compute_dtype(model.config.compute_dtype)
        computed = on_parts(compute, state_places.params, mesh, dtype) if divided else compute
        sums, gradient = computed(state.params, batch, key)
        gradient = jax.tree.map(lambda g: g / jnp.maximum(sums.tokens, 1.0), gradient)
        norm = norm_of(gradient)
        gradient = clipped(gradient, norm, train.clip_norm)
        updates, moments = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        mean = moved(state.ema, params, train.ema_decay, state.step + 1) if ema else None
        # A gradient that is not finite would ruin parameters and moments for good: they stay as they were.
        finite = jnp.isfinite(norm)
        old = (state.params, state.optimizer, state.ema)
        params, moments, mean = jax.tree.map(
            lambda now, before: jnp.where(finite, now, before), (params, moments, mean), old
        )
        in_a_row = jnp.where(finite, 0, state.skipped + 1)
        return (
            TrainState(state.step + 1, params, moments, in_a_row, mean),
            StepMetrics(sums, norm, jnp.where(finite, 0, 1)),
        )

    return jax.jit(
        step,
        donate_argnums=0,
        in_shardings=(state_places, by_rows(mesh)),
        out_shardings=(state_places, replicated(mesh)),
        compiler_options=compiler_options(train),
    )


def compiler_options(train: TrainConfig) -> dict[str, Any]:
    """Returns what XLA is told of the train step.

    On a GPU it would make one product of those that read the same array, and copy queries, keys and values out of its
    result, and their gradients together: more bytes than are saved by reading the array once. There the embeddings'
    gradients are added up by atomic operations, in whatever order they come, and kernels are chosen by timing them,
    unless the config asks for a deterministic step.

    On a CPU it would move reshapes past other operations, about one layer further in each round of its simplifications:
    39 rounds for four layers instead of 7. Without, results differ by rounding at most.
    """
    if backend() == "cpu":
        return {"xla_disable_hlo_passes": "reshape-mover"}
    if backend() != "gpu":
        return {}
    fixed = {"xla_gpu_deterministic_ops": True} if train.deterministic else {}
    return {"xla_gpu_dot_merger_threshold_mb": 0, **fixed}


def make_eval_step(model: Model, mesh: Mesh) -> Callable[[Any, Batch], LossSums]:
    """Returns the compiled measurement `eval_step(params, batch)`: no dropout, no label smoothing."""

    def step(params: Any, batch: Batch) -> LossSums:
        return loss_sums(model, params, batch, smoothing=0.0, row_shards=row_shards(mesh))

    # Parameters keep whatever sharding they have.
    return jax.jit(step, in_shardings=(None, by_rows(mesh)), out_shardings=replicated(mesh))
