"""What is measured on a card: models, batches, and how a step is timed; and `Context`, what every part is given.

The batches are like those that training makes: two sentences a row, EOS at the end of each, 4 % of the slots padding.
Both sides of every comparison get the same arrays.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wmt_transformer import experiment
from wmt_transformer.config import ModelConfig
from wmt_transformer.data.shapes import most_rows
from wmt_transformer.special_tokens import EOS, PAD

SLOTS = 25_000
"""On each side of a batch (§5.1)."""
VOCABULARY = 37_000
BEAM, ALPHA = 4, 0.6
SOURCE_LENGTH, OUTPUT_LENGTH = 24, 32
"""Of a sentence that is decoded: random weights never end by themselves."""
TINY = ModelConfig(vocabulary_size=96, num_layers=1, d_model=32, d_ff=64, num_heads=2, d_k=16, d_v=16)
"""What --smoke measures."""


@dataclasses.dataclass(frozen=True)
class Context:
    """What a part is given."""

    name: str
    work: Path
    """A folder that the parts of one call share: what one writes for another, and each one's results."""
    output: Path
    """The folder whose files come back."""
    data: Path | None
    """What `gpu.py prepare` made."""
    seconds: float
    """The part is stopped after these."""
    smoke: bool

    def emit(self, **fields: Any) -> None:
        """Adds one result to those of this part; it is on disk when this returns."""
        with open(self.work / f"{self.name}.jsonl", "a", encoding="utf-8") as out:
            out.write(json.dumps({"part": self.name, **fields}) + "\n")


@dataclasses.dataclass(frozen=True)
class Case:
    """A model's training step on one shape of batch."""

    size: str
    length: int
    rows: int
    model: ModelConfig

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns source and target, int32 `[rows, length]`."""
        shape = (self.rows, self.length, self.model.vocabulary_size)
        return two_a_row(*shape, seed=1), two_a_row(*shape, seed=2)

    def figures(self, seconds: float, flops: float | None) -> dict[str, Any]:
        """Returns what a step of this many seconds comes to; `flops` are the most that the device does in a second."""
        from wmt_transformer.train import chips

        asked = chips.model_flops(self.model, self.rows, self.length, self.length)
        return {
            "size": self.size,
            "length": self.length,
            "rows": self.rows,
            "step_ms": seconds * 1e3,
            "slots_per_second": 2 * self.rows * self.length / seconds,
            "target_tokens_per_second": int((self.batch()[1] != PAD).sum()) / seconds,
            "model_flops_per_second": asked / seconds,
            "model_flops_utilisation": asked / seconds / flops if flops else None,
        }


def models(smoke: bool) -> dict[str, ModelConfig]:
    """Returns the models by size, with the dropout of their configs and products in bfloat16."""
    if smoke:
        return {"base": dataclasses.replace(TINY, compute_dtype="bfloat16")}
    return {
        size: dataclasses.replace(
            experiment.load(f"wmt14_en_de_{size}").model, vocabulary_size=VOCABULARY, compute_dtype="bfloat16"
        )
        for size in ("base", "big")
    }


def cases(length: int, smoke: bool) -> list[Case]:
    """Returns the cases of one length, the smallest model first."""
    slots = 512 if smoke else SLOTS
    rows = most_rows(length, length, slots, slots, 8)
    return [Case(size, length, rows, model) for size, model in models(smoke).items()]


def attention_choices(backend: str) -> list[str]:
    """Returns the ways to attend that are measured: `explicit` is by einsums, `cudnn` needs a GPU."""
    return ["explicit", "cudnn"] if backend == "gpu" else ["explicit"]


def two_a_row(rows: int, length: int, vocabulary: int, seed: int) -> np.ndarray:
    """Returns tokens, int32 `[rows, length]`: two sentences a row, and padding after them in 4 % of the slots."""
    random = np.random.default_rng(seed)
    tokens = random.integers(4, vocabulary, (rows, length), dtype=np.int32)
    ends = length - random.integers(0, round(0.08 * length) + 1, rows)
    middles = (ends * random.uniform(0.3, 0.7, rows)).astype(int)
    tokens[np.arange(rows), middles] = EOS
    tokens[np.arange(rows), ends - 1] = EOS
    tokens[np.arange(length) >= ends[:, None]] = PAD
    return tokens


def sentences(rows: int, vocabulary: int) -> list[list[int]]:
    """Returns sources to decode, each with EOS at its end."""
    random = np.random.default_rng(0)
    return [[*random.integers(4, vocabulary, SOURCE_LENGTH - 1).tolist(), EOS] for _ in range(rows)]


def timed(run: Callable[[], Any], wait: Callable[[], Any], seconds: float, least: int = 3) -> tuple[float, list[float]]:
    """Returns the seconds of one call, the median of three rounds, and each round's.

    `run` starts a call and `wait` returns when all are done. The first two calls are not counted; the rounds together
    take about `seconds`, and are `least` calls each at least.
    """
    run()
    wait()
    begin = time.perf_counter()
    run()
    wait()
    calls = max(least, int(seconds / 3 / (time.perf_counter() - begin)))
    rounds = []
    for _ in range(3):
        begin = time.perf_counter()
        for _ in range(calls):
            run()
        wait()
        rounds.append((time.perf_counter() - begin) / calls)
    return statistics.median(rounds), rounds


def same(one: Sequence[Sequence[int]], other: Sequence[Sequence[int]]) -> int:
    """Returns how many of the outputs are equal."""
    return sum(list(a) == list(b) for a, b in zip(one, other, strict=True))
