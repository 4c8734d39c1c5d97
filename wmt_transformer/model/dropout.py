"""Dropout (§5.4) whose random bits are a hash of the element's position and a key.

JAX's generators are cryptographically careful, and on a CPU drawing their bits costs more than the layer norm
next to them. Dropout only needs decisions that are independent enough, so each element hashes its own index:
integer arithmetic that XLA fuses into the multiplication it decides on, needs no state, and gives the same
result however the array is sharded. The key comes from `make_rng`, so a run stays a function of its seed.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt32


def random_bits(key: Key[Array, ""] | UInt32[Array, "2"], shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """Returns uniform 32-bit integers: murmur3's finaliser over (index, key).

    Two multiply-and-shift rounds change every output bit with probability near one half for each input bit
    (A. Appleby, MurmurHash3, public domain); the key enters before both.
    """
    word = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    bits = jnp.full(shape, word[0], jnp.uint32)
    if jax.sharding.get_abstract_mesh().manual_axes:  # a device that sees its own rows alone: others lie before them
        bits += jax.lax.axis_index("data").astype(jnp.uint32) * jnp.uint32(math.prod(shape) & 0xFFFFFFFF)
    stride = 1
    for axis in reversed(range(len(shape))):
        bits += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(stride & 0xFFFFFFFF)
        stride *= shape[axis]
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13) ^ word[1]) * jnp.uint32(0xC2B2AE35)
    return bits ^ (bits >> 16)


@partial(jax.jit, static_argnums=1)
def dropout(x: Float[Array, "..."], rate: float, key: Key[Array, ""] | UInt32[Array, "2"]) -> Float[Array, "..."]:
    """Returns x with each element zeroed with probability `rate` and the others divided by 1 - `rate`."""
    threshold = min(round(rate * 2**32), 2**32 - 1)
    keep = random_bits(key, x.shape) >= jnp.uint32(threshold)
    return jnp.where(keep, x * jnp.asarray(1.0 / (1.0 - rate), x.dtype), jnp.zeros((), x.dtype))
