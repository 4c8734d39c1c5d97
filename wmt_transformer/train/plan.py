"""What a run would need of a TPU slice that is not there: memory, operations, transfers, time and cost.

The real train step is compiled ahead of time by libtpu for the slice's devices; no array is made. Two batches are
compiled, as memory and time depend on the shape: the longest sentences that the config takes, and a usual length. All
figures are of one chip. Times are a roofline: what the chip's peak figures allow if arithmetic, memory and transfers
overlap fully. A real step is slower; no plan can say by how much.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from wmt_transformer.config import Config, UserError
from wmt_transformer.data.batches import Batch, Shape, most_rows
from wmt_transformer.model.build import build
from wmt_transformer.train import chips, hlo
from wmt_transformer.train.optimizer import optimizer
from wmt_transformer.train.sharding import by_rows, check_rows, make_mesh
from wmt_transformer.train.state import TrainState, abstract_state
from wmt_transformer.train.step import make_train_step

FAMILIES = {"v2": "4x4", "v3": "4x4", "v4": "2x2x2", "v5e": "4x4", "v5p": "2x2x2", "v6e": "4x4"}
"""Families of slices that libtpu knows and chips.py has figures of, with an example each."""
USUAL_LENGTH = 32
"""Pieces a sentence; WMT14's English has 27 words on average."""
GOALS = (100_000, 300_000)
"""Steps of base and of big (§5.2)."""


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
    seconds: float
    """What compiling took."""


def plan(config: Config, topology: str, price: float | None = None) -> dict[str, Any]:
    """Returns what a run of the config on the slice needs, by the names that `--json` prints.

    `price` is of a chip for an hour, in whatever currency. Raises UserError for a topology that there is not, a mesh
    that does not fit it, a batch that the mesh does not divide, and where libtpu is missing.
    """
    devices = slice_devices(topology)
    number, limit = chips.count(devices), chips.PEAKS[devices[0].device_kind]
    cores = len(devices) // number
    usual, longest = (_shape(config, length) for length in (min(USUAL_LENGTH, config.data.max_length), None))
    steps = [compile_step(config, devices, shape) for shape in dict.fromkeys((usual, longest))]
    memory = {kind: cores * used for kind, used in max((one.memory for one in steps), key=lambda m: m["total"]).items()}
    fits = all(one.bytes is not None for one in steps) and memory["total"] <= limit.memory
    flops = chips.model_flops(_sized(config).model, *usual) / number
    seconds = roofline(flops, float((steps[0].bytes or 0) * cores), steps[0].collectives or {}, limit, cores)
    needed = max(seconds.values())
    return {
        "config": config.name,
        "topology": topology,
        "chips": number,
        "chip": devices[0].device_kind,
        "mesh": dict(make_mesh(config.mesh, devices).shape),
        "batch": {"rows": usual.rows, "source": usual.source, "target": usual.target},
        "longest_batch": {"rows": longest.rows, "source": longest.source, "target": longest.target},
        "fits": fits,
        "memory_bytes": {**memory, "capacity": limit.memory},
        "flops_per_step": flops,
        "bytes_per_step": None if steps[0].bytes is None else steps[0].bytes * cores,
        "roofline_seconds": needed,
        "roofline_parts": seconds,
        "model_flops_utilisation_bound": flops / limit.flops / needed,
        "collectives": steps[0].collectives,
        "goals": [goal(steps, needed, number, price) for steps in GOALS],
        "compile_seconds": round(sum(one.seconds for one in steps), 1),
        "suggestion": None if fits else suggestion(memory, limit.memory, config, len(devices)),
    }


def slice_devices(topology: str) -> list[Any]:
    """Returns the devices of a slice such as `v5e:4x4`; nothing can be run on them, only compiled for them."""
    name = re.fullmatch(r"(\w+):(\d+(?:x\d+){1,2})", topology)
    if not name or name[1] not in FAMILIES:
        known = ", ".join(f"{family}:{example}" for family, example in FAMILIES.items())
        raise UserError(f"--topology {topology} is not known; the families are, with an example each, {known}")
    sides = [int(side) for side in name[2].split("x")]
    if any(side != 1 and side % 2 for side in sides) or 0 in sides:
        raise UserError(f"--topology {topology}: sides of a slice are 1 or even, as in {name[1]}:{FAMILIES[name[1]]}")
    # A host has a square of four chips where the slice has room for it.
    bounds = tuple(2 if side > 1 and axis < 2 else 1 for axis, side in enumerate([*sides, 1][:3]))
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # libtpu would ask the cloud what machine this is
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # its lock is for chips, and a plan uses none
    from jax.experimental import topologies

    try:
        import libtpu  # noqa: F401  # pyright: ignore[reportMissingImports]  only the extra brings it
    except ImportError:
        raise UserError("libtpu, the TPU's compiler, is not installed: pip install 'wmt-transformer[tpu]'") from None
    try:
        with _quiet():
            found = topologies.get_topology_desc(platform="tpu", topology_name=topology, chips_per_host_bounds=bounds)
    except (jax.errors.JaxRuntimeError, RuntimeError) as error:
        raise UserError(f"--topology {topology}: libtpu says {str(error).splitlines()[0]}") from None
    return list(found.devices)


