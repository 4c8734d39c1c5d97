"""The verb `info`: a run in one screen."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from wmt_transformer.cli.parser import AddVerb
from wmt_transformer.cli.streams import save_picture, say
from wmt_transformer.config import UserError
from wmt_transformer.files import whole_bytes
from wmt_transformer.letters import visible

if TYPE_CHECKING:
    from wmt_transformer.evaluate.summary import Saved, Summary


def add(verb: AddVerb) -> None:
    """Adds the verb to the command line."""
    sub = verb(info)
    where = sub.add_mutually_exclusive_group(required=True)
    where.add_argument("folder", metavar="WORKDIR", nargs="?", help="folder of the run")
    where.add_argument("--workdir", help="the same, as other verbs have it")
    sub.add_argument("--json", action="store_true", help="print one JSON object")
    sub.add_argument("--plot", metavar="FILE", help="draw the learning curves too: .png or .svg")


def info(options: argparse.Namespace, overrides: list[str]) -> None:
    """Summarises a run: its config, progress, scores, checkpoints and their sizes, time, restarts."""
    from wmt_transformer.evaluate.summary import summary

    workdir = Path(options.folder or options.workdir)
    found = summary(workdir)
    if options.plot:
        plot(workdir, options.plot)
    print(json.dumps(dataclasses.asdict(found)) if options.json else screen(found))


def plot(workdir: Path, output: str) -> None:
    """Draws the learning curves of a run. Raises UserError where it has none, and for another kind of file."""
    from wmt_transformer.train import metrics
    from wmt_transformer.visualize import learning_curves

    suffix, log = Path(output).suffix, workdir / metrics.FILE_NAME
    if suffix not in (".png", ".svg"):
        raise UserError(f"--plot {output}: write a .png or .svg picture")
    if not log.is_file():
        raise UserError(f"--plot: {workdir} has no {metrics.FILE_NAME}, as nothing was trained there; train first")
    with whole_bytes(output) as out:
        save_picture(learning_curves.picture([log]), out, suffix[1:])
    say(f"wrote {output}")


def screen(run: Summary) -> str:
    """Returns the summary as a few lines for people."""
    corpus = "text for a language model" if run.language_model else f"{run.source} to {run.target}"
    rows = {
        "run": f"{run.workdir}: {run.config}, family {run.family}",
        **({"parent": run.parent} if run.parent else {}),
        "data": f"{run.corpus}, {corpus} ({run.data_bytes / 1e6:,.1f} MB prepared)",
        "model": _size(run),
        "steps": f"{run.step:,} of {run.steps:,}",
        "best": _best(run),
        "loss": f"{_known(run.train_loss, '{:.3f}')} in training",
        "speed": f"{_known(run.target_tokens_per_second, '{:,.0f}')} target tokens/s; "
        f"{_known(run.tokens_per_second_per_chip, '{:,.0f}')} tokens/s/chip, both sides",
        "chips": f"{_known(run.devices)} in {_counted(run.processes, 'process', 'processes')}",
        "time": f"{_wall(run.wall_seconds)} in training; {_counted(run.restarts, 'restart', 'restarts')}",
        "checkpoints": ", ".join(map(_saved, run.checkpoints)) or "none",
        "average": f"step {_saved(run.average)}" if run.average else "none",
    }
    return "\n".join(f"{name:<12}{visible(text)}" for name, text in rows.items())


def _known(value: int | float | None, pattern: str = "{:,}") -> str:
    return "not known" if value is None else pattern.format(value)


def _size(run: Summary) -> str:
    some = "" if run.trained_parameters == run.parameters else f", {_known(run.trained_parameters)} of them trained"
    return f"{_known(run.parameters)} parameters{some}"


def _counted(number: int | None, one: str, several: str) -> str:
    return f"{_known(number)} {one if number == 1 else several}"


def _best(run: Summary) -> str:
    best = "not measured yet"
    if run.best_score is not None:
        dev, _, name = run.best_measure.partition(" ")
        score = f"{name} {run.best_score:.2f}" if dev == "dev" else f"{-run.best_score:.3f} nats"
        best = f"{score} on dev at step {run.best_step:,}; perplexity now {_known(run.dev_perplexity, '{:.2f}')}"
    if run.dev_bits_per_byte is not None:
        best += f", {run.dev_bits_per_byte:.3f} bits per byte"
    return best


def _wall(seconds: float | None) -> str:
    if seconds is None:
        return "not known"
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"


def _saved(one: Saved) -> str:
    return f"{one.step:,} ({one.bytes / 1e6:,.1f} MB)"
