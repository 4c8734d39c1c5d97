"""Learning curves of one or several runs: loss on the left, the development score on the right, over steps.

They are drawn from the runs' `metrics.jsonl`; nothing else of a run is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wmt_transformer.letters import visible
from wmt_transformer.train.metrics import read

if TYPE_CHECKING:
    from matplotlib.figure import Figure


SCORES = {"dev/bleu": "dev BLEU", "dev/f1": "dev F1", "dev/bits_per_byte": "dev bits per byte"}
"""What the right panel shows: the first of these that a run measured."""


def plot(metrics_files: Sequence[Path], path: Path) -> None:
    """Writes the picture of these runs as a PNG; see `picture`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(metrics_files).savefig(path)


def picture(metrics_files: Sequence[Path]) -> Figure:
    """Returns a figure: `train/nats_per_token` and `dev/loss` (the same measure) on the left, the score on the right.

    A run is called by the name of its folder. Lines without a key and values that were not finite are left out.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), dpi=150, layout="constrained")
    losses, scores = figure.subplots(1, 2)
    runs = [(file.resolve().parent.name, read(file)) for file in metrics_files]
    measured = [key for key in SCORES for _, lines in runs if curve(lines, key)[0]]
    score = measured[0] if measured else "dev/bleu"
    for number, (folder, lines) in enumerate(runs):
        # matplotlib leaves a name out of the legend that begins with an underscore.
        name, colour = visible(folder), f"C{number}"
        name = f" {name}" if name.startswith("_") else name
        losses.plot(
            *curve(lines, "train/nats_per_token"),
            color=colour,
            alpha=0.35,
            linewidth=1.2,
            label=f"{name}, train",
        )
        losses.plot(*curve(lines, "dev/loss"), color=colour, linewidth=1.8, label=f"{name}, dev")
        scores.plot(*curve(lines, score), color=colour, linewidth=1.8, marker="o", markersize=3, label=name)
    losses.set(title="loss (nats per token)", xlabel="step")
    scores.set(title=SCORES[score], xlabel="step", ylim=(0, None))
    for panel in (losses, scores):
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25)
        for text in panel.legend(frameon=False, fontsize=8).get_texts():
            text.set_parse_math(False)  # dollar signs in a folder's name enclose no formula
    return figure


def curve(lines: Sequence[dict[str, Any]], key: str) -> tuple[list[int], list[float]]:
    """Returns the steps and the values of the lines that have a number under `key`."""
    points = [(line["step"], line[key]) for line in lines if line.get(key) is not None]
    return [step for step, _ in points], [value for _, value in points]
