"""Reproduces the shape of part of Table 3 on Multi30k: which of the paper's differences show at a small size.

    python benchmarks/ablation.py --data FOLDER [--seeds 1 2 3] [--steps 2000] [--jobs 2] [--rows base,A1,…]

Every row is `multi30k_en_de` in batches half as large (twice the updates for the same work), with one difference, the
paper's scaled to this model (4 layers, d_model 128, 4 heads):

    A1  1 head instead of 4 (d_k = d_v = 128)       the paper: 1 instead of 8, 24.9 against 25.8 BLEU
    C1  1 layer instead of 4                        the paper: 2 instead of 6, 23.7 against 25.8
    D1  no dropout                                  the paper: 24.6 against 25.8
    D3  no label smoothing                          the paper: 25.3 against 25.8, but a better perplexity
    E   learned positions instead of sinusoids      the paper: 25.7 against 25.8

As in Table 3, a run is scored on the development set by its last checkpoint, not averaged: beam 4 and alpha 0.6, and
perplexity a piece. Runs that are there already are not repeated, and an interrupted one goes on. The table is
written to docs/ablation.md and every run's figures to docs/ablation.json.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

SMALL = ["--data.source_tokens", "2048", "--data.target_tokens", "2048", "--data.num_shapes", "6"]
ROWS: dict[str, tuple[str, list[str]]] = {
    "base": ("", []),
    "A1": ("1 head", ["--model.num_heads", "1", "--model.d_k", "128", "--model.d_v", "128"]),
    "C1": ("1 layer", ["--model.num_layers", "1"]),
    "D1": ("no dropout", ["--model.dropout", "0.0"]),
    "D3": ("no label smoothing", ["--train.label_smoothing", "0.0"]),
    "E": ("learned positions", ["--model.positions", "learned"]),
}
PAPER = {
    "base": (4.92, 25.8),
    "A1": (5.29, 24.9),
    "C1": (6.11, 23.7),
    "D1": (5.77, 24.6),
    "D3": (4.67, 25.3),
    "E": (4.92, 25.7),
}
"""Table 3: perplexity and BLEU on newstest2013."""
DOCS = Path(__file__).resolve().parent.parent / "docs"


def run(row: str, seed: int, options: argparse.Namespace, core: int | None) -> dict[str, Any]:
    """Trains and scores one run in processes of their own, on one core where one is given; returns its figures."""
    workdir = Path(options.workdir) / f"{row}-{seed}"
    settings = ["--data.path", options.data, "--train.steps", str(options.steps), "--train.seed", str(seed)]
    settings += ["--train.evaluate_every", str(options.steps), "--train.evaluate_pairs", "0"]
    command(workdir, core, "train", "multi30k_en_de", "--workdir", str(workdir), *settings, *SMALL, *ROWS[row][1])
    scores = json.loads(
        command(
            workdir, core, "evaluate", "--workdir", str(workdir), "--split", "dev", "--checkpoint", "latest", "--json"
        )
    )
    measured = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    perplexity = [line["dev/perplexity"] for line in measured if "dev/perplexity" in line][-1]
    return {"row": row, "seed": seed, "steps": options.steps, "perplexity": perplexity, "bleu": scores["sacrebleu"]}


def command(workdir: Path, core: int | None, *arguments: str) -> str:
    """Runs one verb with its words for people in `workdir/log`; returns its standard output."""
    pin = [] if core is None else ["taskset", "-c", str(core)]
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / "log").open("a") as log:
        words = [*pin, sys.executable, "-m", "wmt_transformer", *arguments]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=log, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}; see {workdir / 'log'}")
    return done.stdout


def table(results: list[dict[str, Any]]) -> str:
    """Returns the results as a Markdown table: means and ranges over the seeds, and whether the direction shows."""
    lines = [
        "| row | difference | perplexity | BLEU (dev) | range over seeds | to base | the paper's | same direction |",
        "|---|---|---|---|---|---|---|---|",
    ]
    by_row = {row: [r for r in results if r["row"] == row] for row in ROWS}
    base = {r["seed"]: r["bleu"] for r in by_row["base"]}
    for row, runs in by_row.items():
        if not runs:
            continue
        scores = [r["bleu"] for r in runs]
        cells = [row, ROWS[row][0], f"{statistics.mean(r['perplexity'] for r in runs):.2f}"]
        cells += [f"{statistics.mean(scores):.1f}", f"{min(scores):.1f} to {max(scores):.1f}"]
        paired = [r["bleu"] - base[r["seed"]] for r in runs if r["seed"] in base]
        theirs = PAPER[row][1] - PAPER["base"][1]
        if row == "base" or not paired:
            cells += ["", "", ""]
        else:
            same = [(ours < 0) == (theirs < 0) for ours in paired]
            cells += [f"{statistics.mean(paired):+.1f}", f"{theirs:+.1f}", f"{sum(same)} of {len(same)} seeds"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder that holds Multi30k")
    parser.add_argument("--rows", default=",".join(ROWS), help="with commas between (default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=2000, help="updates of every run (default: 2000)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time, each on a core of its own")
    parser.add_argument("--workdir", default="runs/ablation", help="folder of the runs (default: %(default)s)")
    options = parser.parse_args()
    if unknown := [row for row in options.rows.split(",") if row not in ROWS]:
        parser.error(f"there is no row {unknown[0]!r}; there are {', '.join(ROWS)}")

    wanted = [(row, seed) for seed in options.seeds for row in options.rows.split(",")]
    cores: list[int | None] = list(range(options.jobs)) if options.jobs > 1 else [None]
    results: list[dict[str, Any]] = []
    with concurrent.futures.ThreadPoolExecutor(len(cores)) as pool:
        free = list(cores)

        def next_run(row: str, seed: int) -> dict[str, Any]:
            core = free.pop()
            try:
                return run(row, seed, options, core)
            finally:
                free.append(core)

        for done in concurrent.futures.as_completed([pool.submit(next_run, row, seed) for row, seed in wanted]):
            results.append(done.result())
            print(json.dumps(results[-1]), flush=True)
    results.sort(key=lambda r: (list(ROWS).index(r["row"]), r["seed"]))
    (DOCS / "ablation.json").write_text(json.dumps(results, indent=2) + "\n")
    (DOCS / "ablation.md").write_text(table(results))
    print(table(results), file=sys.stderr)


if __name__ == "__main__":
    main()
