"""One update: accumulation against one batch, sharding against one device, and that it learns."""

from typing import Any

import fakes
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wmt_transformer.config import MeshConfig, TrainConfig
from wmt_transformer.data.batches import Batch
from wmt_transformer.special_tokens import EOS
from wmt_transformer.train import step
from wmt_transformer.train.loss import LossSums
from wmt_transformer.train.optimizer import optimizer
from wmt_transformer.train.sharding import make_mesh, place_batch
from wmt_transformer.train.state import initial_state
from wmt_transformer.train.step import (
    clipped,
    compiler_options,
    gradients,
    make_eval_step,
    make_train_step,
    norm_of,
)

BATCH = Batch(
    np.asarray(fakes.random_tokens(0, 8, 7, [7, 5, 2, 7, 3, 7, 7, 0])),
    np.asarray(fakes.random_tokens(1, 8, 6, [6, 4, 6, 1, 6, 2, 6, 0])),
)


def mean_gradient(*arguments: Any) -> tuple[LossSums, Any]:
    """Returns the sums over a batch and the gradient of its mean loss a token."""
    sums, total = gradients(*arguments)
    return sums, jax.tree.map(lambda g: g / sums.tokens, total)


@pytest.mark.parametrize("norm_position", ["post", "pre"])
def test_accumulated_gradients_equal_those_of_one_batch(norm_position):
    # Rows of very different lengths: dividing by each micro-batch's own tokens would give another gradient.
    model, params = fakes.tiny_model(dropout=0.0, norm_position=norm_position, num_layers=1)
    batch = jax.tree.map(jnp.asarray, BATCH)
    compiled = jax.jit(mean_gradient, static_argnums=(0, 3, 4))
    sums, whole = compiled(model, params, batch, 0.1, 1, jax.random.key(0))
    same_sums, parts = compiled(model, params, batch, 0.1, 4, jax.random.key(0))
    assert float(sums.tokens) == 6 + 4 + 6 + 1 + 6 + 2 + 6
    np.testing.assert_allclose(sums, same_sums, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), whole, parts)


def test_the_norm_is_the_root_of_all_squares_whatever_the_shapes():
    random = np.random.default_rng(0)
    shapes = [(3, 4), (4,), (3, 4), (), (4, 3), (4,)]
    leaves = [jnp.asarray(random.normal(size=shape), jnp.float32) for shape in shapes]
    expected = np.linalg.norm(np.concatenate([np.ravel(leaf) for leaf in leaves]))
    np.testing.assert_allclose(norm_of({"a": leaves[:2], "b": leaves[2:]}), expected, rtol=1e-6)
    assert not np.isfinite(norm_of([*leaves, jnp.array(jnp.nan)]))


def test_two_sentences_in_a_row_give_the_gradient_of_two_rows():
    model, params = fakes.tiny_model(dropout=0.0, num_layers=1)
    source, target = (side.copy() for side in BATCH)
    for side, ends in ((source, [6, 4, 1, 6, 2, 6, 6]), (target, [5, 3, 5, 0, 5, 1, 5])):
        side[np.arange(7), ends] = EOS
    alone = Batch(source, target)

    def behind(side):
        """Rows 0 and 1 behind each other, 2 and 3, and so on."""
        rows = [np.concatenate([side[i][side[i] != 0], side[i + 1][side[i + 1] != 0]]) for i in range(0, 8, 2)]
        return np.stack([np.pad(row, (0, 2 * side.shape[1] - len(row))) for row in rows])

    compiled = jax.jit(mean_gradient, static_argnums=(0, 3, 4))
    results = [
        compiled(model, params, jax.tree.map(jnp.asarray, batch), 0.1, 1, jax.random.key(0))
        for batch in (alone, Batch(behind(source), behind(target)))
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *results)


