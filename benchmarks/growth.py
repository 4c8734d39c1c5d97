"""Measures how the cost of training, decoding and preparing grows: one page of curves with fitted exponents.

    python benchmarks/growth.py [--curves rows,length,…] [--most-pairs N] [--json]

The paper's base model (512/2048/8, 6 + 6 layers, vocabulary 37,000, float32) is varied in one thing at a time. Time is
the processor's, on one core, the least of two runs or more. Memory is what the compiler reserves for a training step
beside parameters, moments and the batch. The devices are simulated: the step is compiled for that many, and the bytes
that each one sends are counted. The corpora are made up: words follow Zipf's law, and one in fifty is new. `prepare` is
timed with all its processes; its memory is that of the largest one, its disk that of the finished folder. The exponent
under each curve is the p of the x^p that fits its last three points best: 1 is linear. The page is written to
benchmarks/growth.png, and every point to benchmarks/results/growth.json. Curves that were not asked for stay as they
are.

Decoding with a cache does the same work for every position but for attention to those before it: n steps cost
a n + b n², with b so small here that the exponent stays near 1. Without a cache it would be two or more.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core, before anything starts threads
os.environ.setdefault("JAX_PLATFORMS", "cpu")
DEVICES = 8
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}"

import numpy as np  # noqa: E402

from wmt_transformer.config import DecodeConfig, MeshConfig, ModelConfig, TrainConfig  # noqa: E402
from wmt_transformer.data.batches import Batch  # noqa: E402
from wmt_transformer.data.shapes import Shape  # noqa: E402
from wmt_transformer.experiment import load_config  # noqa: E402
from wmt_transformer.special_tokens import EOS  # noqa: E402

BASE = ModelConfig(compute_dtype="float32")
HERE = Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True)
class Curve:
    """What is varied, its values, and what is measured of each: quantities by name."""

    title: str
    values: tuple[int, ...]
    measure: Callable[[int], dict[str, float]]
    shown: tuple[str, ...] = ("seconds",)
    """Quantities that have a plot."""


def train_step(model: ModelConfig = BASE, rows: int = 32, length: int = 32) -> dict[str, float]:
    """Returns seconds and bytes of memory of one training step."""
    import jax

    from wmt_transformer.model.transformer import Transformer
    from wmt_transformer.train.optimizer import optimizer
    from wmt_transformer.train.sharding import make_mesh, place_batch
    from wmt_transformer.train.state import initial_state
    from wmt_transformer.train.step import make_train_step

    transformer, mesh, settings = Transformer(model), make_mesh(MeshConfig(), jax.devices()[:1]), TrainConfig()
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
    from wmt_transformer.train.sharding import make_mesh

    sources = random_tokens((rows, 16), BASE.vocabulary_size).tolist()
    params = jax.jit(Transformer(BASE).init)(jax.random.key(1), *[np.ones((1, 1), np.int32)] * 2)["params"]
    parts = [Part(line, 0, "", source, [], 0) for line, source in enumerate(sources, 1)]
    settings = DecodeConfig(beam_size=beam_size, extra_length=length - 16)

    def once() -> None:
        with jax.set_mesh(make_mesh(MeshConfig(), jax.devices()[:1])):  # else the rows go to all of the devices
            outputs = batched.decode((BASE,), (params,), parts, batched.Request(settings))
        assert {len(output.ids) for [output] in outputs} == {length}  # random weights never end by themselves

    once()  # compiles
    return {"seconds": least(once)}


def train_on(devices: int) -> dict[str, float]:
    """Returns the bytes that each device sends in a training step of 64 rows of 32, and those of its temporaries."""
    import jax

    from wmt_transformer.plan.compiled import compile_step

    config = load_config("wmt14_en_de_base", **{"model.compute_dtype": "float32", "data.batch_multiple": DEVICES})
    found = compile_step(config, jax.devices()[:devices], Shape(64, 32, 32))
    assert found.collectives is not None
    return {"sent": sum(kind["bytes"] for kind in found.collectives.values()), "bytes": found.memory["activations"]}


def prepare(pairs: int) -> dict[str, float]:
    """Returns what `prepare` takes for this many made-up pairs: processor seconds, bytes of memory, bytes on disk."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        for split, number in (("train", pairs), ("dev", 100)):
            with (folder / f"{split}.tsv").open("w", encoding="utf-8") as out:
                out.writelines(made_up(number, split))
        command = [sys.executable, "-m", "wmt_transformer", "prepare", "wmt14_en_de_base", "--workdir", folder / "run"]
        command += ["--data.corpus", "files", "--data.path", folder, "--data.train_files", "train.tsv"]
        child = subprocess.Popen([*command, "--data.dev_files", "dev.tsv", "--data.test_files", "dev.tsv"])
        _, status, used = os.wait4(child.pid, 0)
        assert status == 0
        disk = sum(path.stat().st_size for path in (folder / "run").rglob("*") if path.is_file())
    return {"seconds": used.ru_utime + used.ru_stime, "bytes": used.ru_maxrss * 1024, "disk": disk}


