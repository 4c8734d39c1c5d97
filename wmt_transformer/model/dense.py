"""Linear layers: every projection of the model, with a matrix product whose gradient is fast on a CPU too.

The gradient of a kernel sums over all rows of a batch: xᵀ · d_y. XLA's fast product for CPUs wants the summed axis
last on the left. Left to itself XLA copies an operand in an order that this product does not take, or falls back to
a slower one (in float32, where bfloat16 was asked for), and the feed-forward kernels' gradients take twice their time.
Here batch and length become one axis of rows, and xᵀ is laid out in memory before the product. Parameters are those
of `nn.DenseGeneral`, or in 8 bits.
"""

import functools
import math
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wmt_transformer.config import ComputeDtype, ModelConfig
from wmt_transformer.model import int8
from wmt_transformer.platform import backend


def compute_dtype(name: ComputeDtype) -> jnp.dtype:
    """Returns the dtype of the matrix products; auto is bfloat16 where the hardware has it."""
    if name == "auto":
        name = "bfloat16" if _multiplies_bfloat16(backend()) else "float32"
    return jnp.dtype(name)


def _multiplies_bfloat16(backend: str) -> bool:
    """NVIDIA's cards do from Ampere on, compute capability 8.0; others name theirs differently."""
    if backend != "gpu":
        return backend != "cpu"
    capability = getattr(jax.local_devices()[0], "compute_capability", "")
    version = re.fullmatch(r"(\d+)\.\d+", str(capability))
    return version is None or int(version[1]) >= 8


def dense(
    config: ModelConfig, features: int | tuple[int, int], axis: int | tuple[int, int] = -1, bias: bool = True
) -> "Dense":
    """Returns a layer that maps the last axis (or axes) of its input to `features`, drawn from Glorot's uniform."""
    outputs = features if isinstance(features, tuple) else (features,)
    return Dense(outputs, len(axis) if isinstance(axis, tuple) else 1, bias, config.compute_dtype)


class Dense(nn.Module):
    """y = x W + b over the last axes of x, in the dtype of the products."""

    features: tuple[int, ...]
    inputs: int
    """How many axes of x, the last ones, meet the first ones of W."""
    bias: bool
    compute_dtype: ComputeDtype

    @nn.compact
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        batch, met = x.shape[: -self.inputs], x.shape[-self.inputs :]
        dtype, flat = compute_dtype(self.compute_dtype), (math.prod(met), math.prod(self.features))
        rows = x.astype(dtype).reshape(math.prod(batch), flat[0])
        if kernel := int8.of(self, "kernel"):
            y = int8.product(rows, kernel)
        else:
            y = _traced_once(rows, self.param("kernel", _glorot, met, self.features).astype(dtype).reshape(flat))
        y = y.reshape(*batch, *self.features)
        return _biased(y, self.param("bias", nn.initializers.zeros, self.features).astype(dtype)) if self.bias else y


def _glorot(key: Array, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Float[Array, "..."]:
    """Returns a kernel as of one axis of inputs and one of outputs, by which the range is chosen."""
    flat = nn.initializers.glorot_uniform()(key, (math.prod(inputs), math.prod(outputs)))
    return flat.reshape(*inputs, *outputs)


@jax.jit
def product(a: Float[Array, "*batch m k"], b: Float[Array, "*batch k n"]) -> Float[Array, "*batch m n"]:
    """Returns a · b in the type of a.

    XLA's fast bfloat16 product for CPUs gives float32; asked for bfloat16, it converts both sides and multiplies in
    float32. Elsewhere a float32 result would only be more to write.
    """
    return _by_platform(jnp.matmul, a, b)


@functools.partial(jax.jit, static_argnums=2)
def product_transposed(
    a: Float[Array, "*batch m k"], b: Float[Array, "*batch n k"], dtype: Any = None
) -> Float[Array, "*batch m n"]:
    """Returns a · bᵀ in `dtype` (default: the type of a); see `product`."""
    return _by_platform(functools.partial(jnp.einsum, "...MK,...NK->...MN"), a, b, dtype)


def _by_platform(multiply: Any, a: Array, b: Array, dtype: Any = None) -> Array:
    def to_float32(a: Array, b: Array) -> Array:
        rows = a.shape[-2]
        if rows == 1 and a.dtype == jnp.bfloat16:  # a single row of it has no fast product: 2 to 20 times slower
            a = jnp.concatenate([a, a], axis=-2)
        return multiply(a, b, preferred_element_type=jnp.float32)[..., :rows, :].astype(dtype or a.dtype)

    def to_its_type(a: Array, b: Array) -> Array:
        return multiply(a, b, preferred_element_type=dtype)

    result: Array = jax.lax.platform_dependent(a, b, cpu=to_float32, default=to_its_type)
    return result


@jax.custom_vjp
def _product(x: Float[Array, "rows in"], kernel: Float[Array, "in out"]) -> Float[Array, "rows out"]:
    return product(x, kernel)


def _product_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return product(x, kernel), (x, kernel)


def _product_backward(saved: tuple[Array, Array], d_y: Array) -> tuple[Array, Array]:
    x, kernel = saved
    # A wide x in float32 (after the ReLU, which XLA computes again on the way) costs more to lay out than it saves.
    as_it_is = x.dtype == jnp.float32 and x.shape[1] > d_y.shape[1]
    return product_transposed(d_y, kernel), product(x.T if as_it_is else laid_out_transposed(x), d_y)


_product.defvjp(_product_forward, _product_backward)
_traced_once: Any = jax.jit(_product)
"""Is traced once for each shape, not for each layer; so is all below that is jitted. XLA puts it back in its place."""


@jax.custom_vjp
def _biased(y: Float[Array, "*batch out"], bias: Float[Array, "*out"]) -> Float[Array, "*batch out"]:
    return y + bias


def _biased_forward(y: Array, bias: Array) -> tuple[Array, tuple[int, ...]]:
    return y + bias, bias.shape


def _biased_backward(shape: tuple[int, ...], d_y: Array) -> tuple[Array, Array]:
    return d_y, _sum_of_rows(d_y.reshape(-1, *shape))


@jax.jit
def _sum_of_rows(x: Float[Array, "rows ..."]) -> Float[Array, "..."]:
    """Returns the sum over the first axis. XLA's fast one for CPUs wants float32; it converts rows one by one."""

    def in_float32(x: Array) -> Array:
        return jax.lax.optimization_barrier(x.astype(jnp.float32)).sum(axis=0).astype(x.dtype)

    total: Array = jax.lax.platform_dependent(x, cpu=in_float32, default=lambda x: x.sum(axis=0))
    return total


_biased.defvjp(_biased_forward, _biased_backward)


@jax.jit
def laid_out(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns x; on a CPU a product finds it in memory in the order of its axes, as XLA's fast product wants it.

    Axes that were exchanged count as lying in their old order, for which bfloat16 has no product but float32's.
    Those of an argument, as here, count as they are, and the barrier keeps the exchange out of the product.
    """
    ordered: Array = jax.lax.platform_dependent(x, cpu=jax.lax.optimization_barrier, default=lambda x: x)
    return ordered


def laid_out_transposed(x: Float[Array, "*batch rows columns"]) -> Float[Array, "*batch columns rows"]:
    """Returns x with its last two axes exchanged; see `laid_out`."""
    return laid_out(jnp.swapaxes(x, -1, -2))
