"""Which batches are decoded, and on which devices: few shapes of batches, so few programs to compile.

A batch has as many rows as `decode.batch_tokens` allows, or the next power of two where fewer sentences are left; its
length comes from a short list (`lines.round_up`). So every shape that a decoder may ever need can be listed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from wmt_transformer.config import DecodeConfig, ModelConfig
from wmt_transformer.decode.lines import round_up
from wmt_transformer.decode.runs import Params
from wmt_transformer.model.dense import compute_dtype
from wmt_transformer.platform import backend


class Shape(NamedTuple):
    """Which parts make a batch, by their places in the list of all, and its shape `[rows, length]`."""

    chosen: tuple[int, ...]
    rows: int
    length: int


class Devices(NamedTuple):
    """Where batches are decoded: with which parameters, how rows are split, over how many devices."""

    params: tuple[Params, ...]
    by_rows: NamedSharding | None
    shards: int
    at_once: int
    """Batches side by side."""

    @classmethod
    def of(cls, models: tuple[ModelConfig, ...], params: tuple[Params, ...]) -> Devices:
        by_rows, shards = rows_over_devices()
        if by_rows is not None and jax.sharding.get_mesh().empty:
            params = jax.device_put(params, NamedSharding(by_rows.mesh, P()))
        return cls(params, by_rows, shards, batches_at_once(models, params) if by_rows is None else 1)


def shapes_of(
    lengths: Sequence[int], settings: DecodeConfig, positions: int, devices: Devices, sizes: Sequence[int] = ()
) -> list[Shape]:
    """Returns the batches of sources of these lengths, the longest sources first (`sizes`: see `all_shapes`)."""
    shapes = []
    longest_first = tuple(sorted(range(len(lengths)), key=lambda place: -lengths[place]))
    while longest_first:
        length = min(round_up(lengths[longest_first[0]]), positions)
        rows = _rows(length, len(longest_first), settings, devices, sizes)
        shapes.append(Shape(longest_first[:rows], rows, length))
        longest_first = longest_first[rows:]
    return shapes


def all_shapes(
    longest: int, count: int | None, settings: DecodeConfig, positions: int, devices: Devices, sizes: Sequence[int] = ()
) -> list[Shape]:
    """Returns every shape that `count` sources (None: any number) of at most `longest` tokens may need.

    The rows of batches are one of `sizes`, which grow, and where there are none a power of 2; fewer where a batch is
    full.
    """
    lengths = sorted({min(round_up(tokens), positions) for tokens in range(1, longest + 1)})
    most = batch_tokens(settings) if count is None else count
    powers = [1 << power for power in range((most - 1).bit_length() + 1)]
    left = [*(size for size in sizes if size < most), most] if sizes else powers
    found = (
        (length, rows)
        for length in lengths
        for rows in sorted({_rows(length, n, settings, devices, sizes) for n in left})
    )
    return [Shape((), rows, length) for length, rows in found]


def _rows(length: int, left: int, settings: DecodeConfig, devices: Devices, sizes: Sequence[int]) -> int:
    """Returns the rows of a batch of this length where this many sources are left."""
    sizes = sizes or _POWERS
    fits = next((size for size in sizes if size >= left), sizes[-1])
    rows = min(full_rows(length, settings, devices.at_once), fits)
    return -(-rows // devices.shards) * devices.shards


def full_rows(length: int, settings: DecodeConfig, at_once: int = 1) -> int:
    """Returns the rows of a full batch of sources of this padded length, where so many batches are decoded at once."""
    rows = max(1, batch_tokens(settings) // (settings.beam_size * length * at_once))
    return rows // 8 * 8 or rows


_POWERS = [1 << power for power in range(40)]


def batch_tokens(settings: DecodeConfig) -> int:
    """Returns how many slots of hypotheses a batch has at most.

    A GPU's step is about 210 kernels, however many rows there are, and 32 rows leave it waiting for their launches.
    """
    return settings.batch_tokens or (32_768 if backend() == "gpu" else 4_096)


def batches_at_once(models: Sequence[ModelConfig], params: Sequence[Params]) -> int:
    """Returns how many batches are decoded side by side, each of them that much smaller: 2 on a CPU that multiplies
    bfloat16 or int8.

    There most operations of a step are too short to be shared between cores, so each core gets a batch. In float32 the
    products are long enough, and larger batches are better.
    """
    rounded = all(
        compute_dtype(model.compute_dtype) == jnp.bfloat16
        or any(leaf.dtype == jnp.int8 for leaf in jax.tree.leaves(own))
        for model, own in zip(models, params, strict=True)
    )
    return 2 if rounded and backend() == "cpu" and (os.cpu_count() or 1) > 1 else 1


def rows_over_devices() -> tuple[NamedSharding | None, int]:
    """Returns how rows are split and over how many devices; None and 1 where there is only one."""
    mesh = jax.sharding.get_mesh()
    if mesh.empty:
        mesh = Mesh(np.asarray(jax.local_devices()), ("data",), axis_types=(AxisType.Auto,))
    axes = tuple(name for name in mesh.axis_names if name != "tensor")  # whose devices share the same rows
    shards = math.prod(mesh.shape[name] for name in axes)
    return (None, 1) if mesh.size == 1 else (NamedSharding(mesh, P(axes)), shards)


def cache_lengths(longest: int, hypotheses: int) -> tuple[int, ...]:
    """Returns the lengths that a device's cache has one after the other, doubling up to `longest`.

    Every length is one more loop to compile. Where there are few hypotheses the first is large: it costs them little
    compared with reading the weights.
    """
    first = 1 << max(4, (_CHEAP_SLOTS // hypotheses).bit_length() - 1)
    lengths = [first]
    while 3 * lengths[-1] < longest:
        lengths.append(2 * lengths[-1])
    return (longest,) if 2 * longest < 3 * first else (*lengths, longest)


_CHEAP_SLOTS = 2048
"""Positions of the cache, of all hypotheses together, that cost little compared with reading the weights."""
