"""The training loop: batch, step, log, evaluate, save; and resuming, which is the same loop from a later step.

Everything that a step depends on (parameters, batch, dropout) is a function of the config and the step number,
so a run that was killed and started again ends with the parameters of an uninterrupted one, bit for bit (on a GPU with
`train.deterministic`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wmt_transformer.checkpoint import Broken, Checkpoints
from wmt_transformer.config import Config, UserError
from wmt_transformer.data import embeddings
from wmt_transformer.data.batches import Batch, Batches, prefetch
from wmt_transformer.data.prepare import Prepared
from wmt_transformer.data.prepare_text import PreparedText
from wmt_transformer.data.tokens import TokenPairs
from wmt_transformer.data.vocabulary import Vocabulary
from wmt_transformer.data.windows import TokenStream, Windows
from wmt_transformer.model.build import Model, build
from wmt_transformer.train import chips, metrics
from wmt_transformer.train.device_memory import enough_memory
from wmt_transformer.train.hosts import any_of, is_main
from wmt_transformer.train.optimizer import learning_rate, optimizer
from wmt_transformer.train.sharding import check_rows, make_mesh, place_batch, row_slice
from wmt_transformer.train.state import TrainState, abstract_state, initial_state, with_embeddings
from wmt_transformer.train.step import make_eval_step, make_train_step

PAPER_TOKENS = 25_000
"""Target tokens of a step in §5.1: learning rates and step counts are made for about so many."""

Evaluate = Callable[[Any], tuple[dict[str, float], str]]
"""Given parameters, returns scores by name and lines of text to show; given to the loop by its caller."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    step: int
    seconds: float
    """Wall-clock time of this start of the run, compilation included."""
    compile_seconds: float
    """Part of it that was spent on first calls, which compile."""
    parameters: int
    signal: int | None
    """The signal that ended it early, None when it reached its end."""


def train(
    config: Config,
    workdir: Path,
    prepared: Prepared | PreparedText,
    evaluate: Evaluate | None = None,
    profile: bool = False,
) -> Outcome:
    """Trains to `config.train.steps` or until the dev score stops rising, from the newest checkpoint if there is one.

    `evaluate` adds scores to the development loss; its first (BLEU or F1), if any, decides which checkpoint is best.
    With `profile` a few steps are traced (see `metrics.Trace`).
    """
    start, settings = time.monotonic(), config.train
    mesh = make_mesh(config.mesh)
    model = build(config.model)
    update = optimizer(settings, config.model.d_model)
    check_rows(config.data.batch_multiple, mesh)
    host_count = row_slice(mesh)[1]
    batches = make_batches(config, prepared.train, mesh, config.data.num_shapes, settings.accumulation)
    muted = not is_main()
    checkpoints = Checkpoints(workdir, settings.keep_checkpoints)
    with contextlib.closing(checkpoints), mesh_of(mesh), enough_memory(config), interruptible() as stop:
        state, spoilt = _start(checkpoints, model, update, mesh, settings.seed)
        first = int(state.step)
        step = Timed(make_train_step(model, update, settings, mesh))
        dev = Development(config, prepared, make_eval_step(model, mesh), mesh, evaluate)
        with (
            metrics.MetricsWriter(workdir, first, muted) as writer,
            metrics.ProgressBar(settings.steps, first, muted) as progress,
            metrics.Trace(workdir, range(first, settings.steps) if profile else range(0)) as trace,
        ):
            for message in spoilt:
                progress.message(message)
            if not first and config.model.pretrained_embeddings:
                state, found = _pretrained(state, config, prepared.vocabulary)
                progress.message(found)
            if first:
                progress.message(f"resuming at step {first}")
            log = Log(config, host_count, writer, progress)
            scores = [] if muted else metrics.dev_scores(workdir)
            done = any_of(_out_of_patience(scores, settings.patience))
            now, saved, ended = first, first, stop.agreed(first)
            timer = log.timer
            parameters = sum(x.size for x in jax.tree.leaves(state.params))
            if now < settings.steps and not done:
                started = {"parameters": parameters, "devices": jax.device_count(), "processes": jax.process_count()}
                writer.write(first, {f"start/{name}": count for name, count in started.items()})
            stream = prefetch(batches, first, max(settings.steps - first, 1))
            while now < settings.steps and ended is None and not done:
                with timer("data"):
                    batch = next(stream)
                with timer("step"):
                    state, measured = step(state, place_batch(batch, mesh))
                now += 1
                trace.after(now, measured)
                log.add(now, batch, measured)
                if now % settings.log_every == 0 and int(state.skipped) >= settings.stop_after_skipped:
                    raise UserError(_diverged(config, now, int(state.skipped), float(measured.gradient_norm), saved))
                ended = stop.agreed(now)
                last = now == settings.steps or ended is not None
                score = None
                if now % settings.evaluate_every == 0 or (last and ended is None):
                    with timer("evaluate"):
                        measured_dev, text = dev(state.params)
                    writer.write(now, measured_dev)
                    progress.message(_summary(now, measured_dev, text))
                    score = measured_dev["dev/score"]
                    scores.append(score)
                    done = any_of(_out_of_patience(scores, settings.patience))
                if now % settings.checkpoint_every == 0 or last:
                    with timer("checkpoint"):
                        _save(checkpoints, state, score)
                        saved = now
            if now > saved:
                _save(checkpoints, state, None)
            checkpoints.wait()
    return Outcome(now, time.monotonic() - start, step.first_seconds, parameters, ended)


