"""A run in one table, read from the files that it left: nothing is loaded or computed.

What the files do not tell is None: a run that was imported has no metrics, one that has just begun no checkpoint.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

from wmt_transformer import checkpoint, parent
from wmt_transformer.experiment import is_language_model, run_config
from wmt_transformer.train import metrics


@dataclasses.dataclass(frozen=True)
class Saved:
    """A checkpoint on the disk."""

    step: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class Summary:
    """What the work folder tells of its run."""

    workdir: str
    config: str
    family: str
    parent: str | None
    """The run and checkpoint that it started from."""
    corpus: str
    language_model: bool
    source: str
    target: str
    parameters: int | None
    trained_parameters: int | None
    """All but the frozen ones."""
    step: int
    """The last step that was logged or saved, 0 before the first."""
    steps: int
    """Steps of the whole run."""
    best_score: float | None
    """The highest dev BLEU or F1, or minus the lowest dev loss where neither was measured."""
    best_measure: str
    """What `best_score` is: dev BLEU, dev F1 or minus dev loss."""
    best_step: int | None
    dev_perplexity: float | None
    """The newest, as are all figures below that change in training."""
    dev_bits_per_byte: float | None
    train_loss: float | None
    target_tokens_per_second: float | None
    tokens_per_second_per_chip: float | None
    """Source and target tokens."""
    devices: int | None
    processes: int | None
    wall_seconds: float | None
    """Time of the steps that the run kept: from the beginning of each start to the last thing it logged."""
    restarts: int | None
    checkpoints: list[Saved]
    average: Saved | None
    data_bytes: int
    """Size of the prepared data."""


def summary(workdir: Path) -> Summary:
    """Returns the summary of a run. Raises UserError for a folder that holds none."""
    settings = run_config(workdir)
    log = workdir / metrics.FILE_NAME
    lines = metrics.read(log) if log.is_file() else []
    starts = [index for index, line in enumerate(lines) if "start/devices" in line]
    parts = [lines[begin:end] for begin, end in itertools.pairwise([*starts, len(lines)])]
    scored = [(line["dev/score"], line["step"]) for line in lines if line.get("dev/score") is not None]
    best_score, best_step = max(scored, default=(None, None))
    started, trained = (_last(lines, name) for name in ("start/devices", "train/loss"))
    steps = settings.train.steps
    if settings.train.epochs is not None:  # known when training has begun
        steps = int(started.get("start/steps", steps))
    saved = checkpoint.steps(workdir)
    averaged = max((int(path.name) for path in (workdir / "average").glob("*") if path.name.isdecimal()), default=None)
    return Summary(
        workdir=str(workdir),
        config=settings.name,
        family=settings.family,
        parent=None if (found := parent.of(workdir)) is None else str(found),
        corpus=settings.data.corpus,
        language_model=is_language_model(settings),
        source=settings.data.source,
        target=settings.data.target,
        parameters=_whole(started.get("start/parameters")),
        trained_parameters=_whole(started.get("start/trained_parameters", started.get("start/parameters"))),
        step=max([*saved, *(line["step"] for line in lines)], default=0),
        steps=steps,
        best_score=best_score,
        best_measure=next(
            (f"dev {name}" for name in ("BLEU", "F1") if any(f"dev/{name.lower()}" in line for line in lines)),
            "minus dev loss",
        ),
        best_step=best_step,
        dev_perplexity=_last(lines, "dev/perplexity").get("dev/perplexity"),
        dev_bits_per_byte=_last(lines, "dev/bits_per_byte").get("dev/bits_per_byte"),
        train_loss=trained.get("train/loss"),
        target_tokens_per_second=trained.get("train/target_tokens_per_second"),
        tokens_per_second_per_chip=trained.get("train/tokens_per_second_per_chip"),
        devices=_whole(started.get("start/devices")),
        processes=_whole(started.get("start/processes")),
        wall_seconds=round(sum(part[-1]["time"] - part[0]["time"] for part in parts), 1) if parts else None,
        restarts=len(starts) - 1 if starts else None,
        checkpoints=[Saved(step, _size(workdir / "checkpoints" / str(step))) for step in saved],
        average=None if averaged is None else Saved(averaged, _size(workdir / "average" / str(averaged))),
        data_bytes=_size(workdir / "data"),
    )


def _last(lines: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Returns the newest line that has a value of this name, or an empty one."""
    return next((line for line in reversed(lines) if name in line), {})


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _size(path: Path) -> int:
    """Returns the bytes of all files in a folder; a file that is deleted meanwhile counts as 0."""
    sizes = 0
    for file in path.rglob("*"):
        try:
            sizes += file.stat().st_size if file.is_file() else 0
        except FileNotFoundError:
            continue
    return sizes