@pytest.mark.parametrize("norm_position", ["post", pytest.param("pre", marks=pytest.mark.slow)])
def test_rematerialised_layers_give_the_same_gradient_and_keep_less_for_it(norm_position):
    batch = jax.tree.map(jnp.asarray, BATCH)
    results, kept = [], []
    for remat in (False, True):
        model, params = fakes.tiny_model(norm_position=norm_position, remat=remat)
        compiled = jax.jit(mean_gradient, static_argnums=(0, 3, 4))
        results.append(compiled(model, params, batch, 0.1, 1, jax.random.key(0)))

        def states(params, model=model):
            rngs = {"dropout": jax.random.key(0)}
            return model.apply({"params": params}, batch.source, batch.target, True, rngs=rngs, method="states")

        for_gradient = jax.eval_shape(lambda params, states=states: jax.vjp(states, params)[1], params)
        kept.append(sum(leaf.size for leaf in jax.tree.leaves(for_gradient)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *results)
    weights = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert kept[1] - weights < 0.5 * (kept[0] - weights)


def test_a_step_is_a_function_of_the_state_and_the_batch():
    model, _ = fakes.tiny_model(num_layers=1)
    mesh, settings = make_mesh(MeshConfig()), TrainConfig(warmup_steps=4)
    update = optimizer(settings, 16)
    step = make_train_step(model, update, settings, mesh)
    ends, losses = [], []
    for _ in range(2):
        state = initial_state(model, update, mesh, seed=1)
        for _ in range(8):
            state, measured = step(state, place_batch(BATCH, mesh))
            losses.append(float(measured.sums.loss / measured.sums.tokens))
        ends.append(state)
    assert int(ends[0].step) == 8
    assert losses[-1] < losses[0] - 0.3
    jax.tree.map(np.testing.assert_array_equal, ends[0], ends[1])


def test_the_pass_that_a_cpu_leaves_out_changes_no_more_than_rounding(monkeypatch):
    model, _ = fakes.tiny_model(dropout=0.3)
    mesh, settings = make_mesh(MeshConfig()), TrainConfig(warmup_steps=4)
    update, ends = optimizer(settings, 16), []
    assert compiler_options(settings)["xla_disable_hlo_passes"] == "reshape-mover"
    for told in (compiler_options, lambda train: {}):
        monkeypatch.setattr(step, "compiler_options", told)
        train, state = make_train_step(model, update, settings, mesh), initial_state(model, update, mesh, seed=1)
        for _ in range(3):
            state, _ = train(state, place_batch(BATCH, mesh))
        ends.append(state)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5), *ends)


def test_the_eval_step_measures_without_dropout_or_smoothing():
    model, params = fakes.tiny_model(dropout=0.5, num_layers=1)
    mesh = make_mesh(MeshConfig())
    sums = make_eval_step(model, mesh)(params, place_batch(BATCH, mesh))
    log_p = jax.nn.log_softmax(fakes.apply(model, params, jnp.asarray(BATCH.source), jnp.asarray(BATCH.target)))
    chosen = np.take_along_axis(np.asarray(log_p), BATCH.target[..., None], -1)[..., 0]
    np.testing.assert_allclose(sums.loss, -(chosen * (BATCH.target != 0)).sum(), rtol=1e-5)
    np.testing.assert_allclose(sums.loss, sums.nll)


def test_a_step_whose_gradient_is_not_finite_changes_nothing_and_is_counted():
    model, _ = fakes.tiny_model(num_layers=1)
    mesh, settings = make_mesh(MeshConfig()), TrainConfig(warmup_steps=4)
    update = optimizer(settings, 16)
    step = make_train_step(model, update, settings, mesh)
    before = initial_state(model, update, mesh, seed=1)
    spoilt = jax.tree.map(jnp.copy, before)
    table = spoilt.params["target_embedding"]["table"]
    spoilt.params["target_embedding"]["table"] = table.at[5, 0].set(jnp.inf)
    kept = jax.tree.map(np.asarray, (spoilt.params, spoilt.optimizer))
    for count in (1, 2):
        spoilt, measured = step(spoilt, place_batch(BATCH, mesh))
        assert (int(spoilt.step), int(spoilt.skipped), int(measured.skipped)) == (count, count, 1)
    jax.tree.map(np.testing.assert_array_equal, kept, (spoilt.params, spoilt.optimizer))
    after, measured = step(before._replace(skipped=jnp.int32(2)), place_batch(BATCH, mesh))
    assert (int(after.skipped), int(measured.skipped)) == (0, 0)


