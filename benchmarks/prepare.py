"""Measures `prepare` on a corpus as large as WMT 2014 English-German, made from small ones.

    WMT_TRANSFORMER_DATA=FOLDER python benchmarks/prepare.py [--pairs 4500000] [--workdir /tmp/…] [--json]

FOLDER holds multi30k/ and tatoeba/. A pair is one to four real pairs joined, as long as WMT's sentences are
(25 words), in which some words are swapped, left out, numbered or glued together: new words, which the
vocabulary has to be trained on. One pair in fifty occurred before. The corpus is written as two plain files.

Prints pairs per second of each phase, and the most memory that this process and its workers held together,
looked up in /proc five times a second (Linux only).
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

from wmt_transformer.config import DataConfig
from wmt_transformer.data.prepare import prepare


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures prepare on a large made-up corpus.")
    parser.add_argument("--pairs", type=int, default=4_500_000)
    parser.add_argument("--vocabulary-size", type=int, default=37_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--workdir", type=Path, help="where to put the corpus (1.2 GB) and the result (0.6 GB)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args()
    if "WMT_TRANSFORMER_DATA" not in os.environ:
        sys.exit("set WMT_TRANSFORMER_DATA to the folder that holds multi30k/ and tatoeba/")

    workdir = options.workdir or Path(tempfile.mkdtemp(prefix="prepare-benchmark-"))
    workdir.mkdir(parents=True, exist_ok=True)
    try:
        result = measure(workdir, options.pairs, options.vocabulary_size, options.processes)
    finally:
        shutil.rmtree(workdir)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result.items():
            print(f"{name:32} {value:,}" if isinstance(value, int | float) else f"{name:32} {value}")


def measure(workdir: Path, pairs: int, vocabulary_size: int, processes: int) -> dict:
    start = time.perf_counter()
    make_corpus(workdir, pairs)
    made = time.perf_counter()
    phases = {"read and normalise": made}

    def report(line: str) -> None:
        print(line, file=sys.stderr, flush=True)
        for beginning, phase in (("training", "train vocabulary"), ("cutting", "cut into pieces")):
            if line.startswith(beginning):
                phases[phase] = time.perf_counter()

    data = DataConfig(
        corpus="files",
        path=str(workdir),
        train_files=("train.en", "train.de"),
        dev_files=("dev.en", "dev.de"),
        test_files=("test.en", "test.de"),
        vocabulary_size=vocabulary_size,
    )
    with PeakMemory() as memory:
        prepared = prepare(data, workdir / "data", report, processes)
    end = time.perf_counter()

    starts = [*phases.values(), end]
    seconds = {phase: after - before for phase, before, after in zip(phases, starts, starts[1:], strict=False)}
    return {
        "pairs": pairs,
        "processes": processes,
        "text_bytes": sum((workdir / f"train.{language}").stat().st_size for language in ("en", "de")),
        "made_seconds": round(made - start, 1),
        "prepare_seconds": round(end - made, 1),
        "pairs_per_second": round(pairs / (end - made)),
        **{f"{phase.replace(' ', '_')}_seconds": round(value, 1) for phase, value in seconds.items()},
        **{f"{phase.replace(' ', '_')}_pairs_per_second": round(pairs / value) for phase, value in seconds.items()},
        "peak_memory_mib": memory.peak >> 20,
        "disk_bytes": sum(path.stat().st_size for path in (workdir / "data").iterdir()),
        "statistics": prepared.statistics,
    }


class PeakMemory(threading.Thread):
    """The most bytes that this process and its children held at once while the context was open."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self._over = 0, threading.Event()

    def __enter__(self) -> PeakMemory:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        own = Path("/proc/self")
        while own.exists() and not self._over.wait(0.2):
            children = " ".join(path.read_text() for path in own.glob("task/*/children")).split()
            total = 0
            for process in ("self", *children):
                with contextlib.suppress(OSError):  # it ended just now
                    total += int(Path("/proc", process, "statm").read_text().split()[1])
            self.peak = max(self.peak, total * resource.getpagesize())


def make_corpus(folder: Path, pairs: int) -> None:
    """Writes train, dev and test .en and .de; the same each time."""
    source = real_pairs(Path(os.environ["WMT_TRANSFORMER_DATA"]))
    chance = random.Random(1)
    for split, count in (("dev", 1000), ("test", 1000), ("train", pairs)):
        with (
            open(folder / f"{split}.en", "w", encoding="utf-8") as english,
            open(folder / f"{split}.de", "w", encoding="utf-8") as german,
        ):
            before = "", ""
            for _ in range(count):
                joined = chance.choices(source, k=chance.randint(1, 4))
                new = (perturb(" ".join(pair[side] for pair in joined), chance) for side in (0, 1))
                before = before if before[0] and chance.random() < 0.02 else tuple(new)
                english.write(before[0] + "\n")
                german.write(before[1] + "\n")


def real_pairs(folder: Path) -> list[tuple[str, str]]:
    def lines(name: str) -> list[str]:
        with gzip.open(folder / name, "rt", encoding="utf-8", newline="\n") as file:
            return file.read().split("\n")[:-1]

    captions = zip(lines("multi30k/train.en.gz"), lines("multi30k/train.de.gz"), strict=True)
    short = (line.split("\t") for line in lines("tatoeba/train.en-de.tsv.gz"))
    return [*captions, *((columns[0], columns[1]) for columns in short)]


def perturb(sentence: str, chance: random.Random) -> str:
    words = sentence.split(" ")
    place = chance.randrange(len(words))
    match chance.randrange(5):
        case 0 if len(words) > 1:
            del words[place]
        case 1:
            words[place], words[-1] = words[-1], words[place]
        case 2:
            words[place] += f" {chance.randrange(10_000)}"
        case 3 if place:
            words[place - 1 : place + 1] = [words[place - 1] + words[place].lower()]
    return " ".join(words)


if __name__ == "__main__":
    main()
