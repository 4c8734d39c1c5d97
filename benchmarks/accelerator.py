"""Counts what a training step asks of a TPU chip or an NVIDIA card, by its own compiler; none has to be there.

    python benchmarks/accelerator.py [--size base|big] [--topology v5e:1x1] [--rows 32] [--length 256] [--json]
    python benchmarks/accelerator.py --topology h100:1 --rows 384 --length 64 [--kernels 20] [--hlo FILE]

Any field of the config can be changed, as in --model.attention explicit.

The step is compiled for one device in bfloat16 with the vocabulary of 37,000 and dropout 0.1. `traffic` is what goes to
and from main memory (plan/hlo.py). Loops are counted as often as they run.

For a TPU, XLA's `bytes accessed` adds up what every operation reads and writes, the memory on the chip included. The
figures of flax's WMT example beside it are of its step compiled by the same compiler on the same batch.

For a card, `kernels` are the launches and `floor_ms` is the sum over them of the slower of memory and arithmetic at the
card's peak; `likely_ms` takes what train/chips.py assumes of a real one. --kernels N lists the N kinds of kernels that
take longest.

libtpu comes with the `tpu` extra, the compiler for cards with `cuda` (about 3 GB); a compile takes a minute or two on a
free core.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"  # only compiled for an accelerator, which is not looked for

from wmt_transformer import config, experiment
from wmt_transformer.data.shapes import Shape
from wmt_transformer.plan import compiled as ahead
from wmt_transformer.plan import hlo, topologies
from wmt_transformer.plan import kernels as launched
from wmt_transformer.train import chips

FLAX = {
    "base": {"flops": 3.64e12, "bytes_accessed": 4.90e10, "traffic": 1.36e10, "temporaries": 2.80e9},
    "big": {"flops": 1.16e13, "bytes_accessed": 8.10e10, "traffic": 3.13e10, "temporaries": 4.75e9},
}
"""Of flax 0.8.5's example, its dropout keys threefry's and 0.1 of the attention weights dropped, as it comes."""


def count(settings: config.Config, topology: str, shape: Shape) -> tuple[dict[str, Any], hlo.Program, str]:
    """Returns what one step asks of one device, its program, and the program's text."""
    devices = topologies.devices_of(topology)
    lowered, _ = ahead.lower_step(settings, devices, shape)
    compiled = ahead.compile_ahead(lowered, devices)
    text = compiled.as_text()
    program, used = hlo.parse(text), compiled.memory_analysis()
    of_kind = on_card if devices[0].platform == "gpu" else on_tpu
    counted = {
        "device": devices[0].device_kind,
        "model_flops": chips.model_flops(settings.model, *shape) / len(devices),
        "traffic": hlo.memory_traffic(program),
        "temporaries": used.temp_size_in_bytes,
        "collectives": hlo.collectives(program),
        **of_kind(settings, compiled, program, shape, devices),
    }
    return counted, program, text


def on_card(
    settings: config.Config, compiled: Any, program: hlo.Program, shape: Shape, devices: list[Any]
) -> dict[str, Any]:
    """Returns operations, kernels and their time on a card, one after another."""
    found, limit = launched.kernels(program), chips.PEAKS[devices[0].device_kind]
    real = chips.achieved(devices[0].device_kind)
    return {
        "flops": sum(one.times * one.flops for one in found),
        "kernels": launched.launches(found),
        "floor_ms": 1e3 * launched.seconds(found, limit.flops, limit.bandwidth),
        "likely_ms": 1e3 * launched.seconds(found, *real.rates(limit), real.launch),
    }


def on_tpu(
    settings: config.Config, compiled: Any, program: hlo.Program, shape: Shape, devices: list[Any]
) -> dict[str, Any]:
    """Returns operations, and bytes by XLA's count."""
    counts = compiled.cost_analysis()
    model, loops = settings.model, [times for _, times in program.running() if times > 1]
    # The one loop is the loss's, around the vocabulary product and its two gradients.
    missing = 6 * shape.rows * shape.target * model.d_model * model.vocabulary_size / len(devices)
    missing *= 1 - 1 / max(loops, default=1)
    return {
        "flops": counts["flops"] + missing,
        "bytes_accessed": counts["bytes accessed"] + further_trips(program),
    }


def longest(program: hlo.Program, limit: chips.Peak, most: int) -> list[str]:
    """Returns a line for each of the kinds of kernels that take longest: times, GB, milliseconds, and an example."""
    groups: dict[tuple[str, int, int], list[launched.Kernel]] = {}
    for one in launched.kernels(program):
        stem = one.name.rstrip("0123456789.")
        groups.setdefault((stem, one.bytes, one.flops), []).append(one)

    def cost(group: list[launched.Kernel]) -> float:
        return launched.seconds(group, limit.flops, limit.bandwidth)

    ranked = sorted(groups.values(), key=cost, reverse=True)[:most]
    return [
        f"{1e3 * cost(group):8.3f} ms {launched.launches(group):6} x {group[0].bytes / 1e6:10.2f} MB "
        f"{group[0].flops / 1e9:9.2f} GFLOP  {group[0].kind}  {group[0].name}"
        for group in ranked
    ]


def further_trips(program: hlo.Program) -> int:
    """Returns the bytes that operations in loops read and write in all trips but the first."""
    total = 0
    for body, times in program.running():
        for one in body.values():
            if times > 1 and one.opcode not in hlo.FREE and not one.opcode.endswith(("-start", "-done")):
                read = sum(hlo.size(body[name].type) for name in one.operands if name in body)
                total += (times - 1) * (read + hlo.size(one.type))
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["base", "big"], default="base")
    parser.add_argument("--topology", default="v5e:1x1")
    parser.add_argument("--rows", type=int, default=32, help="sentence pairs, of all chips together (default: 32)")
    parser.add_argument("--length", type=int, default=256, help="slots of each side (default: 256)")
    parser.add_argument("--kernels", type=int, default=0, metavar="N", help="list the N kinds that take longest")
    parser.add_argument("--hlo", metavar="FILE", help="write the compiled program there")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options, overrides = parser.parse_known_args()
    settings = experiment.override(
        experiment.load(f"wmt14_en_de_{options.size}"), ["--model.dropout", "0.1", *overrides]
    )
    shape = Shape(options.rows, options.length, options.length)
    ours, program, text = count(settings, options.topology, shape)
    if options.hlo:
        Path(options.hlo).write_text(text)
    compared_with = options.topology == "v5e:1x1" and (options.rows, options.length) == (32, 256)
    flax = FLAX.get(options.size) if compared_with else None
    if options.json:
        print(json.dumps({"size": options.size, "topology": options.topology, "ours": ours, "flax": flax}))
        return
    for name, value in ours.items():
        compared = f"  {value / flax[name]:.2f} x flax's {flax[name]:.3g}" if flax and name in flax else ""
        print(f"{name:<16}{value if isinstance(value, (str, dict)) else format(value, '.4g')}{compared}")
    for line in longest(program, chips.PEAKS[ours["device"]], options.kernels):
        print(line)


if __name__ == "__main__":
    main()