def made_up(pairs: int, name: str) -> Iterator[str]:
    """Yields lines with a source, a tab and a target, 24 words a side in the mean, no line twice.

    The words of 20,000 lines come again and again; each line adds its number, and to its source a word that no line
    before it has.
    """
    random = np.random.default_rng(0)
    letters = np.array(list("eeeeeetttaaaoooiiinnnsssrrrhhhllldddcuuummfpgwybvk"))
    words = ["".join(random.choice(letters, size)) for size in random.integers(1, 12, 100_000)]
    shares = 1 / np.arange(3, len(words) + 3)
    often = random.choice(len(words), (20_000, 2, 40), p=shares / shares.sum())
    sizes = random.integers(8, 40, (20_000, 2))
    sides = [[" ".join(words[n] for n in ids[:size]) for ids, size in zip(*line)] for line in zip(often, sizes)]  # noqa: B905
    for number in range(pairs):
        source, target = sides[number % len(sides)]
        yield f"{number} {name} {source} {words[number % 99_991]}{number % 1009}\t{target} {number}\n"


def random_tokens(shape: tuple[int, ...], vocabulary_size: int) -> np.ndarray:
    """Returns int32 ids of pieces, EOS last in every row."""
    tokens = np.random.default_rng(0).integers(4, vocabulary_size, shape, dtype=np.int32)
    tokens[..., -1] = EOS
    return tokens


def least(work: Callable[[], None]) -> float:
    """Returns the least processor time of `work` over runs of a second together, two or more."""
    times: list[float] = []
    while len(times) < 2 or sum(times) < 1:
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


CURVES = {
    "rows": Curve("training: rows of 32", (8, 16, 32, 64), lambda n: train_step(rows=n), ("seconds", "bytes")),
    "length": Curve(
        "training: length, 2 rows", (128, 256, 512, 1024), lambda n: train_step(rows=2, length=n), ("seconds", "bytes")
    ),
    "layers": Curve(
        "training: layers a side", (3, 6, 12, 24), lambda n: train_step(dataclasses.replace(BASE, num_layers=n), rows=8)
    ),
    "vocabulary": Curve(
        "training: vocabulary",
        (8000, 16000, 32000, 64000),
        lambda n: train_step(dataclasses.replace(BASE, vocabulary_size=n), rows=16),
    ),
    "devices": Curve("devices: sent by each", (2, 4, 8), train_on, ("sent",)),
    "output": Curve("decoding: output length", (32, 64, 128, 256), lambda n: decode(length=n)),
    "beam": Curve("decoding: beam size", (4, 8, 16, 32), lambda n: decode(rows=4, beam_size=n)),
    "sentences": Curve("decoding: sentences", (2, 8, 32, 128), lambda n: decode(rows=n)),
    "pairs": Curve("prepare: pairs", (30_000, 300_000, 3_000_000, 36_000_000), prepare, ("seconds", "bytes", "disk")),
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

    plots = [(name, of, report[name]) for name in CURVES if name in report for of in CURVES[name].shown]
    figure, axes = pyplot.subplots(-(-len(plots) // 3), 3, figsize=(12, 3.4 * -(-len(plots) // 3)), squeeze=False)
    for axis in axes.flat[len(plots) :]:
        axis.remove()
    for axis, (name, of, curve) in zip(axes.flat, plots, strict=False):
        scale, unit = (1, "s") if of == "seconds" else (2**-20, "MiB")
        y = np.array(curve[of]) * scale
        axis.plot(curve["values"], y, "o-")
        axis.plot(curve["values"], y[-1] * np.array(curve["values"]) / curve["values"][-1], "--", color="0.7")
        axis.set(xscale="log", yscale="log", ylabel=unit, ylim=(y.min() / 1.5, y.max() * 1.5))
        axis.set_xticks(curve["values"], map(str, curve["values"]))
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
        what = {"bytes": "memory, ", "disk": "disk, "}.get(of, "")
        power = round(curve["exponents"][of], 2) + 0.0  # no -0.00
        axis.set_title(f"{what}{CURVES[name].title}: exponent {power:.2f}", fontsize=10)
    figure.tight_layout()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", default=",".join(CURVES), help="with commas between (default: all)")
    parser.add_argument("--most-pairs", type=int, default=36_000_000, help="leave larger corpora out (default: none)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args()
    kept = HERE / "results" / "growth.json"
    report: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    for name in options.curves.split(","):
        curve = CURVES[name]
        values = [value for value in curve.values if name != "pairs" or value <= options.most_pairs]
        points = []
        for value in values:
            points.append(curve.measure(value))
            print(f"{curve.title}: {value}: {points[-1]}", file=sys.stderr, flush=True)
        measured = {of: [point[of] for point in points] for of in points[0]}
        exponents = {of: exponent(values, numbers) for of, numbers in measured.items()}
        report[name] = {"values": values, **measured, "exponents": exponents}
        kept.write_text(json.dumps(report, indent=1) + "\n")
    page(report).savefig(HERE / "growth.png", dpi=110)
    if options.json:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
