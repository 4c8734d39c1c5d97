"""Weights in 8 bits, for decoding on a CPU: a quarter of the bytes that each step reads, and products of whole numbers.

A matrix keeps, for each of its outputs, whole numbers from -127 to 127 and a scale. A row that is multiplied with it is
rounded in the same way, when it comes, by its own largest value; the sums are exact, in 32 bits. Nothing else is
rounded: attention, norms, softmax and biases stay float32. CTranslate2's int8 does the same.
"""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Int8

MATRICES = ("kernel", "table", "output_table")
"""The names of parameters that are one side of a matrix product."""

Quantized = Mapping[str, Array]
"""What takes a matrix's place in a tree of parameters: `values`, int8 `[outputs, inputs]`, which times `scale`, float32
`[outputs]`, are about its weights."""


def quantized(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the parameters of a model with every matrix as a `Quantized`; the others are as they were."""

    def one(path: Any, leaf: Array) -> Any:
        if path[-1].key not in MATRICES:
            return leaf
        if path[-1].key == "kernel":  # of layers called output all axes but the last meet the input
            met = leaf.shape[: -1 if path[-2].key == "output" else 1]
            leaf = leaf.reshape(math.prod(met), -1).T
        values, scale = _rounded(leaf)
        return {"values": values, "scale": scale[:, 0]}

    result: Mapping[str, Any] = jax.jit(lambda tree: jax.tree_util.tree_map_with_path(one, tree))(params)
    return result


def of(module: nn.Module, name: str) -> Quantized | None:
    """Returns a module's parameter where it is a `Quantized`, None where it is an array or not there yet."""
    found = module.get_variable("params", name)
    return found if isinstance(found, Mapping) else None


def product(x: Float[Array, "rows in"], matrix: Quantized) -> Float[Array, "rows out"]:
    """Returns x times the transposed matrix, in float32."""
    count = x.shape[0]
    values, scale = _rounded(x)
    if count == 1:  # a single row has no fast product: 14 ms instead of 0.4 for a vocabulary of 37,000
        values = jnp.concatenate([values, values])
    sums = jax.lax.dot_general(values, matrix["values"], (((1,), (1,)), ((), ())), preferred_element_type=jnp.int32)
    return sums[:count].astype(jnp.float32) * scale * matrix["scale"]


def rows(table: Quantized, ids: Int[Array, "*batch"]) -> Float[Array, "*batch in"]:
    """Returns the rows of these numbers."""
    return table["values"][ids].astype(jnp.float32) * table["scale"][ids][..., None]


def dequantized(matrix: Quantized) -> Float[Array, "out in"]:
    """Returns the matrix in float32 again, as near to what it was as 8 bits are."""
    return matrix["values"].astype(jnp.float32) * matrix["scale"][:, None]


def number_of_scales(params: Any) -> int:
    """Returns how many numbers of a tree are no parameters of the model, but scales of its matrices."""
    nodes = jax.tree.leaves(params, is_leaf=lambda node: isinstance(node, Mapping) and "values" in node)
    return sum(node["scale"].size for node in nodes if isinstance(node, Mapping))


def _rounded(x: Float[Array, "rows in"]) -> tuple[Int8[Array, "rows in"], Float[Array, "rows 1"]]:
    """Returns whole numbers from -127 to 127, and by what each row of them is multiplied."""
    scale = jnp.max(jnp.abs(x), axis=1, keepdims=True) / 127
    return jnp.round(x / jnp.where(scale > 0, scale, 1)).astype(jnp.int8), scale