def make_batches(
    config: Config, tokens: TokenPairs | TokenStream, mesh: jax.sharding.Mesh, num_shapes: int, accumulation: int = 1
) -> Batches | Windows:
    """Returns this process's share of the batches: of sentence pairs, or of packed text for a language model."""
    data, (host_index, host_count) = config.data, row_slice(mesh)
    multiple, seed = data.batch_multiple * accumulation, config.train.seed
    if isinstance(tokens, TokenStream):
        return Windows(tokens, data.context, data.target_tokens, multiple, seed, host_index, host_count)
    return Batches(tokens, data.source_tokens, data.target_tokens, num_shapes, multiple, seed, host_index, host_count)


class Timed:
    """Calls a compiled function and adds up how long its first call with each shape of batch took."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._seen: set[tuple[tuple[int, ...], ...]] = set()
        self.first_seconds = 0.0

    def __call__(self, state: Any, batch: Batch) -> Any:
        shapes = (batch.source.shape, batch.target.shape)
        if shapes in self._seen:
            return self._function(state, batch)
        begin = time.monotonic()
        result = jax.block_until_ready(self._function(state, batch))
        self._seen.add(shapes)
        self.first_seconds += time.monotonic() - begin
        return result


class Log:
    """Adds up what steps measured and reports it every `log_every` steps."""

    def __init__(
        self, config: Config, slices: int, writer: metrics.MetricsWriter, progress: metrics.ProgressBar
    ) -> None:
        self._config, self._writer, self._progress = config, writer, progress
        self._sums, self.timer = metrics.Sums(), metrics.PhaseTimer()
        self._steps, self._flops = 0, 0
        self._chips, self._peak = chips.count(jax.devices()), chips.peak(jax.devices()[0].device_kind)
        self._slices = slices
        self._warned = False

    def add(self, step: int, batch: Batch, measured: Any) -> None:
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
        if step % self._config.train.log_every == 0:
            self._report(step)

    def _report(self, step: int) -> None:
        train = self._config.train
        with self.timer("step"):
            sums = self._sums.take()
        seconds, steps, flops = self.timer.take(), self._steps, self._flops
        self._steps, self._flops = 0, 0
        target, source, total = sums["tokens"], sums["source"], seconds["total"]
        utilisation = flops / total / self._chips / self._peak.flops if self._peak else None
        nats = sums["nll"] / target
        rate = learning_rate(step, self._config.model.d_model, train.warmup_steps, train.learning_rate)
        self._writer.write(
            step,
            {
                "train/loss": sums["loss"] / target,
                "train/nats_per_token": nats,
                "train/perplexity": metrics.perplexity(nats),
                "train/accuracy": sums["correct"] / target,
                "train/gradient_norm": sums["gradient_norm"] / steps,
                "train/skipped_steps": sums["skipped"],
                "train/learning_rate": float(rate),
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
        if not self._warned and not PAPER_TOKENS / 2 <= target / steps <= PAPER_TOKENS * 2:
            self._warned = True
            self._progress.message(
                f"note: {target / steps:,.0f} target tokens a step; the paper's learning rate and step count are made "
                f"for about {PAPER_TOKENS:,}"
            )


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
        self._batches = make_batches(config, prepared.dev, mesh, min(config.data.num_shapes, 3))
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


class Stop:
    """Remembers the signal that asked the run to stop."""

    signal: int | None = None

    def agreed(self, step: int) -> int | None:
        """Returns the signal that any of the processes got, None while there is none; the same in all of them.

        Several processes ask each other every tenth step only: all have to stop after the same one.
        """
        if jax.process_count() == 1:
            return self.signal
        return any_of(self.signal or 0) or None if step % 10 == 0 else None


@contextlib.contextmanager
def interruptible() -> Iterator[Stop]:
    """Turns Ctrl-C and SIGTERM into a request to stop after the step under way; a second one stops at once."""
    stop = Stop()

    def request(number: int, frame: FrameType | None) -> None:
        if stop.signal is not None:
            raise KeyboardInterrupt
        stop.signal = number

    try:
        before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, e.g. in a notebook's worker: signals are somebody else's
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def mesh_of(mesh: jax.sharding.Mesh) -> contextlib.AbstractContextManager[Any]:
    """Returns the context in which arrays are placed on this mesh."""
    return jax.set_mesh(mesh)


def _start(
    checkpoints: Checkpoints, model: Model, update: Any, mesh: jax.sharding.Mesh, seed: int
) -> tuple[TrainState, list[str]]:
    """Returns the state of the newest checkpoint that can be read, and what was wrong with newer ones."""
    spoilt: list[str] = []
    saved = checkpoints.steps()
    if not saved:
        return initial_state(model, update, mesh, seed), spoilt
    shapes = abstract_state(model, update, mesh)
    for newest in reversed(saved):
        try:
            params, moments = checkpoints.restore(newest, shapes.params, shapes.optimizer)
        except Broken as error:
            spoilt.append(f"{error}; trying the one before")
            continue
        step, none = (jax.device_put(jnp.int32(n), shapes.step.sharding) for n in (newest, 0))
        return TrainState(step, params, moments, none), spoilt
    raise Broken(f"none of the {len(saved)} checkpoints can be read; the newest: {spoilt[0]}")


def _pretrained(state: TrainState, config: Config, vocabulary: Vocabulary) -> tuple[TrainState, str]:
    """Returns the state with embeddings from the config's file, and how many pieces have one."""
    path = Path(config.model.pretrained_embeddings or "")
    ids, vectors = embeddings.rows(path, vocabulary.ids(), config.model.d_model)
    found = f"{path} has vectors for {len(ids):,} of {len(vocabulary):,} pieces; the others start at random"
    return with_embeddings(state, ids, vectors), found


