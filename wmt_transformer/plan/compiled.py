"""The real train step, compiled ahead of time for given devices on shapes alone: no array is made."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from wmt_transformer.config import Config
from wmt_transformer.data.batches import Batch
from wmt_transformer.data.shapes import Shape
from wmt_transformer.model.build import build
from wmt_transformer.plan import hlo
from wmt_transformer.plan.kernels import Kernel, kernels
from wmt_transformer.platform import tracing_for
from wmt_transformer.train.optimizer import optimizer
from wmt_transformer.train.sharding import by_rows, check_rows, make_mesh
from wmt_transformer.train.state import TrainState, abstract_state
from wmt_transformer.train.step import make_train_step


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What the compiler says of the train step for one shape of batch, a device's share; None where it did not fit."""

    shape: Shape
    memory: dict[str, int]
    """Bytes by kind; `total` is their sum."""
    bytes: int | None
    """Read from and written to the device's main memory in a step."""
    collectives: dict[str, dict[str, int]] | None
    """See `hlo.collectives`."""
    kernels: list[Kernel] | None
    """What a GPU launches; None for a TPU, which runs a step as one program."""
    seconds: float
    """What compiling took."""


def compile_step(config: Config, devices: Sequence[Any], shape: Shape) -> Compiled:
    """Compiles the train step for these devices on shapes alone, as `loop.train` would for real arrays."""
    begin = time.monotonic()
    lowered, state = lower_step(config, devices, shape)
    parameters, moments = _bytes(state.params), _bytes((state.optimizer, state.ema))
    try:
        compiled = compile_ahead(lowered, devices)
    except jax.errors.JaxRuntimeError as error:
        memory = _with_total(parameters, moments, asked_for(error, parameters + moments), 0)
        return Compiled(shape, memory, None, None, None, time.monotonic() - begin)
    used, program = compiled.memory_analysis(), hlo.parse(compiled.as_text())
    arguments = (
        used.argument_size_in_bytes - parameters - moments + used.output_size_in_bytes - used.alias_size_in_bytes
    )
    memory = _with_total(parameters, moments, used.temp_size_in_bytes + arguments, used.generated_code_size_in_bytes)
    launched = kernels(program) if devices[0].platform == "gpu" else None
    traffic, transfers = hlo.memory_traffic(program), hlo.collectives(program)
    return Compiled(shape, memory, traffic, transfers, launched, time.monotonic() - begin)


def compile_ahead(lowered: Any, devices: Sequence[Any]) -> Any:
    """Returns the program compiled for devices that are not there."""
    # Without a card nothing can be tuned on it. XLA would then write kernels of its own for all products, which takes
    # three times as long; cuBLAS's are what it mostly chooses on a card.
    options = {"xla_gpu_enable_triton_gemm": False} if devices[0].platform == "gpu" else {}
    with uncached():
        return lowered.compile(compiler_options=options)


def lower_step(config: Config, devices: Sequence[Any], shape: Shape) -> tuple[Any, TrainState]:
    """Returns the train step for these devices, ready to be compiled, and the shapes of the state it takes."""
    config = sized(config)
    mesh = make_mesh(config.mesh, devices)
    check_rows(config.data.batch_multiple, mesh)
    with jax.set_mesh(mesh), tracing_for(devices[0].platform):
        model, update = build(config.model), optimizer(config.train, config.model.d_model)
        state, rows = abstract_state(model, update, mesh, config.train.ema_decay > 0), by_rows(mesh)
        sides = (jax.ShapeDtypeStruct((shape.rows, length), np.int32, sharding=rows) for length in shape[1:])
        step: Any = make_train_step(model, update, config.train, mesh)
        return step.lower(state, Batch(*sides)), state  # pyright: ignore[reportArgumentType]  shapes only


def sized(config: Config) -> Config:
    """Returns the config with the vocabulary as asked for, as none was cut yet."""
    return dataclasses.replace(
        config, model=dataclasses.replace(config.model, vocabulary_size=config.data.vocabulary_size)
    )


def _bytes(tree: Any) -> int:
    """Returns how many bytes of a sharded tree lie on one device."""
    return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _with_total(parameters: int, moments: int, activations: int, program: int) -> dict[str, int]:
    kinds = {"parameters": parameters, "optimizer": moments, "activations": max(activations, 0), "program": program}
    return {**kinds, "total": sum(kinds.values())}


def asked_for(error: Exception, state: int) -> int:
    """Returns the bytes of activations of a program that was too large; raises another error again.

    libtpu names either what temporaries need, or the sum of all, in which the state is.
    """
    used = re.search(r"(temporaries \(|Used )([\d.]+)([KMGT])", str(error))
    if "RESOURCE_EXHAUSTED" not in str(error) or not used:
        raise error
    asked = int(float(used[2]) * 2 ** {"K": 10, "M": 20, "G": 30, "T": 40}[used[3]])
    return asked - state if used[1] == "Used " else asked


@contextlib.contextmanager
def uncached() -> Iterator[None]:
    """Keeps what is compiled out of JAX's cache: a program for devices that are not there cannot be read back."""
    name = "jax_persistent_cache_min_compile_time_secs"
    least = getattr(jax.config, name)
    jax.config.update(name, math.inf)
    try:
        yield
    finally:
        jax.config.update(name, least)
