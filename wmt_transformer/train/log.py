"""What a run tells of itself: sums over its last steps, speed and evaluations."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from wmt_transformer.config import Config
from wmt_transformer.data.batches import Batch
from wmt_transformer.train import chips, metrics
from wmt_transformer.train.development import summary
from wmt_transformer.train.hosts import is_main
from wmt_transformer.train.optimizer import schedule
from wmt_transformer.train.step import StepMetrics

OnStep = Callable[[int, StepMetrics], None]
"""Is called after every step with its number and its metrics, which are still on the device."""
OnEvaluation = Callable[[int, dict[str, float]], None]
"""Is called after every evaluation with the step and what was measured, by name."""

PAPER_TOKENS = 25_000
"""Target tokens of a step in §5.1: learning rates and step counts are made for about this many."""


class Log:
    """What a run tells of itself: sums of its steps every `log_every` steps, evaluations, and lines for people.

    They go to metrics.jsonl, TensorBoard and the progress bar, from process 0 alone. `first` is the step that the run
    starts after; a batch is read in `slices` slices, one of them by this process. The caller's callbacks are called in
    all processes.
    """

    def __init__(
        self,
        config: Config,
        workdir: Path,
        first: int,
        slices: int,
        profile: bool = False,
        on_step: OnStep | None = None,
        on_evaluation: OnEvaluation | None = None,
    ) -> None:
        self._on_step, self._on_evaluation = on_step, on_evaluation
        self._config, self._first, self._slices = config, first, slices
        self._muted = not is_main()
        steps = config.train.steps
        self._writer = metrics.MetricsWriter(workdir, first, self._muted)
        self._progress = metrics.ProgressBar(steps, first, self._muted)
        self._trace = metrics.Trace(workdir, range(first, steps) if profile else range(0))
        self._opened = contextlib.ExitStack()
        self._sums, self.timer = metrics.Sums(), metrics.PhaseTimer()
        self._steps, self._flops = 0, 0
        self._chips, self._peak = chips.count(jax.devices()), chips.peak(jax.devices()[0].device_kind)
        self._warned = False
        self._rate = schedule(config.train, config.model.d_model)
        self.history: list[dict[str, Any]] = [] if self._muted else metrics.evaluations(workdir)
        """What every evaluation before this start of the run measured, oldest first."""
        self.evaluations: dict[int, dict[str, float]] = {}
        """What was measured at each evaluation of this start of the run, by the step."""

    def __enter__(self) -> Log:
        for part in (self._writer, self._progress, self._trace):
            self._opened.enter_context(part)
        return self

    def __exit__(self, *exception: object) -> None:
        self._opened.close()

    def begin(self, trained: int, parameters: int, said: Iterable[str]) -> None:
        """Says where the run starts from, and records its size where it has steps to make."""
        for line in said:
            self._progress.message(line)
        if self._first < self._config.train.steps:
            some = "" if trained == parameters else f"{trained:,} of them trained; "
            self._progress.message(f"{parameters:,} parameters; {some}compiling the first step")
            counts = {
                "parameters": parameters,
                "trained_parameters": trained,
                "steps": self._config.train.steps,
                "devices": jax.device_count(),
                "processes": jax.process_count(),
            }
            self._writer.write(self._first, {f"start/{name}": count for name, count in counts.items()})
        self.timer.take()

    def evaluated(self, step: int, measured: dict[str, float], text: str) -> dict[str, float]:
        """Reports what was measured on the development set (see `Development`), and returns it."""
        self.evaluations[step] = measured
        self._writer.write(step, measured)
        self._progress.message(summary(step, measured, text))
        if self._on_evaluation is not None:
            self._on_evaluation(step, measured)
        return measured

    def add(self, step: int, batch: Batch, measured: StepMetrics) -> None:
        """Counts one step; on every `log_every`-th waits for the device and reports."""
        # This process knows its slice of the source; the others' hold about as much.
        counted = {"source": np.count_nonzero(batch.source), "slots": batch.source.size + batch.target.size}
        counted = {name: count * self._slices for name, count in counted.items()}
        scalars = {"gradient_norm": measured.gradient_norm, "skipped": measured.skipped}
        self._sums.add({**measured.sums._asdict(), **scalars, **counted})
        self._steps += 1
        rows, source = batch.source.shape
        self._flops += chips.model_flops(self._config.model, rows * self._slices, source, batch.target.shape[1])
        self._progress.advance(step)
        if where := self._trace.after(step, measured):
            self._progress.message(where)
        if step % self._config.train.log_every == 0:
            self._report(step)
        if self._on_step is not None:
            self._on_step(step, measured)

    def _report(self, step: int) -> None:
        with self.timer("step"):
            sums = self._sums.take()
        seconds, steps, flops = self.timer.take(), self._steps, self._flops
        self._steps, self._flops = 0, 0
        target, source, total = sums["tokens"], sums["source"], seconds["total"]
        utilisation = flops / total / self._chips / self._peak.flops if self._peak else None
        nats = sums["nll"] / target
        self._writer.write(
            step,
            {
                "train/loss": sums["loss"] / target,
                "train/nats_per_token": nats,
                "train/perplexity": metrics.perplexity(nats),
                "train/accuracy": sums["correct"] / target,
                "train/gradient_norm": sums["gradient_norm"] / steps,
                "train/skipped_steps": sums["skipped"],
                "train/learning_rate": float(self._rate(step)),
                "train/source_tokens_per_second": source / total,
                "train/target_tokens_per_second": target / total,
                "train/tokens_per_second_per_chip": (source + target) / total / self._chips,
                "train/source_tokens_per_step": source / steps,
                "train/target_tokens_per_step": target / steps,
                "train/padding": 1 - (source + target) / sums["slots"],
                **({} if utilisation is None else {"train/model_flops_utilisation": utilisation}),
                **{f"seconds/{phase}": spent for phase, spent in seconds.items()},
            },
        )
        self._progress.report(step, sums["loss"] / target, (source + target) / total, self._chips, utilisation)
        follows_paper = self._config.family == "paper"
        if follows_paper and not self._warned and not PAPER_TOKENS / 2 <= target / steps <= PAPER_TOKENS * 2:
            self._warned = True
            self._progress.message(
                f"note: {target / steps:,.0f} target tokens a step; the paper's learning rate and step count are made "
                f"for about {PAPER_TOKENS:,}"
            )
