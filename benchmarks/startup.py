"""Measures how long a user waits before anything happens: importing the package, and `--help`.

    python benchmarks/startup.py [--runs 10] [--json]

Each is a process of its own, started `--runs` times; the least time counts, once by the clock and once of the
processor. What Python itself takes to start and stop is measured the same way and shown first. `translator` is
`from wmt_transformer import Translator`, which brings JAX. Beside each stand the modules that took longest to import.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import time
from typing import Any

STARTS = {
    "python": ["-c", "pass"],
    "import": ["-c", "import wmt_transformer"],
    "help": ["-m", "wmt_transformer", "--help"],
    "translator": ["-c", "from wmt_transformer import Translator"],
}


def measure(words: list[str], runs: int) -> dict[str, Any]:
    """Returns the least seconds of a start, by the clock and of the processor, and its slowest imports."""
    clock, processor = [], []
    for _ in range(runs):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        clock.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"seconds": min(clock), "processor_seconds": min(processor), "slowest": slowest(words)}


def slowest(words: list[str]) -> dict[str, float]:
    """Returns the seconds of the three packages that took longest in themselves, by name."""
    shown = subprocess.run([sys.executable, "-X", "importtime", *words], check=True, capture_output=True, text=True)
    spent: dict[str, float] = {}
    for own, module in re.findall(r"import time: +(\d+) \| +\d+ \| +(\S+)", shown.stderr):
        package = module.partition(".")[0]
        spent[package] = spent.get(package, 0.0) + int(own) / 1e6
    return dict(sorted(spent.items(), key=lambda item: -item[1])[:3])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="starts of each (default: 10)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args()
    report = {name: measure(words, options.runs) for name, words in STARTS.items()}
    for name, result in report.items():
        for kind in ("seconds", "processor_seconds"):
            result[f"{kind}_over_python"] = result[kind] - report["python"][kind]
        packages = ", ".join(f"{package} {spent:.3f}" for package, spent in result["slowest"].items())
        times = f"{result['seconds']:.3f} s, over Python's own {result['seconds_over_python']:.3f} s"
        print(f"{name:10} {times} (processor {result['processor_seconds']:.3f} s): {packages}", file=sys.stderr)
    if options.json:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
