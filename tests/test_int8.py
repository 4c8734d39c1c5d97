"""Weights and products in 8 bits, against the same sums by hand and against the model in float32."""

import dataclasses
from typing import Any

import fakes
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmt_transformer.config import ModelConfig
from wmt_transformer.model import int8
from wmt_transformer.model.build import build
from wmt_transformer.model.dense import dense


def test_a_product_rounds_both_sides_by_their_largest_values_and_adds_up_exactly():
    # By hand: row (1, -2) is (64, -127) times 2/127; outputs (4, 1) and (0, 0.5) are (127, 32) and (0, 127).
    matrix = int8.quantized({"output": {"kernel": jnp.array([[4.0, 0.0], [1.0, 0.5]])}})["output"]["kernel"]
    np.testing.assert_array_equal(matrix["values"], [[127, 32], [0, 127]])
    np.testing.assert_allclose(matrix["scale"], [4 / 127, 0.5 / 127], rtol=1e-6)
    for rows in (1, 3):
        got = int8.product(jnp.tile(jnp.array([[1.0, -2.0]]), (rows, 1)), matrix)
        expected = np.array([64 * 127 - 127 * 32, -127 * 127]) * (2 / 127) * np.array([4 / 127, 0.5 / 127])
        np.testing.assert_allclose(got, np.tile(expected, (rows, 1)), rtol=1e-6)
        assert got.dtype == jnp.float32


def test_zeros_stay_zeros():
    matrix = int8.quantized({"table": jnp.zeros((3, 2))})["table"]
    np.testing.assert_array_equal(int8.product(jnp.ones((2, 2)), matrix), np.zeros((2, 3)))
    matrix = int8.quantized({"table": jnp.ones((3, 2))})["table"]
    with jax.debug_nans(True):  # 0 / 0, which a conversion to int8 hides
        np.testing.assert_array_equal(int8.product(jnp.zeros((2, 2)), matrix), np.zeros((2, 3)))


@pytest.mark.parametrize(
    "features, axis, shape, name",
    [((4, 6), -1, (2, 3, 8), "query"), (8, (-2, -1), (2, 3, 4, 6), "output"), (10, -1, (5, 8), "hidden")],
)
def test_a_layer_in_8_bits_is_the_layer_whose_kernel_is_rounded(features, axis, shape, name):
    # The slow twin: the kernel rounded and in float32 again. What is left is the rounding of x, less than 1 % of y.
    layer: Any = dense(ModelConfig(compute_dtype="float32"), features, axis)
    x = jax.random.normal(jax.random.key(1), shape)
    params: dict[str, Any] = dict(layer.init(jax.random.key(2), x)["params"])
    params["bias"] = jax.random.normal(jax.random.key(3), params["bias"].shape)
    small = int8.quantized({name: params})[name]
    kernel = int8.dequantized(small["kernel"]).T.reshape(params["kernel"].shape)
    np.testing.assert_allclose(kernel, params["kernel"], atol=float(jnp.abs(params["kernel"]).max()) / 250)
    expected = layer.apply({"params": {**params, "kernel": kernel}}, x)
    got = layer.apply({"params": small}, x)
    assert got.shape == expected.shape
    assert 0 < float(jnp.linalg.norm(got - expected)) < 0.01 * float(jnp.linalg.norm(expected))


@pytest.mark.parametrize(
    "changed", [{}, {"tied_embeddings": "none", "output_bias": True}, {"architecture": "decoder_only"}]
)
def test_a_model_in_8_bits_gives_nearly_the_same_logits(changed):
    config = dataclasses.replace(fakes.TINY, compute_dtype="float32", **changed)
    model: Any = build(config)
    tokens = jnp.array([[5, 6, 7, 2], [9, 8, 2, 0]])
    params = model.init(jax.random.key(0), tokens, tokens)["params"]
    small = int8.quantized(params)
    whole = {str(path[-1].key) for path, leaf in jax.tree_util.tree_leaves_with_path(small) if leaf.dtype != jnp.int8}
    assert whole <= {"scale", "bias", "output_bias"}
    expected, got = (model.apply({"params": one}, tokens, tokens) for one in (params, small))
    error = jnp.linalg.norm(got - expected) / jnp.linalg.norm(expected)
    assert 0 < float(error) < 0.03
    table = model.apply({"params": small}, method="vocabulary_table")
    np.testing.assert_allclose(table, model.apply({"params": params}, method="vocabulary_table"), atol=0.01)
