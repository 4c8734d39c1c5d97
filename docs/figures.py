"""The figures of "how it works", drawn from the functions that the model runs."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wmt_transformer.decode.beam import length_penalty
from wmt_transformer.model.layers import sinusoids
from wmt_transformer.train.optimizer import learning_rate
from wmt_transformer.visualize import positions
from wmt_transformer.visualize.labels import use_chinese


def draw(folder: Path, language: str) -> None:
    """Writes positions.png, schedule.png and length_penalty.png, those that are not there."""
    if language == "zh_CN":
        use_chinese()
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in {"positions": encodings, "schedule": schedule, "length_penalty": penalty}.items():
        if not (path := folder / f"{name}.png").is_file():
            make().savefig(path, dpi=100)


def encodings() -> Figure:
    """Returns 64 positions of 64 dimensions, and how alike they are."""
    return positions.picture(sinusoids(64, 64))


def schedule() -> Figure:
    """Returns the learning rate over steps, as in the paper and with the later warm-up."""
    figure, panel = panel_of("step", "learning rate")
    steps = np.arange(1, 20_001, 20)
    for width, warmup in ((512, 4000), (512, 8000), (1024, 4000)):
        panel.plot(steps, learning_rate(jnp.asarray(steps), width, warmup), label=f"{width}, {warmup:,}")
    panel.legend(frameon=False, title="d_model, warm-up steps")
    return figure


def penalty() -> Figure:
    """Returns what a log-probability is divided by, over the length of the output."""
    figure, panel = panel_of("length", "length penalty")
    lengths = np.arange(1, 61)
    for alpha in (0.0, 0.3, 0.6, 1.0):
        panel.plot(lengths, length_penalty(jnp.asarray(lengths), alpha), label=f"α = {alpha:g}")
    panel.legend(frameon=False)
    return figure


def panel_of(x: str, y: str) -> tuple[Figure, Axes]:
    """Returns a figure with one panel in the house's style."""
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    panel = figure.subplots()
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(alpha=0.25)
    panel.set(xlabel=x, ylabel=y)
    return figure, panel
