"""The development set: what the training loop measures on it, and how that reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import jax

from wmt_transformer.config import Config
from wmt_transformer.data.documents.prepare import PreparedText
from wmt_transformer.data.prepare import Prepared
from wmt_transformer.train import metrics
from wmt_transformer.train.host_batches import make_batches
from wmt_transformer.train.hosts import largest
from wmt_transformer.train.sharding import place_batch

Evaluate = Callable[[Any], tuple[dict[str, float], str]]
"""Given parameters, returns scores by name and lines of text to show; given to the loop by its caller."""


class Development:
    """Measures parameters on the development set: loss, perplexity, accuracy, and what `evaluate` adds."""

    def __init__(
        self,
        config: Config,
        prepared: Prepared | PreparedText,
        eval_step: Any,
        mesh: jax.sharding.Mesh,
        evaluate: Evaluate | None,
    ) -> None:
        # Few shapes: each is one more program to compile, and the development set is small.
        self._batches = make_batches(config, prepared.dev, mesh, min(config.data.num_shapes or 3, 3))
        self._bytes = prepared.statistics.get("dev_bytes")
        self._eval_step, self._mesh, self._evaluate = eval_step, mesh, evaluate

    def __call__(self, params: Any) -> tuple[dict[str, float], str]:
        """Returns the measurements by name (`dev/…`) and text to show; `dev/score` is what best means."""
        sums = metrics.Sums()
        for index in range(self._batches.batches_per_epoch):
            sums.add(self._eval_step(params, place_batch(self._batches[index], self._mesh))._asdict())
        total = sums.take()
        nats = total["nll"] / total["tokens"]
        measured = {
            "dev/loss": nats,
            "dev/perplexity": metrics.perplexity(nats),
            "dev/accuracy": total["correct"] / total["tokens"],
        }
        if self._bytes:
            measured["dev/bits_per_byte"] = total["nll"] / math.log(2) / self._bytes
        extra, text = self._evaluate(params) if self._evaluate else ({}, "")
        measured |= {f"dev/{name}": value for name, value in extra.items()}
        measured["dev/score"] = next(iter(extra.values()), -nats)
        return measured, text


class Patience:
    """Decides when a run stops early: after `evaluations` in a row without a lower development loss, 0: never.

    The loss, unless a higher score is asked for: BLEU and F1 stay at 0 for long at the beginning of a run, and for ever
    where their tokeniser does not fit the language.

    Only process 0 knows `so_far`, the evaluations of earlier starts of the run; what it decides holds for all
    processes.
    """

    def __init__(
        self,
        so_far: Iterable[Mapping[str, Any]],
        evaluations: int,
        measure: Literal["loss", "score"] = "loss",
    ) -> None:
        self._losses: list[float] = []
        self._evaluations, self._name = evaluations, f"dev/{measure}"
        for measured in so_far:
            self.add(measured)

    def add(self, measured: Mapping[str, Any]) -> None:
        """Adds what the newest evaluation measured; what is not finite (None in the file) is worse than anything."""
        value = measured[self._name]
        if value is None or not math.isfinite(value):
            self._losses.append(math.inf)
        else:
            self._losses.append(-value if self._name == "dev/score" else value)

    def is_over(self) -> bool:
        """Tells whether none of the last evaluations had a lower loss than the best one before them."""
        losses, last = self._losses, self._evaluations
        stale = last > 0 and len(losses) > last and min(losses[:-last]) <= min(losses[-last:])
        return bool(largest(stale))


def summary(step: int, measured: dict[str, float], text: str) -> str:
    """Returns an evaluation as people read it: one line, and the text that shows what the model does."""
    line = f"step {step}: dev perplexity {measured['dev/perplexity']:.2f}  accuracy {measured['dev/accuracy']:.1%}"
    for name, pattern in {"bleu": "BLEU {:.1f}", "f1": "F1 {:.1f}", "bits_per_byte": "{:.3f} bits per byte"}.items():
        if f"dev/{name}" in measured:
            line += "  " + pattern.format(measured[f"dev/{name}"])
    return f"{line}\n{text}" if text else line