def compile_step(config: Config, devices: Sequence[Any], shape: Shape) -> Compiled:
    """Compiles the train step for these devices on shapes alone, as `loop.train` would for real arrays."""
    begin = time.monotonic()
    lowered, state = lower_step(config, devices, shape)
    parameters, moments = _bytes(state.params), _bytes(state.optimizer)
    try:
        with uncached():
            compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        memory = _with_total(parameters, moments, asked_for(error, parameters + moments), 0)
        return Compiled(shape, memory, None, None, time.monotonic() - begin)
    used, program = compiled.memory_analysis(), hlo.parse(compiled.as_text())
    arguments = (
        used.argument_size_in_bytes - parameters - moments + used.output_size_in_bytes - used.alias_size_in_bytes
    )
    memory = _with_total(parameters, moments, used.temp_size_in_bytes + arguments, used.generated_code_size_in_bytes)
    seconds = time.monotonic() - begin
    return Compiled(shape, memory, hlo.memory_traffic(program), hlo.collectives(program), seconds)


def lower_step(config: Config, devices: Sequence[Any], shape: Shape) -> tuple[Any, TrainState]:
    """Returns the train step for these devices, ready to be compiled, and the shapes of the state it takes."""
    config = _sized(config)
    mesh = make_mesh(config.mesh, devices)
    check_rows(config.data.batch_multiple, mesh)
    model, update = build(config.model), optimizer(config.train, config.model.d_model)
    with jax.set_mesh(mesh):
        state, rows = abstract_state(model, update, mesh), by_rows(mesh)
        sides = (jax.ShapeDtypeStruct((shape.rows, length), np.int32, sharding=rows) for length in shape[1:])
        step: Any = make_train_step(model, update, config.train, mesh)
        return step.lower(state, Batch(*sides)), state  # pyright: ignore[reportArgumentType]  shapes only


def roofline(
    flops: float, moved: float, collectives: dict[str, dict[str, int]], limit: chips.Peak, cores: int = 1
) -> dict[str, float]:
    """Returns the seconds that arithmetic, memory and transfers of a step take on one chip at its peak figures.

    In a ring of many chips every byte of an all-reduce goes out twice (to be added, and added up), others' once.
    `collectives` are of one of the chip's `cores`.
    """
    sent = sum((2 if kind == "all-reduce" else 1) * one["bytes"] for kind, one in collectives.items())
    return {
        "compute": flops / limit.flops,
        "memory": moved / limit.bandwidth,
        "interconnect": sent * cores / limit.interconnect,
    }


def goal(steps: int, seconds: float, number: int, price: float | None) -> dict[str, Any]:
    """Returns hours for so many steps, hours of all chips together, and what these cost."""
    hours = steps * seconds / 3600
    return {
        "steps": steps,
        "hours": hours,
        "chip_hours": hours * number,
        "cost": None if price is None else hours * number * price,
    }


def suggestion(memory: dict[str, int], capacity: int, config: Config, devices: int) -> str:
    """Returns which setting would make it fit: fsdp where parameters and moments are too much, else accumulation."""
    fixed = memory["parameters"] + memory["optimizer"] + memory["program"]
    if fixed > capacity // 2:
        shares = [n for n in range(2, devices + 1) if devices % n == 0 and n > config.mesh.fsdp]
        split = next((n for n in shares if fixed * config.mesh.fsdp / n <= capacity // 2), None)
        return f"--mesh.fsdp {split}" if split else "a larger slice: with --mesh.fsdp over all of it"
    factor = 2 ** math.ceil(math.log2(max(memory["activations"] / (0.9 * capacity - fixed), 1.001)))
    return f"--train.accumulation {config.train.accumulation * factor}"


def _sized(config: Config) -> Config:
    """Returns the config with what is known only where it runs: what a TPU does, and the vocabulary as asked for."""
    dtype = "bfloat16" if config.model.compute_dtype == "auto" else config.model.compute_dtype
    attention = "fused" if config.model.attention == "auto" else config.model.attention
    vocabulary_size = config.data.vocabulary_size
    model = dataclasses.replace(config.model, vocabulary_size=vocabulary_size, compute_dtype=dtype, attention=attention)
    return dataclasses.replace(config, model=model)


def _shape(config: Config, length: int | None) -> Shape:
    """Returns the batch of sentences of one length, by default of the longest."""
    data, length = config.data, length or config.data.max_length
    multiple = data.batch_multiple * config.train.accumulation
    if config.model.architecture == "decoder_only":  # every batch has the same shape
        rows = most_rows(1, data.context, data.target_tokens, data.target_tokens, multiple)
        return Shape(rows, 1, data.context)
    return Shape(most_rows(length, length, data.source_tokens, data.target_tokens, multiple), length, length)


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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back what libtpu writes to standard error when it finds no TPU: it is not looked for."""
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
