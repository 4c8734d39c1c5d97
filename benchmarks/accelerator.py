"""Counts what a training step asks of a TPU chip, by the TPU's own compiler; no TPU is needed.

    python benchmarks/accelerator.py [--size base|big] [--topology v5e:1x1] [--rows 32] [--length 256] [--json]

Any field of the config can be changed, as in --model.attention explicit.

The step is compiled for one chip in bfloat16 with the vocabulary of 37,000 and dropout 0.1. XLA's `bytes accessed` adds
up what every operation reads and writes, the memory on the chip included, and counts a loop's body once; here it
counts as often as it runs. `traffic` is what goes to and from main memory (train/hlo.py). The figures of flax's WMT
example beside it are of its step compiled by the same compiler on the same batch. libtpu comes with the `tpu` extra; a
compile takes two minutes on a free core.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"  # only compiled for a TPU, which is not looked for

from wmt_transformer import config, experiment
from wmt_transformer.data.shapes import Shape
from wmt_transformer.plan import compiled as ahead
from wmt_transformer.plan import hlo, topologies
from wmt_transformer.train import chips

FLAX = {
    "base": {"flops": 3.64e12, "bytes_accessed": 4.90e10, "traffic": 1.36e10, "temporaries": 2.80e9},
    "big": {"flops": 1.16e13, "bytes_accessed": 8.10e10, "traffic": 3.13e10, "temporaries": 4.75e9},
}
"""Of flax 0.8.5's example, its dropout keys threefry's and 0.1 of the attention weights dropped, as it comes."""


def count(settings: config.Config, topology: str, shape: Shape) -> dict[str, Any]:
    """Returns what one step asks of one device: operations, bytes by XLA's count and to main memory, temporaries."""
    devices = topologies.slice_devices(topology)
    lowered, _ = ahead.lower_step(settings, devices, shape)
    with ahead.uncached():
        compiled = lowered.compile()
    counts, program = compiled.cost_analysis(), hlo.parse(compiled.as_text())
    model, loops = settings.model, [times for _, times in program.running() if times > 1]
    # The one loop is the loss's, around the vocabulary product and its two gradients.
    missing = 6 * shape.rows * shape.target * model.d_model * model.vocabulary_size / len(devices)
    missing *= 1 - 1 / max(loops, default=1)
    return {
        "device": devices[0].device_kind,
        "flops": counts["flops"] + missing,
        "model_flops": chips.model_flops(model, *shape) / len(devices),
        "bytes_accessed": counts["bytes accessed"] + further_trips(program),
        "traffic": hlo.memory_traffic(program),
        "temporaries": compiled.memory_analysis().temp_size_in_bytes,
        "collectives": hlo.collectives(program),
    }


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
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options, overrides = parser.parse_known_args()
    settings = experiment.override(
        experiment.load(f"wmt14_en_de_{options.size}"), ["--model.dropout", "0.1", *overrides]
    )
    ours = count(settings, options.topology, Shape(options.rows, options.length, options.length))
    flax = FLAX.get(options.size) if (options.rows, options.length) == (32, 256) else None
    if options.json:
        print(json.dumps({"size": options.size, "topology": options.topology, "ours": ours, "flax": flax}))
        return
    for name, value in ours.items():
        compared = f"  {value / flax[name]:.2f} x flax's {flax[name]:.3g}" if flax and name in flax else ""
        print(f"{name:<16}{value if isinstance(value, (str, dict)) else format(value, '.3g')}{compared}")


if __name__ == "__main__":
    main()
