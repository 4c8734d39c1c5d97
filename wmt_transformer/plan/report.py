"""What a run would need of accelerators that are not there: memory, operations, transfers, time and cost.

The real train step is compiled ahead of time, by libtpu for a TPU slice and by JAX's CUDA plugin for NVIDIA's cards; no
array is made. Two batches are compiled, as memory and time depend on the shape: the longest sentences that the config
takes, and a usual length. All figures are of one chip. `at least` is a roofline: what the chip's peak figures allow if
arithmetic, memory and transfers overlap fully; on a card, whose kernels run one after another, it is at least the sum
of theirs. A real step is slower. How much slower is assumed for cards (`chips.ASSUMED`), or known where one was
measured; for TPUs nothing is assumed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

from wmt_transformer.config import Config, UserError
from wmt_transformer.data.shapes import Shape, most_rows
from wmt_transformer.plan import kernels
from wmt_transformer.plan.compiled import Compiled, compile_step, sized
from wmt_transformer.plan.roofline import likely, roofline
from wmt_transformer.plan.topologies import devices_of, machines
from wmt_transformer.train import chips
from wmt_transformer.train.sharding import check_rows, make_mesh

USUAL_LENGTH = 32
"""Pieces a sentence; WMT14's English has 27 words on average."""
GOALS = (100_000, 300_000)
"""Steps of base and of big (§5.2)."""
MEMORY_SHARE = "XLA_PYTHON_CLIENT_MEM_FRACTION"
"""JAX takes this much of a card's memory when it starts, 0.75 by default, and no more later (docs.jax.dev)."""
MOST_SHARE = 0.95
"""What can be asked for: CUDA and its libraries need the rest."""


def plan(
    config: Config, topology: str, price: float | None = None, progress: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Returns what a run of the config on the topology needs, by the names that `--json` prints.

    `price` is of a chip for an hour, in whatever currency; `progress` is told what is compiled. Raises UserError for a
    topology that there is not, a mesh that does not fit it, a batch that the mesh does not divide, and where the
    compiler is missing.
    """
    devices = devices_of(topology)
    mesh, kind = make_mesh(config.mesh, devices), devices[0].device_kind
    check_rows(config.data.batch_multiple, mesh)
    number, limit, hosts = chips.count(devices), chips.PEAKS[kind], machines(topology)
    if hosts > 1 and limit.network is None:
        raise UserError(f"--topology {topology}: no figure is known of the network between machines with this card")
    cores = len(devices) // number
    usual, longest = (_shape(config, length) for length in (min(USUAL_LENGTH, config.data.max_length), None))
    steps = _compiled(config, topology, devices, list(dict.fromkeys((usual, longest))), progress)
    memory = {kind: cores * used for kind, used in max((one.memory for one in steps), key=lambda m: m["total"]).items()}
    capacity = _capacity(limit, devices[0].platform)
    fits = all(one.bytes is not None for one in steps) and memory["total"] <= capacity
    flops, step = chips.model_flops(sized(config).model, *usual) / number, steps[0]
    cards = number // hosts if hosts > 1 else 0
    parts = roofline(flops, float((step.bytes or 0) * cores), step.collectives or {}, limit, cores, cards)
    least = max(*parts.values(), kernels.seconds(step.kernels or [], limit.flops, limit.bandwidth))
    expected = None if step.kernels is None else likely(step.kernels, parts, limit, chips.achieved(kind))
    return {
        "config": config.name,
        "topology": topology,
        "chips": number,
        "machines": hosts,
        "chip": kind,
        "links": {where: link._asdict() for where, link in _links(limit, number, hosts).items()},
        "mesh": dict(mesh.shape),
        "batch": {"rows": usual.rows, "source": usual.source, "target": usual.target},
        "longest_batch": {"rows": longest.rows, "source": longest.source, "target": longest.target},
        "fits": fits,
        "memory_bytes": {**memory, "capacity": capacity, "chip": limit.memory},
        "flops_per_step": flops,
        "bytes_per_step": None if step.bytes is None else step.bytes * cores,
        **_counted(step.kernels),
        "roofline_seconds": least,
        "roofline_parts": parts,
        "model_flops_utilisation_bound": flops / limit.flops / least,
        "likely_seconds": expected,
        "likely_assumes": None if expected is None else chips.achieved(kind)._asdict(),
        "collectives": step.collectives,
        "goals": [goal(count, least, expected, number, price) for count in GOALS],
        "compile_seconds": round(sum(one.seconds for one in steps), 1),
        "suggestion": None if fits else suggestion(memory, capacity, config, len(devices), limit.memory),
    }


def _compiled(
    config: Config, topology: str, devices: list[Any], shapes: list[Shape], progress: Callable[[str], None]
) -> list[Compiled]:
    steps = []
    for which, shape in enumerate(shapes, 1):
        batch = f"{shape.rows} rows of {shape.source} + {shape.target}"
        progress(f"compiling {config.name} for {topology}, batch {which} of {len(shapes)}: {batch}; a minute or more")
        steps.append(compile_step(config, devices, shape))
        progress(f"compiled in {steps[-1].seconds:.0f} s")
    return steps


def _counted(found: list[kernels.Kernel] | None) -> dict[str, int | None]:
    """Returns what a card launches, and the operations of its matrix products; not known of a TPU's one program."""
    if found is None:
        return {"kernels_per_step": None, "compiled_flops_per_step": None}
    flops = sum(one.times * one.flops for one in found)
    return {"kernels_per_step": kernels.launches(found), "compiled_flops_per_step": flops}


def _links(limit: chips.Peak, number: int, hosts: int) -> dict[str, chips.Link]:
    """Returns the links that a step uses: between the chips of a slice or a machine, and between machines."""
    links = {"interconnect": limit.link} if number > hosts else {}
    return links | ({"network": limit.network} if hosts > 1 and limit.network else {})


def _capacity(limit: chips.Peak, platform: str) -> int:
    """Returns the bytes that a program may take on one chip."""
    return int(limit.memory * float(os.environ.get(MEMORY_SHARE, 0.75))) if platform == "gpu" else limit.memory


def goal(steps: int, least: float, expected: float | None, number: int, price: float | None) -> dict[str, Any]:
    """Returns hours for this many steps, hours of all chips together, and what these cost: at least, and likely."""
    hours, likely_hours = steps * least / 3600, None if expected is None else steps * expected / 3600

    def cost(hours: float | None) -> float | None:
        return None if price is None or hours is None else hours * number * price

    return {
        "steps": steps,
        "hours": hours,
        "chip_hours": hours * number,
        "cost": cost(hours),
        "likely_hours": likely_hours,
        "likely_cost": cost(likely_hours),
    }


def suggestion(memory: dict[str, int], capacity: int, config: Config, devices: int, whole: int) -> str:
    """Returns which setting would make it fit: more of the `whole` memory where JAX takes only a share of it, fsdp
    where parameters and moments are too much, else accumulation."""
    if capacity < memory["total"] <= MOST_SHARE * whole:
        return f"{MEMORY_SHARE}={MOST_SHARE} in the environment: JAX takes {capacity / whole:.0%} of a card's memory"
    fixed = memory["parameters"] + memory["optimizer"] + memory["program"]
    if fixed > capacity // 2:
        shares = [n for n in range(2, devices + 1) if devices % n == 0 and n > config.mesh.fsdp]
        split = next((n for n in shares if fixed * config.mesh.fsdp / n <= capacity // 2), None)
        return f"--mesh.fsdp {split}" if split else "more chips, with --mesh.fsdp over all of them"
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
