"""What differs on a card, each against a slow oracle: attention paths, dtypes, donation, resuming, cached decoding.

    JAX_PLATFORMS=cuda,cpu pytest -m gpu tests/test_gpu.py

Without an NVIDIA card all are skipped.
"""

import dataclasses
from typing import Any, get_args, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmt_transformer.config import MeshConfig, ModelConfig, TrainConfig
from wmt_transformer.data.batches import Batch
from wmt_transformer.model.attention import attention, causal_mask, padding_mask
from wmt_transformer.model.build import build
from wmt_transformer.model.dense import compute_dtype
from wmt_transformer.special_tokens import BOS
from wmt_transformer.train.optimizer import optimizer
from wmt_transformer.train.sharding import make_mesh, place_batch
from wmt_transformer.train.state import initial_state
from wmt_transformer.train.step import loss_sums, make_train_step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        jax.default_backend() != "gpu", reason=f"there is no NVIDIA card here: JAX computes on {jax.default_backend()}"
    ),
]

MODEL = ModelConfig(
    vocabulary_size=96, num_layers=2, d_model=128, d_ff=256, num_heads=2, d_k=64, d_v=64, compute_dtype="float32"
)
CHOICES = [name for name in get_args(get_type_hints(ModelConfig)["attention"]) if name not in ("fused",)]
"""Ways to attend that a GPU has; `fused` is a TPU's."""


@pytest.fixture(autouse=True)
def exact_products():
    """float32 products are float32's, not TensorFloat-32's."""
    with jax.default_matmul_precision("highest"):
        yield


def tokens(seed: int, rows: int = 8, length: int = 64) -> np.ndarray:
    """Returns rows of two sentences, with padding after them."""
    drawn = np.random.default_rng(seed).integers(4, 96, (rows, length)).astype(np.int32)
    drawn[:, length // 3] = 2
    for row in range(rows):
        end = length - row % 5
        drawn[row, end - 1] = 2
        drawn[row, end:] = 0
    return drawn


BATCH = Batch(tokens(1), tokens(2))


def softmax_by_hand(query: np.ndarray, key: np.ndarray, value: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns equation 1 in float64, `[batch, target, heads, v]`."""
    scores = np.einsum("BTHK,BSHK->BHTS", query, key) / np.sqrt(query.shape[-1])
    scores = np.where(mask, scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.einsum("BHTS,BSHV->BTHV", weights / weights.sum(axis=-1, keepdims=True), value)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 3e-2)])
def test_explicit_attention_equals_equation_1_in_float64(dtype, tolerance):
    random = np.random.default_rng(0)
    query, key, value = (jnp.asarray(random.normal(size=(4, 48, 2, 64)), dtype) for _ in range(3))
    mask = causal_mask(48) & padding_mask(jnp.asarray(tokens(3, 4, 48)))
    got, _ = jax.jit(attention)(query, key, value, mask)
    query, key, value = (np.asarray(x, np.float64) for x in (query, key, value))
    expected = softmax_by_hand(query, key, value, np.asarray(mask))
    np.testing.assert_allclose(np.asarray(got, np.float64), expected, atol=tolerance)


def gradient_of(model: ModelConfig, params: Any) -> Any:
    module, batch = build(model), jax.tree.map(jnp.asarray, BATCH)
    return jax.jit(jax.grad(lambda params: loss_sums(module, params, batch, 0.1, jax.random.key(3)).loss))(params)


def drawn(model: ModelConfig) -> Any:
    module: Any = build(model)
    return jax.jit(module.init)(jax.random.key(0), *map(jnp.asarray, BATCH))["params"]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_way_to_attend_gives_the_gradient_of_the_explicit_one_on_a_cpu(choice):
    model = dataclasses.replace(MODEL, dropout=0.0, attention="explicit")
    params = drawn(model)
    with jax.default_device(jax.devices("cpu")[0]):
        expected = gradient_of(model, jax.device_get(params))
    # What is not explicit computes in bfloat16.
    dtype, tolerance = ("float32", 1e-3) if choice == "explicit" else ("bfloat16", 5e-2)
    got = gradient_of(dataclasses.replace(model, attention=choice, compute_dtype=dtype), params)

    def close(a: jax.Array, b: jax.Array) -> None:
        assert np.abs(np.asarray(a) - np.asarray(b)).max() <= tolerance * np.abs(np.asarray(b)).max() + 1e-6

    jax.tree.map(close, got, expected)


def test_auto_is_bfloat16_from_ampere_on():
    version = float(jax.devices()[0].compute_capability)
    assert compute_dtype("auto") == (jnp.bfloat16 if version >= 8 else jnp.float32)


def trained(model: ModelConfig, steps: int, state: Any = None, **settings: Any) -> tuple[Any, list[float]]:
    """Returns the state after some steps more, and their losses."""
    mesh, train = make_mesh(MeshConfig(data=1), jax.devices()[:1]), TrainConfig(warmup_steps=4, **settings)
    update = optimizer(train, model.d_model)
    step, losses = make_train_step(build(model), update, train, mesh), []
    with jax.set_mesh(mesh):
        state = initial_state(build(model), update, mesh, seed=1) if state is None else state
        for _ in range(steps):
            state, measured = step(state, place_batch(BATCH, mesh))
            losses.append(float(measured.sums.loss / measured.sums.tokens))
    return state, losses


def test_both_dtypes_learn_the_same():
    exact, rounded = (
        trained(dataclasses.replace(MODEL, compute_dtype=dtype), 20)[1] for dtype in ("float32", "bfloat16")
    )
    assert exact[-1] < exact[0] - 0.4
    np.testing.assert_allclose(rounded, exact, rtol=0.02)


def test_the_state_that_goes_into_a_step_is_given_away():
    before, _ = trained(MODEL, 1)
    trained(MODEL, 1, before)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before.params))


def test_a_deterministic_run_that_is_resumed_has_the_bits_of_one_that_was_not():
    whole, _ = trained(MODEL, 6, deterministic=True)
    half, _ = trained(MODEL, 3, deterministic=True)
    on_disk = jax.tree.map(np.array, half)
    resumed, _ = trained(MODEL, 3, jax.tree.map(jnp.asarray, on_disk), deterministic=True)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(whole.params), jax.device_get(resumed.params))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.1)])
def test_decoding_from_a_cache_gives_the_logits_of_teacher_forcing(dtype, tolerance):
    model: Any = build(dataclasses.replace(MODEL, compute_dtype=dtype))
    source, target = (jnp.where(side < 4, 5, side)[:, :16] for side in BATCH)
    params = drawn(MODEL)
    exact: Any = build(MODEL)
    whole = jax.jit(lambda: exact.apply({"params": params}, source, target))()
    inputs = jnp.concatenate([jnp.full((len(target), 1), BOS, jnp.int32), target[:, :-1]], axis=1)
    cache, memory = model.apply({"params": params}, source, 2, 16, method="start_cache")
    step = jax.jit(lambda *arguments: model.apply({"params": params}, *arguments, memory, method="step"))
    for index in range(16):
        logits, cache = step(jnp.repeat(inputs[:, index : index + 1], 2, axis=1), jnp.int32(index), cache)
        for hypothesis in range(2):
            np.testing.assert_allclose(logits[:, hypothesis], whole[:, index], atol=tolerance)
