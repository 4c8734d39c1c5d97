"""The verb `plan`: what a run would need of accelerators, before any is rented."""

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
    sub.add_argument("--topology", required=True, metavar="T", help="v5e:2x4, v5p:2x2x2, h100:8, h100:2x8, …")
    sub.add_argument("--price-per-chip-hour", type=float, metavar="P", help="for the cost, in any currency")
    sub.add_argument("--json", action="store_true", help="print one JSON object")


def plan(options: argparse.Namespace, overrides: list[str]) -> None:
    """Compiles the train step for TPUs or GPUs that are not there: memory, time, transfers and cost."""
    settings = experiment.override(experiment.load(options.config), overrides)
    # Only compiled: where libtpu is installed JAX would look for a TPU here, and say so at length.
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA warns of a compile that takes over two minutes
    from wmt_transformer.plan.report import plan as make

    found = make(settings, options.topology, options.price_per_chip_hour, say)
    print(json.dumps(found) if options.json else screen(found))


def screen(found: dict[str, Any]) -> str:
    """Returns the plan as a table for people."""
    memory, batch, longest = found["memory_bytes"], found["batch"], found["longest_batch"]
    used = ", ".join(f"{kind} {_giga(memory[kind])}" for kind in ("parameters", "optimizer", "activations", "program"))
    moved = "not known" if found["bytes_per_step"] is None else _giga(found["bytes_per_step"])
    launched = "" if found["kernels_per_step"] is None else f", {found['kernels_per_step']:,} kernels"
    rows = [
        ("accelerators", f"{found['topology']}, {found['chips']} x {found['chip']}, mesh {_named(found['mesh'])}"),
        *((f"{where}", _link(link)) for where, link in found["links"].items()),
        ("batch", f"{_named(batch)}; the longest {_named(longest)}"),
        ("fits", f"{'yes' if found['fits'] else 'NO'}: {_giga(memory['total'])} of {_giga(memory['capacity'])} a chip"),
        ("memory", used),
        ("a step", f"{found['flops_per_step'] / 1e12:.3g} TFLOP, {moved} of memory traffic{launched} a chip"),
    ]
    if found["suggestion"]:
        rows.append(("try", found["suggestion"]))
    if found["bytes_per_step"] is not None:
        rows += _times(found)
    rows.append(("compiled in", f"{found['compile_seconds']:.0f} s"))
    return "\n".join(f"{name:<20}{text}" for name, text in rows)


def _times(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns the rows on a step's time, its transfers, and the hours and the cost of a run."""
    parts = ", ".join(f"{name} {1e3 * seconds:.3g} ms" for name, seconds in found["roofline_parts"].items() if seconds)
    rows = [
        ("at least", f"{1e3 * found['roofline_seconds']:.3g} ms a step: {parts}"),
        ("MFU", f"at most {found['model_flops_utilisation_bound']:.0%} of the chips' peak"),
    ]
    if found["likely_seconds"] is not None:
        taken = found["likely_assumes"]
        shares = f"{taken['bandwidth']:.0%} of bandwidth, {taken['flops']:.0%} of arithmetic"
        text = f"{1e3 * found['likely_seconds']:.3g} ms a step, with {shares}, {1e6 * taken['launch']:.3g} µs a kernel"
        rows.append(("likely", f"{text} ({taken['source']})"))
    for kind, one in (found["collectives"] or {}).items():
        rows.append((kind, f"{one['count']} a step, {_giga(one['bytes'])} a device"))
    for goal in found["goals"]:
        cost = "" if goal["cost"] is None else f", cost {goal['cost']:,.2f}"
        text = f"at least {goal['hours']:.3g} hours ({goal['chip_hours']:.3g} chip hours{cost})"
        if goal["likely_hours"] is not None:
            cost = "" if goal["likely_cost"] is None else f", cost {goal['likely_cost']:,.2f}"
            text += f"; likely {goal['likely_hours']:.3g} hours{cost}"
        rows.append((f"{goal['steps'] // 1000}K steps", text))
    return rows


def _link(link: dict[str, Any]) -> str:
    return f"{link['name']}, {_giga(link['bandwidth'])}/s out of a chip ({link['source']})"


def _giga(count: float | int) -> str:
    return f"{count / 1e9:.3g} GB"


def _named(numbers: dict[str, int]) -> str:
    return " x ".join(f"{name} {number}" for name, number in numbers.items())
