"""Linear layers: every projection of the model, with a matrix product whose gradient is fast on a CPU too.

The gradient of a kernel sums over all rows of a batch: xᵀ · d_y. XLA's fast product for CPUs wants the summed axis
last on the left. Left to itself XLA copies an operand in an order that this product does not take, or falls back to
a slower one, and the feed-forward kernels' gradients take twice their time. Here batch and length become one axis of
rows, and xᵀ is laid out in memory before the product. Parameters are those of `nn.DenseGeneral`.
"""

import math
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wmt_transformer.config import ModelConfig


def compute_dtype(name: Literal["auto", "float32", "bfloat16"]) -> jnp.dtype:
    """Returns the dtype of the matrix products; auto is bfloat16 where the hardware has it."""
    if name == "auto":
        name = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return jnp.dtype(name)


def dense(
    config: ModelConfig, features: int | tuple[int, int], axis: int | tuple[int, int] = -1, bias: bool = True
) -> nn.DenseGeneral:
    """Returns a layer that maps the last axis (or axes) of its input to `features`, drawn from Glorot's uniform."""
    init = nn.initializers.glorot_uniform()
    dtype = compute_dtype(config.compute_dtype)
    return nn.DenseGeneral(features, axis, use_bias=bias, dtype=dtype, kernel_init=init, dot_general=_dot_general)


def _dot_general(
    x: Float[Array, "..."], kernel: Float[Array, "..."], dimension_numbers: Any, precision: Any = None, **_: Any
) -> Float[Array, "..."]:
    """Stands in for `jax.lax.dot_general` where the last axes of x meet the first ones of the kernel."""
    ((meeting, _), _) = dimension_numbers
    summed = math.prod(x.shape[axis] for axis in meeting)
    y = _product(x.reshape(-1, summed), kernel.reshape(summed, -1))
    return y.reshape(*x.shape[: x.ndim - len(meeting)], *kernel.shape[len(meeting) :])


@jax.custom_vjp
def _product(x: Float[Array, "rows in"], kernel: Float[Array, "in out"]) -> Float[Array, "rows out"]:
    return x @ kernel


def _product_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return x @ kernel, (x, kernel)


def _product_backward(saved: tuple[Array, Array], d_y: Array) -> tuple[Array, Array]:
    x, kernel = saved
    # A wide x (after the ReLU) costs more to lay out than it saves.
    x_transposed = laid_out_transposed(x) if x.shape[1] <= d_y.shape[1] else x.T
    return d_y @ kernel.T, x_transposed @ d_y


def laid_out_transposed(x: Float[Array, "*batch rows columns"]) -> Float[Array, "*batch columns rows"]:
    """Returns x with its last two axes exchanged, on a CPU in memory, as the left side of a product wants it there."""
    on_cpu = jax.lax.platform_dependent
    transposed: Array = on_cpu(x, cpu=lambda x: jax.lax.optimization_barrier(_transposed(x)), default=_transposed)
    return transposed


def _transposed(x: Array) -> Array:
    return jnp.swapaxes(x, -1, -2)


_product.defvjp(_product_forward, _product_backward)
