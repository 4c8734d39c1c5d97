"""Draws the figures that benchmarks/README.md shows from what the benchmarks wrote to benchmarks/results/.

    python benchmarks/train_step.py --json > benchmarks/results/train_step.json
    python benchmarks/decode.py --json > benchmarks/results/decode.json
    python benchmarks/accelerator.py --json > benchmarks/results/accelerator.json
    python benchmarks/plot.py

It writes benchmarks/ratios.png; growth.py draws its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot

HERE = Path(__file__).resolve().parent
NAMES = {
    "ours": "ours",
    "ours-bfloat16": "ours, bfloat16",
    "torch": "PyTorch",
    "huggingface": "Hugging Face",
    "ctranslate2": "CTranslate2",
    "ctranslate2-int8": "CTranslate2, int8",
}
COLOURS = {
    "ours": "#08519c",
    "ours-bfloat16": "#6baed6",
    "torch": "#e6550d",
    "huggingface": "#fdae6b",
    "ctranslate2": "#31a354",
    "ctranslate2-int8": "#a1d99b",
}


def report(name: str) -> dict[str, Any]:
    """Returns what a benchmark wrote."""
    return json.loads((HERE / "results" / f"{name}.json").read_text())


def training(axis: Any) -> None:
    """Slots a second of each case, as a share of the machine's peak."""
    cases = report("train_step")["cases"]
    shares = {side: [100 * case[side]["share_of_peak"] for case in cases.values()] for side in ("ours", "torch")}
    bars(axis, list(cases), shares, "{:.0f}")
    axis.set(title="training step, CPU, float32", ylabel="% of the matrix-product peak")


def decoding(axis: Any) -> None:
    """Tokens a second of each case and side."""
    cases = report("decode")["cases"]
    sides = [side for side in NAMES if side in next(iter(cases.values()))]
    speeds = {side: [case[side]["tokens_per_second"] for case in cases.values()] for side in sides}
    bars(axis, list(cases), speeds, "{:.0f}")
    axis.set(title="decoding, CPU, base size", ylabel="tokens a second")


def accelerator(axis: Any) -> None:
    """What our step asks of a TPU for each unit that flax's example asks."""
    found = report("accelerator")
    names = ["flops", "bytes_accessed", "traffic", "temporaries"]
    ratios = [found["ours"][name] / found["flax"][name] for name in names]
    bars(axis, [name.replace("_", "\n") for name in names], {"ours": ratios}, "{:.2f}")
    axis.axhline(1.0, color="0.4", linestyle="--", label="flax's WMT example")
    axis.set(title="training step, TPU v5e, by its compiler", ylabel="ours / flax's")


def bars(axis: Any, groups: list[str], heights: dict[str, list[float]], text: str) -> None:
    """Draws a group of bars for each name in `groups`, one bar a side, its height above it."""
    width = 0.85 / len(heights)
    for number, (side, values) in enumerate(heights.items()):
        at = [place + (number - (len(heights) - 1) / 2) * width for place in range(len(groups))]
        drawn = axis.bar(at, values, width, label=NAMES[side], color=COLOURS[side])
        axis.bar_label(drawn, [text.format(value) for value in values], fontsize=7)
    axis.set_xticks(range(len(groups)), groups)
    axis.spines[["top", "right"]].set_visible(False)


def main() -> None:
    figure, axes = pyplot.subplots(1, 3, figsize=(15, 4), width_ratios=(3, 6, 3), layout="constrained")
    for draw, axis in zip((training, decoding, accelerator), axes, strict=True):
        draw(axis)
        axis.set_ylim(top=1.15 * axis.get_ylim()[1])  # room for the legend
        axis.legend(frameon=False, fontsize=8)
    figure.savefig(HERE / "ratios.png", dpi=110)


if __name__ == "__main__":
    main()
