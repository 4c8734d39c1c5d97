"""What a run would need of a TPU slice that is not there: memory, operations, transfers, time and cost.

The real train step is compiled ahead of time by libtpu for the slice's devices; no array is made. Two batches are
compiled, as memory and time depend on the shape: the longest sentences that the config takes, and a usual length. All
figures are of one chip. Times are a roofline: what the chip's peak figures allow if arithmetic, memory and transfers
overlap fully. A real step is slower; no plan can say by how much.
"""

from __future__ import annotations

import math
from typing import Any

from wmt_transformer.config import Config
from wmt_transformer.data.shapes import Shape, most_rows
from wmt_transformer.plan.compiled import compile_step, sized
from wmt_transformer.plan.roofline import roofline
from wmt_transformer.plan.topologies import devices_of
from wmt_transformer.train import chips
from wmt_transformer.train.sharding import make_mesh

USUAL_LENGTH = 32
"""Pieces a sentence; WMT14's English has 27 words on average."""
GOALS = (100_000, 300_000)
"""Steps of base and of big (§5.2)."""


def plan(config: Config, topology: str, price: float | None = None) -> dict[str, Any]:
    """Returns what a run of the config on the slice needs, by the names that `--json` prints.

    `price` is of a chip for an hour, in whatever currency. Raises UserError for a topology that there is not, a mesh
    that does not fit it, a batch that the mesh does not divide, and where libtpu is missing.
    """
    devices = devices_of(topology)
    number, limit = chips.count(devices), chips.PEAKS[devices[0].device_kind]
    cores = len(devices) // number
    usual, longest = (_shape(config, length) for length in (min(USUAL_LENGTH, config.data.max_length), None))
    steps = [compile_step(config, devices, shape) for shape in dict.fromkeys((usual, longest))]
    memory = {kind: cores * used for kind, used in max((one.memory for one in steps), key=lambda m: m["total"]).items()}
    fits = all(one.bytes is not None for one in steps) and memory["total"] <= limit.memory
    flops = chips.model_flops(sized(config).model, *usual) / number
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


def _shape(config: Config, length: int | None) -> Shape:
    """Returns the batch of sentences of one length, by default of the longest."""
    data, length = config.data, length or config.data.max_length
    multiple = data.batch_multiple * config.train.accumulation
    if config.model.architecture == "decoder_only":  # every batch has the same shape
        rows = most_rows(1, data.context, data.target_tokens, data.target_tokens, multiple)
        return Shape(rows, 1, data.context)
    return Shape(most_rows(length, length, data.source_tokens, data.target_tokens, multiple), length, length)
