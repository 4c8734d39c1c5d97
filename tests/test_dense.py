"""Linear layers against `nn.DenseGeneral` as it comes, forward and backward."""

import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmt_transformer.config import ModelConfig
from wmt_transformer.data.batches import Batch
from wmt_transformer.model.dense import dense, product, product_transposed
from wmt_transformer.model.transformer import Transformer
from wmt_transformer.train.step import gradients

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
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)  # biases begin at 0, where one that is left out is not seen
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


def test_a_bias_gradient_in_bfloat16_is_the_sum_of_all_rows():
    layer = dense(ModelConfig(compute_dtype="bfloat16"), (2, 5))
    x, y = (
        jnp.asarray(np.random.default_rng(3).normal(size=shape), jnp.bfloat16) for shape in ((7, 9, 8), (7, 9, 2, 5))
    )
    params = layer.init(jax.random.key(1), x)
    gradient: Any = jax.grad(lambda p: (jnp.asarray(layer.apply(p, x)) * y).astype(jnp.float32).sum())(params)
    np.testing.assert_allclose(gradient["params"]["bias"], np.asarray(y, np.float64).sum(axis=(0, 1)), rtol=2**-8)


def test_a_step_in_bfloat16_multiplies_nothing_in_float32():
    """XLA for CPUs converts both sides to float32 where it has no product for the order in which they lie."""
    squares = [jnp.ones(shape, jnp.bfloat16) for shape in ((64, 64), (8, 2, 16, 16))]
    if {"bf16"} != {kind for x in squares for f in (product, product_transposed) for kind in factors(f.lower(x, x))}:
        pytest.skip("this processor multiplies bfloat16 in float32")
    config = ModelConfig(
        vocabulary_size=96, num_layers=1, d_model=32, d_ff=64, num_heads=2, d_k=16, d_v=16, compute_dtype="bfloat16"
    )
    model, tokens = Transformer(config), jnp.ones((8, 16), jnp.int32)
    params = jax.eval_shape(model.init, jax.random.key(0), tokens, tokens)["params"]

    def compute(params, tokens, key):
        sums, gradient = gradients(model, params, Batch(tokens, tokens), 0.1, 1, key)
        return sums.loss, gradient

    lowered = jax.jit(compute).lower(params, tokens, jax.random.key(1))
    assert factors(lowered) == {"bf16"}


def factors(lowered: Any) -> set[str]:
    """Returns the types of all matrices that the compiled program multiplies; one that has a single column is none."""
    found, types = set(), {}
    for line in lowered.compile().as_text().splitlines():
        if named := re.match(r"\s*(?:ROOT )?%(\S+) = (\w+)\[([\d,]*)\]", line):
            types[named[1]] = named[2], named[3]
            if " dot(" in line:
                sides = [types[name] for name in re.findall(r"%([\w.-]+)", line.split(" dot(")[1].split(")")[0])]
                found |= {kind for kind, _ in sides} if not sides[1][1].endswith(",1") else set()
    return found
