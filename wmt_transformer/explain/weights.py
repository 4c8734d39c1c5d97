"""Parameters as the page holds them, one array after the other: float16 numbers, or int8 ones with scales.

int8 is of the matrices: the numbers of an output channel (a row of a table, a column of a kernel) are multiples of one
float32 scale, from -127 to 127 times. Norms and biases stay float16. `page/weights.js` reads both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax
import numpy as np

from wmt_transformer.config import UserError
from wmt_transformer.messages import number_of

Precision = Literal["float16", "int8"]
MOST_BYTES = 12_000_000
"""16 MB as the page's text."""


@dataclasses.dataclass(frozen=True)
class _Held:
    """An array of the page: `codes`, float16, or int8 `[rows, columns]` that are multiples of the scales."""

    codes: np.ndarray
    scales: np.ndarray | None = None
    """float32, `[rows, 1]` or `[1, columns]`; None for float16."""

    def bytes(self) -> bytes:
        """Returns the scales and then the codes, the lowest byte of a number first."""
        parts = [self.codes] if self.scales is None else [self.scales, self.codes]
        return b"".join(part.astype(part.dtype.newbyteorder("<")).tobytes() for part in parts)

    def described(self) -> list[int]:
        """Returns the number of codes; of int8 ones also that of channels, and how many codes of one are neighbours."""
        if self.scales is None:
            return [self.codes.size]
        return [self.codes.size, self.scales.size, self.codes.shape[1] if self.scales.shape[1] == 1 else 1]

    def values(self) -> np.ndarray:
        """Returns what the page computes with."""
        numbers = self.codes.astype(np.float32)
        return numbers if self.scales is None else numbers * self.scales


def rounded(params: Mapping[str, Any], precision: Precision = "float16") -> Any:
    """Returns the parameters with the values that the page computes with, in float32.

    Raises UserError for values beyond float16's range.
    """
    return jax.tree.map(lambda held, leaf: held.values().reshape(leaf.shape), _held(params, precision), params)


def packed(params: Mapping[str, Any], precision: Precision = "float16") -> tuple[list[tuple[Any, ...]], bytes]:
    """Returns the name and size of every array, such as `encoder_0/self_attention/query/kernel`, and their bytes.

    Raises UserError for more than a page holds, and for values beyond float16's range.
    """
    arrays = {_name(path): held for path, held in jax.tree_util.tree_flatten_with_path(_held(params, precision))[0]}
    numbers = b"".join(map(_Held.bytes, arrays.values()))
    if len(numbers) > MOST_BYTES:
        count = sum(held.codes.size for held in arrays.values())
        advice = "--precision int8 halves it; or train" if precision == "float16" else "train"
        raise UserError(
            f"the model has {number_of(count, 'parameter')}, {len(numbers):,} bytes in {precision}, and a page holds "
            f"at most {MOST_BYTES:,} (16 MB of text); {advice} a smaller one, or look at this one with `attention`"
        )
    return [(name, *held.described()) for name, held in arrays.items()], numbers


def _held(params: Mapping[str, Any], precision: Precision) -> Any:
    """Returns the parameters as the page holds each."""

    def one(path: Any, leaf: Any) -> _Held:
        array = np.asarray(leaf, np.float32)
        if not np.abs(array).max() <= np.finfo(np.float16).max:  # which not-a-number is not either
            raise UserError(
                "some of the model's parameters are beyond 65,504, the greatest float16; the page cannot hold them"
            )
        if precision == "float16" or _name(path).endswith(("scale", "bias")):
            return _Held(array.astype(np.float16))
        if path[-1].key != "kernel":  # a table of embeddings or of positions
            return _codes(array, axis=1)
        inputs = array.shape[:-1] if path[-2].key == "output" else array.shape[:1]  # heads are inputs of the output
        return _codes(array.reshape(np.prod(inputs, dtype=int), -1), axis=0)

    return jax.tree_util.tree_map_with_path(one, params)


def _codes(matrix: np.ndarray, axis: int) -> _Held:
    """Returns a matrix by multiples of one scale for all numbers along an axis."""
    greatest = np.abs(matrix).max(axis, keepdims=True)
    scales = np.maximum(greatest, np.finfo(np.float32).tiny) / np.float32(127)  # a channel of zeros has one too
    return _Held(np.rint(matrix / scales).astype(np.int8), scales)


def _name(path: Any) -> str:
    return "/".join(str(step.key) for step in path)