def _save(checkpoints: Checkpoints, state: TrainState, score: float | None) -> None:
    params, moments = state.params, state.optimizer
    if jax.default_backend() == "cpu":
        # The save goes on in the background while the next step reuses the donated buffers. On an accelerator
        # they have been copied to the host by now; on a CPU the host's copy would be the buffer itself.
        params, moments = jax.tree.map(jnp.copy, (params, moments))
    checkpoints.save(int(state.step), params, moments, score)


def _out_of_patience(scores: list[float], patience: int) -> bool:
    return patience > 0 and len(scores) > patience and max(scores[:-patience]) >= max(scores[-patience:])


def _diverged(config: Config, step: int, skipped: int, norm: float, saved: int) -> str:
    train = config.train
    rate = float(learning_rate(step, config.model.d_model, train.warmup_steps, train.learning_rate))
    return (
        f"the last {skipped} steps up to {step} were skipped: their gradients were not finite (norm {norm}, learning "
        f"rate {rate:.2e}); the checkpoint of step {saved} is good. Train with a lower --train.learning_rate, more "
        "--train.warmup_steps, or --model.compute_dtype float32, in another --workdir"
    )


def _summary(step: int, measured: dict[str, float], text: str) -> str:
    line = f"step {step}: dev perplexity {measured['dev/perplexity']:.2f}  accuracy {measured['dev/accuracy']:.1%}"
    for name, pattern in {"bleu": "BLEU {:.1f}", "f1": "F1 {:.1f}", "bits_per_byte": "{:.3f} bits per byte"}.items():
        if f"dev/{name}" in measured:
            line += "  " + pattern.format(measured[f"dev/{name}"])
    return f"{line}\n{text}" if text else line
