"""The verb `plan`: what a run would need of a TPU slice, before any is rented."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from wmt_transformer import experiment
from wmt_transformer.cli.parser import AddVerb
from wmt_transformer.cli.streams import say


def add(verb: AddVerb) -> None:
    """Adds the verb to the command line."""
    sub = verb(
        plan, epilog="Any field can be changed, above all --mesh.fsdp 4, --train.accumulation 2.", overridable=True
    )
    sub.add_argument("config", metavar="CONFIG", help="name of a shipped config, or path of a config file")
    sub.add_argument("--topology", required=True, metavar="T", help="the slice: v5e:4x4, v5e:1x1, v5p:2x2x2, …")
    sub.add_argument("--price-per-chip-hour", type=float, metavar="P", help="for the cost, in any currency")
    sub.add_argument("--json", action="store_true", help="print one JSON object")


def plan(options: argparse.Namespace, overrides: list[str]) -> None:
    """Compiles the train step for a TPU slice that is not there: memory, time, transfers and cost."""
    settings = experiment.override(experiment.load(options.config), overrides)
    # Only compiled for a TPU: where libtpu is installed JAX would look for one here, and say so at length.
    os.environ["JAX_PLATFORMS"] = "cpu"
    from wmt_transformer.plan.report import plan as make

    say(f"compiling {settings.name} for {options.topology}: a minute or more for each of two batches")
    found = make(settings, options.topology, options.price_per_chip_hour)
    print(json.dumps(found) if options.json else screen(found))


def screen(found: dict[str, Any]) -> str:
    """Returns the plan as a table for people."""
    memory, parts, batch, longest = (
        found[name] for name in ("memory_bytes", "roofline_parts", "batch", "longest_batch")
    )
    used = ", ".join(f"{kind} {_giga(memory[kind])}" for kind in ("parameters", "optimizer", "activations", "program"))
    moved = "not known" if found["bytes_per_step"] is None else _giga(found["bytes_per_step"])
    rows = [
        ("slice", f"{found['topology']}, {found['chips']} chips ({found['chip']}), mesh {_named(found['mesh'])}"),
        ("batch", f"{_named(batch)}; the longest {_named(longest)}"),
        ("fits", f"{'yes' if found['fits'] else 'NO'}: {_giga(memory['total'])} of {_giga(memory['capacity'])} a chip"),
        ("memory", used),
        ("a step", f"{found['flops_per_step'] / 1e12:.3g} TFLOP and {moved} of memory traffic a chip"),
    ]
    if found["suggestion"]:
        rows.append(("try", found["suggestion"]))
    if found["bytes_per_step"] is not None:
        times = ", ".join(f"{name} {1e3 * seconds:.3g} ms" for name, seconds in parts.items())
        rows += [
            ("at least", f"{1e3 * found['roofline_seconds']:.3g} ms a step: {times}"),
            ("MFU", f"at most {found['model_flops_utilisation_bound']:.0%} of the chips' peak"),
        ]
        for kind, one in (found["collectives"] or {}).items():
            rows.append((kind, f"{one['count']} a step, {_giga(one['bytes'])} a device"))
        for goal in found["goals"]:
            cost = "" if goal["cost"] is None else f", cost {goal['cost']:,.2f}"
            text = f"at least {goal['hours']:.3g} hours ({goal['chip_hours']:.3g} chip hours{cost})"
            rows.append((f"{goal['steps'] // 1000}K steps", text))
    rows.append(("compiled in", f"{found['compile_seconds']:.0f} s"))
    return "\n".join(f"{name:<20}{text}" for name, text in rows)


def _giga(count: float) -> str:
    return f"{count / 1e9:.3g} GB"


def _named(numbers: dict[str, int]) -> str:
    return " x ".join(f"{name} {number}" for name, number in numbers.items())
