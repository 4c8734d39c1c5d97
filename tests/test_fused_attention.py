"""The TPU's attention kernels: interpreted against the explicit path, and compiled for a TPU that is not there."""

import importlib.util
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

from wmt_transformer.model.attention import attention, causal_mask, padding_mask
from wmt_transformer.model.fused_attention import fused_attention

ROWS = jnp.array([[5, 6, 7, 8, 9, 4], [5, 6, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])


def attended(function: Any, arrays: tuple[jax.Array, ...], mask: jax.Array, towards: jax.Array) -> Any:
    """Returns the sums of values, and the gradients of queries, keys and values."""

    def loss(arrays: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        out = function(*arrays, mask)
        return (out * towards).sum(), out

    (_, out), gradients = jax.value_and_grad(loss, has_aux=True)(arrays)
    return out, gradients


@pytest.mark.parametrize(
    ("heads", "k", "v", "targets", "mask"),
    [
        (2, 8, 5, 4, padding_mask(ROWS)),
        (2, 8, 5, 6, causal_mask(6)),
        (4, 64, 64, 6, causal_mask(6) & padding_mask(ROWS)),
        (2, 128, 64, 4, padding_mask(ROWS)),
    ],
    ids=["padding, widths that fill no lanes", "causal", "blocks of two heads of four", "wider keys"],
)
def test_the_kernels_equal_explicit_attention_in_value_and_gradient(heads, k, v, targets, mask):
    # The third row is padding alone: equal weights, and no gradient to queries and keys.
    random = np.random.default_rng(0)
    shapes = ((3, targets, heads, k), (3, 6, heads, k), (3, 6, heads, v), (3, targets, heads, v))
    *arrays, towards = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in shapes)
    compute = jax.jit(attended, static_argnums=0)
    got = compute(fused_attention, tuple(arrays), mask, towards)
    expected = compute(lambda *arguments: attention(*arguments)[0], tuple(arrays), mask, towards)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), got, expected)


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed; the extra `tpu` brings it"
)
def test_a_tpu_moves_queries_keys_values_and_sums_but_no_scores():
    from wmt_transformer.plan.compiled import uncached
    from wmt_transformer.plan.topologies import devices_of

    place = SingleDeviceSharding(devices_of("v5e:2x2")[0])
    x = jax.ShapeDtypeStruct((4, 256, 2, 64), jnp.bfloat16, sharding=place)
    mask = jax.ShapeDtypeStruct((4, 1, 1, 256), jnp.bool_, sharding=place)
    with uncached():
        compiled = jax.jit(attended, static_argnums=0).lower(fused_attention, (x, x, x), mask, x).compile()
    memory = compiled.memory_analysis()
    assert memory is not None
    # The scores of a direction would be 4 x 2 x 256 x 256 in float32, 2 MB; each of these arrays is 0.25 MB.
    assert "tpu_custom_call" in (compiled.as_text() or "") and memory.temp_size_in_bytes < 2**20
