"""Measures the project on one NVIDIA card: is it right there, how fast beside PyTorch and transformers, what it learns.

    python benchmarks/gpu.py --smoke                                      all of it tiny, on a CPU
    python benchmarks/gpu.py prepare --data FOLDER --output PREPARED      on a machine with the corpora
    python benchmarks/gpu.py speed --data PREPARED --output RESULTS       on the card
    python benchmarks/gpu.py train --data PREPARED --output RESULTS       on the card
    python benchmarks/gpu.py restore pairs --data PREPARED --workdir RUN RESULTS/pairs.npz.*

`speed` and `train` each end within --budget seconds. Their parts come in order of worth, each in a process of its own,
because JAX and PyTorch take a card's memory and keep it, and with a time limit of its own. What a part has found is in
RESULTS/speed.json or train.json at once, so that a call that is cut short leaves its figures; what did not fit says so.
Each call has `--smoke` too. Beside the package it needs JAX, Flax, optax, NumPy, SentencePiece and
sacreBLEU; PyTorch, transformers and sacremoses where they are compared with.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [path for path in (str(HERE), str(HERE.parent)) if path not in sys.path]
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "sacrebleu", "torch", "transformers")
LEAST = 15.0
"""Seconds in which a part can tell anything; with fewer left it is left out."""
BOTH = "target tokens a second"


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of a call."""

    module: str
    function: str
    limit: float
    """Seconds."""
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    needs: tuple[str, ...] = ()
    """Packages that it cannot do without."""


def _torch(length: int, compiled: bool, limit: float) -> Part:
    return Part("gpu_peers", "train", limit, {"length": length, "compiled": compiled}, ("torch",))


def _ours(length: int) -> Part:
    return Part("gpu_ours", "train", 150, {"length": length})


SPEED = {
    "device": Part("gpu_ours", "device", 60),
    "losses": Part("gpu_ours", "losses", 90),
    "cached": Part("gpu_ours", "cached", 60),
    "torch_loss": Part("gpu_peers", "torch_loss", 45, needs=("torch",)),
    "train_64": _ours(64),
    "torch_64": _torch(64, False, 45),
    "torch_compiled_64": _torch(64, True, 150),
    "decode": Part("gpu_ours", "decode", 150, needs=("safetensors",)),
    "marian": Part("gpu_peers", "marian", 90, needs=("torch", "transformers")),
    "train_256": _ours(256),
    "torch_256": _torch(256, False, 45),
    "train_32": _ours(32),
    "torch_32": _torch(32, False, 45),
    "train_128": _ours(128),
    "torch_128": _torch(128, False, 45),
    "torch_compiled_32": _torch(32, True, 150),
    "torch_compiled_256": _torch(256, True, 150),
    "torch_compiled_128": _torch(128, True, 150),
}
SMOKE = {
    **{name: SPEED[name] for name in ("device", "losses", "cached", "torch_loss")},
    "train_16": _ours(16),
    "torch_16": _torch(16, False, 45),
    "torch_compiled_16": _torch(16, True, 60),
    **{name: SPEED[name] for name in ("decode", "marian")},
}
TRAIN = {"multi30k": Part("gpu_learn", "multi30k", 260), "pairs": Part("gpu_learn", "pairs", 470)}


# ------------------------------------------------------------------------------------------------------------ report


