"""Measures how the cost of training and decoding grows: one page of curves with fitted exponents.

    python benchmarks/growth.py [--curves rows,length,…] [--json]

A small model (128/256/4, one layer on each side, vocabulary 8,000, float32) is varied in one thing at a time. Time is
the processor's, on one core, the least of several runs. Memory is what the compiler reserves for a training step
beside parameters, moments and the batch. Under each curve stands the exponent p of x^p that fits its last three points
best: 1 is linear. The page is written to benchmarks/growth.png, and every point to benchmarks/results/growth.json.

Decoding with a cache does the same work for every position but for attention to those before it: n steps cost
a n + b n², with b so small here that the exponent stays near 1. Without a cache it would be two or more.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core, before anything starts threads
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np  # noqa: E402

from wmt_transformer.config import DecodeConfig, MeshConfig, ModelConfig, TrainConfig  # noqa: E402
from wmt_transformer.data.batches import Batch  # noqa: E402
from wmt_transformer.special_tokens import EOS  # noqa: E402

SMALL = ModelConfig(
    vocabulary_size=8000, num_layers=1, d_model=128, d_ff=256, num_heads=4, d_k=32, d_v=32, compute_dtype="float32"
)
HERE = Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True)
class Curve:
    """What is varied, its values, and what is measured of each: quantities by name."""

    title: str
    values: tuple[int, ...]
    measure: Callable[[int], dict[str, float]]


def train_step(model: ModelConfig = SMALL, rows: int = 32, length: int = 32) -> dict[str, float]:
    """Returns seconds and bytes of memory of one training step."""
    from wmt_transformer.model.transformer import Transformer
    from wmt_transformer.train.optimizer import optimizer
    from wmt_transformer.train.sharding import make_mesh, place_batch
    from wmt_transformer.train.state import initial_state
    from wmt_transformer.train.step import make_train_step

    transformer, mesh, settings = Transformer(model), make_mesh(MeshConfig()), TrainConfig()
    update = optimizer(settings, model.d_model)
    state: Any = initial_state(transformer, update, mesh, seed=1)
    batch = place_batch(Batch(*random_tokens((2, rows, length), model.vocabulary_size)), mesh)
    step: Any = make_train_step(transformer, update, settings, mesh)
    compiled = step.lower(state, batch).compile()

    def once() -> None:
        nonlocal state
        state, _ = compiled(state, batch)
        int(state.step)

    return {"seconds": least(once), "bytes": compiled.memory_analysis().temp_size_in_bytes}


def decode(rows: int = 8, beam_size: int = 4, length: int = 32) -> dict[str, float]:
    """Returns seconds of the beam search of `rows` sources of 16 tokens for outputs of `length`."""
    import jax

    from wmt_transformer.decode import batched
    from wmt_transformer.decode.lines import Part
    from wmt_transformer.model.transformer import Transformer

    sources = random_tokens((rows, 16), SMALL.vocabulary_size).tolist()
    params = jax.jit(Transformer(SMALL).init)(jax.random.key(1), *[np.ones((1, 1), np.int32)] * 2)["params"]
    parts = [Part(line, 0, "", source, [], 0) for line, source in enumerate(sources, 1)]
    settings = DecodeConfig(beam_size=beam_size, extra_length=length - 16)

    def once() -> None:
        outputs = batched.decode((SMALL,), (params,), parts, batched.Request(settings))
        assert {len(output.ids) for [output] in outputs} == {length}  # random weights never end by themselves

    once()  # compiles
    return {"seconds": least(once)}


def random_tokens(shape: tuple[int, ...], vocabulary_size: int) -> np.ndarray:
    """Returns int32 ids of pieces, EOS last in every row."""
    tokens = np.random.default_rng(0).integers(4, vocabulary_size, shape, dtype=np.int32)
    tokens[..., -1] = EOS
    return tokens


def least(work: Callable[[], None]) -> float:
    """Returns the least processor time of `work` over runs of a second together, three or more."""
    times: list[float] = []
    while len(times) < 3 or sum(times) < 1:
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


CURVES = {
    "rows": Curve("training: rows of 32", (16, 32, 64, 128), lambda n: train_step(rows=n)),
    "length": Curve("training: length, 16 rows", (32, 64, 128, 256), lambda n: train_step(rows=16, length=n)),
    "layers": Curve(
        "training: layers", (1, 2, 4, 8), lambda n: train_step(dataclasses.replace(SMALL, num_layers=n), rows=16)
    ),
    "vocabulary": Curve(
        "training: vocabulary",
        (4000, 8000, 16000, 32000),
        lambda n: train_step(dataclasses.replace(SMALL, vocabulary_size=n)),
    ),
    "output": Curve("decoding: output length", (16, 32, 64, 128), lambda n: decode(length=n)),
    "beam": Curve("decoding: beam size", (1, 4, 8, 16), lambda n: decode(beam_size=n)),
    "sentences": Curve("decoding: sentences", (2, 8, 32, 128), lambda n: decode(rows=n)),
}


def exponent(values: list[int], measured: list[float]) -> float:
    """Returns the p of the x^p that fits the last three points best."""
    return float(np.polyfit(np.log(values[-3:]), np.log(measured[-3:]), 1)[0])


def page(report: dict[str, Any]) -> Any:
    """Returns a figure: one plot a curve and quantity, on logarithmic axes, beside a dashed line that is linear."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator

    plots = [(name, of, curve) for name, curve in report.items() for of in curve["exponents"] if wanted(name, of)]
    figure, axes = pyplot.subplots(-(-len(plots) // 3), 3, figsize=(12, 3.4 * -(-len(plots) // 3)), squeeze=False)
    for axis in axes.flat[len(plots) :]:
        axis.remove()
    for axis, (name, of, curve) in zip(axes.flat, plots, strict=False):
        scale, unit = (1e3, "ms") if of == "seconds" else (2**-20, "MiB")
        y = np.array(curve[of]) * scale
        axis.plot(curve["values"], y, "o-")
        axis.plot(curve["values"], y[-1] * np.array(curve["values"]) / curve["values"][-1], "--", color="0.7")
        axis.set(xscale="log", yscale="log", ylabel=unit, ylim=(y.min() / 1.5, y.max() * 1.5))
        axis.set_xticks(curve["values"], map(str, curve["values"]))
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
        memory = "memory, " if of == "bytes" else ""
        axis.set_title(f"{memory}{CURVES[name].title}: exponent {curve['exponents'][of]:.2f}", fontsize=10)
    figure.tight_layout()
    return figure


def wanted(name: str, of: str) -> bool:
    """Whether a quantity of a curve is shown: memory against rows and length only."""
    return of == "seconds" or name in ("rows", "length")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", default=",".join(CURVES), help="with commas between (default: all)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args()
    report: dict[str, Any] = {}
    for name in options.curves.split(","):
        curve = CURVES[name]
        points = []
        for value in curve.values:
            points.append(curve.measure(value))
            print(f"{curve.title}: {value}: {points[-1]}", file=sys.stderr, flush=True)
        measured = {of: [point[of] for point in points] for of in points[0]}
        exponents = {of: exponent(list(curve.values), numbers) for of, numbers in measured.items()}
        report[name] = {"values": list(curve.values), **measured, "exponents": exponents}
    page(report).savefig(HERE / "growth.png", dpi=110)
    (HERE / "results" / "growth.json").write_text(json.dumps(report, indent=1) + "\n")
    if options.json:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