def trees_of(*leaves: list[float]) -> dict:
    return {str(i): jnp.asarray(leaf) for i, leaf in enumerate(leaves)}


@pytest.mark.parametrize("most", [1.0, 12.9, 13.1, 1e9])
def test_a_gradient_that_is_too_large_is_scaled_down_as_optax_does_it(most):
    gradient = trees_of([3.0, -4.0], [12.0], [0.0, 0.0])  # of norm 13
    expected, _ = optax.clip_by_global_norm(most).update(gradient, optax.EmptyState())
    found = clipped(gradient, norm_of(gradient), most)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)
    assert float(norm_of(found)) == pytest.approx(min(13.0, most), rel=1e-6)
    assert clipped(gradient, norm_of(gradient), None) is gradient
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0), clipped(trees_of([0.0]), jnp.zeros(()), most))


@pytest.mark.interop
def test_a_gradient_is_scaled_down_as_torch_does_it():
    torch = pytest.importorskip("torch")
    gradient = trees_of([3.0, -4.0], [12.0])
    theirs = [torch.nn.Parameter(torch.zeros(n)) for n in (2, 1)]
    for parameter, leaf in zip(theirs, gradient.values(), strict=True):
        parameter.grad = torch.tensor(np.asarray(leaf))
    torch.nn.utils.clip_grad_norm_(theirs, 2.0)
    for parameter, leaf in zip(theirs, clipped(gradient, norm_of(gradient), 2.0).values(), strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), leaf, rtol=1e-6)


def test_a_step_is_taken_with_the_gradient_that_was_clipped_and_reports_the_norm_before():
    model, _ = fakes.tiny_model(num_layers=1, dropout=0.0)
    mesh, ends = make_mesh(MeshConfig()), {}
    for most in (None, 1e-3):
        # With a large ε Adam's first update is its gradient / ε, nearly: what is clipped moves less.
        settings = TrainConfig(warmup_steps=1, clip_norm=most, adam_epsilon=10.0)
        update = optimizer(settings, 16)
        state = initial_state(model, update, mesh, seed=1)
        before = jax.tree.map(np.asarray, state.params)
        state, measured = make_train_step(model, update, settings, mesh)(state, place_batch(BATCH, mesh))
        ends[most] = jax.tree.map(lambda new, old: np.asarray(new) - old, state.params, before), measured.gradient_norm
    norm = float(ends[None][1])
    assert norm == float(ends[1e-3][1]) > 0.1
    jax.tree.map(
        lambda whole, small: np.testing.assert_allclose(small, whole * 1e-3 / norm, rtol=0.1, atol=1e-7),
        ends[None][0], ends[1e-3][0],
    )  # fmt: skip


def test_the_running_mean_is_that_of_a_count_by_hand_and_a_skipped_step_leaves_it():
    model, _ = fakes.tiny_model(num_layers=1)
    mesh, settings = make_mesh(MeshConfig()), TrainConfig(warmup_steps=4, ema_decay=0.3)
    update = optimizer(settings, 16)
    step = make_train_step(model, update, settings, mesh)
    state = initial_state(model, update, mesh, seed=1, ema=True)
    mean = jax.tree.map(np.asarray, state.params)
    jax.tree.map(np.testing.assert_array_equal, mean, state.ema)
    for decay in (2 / 11, 3 / 12, 0.3, 0.3):  # (1 + n) / (10 + n) for n = 1, 2; then 4 / 13 is more than 0.3
        state, _ = step(state, place_batch(BATCH, mesh))
        mean = jax.tree.map(lambda old, now, d=decay: d * old + (1 - d) * np.asarray(now), mean, state.params)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), mean, state.ema)
    assert state.used is state.ema and state.items()["trained"] is state.params
    table = state.params["target_embedding"]["table"]
    state.params["target_embedding"]["table"] = table.at[5, 0].set(jnp.inf)
    kept = jax.tree.map(np.asarray, state.ema)
    state, measured = step(state, place_batch(BATCH, mesh))
    assert int(measured.skipped) == 1
    jax.tree.map(np.testing.assert_array_equal, kept, state.ema)
