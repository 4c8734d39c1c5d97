"""The verb `info`: a run in one screen, read from the files that it left; nothing is loaded or computed."""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

from wmt_transformer.cli.parser import AddVerb
from wmt_transformer.experiment import is_language_model, run_config


def add(verb: AddVerb) -> None:
    """Adds the verb to the command line."""
    sub = verb(info)
    sub.add_argument("workdir", metavar="WORKDIR", help="folder of the run")
    sub.add_argument("--json", action="store_true", help="print one JSON object")


def info(options: argparse.Namespace, overrides: list[str]) -> None:
    """Summarises a run: its config, how far it is, scores, checkpoints and their sizes, time, restarts."""
    found = summary(Path(options.workdir))
    print(json.dumps(found) if options.json else screen(found))


def summary(workdir: Path) -> dict[str, Any]:
    """Returns what the work folder tells of its run; None stands for what it does not tell.

    `best_score` is the highest dev BLEU or F1, or minus the lowest dev loss where none was measured. `wall_seconds` is
    the time that the steps took which the run kept: from the beginning of each start to the last thing it logged.
    """
    from wmt_transformer import checkpoint
    from wmt_transformer.train import metrics

    settings = run_config(workdir)
    log = workdir / metrics.FILE_NAME
    lines = metrics.read(log) if log.is_file() else []
    starts = [index for index, line in enumerate(lines) if "start/devices" in line]
    parts = [lines[begin:end] for begin, end in itertools.pairwise([*starts, len(lines)])]
    scored = [(line["dev/score"], line["step"]) for line in lines if line.get("dev/score") is not None]
    best = max(scored, default=(None, None))
    started, trained = (_last(lines, name) for name in ("start/devices", "train/loss"))
    saved = checkpoint.steps(workdir)
    averaged = sorted(path for path in (workdir / "average").glob("*") if path.name.isdigit())
    return {
        "workdir": str(workdir),
        "config": settings.name,
        "family": settings.family,
        "corpus": settings.data.corpus,
        "language_model": is_language_model(settings),
        "source": settings.data.source,
        "target": settings.data.target,
        "parameters": _whole(started.get("start/parameters")),
        "step": max([*saved, *(line["step"] for line in lines)], default=0),
        "steps": settings.train.steps,
        "best_score": best[0],
        "best_measure": next(
            (f"dev {name}" for name in ("BLEU", "F1") if any(f"dev/{name.lower()}" in line for line in lines)),
            "minus dev loss",
        ),
        "best_step": best[1],
        "dev_perplexity": _last(lines, "dev/perplexity").get("dev/perplexity"),
        "dev_bits_per_byte": _last(lines, "dev/bits_per_byte").get("dev/bits_per_byte"),
        "train_loss": trained.get("train/loss"),
        "target_tokens_per_second": trained.get("train/target_tokens_per_second"),
        "tokens_per_second_per_chip": trained.get("train/tokens_per_second_per_chip"),
        "devices": _whole(started.get("start/devices")),
        "processes": _whole(started.get("start/processes")),
        "wall_seconds": round(sum(part[-1]["time"] - part[0]["time"] for part in parts), 1) if parts else None,
        "restarts": len(starts) - 1 if starts else None,
        "checkpoints": [{"step": step, "bytes": _size(workdir / "checkpoints" / str(step))} for step in saved],
        "average": {"step": int(averaged[-1].name), "bytes": _size(averaged[-1])} if averaged else None,
        "data_bytes": _size(workdir / "data"),
    }


def screen(found: dict[str, Any]) -> str:
    """Returns the summary as a few lines for people."""

    def say(value: Any, pattern: str = "{:,}") -> str:
        return "not known" if value is None else pattern.format(value)

    best = "not measured yet"
    if found["best_score"] is not None:
        dev, _, name = found["best_measure"].partition(" ")
        score = f"{name} {found['best_score']:.2f}" if dev == "dev" else f"{-found['best_score']:.3f} nats"
        best = f"{score} on dev at step {found['best_step']:,}; perplexity now {say(found['dev_perplexity'], '{:.2f}')}"
    if found["dev_bits_per_byte"] is not None:
        best += f", {found['dev_bits_per_byte']:.3f} bits per byte"
    seconds = found["wall_seconds"]
    wall = (
        "not known"
        if seconds is None
        else f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"
    )
    saved = [f"{one['step']:,} ({one['bytes'] / 1e6:,.1f} MB)" for one in found["checkpoints"]] or ["none"]
    average = found["average"]
    data = f"{found['corpus']}, " + (
        "text for a language model" if found["language_model"] else f"{found['source']} to {found['target']}"
    )
    rows = {
        "run": f"{found['workdir']}: {found['config']}, family {found['family']}",
        "data": f"{data} ({found['data_bytes'] / 1e6:,.1f} MB prepared)",
        "model": f"{say(found['parameters'])} parameters",
        "steps": f"{found['step']:,} of {found['steps']:,}",
        "best": best,
        "loss": f"{say(found['train_loss'], '{:.3f}')} in training",
        "speed": f"{say(found['target_tokens_per_second'], '{:,.0f}')} target tokens/s; "
        f"{say(found['tokens_per_second_per_chip'], '{:,.0f}')} tokens/s/chip, both sides",
        "chips": f"{say(found['devices'])} in {say(found['processes'])} processes",
        "time": f"{wall} in training; {say(found['restarts'])} restarts",
        "checkpoints": ", ".join(saved),
        "average": "none" if average is None else f"step {average['step']:,} ({average['bytes'] / 1e6:,.1f} MB)",
    }
    return "\n".join(f"{name:<12}{text}" for name, text in rows.items())


def _last(lines: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next((line for line in reversed(lines) if name in line), {})


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _size(path: Path) -> int:
    """Returns the bytes of all files in a folder; one that is deleted while we look counts nothing."""
    sizes = 0
    for file in path.rglob("*"):
        try:
            sizes += file.stat().st_size if file.is_file() else 0
        except FileNotFoundError:
            continue
    return sizes
