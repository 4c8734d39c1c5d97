"""The training loop: batch, step, log, evaluate, save; and resuming, which is the same loop from a later step.

Everything that a step depends on (parameters, batch, dropout) is a function of the config and the step number,
so a run that was killed and started again ends with the parameters of an uninterrupted one, bit for bit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from wmt_transformer.checkpoint import Broken, Checkpoints
from wmt_transformer.config import Config, UserError
from wmt_transformer.data import embeddings
from wmt_transformer.data.batches import prefetch
from wmt_transformer.data.documents.prepare import PreparedText
from wmt_transformer.data.prepare import Prepared
from wmt_transformer.data.vocabulary import Vocabulary
from wmt_transformer.model.build import Model, build
from wmt_transformer.platform import backend
from wmt_transformer.train import metrics
from wmt_transformer.train.development import Development, Evaluate, summary
from wmt_transformer.train.feed import make_batches
from wmt_transformer.train.hosts import any_of, is_main
from wmt_transformer.train.log import Log, Timed
from wmt_transformer.train.optimizer import learning_rate, optimizer
from wmt_transformer.train.sharding import check_rows, make_mesh, place_batch, row_slice
from wmt_transformer.train.signals import interruptible
from wmt_transformer.train.state import TrainState, abstract_state, initial_state, with_embeddings
from wmt_transformer.train.step import make_eval_step, make_train_step


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
    with contextlib.closing(checkpoints), mesh_of(mesh), interruptible() as stop:
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
                    progress.message(summary(now, measured_dev, text))
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
    if backend() == "cpu":
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
