"""Linear layers against `nn.DenseGeneral` as it comes, forward and backward."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmt_transformer.config import ModelConfig
from wmt_transformer.model.dense import dense, product, product_transposed

FLOAT32 = ModelConfig(compute_dtype="float32")


@pytest.mark.parametrize(
    ("shape", "features", "axis"),
    [((2, 3, 8), 16, -1), ((2, 3, 16), 8, -1), ((2, 3, 8), (2, 5), -1), ((2, 3, 2, 5), 8, (-2, -1)), ((8,), 4, -1)],
    ids=["wider", "narrower", "to heads", "from heads", "a single row"],
)
def test_a_layer_equals_flax_dense_general_in_value_and_gradient(shape, features, axis):
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    layer = dense(FLOAT32, features, axis)
    twin = nn.DenseGeneral(features, axis, kernel_init=nn.initializers.glorot_uniform())
    params = layer.init(jax.random.key(1), x)
    jax.tree.map(np.testing.assert_array_equal, params, twin.init(jax.random.key(1), x))
    ours, theirs = (
        jax.value_and_grad(lambda p, x, used=used: jnp.square(jnp.asarray(used.apply(p, x))).sum(), argnums=(0, 1))(
            params, x
        )
        for used in (layer, twin)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), ours, theirs)


def test_products_are_in_the_compute_dtype_and_parameters_in_float32():
    layer = dense(ModelConfig(compute_dtype="bfloat16"), 4, bias=False)
    x = jnp.ones((2, 8))
    params = layer.init(jax.random.key(0), x)
    (kernel,) = jax.tree.leaves(params)
    assert kernel.dtype == jnp.float32
    assert jnp.asarray(layer.apply(params, x)).dtype == jnp.bfloat16


def test_bfloat16_products_are_sums_in_float32_rounded_once():
    random = np.random.default_rng(2)
    a, b = (jnp.asarray(random.normal(size=shape), jnp.bfloat16) for shape in ((2, 5, 64), (2, 64, 7)))
    exact = np.asarray(a, np.float64) @ np.asarray(b, np.float64)
    for result in (product(a, b), product_transposed(a, jnp.swapaxes(b, 1, 2))):
        assert result.dtype == jnp.bfloat16
        # A bfloat16 has 8 significant bits; float32's own error is where the sum nearly cancels.
        np.testing.assert_allclose(np.asarray(result, np.float64), exact, rtol=2**-8, atol=1e-4)


def test_a_single_bfloat16_row_is_multiplied_as_several_are():
    random = np.random.default_rng(0)
    rows, kernel = (jnp.asarray(random.normal(size=shape), jnp.bfloat16) for shape in ((3, 64), (64, 32)))
    for multiply, right in ((product, kernel), (product_transposed, kernel.T)):
        alone, together = multiply(rows[:1], right), multiply(rows, right)
        assert alone.shape == (1, 32) and alone.dtype == jnp.bfloat16
        np.testing.assert_array_equal(alone, together[:1])
    exact = rows.astype(jnp.float32) @ kernel.astype(jnp.float32)
    unrounded = product_transposed(rows[:1], kernel.T, jnp.float32)
    assert unrounded.dtype == jnp.float32
    np.testing.assert_allclose(unrounded, exact[:1], rtol=1e-5, atol=1e-5)