def card() -> dict[str, str]:
    """Returns what nvidia-smi says of the card, and the versions of everything."""
    asked = ("name", "driver_version", "memory.total", "clocks.max.sm", "power.limit")
    command = ["nvidia-smi", f"--query-gpu={','.join(asked)}", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip().splitlines()[0]
        found = dict(zip(asked, said.split(", "), strict=True))
    except (OSError, IndexError, ValueError, subprocess.TimeoutExpired):
        found = {"name": "no NVIDIA card", "processor": platform.processor() or platform.machine()}
    found |= {"python": platform.python_version(), "date": datetime.date.today().isoformat()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def goals(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the goals, each with what was measured or None: training at rows of 64, decoding in bfloat16."""

    def best(key: str, **wanted: Any) -> float | None:
        return max(
            (r[key] for r in results if key in r and all(r.get(k) == v for k, v in wanted.items())), default=None
        )

    def ratio(one: float | None, other: float | None) -> float | None:
        return one / other if one and other else None

    speed, found = "target_tokens_per_second", []
    for size, goal, least in (("base", 410e3, 270e3), ("big", 270e3, 150e3)):
        ours = best(speed, side="ours", size=size, length=64)
        theirs = best(speed, side="torch compiled", size=size, length=64)
        found.append((f"{size}, {BOTH}", ours, goal, least))
        found.append((f"{size}, times compiled PyTorch", ratio(ours, theirs), 1.2, None))
    for rows, goal in ((128, 17e3), (512, 40e3)):
        told = {"rows": rows, "dtype": "bfloat16"}
        ours, theirs = (best("tokens_per_second", side=side, **told) for side in ("ours", "transformers"))
        found.append((f"decoding {rows} rows, tokens a second", ours, goal, None))
        found.append((f"decoding {rows} rows, times transformers", ratio(ours, theirs), 4.0, None))
    scores = [
        r["scores"]["multi30k"]["tokenized_lowercase_bleu"]
        for r in results
        if r["part"] == "multi30k" and "scores" in r
    ]
    numbers = [score for score in scores if isinstance(score, float)]
    mean = sum(numbers) / len(numbers) if numbers else None
    found.append(("Multi30k, tokenised lower-cased BLEU, mean of seeds", mean, 41.0, None))
    return [dict(zip(("goal", "measured", "wanted", "least"), one, strict=True)) for one in found]


def shown(report: dict[str, Any]) -> str:
    """Returns the report for people: a line a result, the goals, and what became of the parts."""
    lines = [", ".join(f"{name} {value}" for name, value in report["card"].items()), ""]
    for result in report["results"]:
        pairs = ((name, value) for name, value in result.items() if name != "part" and not isinstance(value, list))
        lines.append(f"{result['part']}: " + "  ".join(f"{name} {_short(value)}" for name, value in pairs))
    lines += ["", f"{'goal':55} {'measured':>12} {'wanted':>10} {'least':>10}"]
    for goal in report["goals"]:
        row = [_short(goal[name]) if goal[name] else "-" for name in ("measured", "wanted", "least")]
        lines.append(f"{goal['goal']:55} {row[0]:>12} {row[1]:>10} {row[2]:>10}")
    lines.append("")
    lines += [f"{name}: {state['state']}, {state['seconds']:.0f} s" for name, state in report["parts"].items()]
    return "\n".join(lines)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        kept = {name: one for name, one in value.items() if not isinstance(one, list)}
        return "(" + ", ".join(f"{name} {_short(one)}" for name, one in kept.items()) + ")"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def write(path: Path, report: dict[str, Any]) -> None:
    """Writes the report, whole or not at all."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    os.replace(new, path)


# ------------------------------------------------------------------------------------------------------------- parts


def results_of(work: Path, name: str) -> list[dict[str, Any]]:
    """Returns what a part has found so far; a line that is half written is not there yet."""
    path = work / f"{name}.jsonl"
    lines = path.read_text("utf-8").split("\n")[:-1] if path.is_file() else []
    return [json.loads(line) for line in lines]


def run_part(
    options: argparse.Namespace, name: str, part: Part, work: Path, seconds: float, found: Callable[[], None]
) -> str:
    """Runs one part for so long at most, calls `found` after each of its results, and returns what became of it."""
    if missing := [package for package in part.needs if importlib.util.find_spec(package) is None]:
        return f"left out: {missing[0]} is not installed"
    command = [sys.executable, str(HERE / "gpu.py"), options.call, "--part", name, "--work", str(work)]
    command += ["--output", str(options.output), "--data", str(options.data), "--seconds", str(seconds)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    if options.smoke:
        command.append("--smoke")
        environment |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    end, known = time.monotonic() + seconds, 0
    with open(work / f"{name}.log", "w+b") as log:
        child = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            while child.poll() is None and time.monotonic() < end:
                time.sleep(0.1)
                if len(results_of(work, name)) > known:
                    known = len(results_of(work, name))
                    found()
        finally:
            stopped = child.poll() is None
            if stopped:  # with its own children, such as PyTorch's compilers
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        log.seek(0)
        words = log.read().decode(errors="replace").strip()
    if stopped:
        return f"stopped after {seconds:.0f} s"
    return "done" if child.returncode == 0 else f"failed with code {child.returncode}: {words[-1500:]}"


def call(options: argparse.Namespace) -> int:
    """Runs the parts of a call one after the other; returns 1 where one failed."""
    begin, parts = time.monotonic(), TRAIN if options.call == "train" else SMOKE if options.smoke else SPEED
    wanted = options.parts.split(",") if options.parts else list(parts)
    if unknown := sorted(set(wanted) - set(parts)):
        raise SystemExit(f"there is no part {unknown[0]!r}; there are {', '.join(parts)}")
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"{options.call}.json"
    report: dict[str, Any] = {"call": options.call, "smoke": options.smoke, "card": card(), "parts": {}}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)

        def save() -> None:
            report["results"] = [result for name in wanted for result in results_of(work, name)]
            report["goals"] = goals(report["results"])
            write(path, report)

        for name in wanted:
            start = time.monotonic()
            left = options.budget - (start - begin)
            limit = min(left, parts[name].limit * (4 if options.smoke else 1))
            state = "left out: no time" if left < LEAST else run_part(options, name, parts[name], work, limit, save)
            report["parts"][name] = {"state": state, "seconds": time.monotonic() - start}
            report["seconds"] = time.monotonic() - begin
            save()
            print(f"{name}: {state}", file=sys.stderr, flush=True)
    print(shown(report))
    return int(any(part["state"].startswith("failed") for part in report["parts"].values()))


def run_here(options: argparse.Namespace) -> None:
    """Runs one part in this process."""
    from gpu_cases import Context

    part = {**SPEED, **SMOKE, **TRAIN}[options.part]
    context = Context(options.part, options.work, options.output, options.data, options.seconds, options.smoke)
    try:
        getattr(importlib.import_module(part.module), part.function)(context, **part.arguments)
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def smoke() -> int:
    """Makes up a corpus and runs both calls on it, tiny, on a CPU; returns 1 where a part failed."""
    import gpu_corpus

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gpu_corpus.make(None, folder / "prepared", True)
        same = {
            "data": folder / "prepared",
            "output": folder / "results",
            "budget": 1880.0,
            "parts": None,
            "smoke": True,
        }
        return max(call(argparse.Namespace(call=name, **same)) for name in ("speed", "train"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--smoke", action="store_true", dest="tiny", help="make up a corpus and run both calls, tiny, on a CPU"
    )
    calls = parser.add_subparsers(dest="call")
    for name in ("speed", "train"):
        sub = calls.add_parser(name)
        sub.add_argument("--data", type=Path, required=True, help="what `prepare` made")
        sub.add_argument("--output", type=Path, required=True, help="folder of the results")
        sub.add_argument("--budget", type=float, default=470.0, help="seconds (default: 470)")
        sub.add_argument("--parts", help="only these, with commas between")
        sub.add_argument("--smoke", action="store_true", help="tiny, on a CPU")
        for hidden, kind in (("--part", str), ("--work", Path), ("--seconds", float)):
            sub.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    sub = calls.add_parser("prepare")
    sub.add_argument("--data", type=Path, help="folder with multi30k/, tatoeba/, debian/, newstest/ (none: made up)")
    sub.add_argument("--output", type=Path, required=True)
    sub.add_argument("--smoke", action="store_true", help="a few pairs only")
    sub = calls.add_parser("restore")
    sub.add_argument("kind", choices=("multi30k", "pairs"))
    sub.add_argument("files", type=Path, nargs="+", help="the pieces in their order")
    sub.add_argument("--data", type=Path, required=True, help="what `prepare` made")
    sub.add_argument("--workdir", type=Path, required=True)
    options = parser.parse_args()
    if options.tiny == (options.call is not None):
        parser.error(f"give --smoke alone, or one of {', '.join(calls.choices)}, which have their own")
    if options.tiny:
        sys.exit(smoke())
    elif options.call == "prepare":
        import gpu_corpus

        gpu_corpus.make(options.data, options.output, options.smoke or options.data is None)
    elif options.call == "restore":
        import gpu_learn

        gpu_learn.restore(options.kind, options.files, options.data, options.workdir)
    elif options.part:
        run_here(options)
    else:
        sys.exit(call(options))


if __name__ == "__main__":
    main()
