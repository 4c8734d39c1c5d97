"""The training loop: batch, step, log, evaluate, save; and resuming, which is the same loop from a later step.

Everything that a step depends on (parameters, batch, dropout) is a function of the config and the step number, so a
run that was killed and started again ends with the parameters of an uninterrupted one, bit for bit (on a GPU with
`train.deterministic`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from wmt_transformer.checkpoint import Checkpoints
from wmt_transformer.config import Config, UserError
from wmt_transformer.data import fingerprint
from wmt_transformer.data.batches import prefetch
from wmt_transformer.data.documents.prepare import PreparedText
from wmt_transformer.data.prepare import Prepared
from wmt_transformer.model.build import build
from wmt_transformer.platform import backend
from wmt_transformer.train.development import Development, Evaluate, Patience
from wmt_transformer.train.device_memory import enough_memory
from wmt_transformer.train.host_batches import make_batches
from wmt_transformer.train.hosts import largest
from wmt_transformer.train.log import Log, OnEvaluation, OnStep
from wmt_transformer.train.optimizer import optimizer, schedule
from wmt_transformer.train.parameters import count
from wmt_transformer.train.programs import Compilations, Programs
from wmt_transformer.train.sharding import check_rows, make_mesh, place_batch, row_slice, whole
from wmt_transformer.train.signals import interruptible
from wmt_transformer.train.start import starting_state
from wmt_transformer.train.state import TrainState
from wmt_transformer.train.step import StepMetrics, make_eval_step, make_train_step


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    step: int
    seconds: float
    """Wall-clock time of this start of the run, compilation included."""
    compiled: Compilations
    """What compiling the train step took of it."""
    parameters: int
    signal: int | None
    """The signal that ended it early, None when it reached its end."""
    evaluations: dict[int, dict[str, float]] = dataclasses.field(default_factory=dict)
    """What was measured on the development set, by name, at each step that this start of the run evaluated after."""


def train(
    config: Config,
    workdir: Path,
    prepared: Prepared | PreparedText,
    evaluate: Evaluate | None = None,
    profile: bool = False,
    on_step: OnStep | None = None,
    on_evaluation: OnEvaluation | None = None,
) -> Outcome:
    """Trains to the last step or until the dev loss stops falling, from the newest checkpoint if there is one.

    `evaluate` adds scores to the development loss; its first (BLEU or F1), if any, decides which checkpoint is best.
    A checkpoint is saved on schedule, where a development score is the best so far, and where a signal ends the run.
    With `profile` a few steps are traced (see `metrics.Trace`); the callbacks are those of `training.train`.
    """
    begin = time.monotonic()
    mesh, model = make_mesh(config.mesh), build(config.model)
    check_rows(config.data.batch_multiple, mesh)
    batches = make_batches(config, prepared.train, mesh, config.data.num_shapes, config.train.accumulation)
    config = with_last_step(config, batches.batches_per_epoch)
    settings, update = config.train, optimizer(config.train, config.model.d_model)
    checkpoints = Checkpoints(workdir, settings.keep_checkpoints, fingerprint.of(prepared.folder))
    with contextlib.closing(checkpoints), jax.set_mesh(mesh), enough_memory(config), interruptible() as stop:
        state, said = starting_state(config, checkpoints, model, update, mesh, prepared.vocabulary)
        first = now = saved = int(state.step)
        trained, parameters = count(state.params, settings.freeze)
        dev = Development(config, prepared, make_eval_step(model, mesh), mesh, evaluate)
        log = Log(config, workdir, first, row_slice(mesh)[1], profile, on_step, on_evaluation)
        shapes = batches.shapes_from(first, settings.steps)
        step = Programs(make_train_step(model, update, settings, mesh), state, shapes, mesh)
        with contextlib.closing(step), log:
            patience = Patience(log.history, settings.patience, settings.patience_measure)
            done, ended = patience.is_over(), stop.agreed(first)
            log.begin(trained, parameters, said)
            stream = prefetch(batches, first, max(settings.steps - first, 1))
            while now < settings.steps and ended is None and not done:
                with log.timer("data"):
                    batch = next(stream)
                with log.timer("step"):
                    state, measured = step(state, place_batch(batch, mesh))
                now += 1
                log.add(now, batch, measured)
                if now % settings.log_every == 0:
                    _check_finite(config, state, measured, saved)
                last, score, is_best = now == settings.steps, None, False
                if now % settings.evaluate_every == 0 or last:
                    with log.timer("evaluate"):
                        found = log.evaluated(now, *dev(whole(state.used, mesh)))
                    patience.add(found)
                    score, done = found["dev/score"], patience.is_over()
                    is_best = bool(largest(checkpoints.is_better(score)))
                ended = None if last or done else stop.agreed(now)
                scheduled = now % settings.checkpoint_every == 0 or last or done
                if scheduled or is_best or ended is not None:
                    with log.timer("checkpoint"):
                        _save(checkpoints, state, score, scheduled)
                        saved = now
            checkpoints.wait()
    return Outcome(now, time.monotonic() - begin, step.so_far(), parameters, ended, log.evaluations)


def _save(checkpoints: Checkpoints, state: TrainState, score: float | None, scheduled: bool) -> None:
    """Starts a save; the first one of a start of the run is waited for and read back."""
    step, items = int(state.step), state.items()
    if backend() == "cpu":
        # The save goes on in the background while the next step reuses the donated buffers. On an accelerator
        # they have been copied to the host by now; on a CPU the host's copy would be the buffer itself.
        items = jax.tree.map(jnp.copy, items)
    checkpoints.save(step, items, score, scheduled)
    if not checkpoints.read_back_once:
        checkpoints.wait()
        largest(0)  # process 0, which gives the checkpoint its name, is there too
        checkpoints.read_back(step, items["params"])


def with_last_step(config: Config, batches_per_epoch: int) -> Config:
    """Returns the config whose `train.steps` are its epochs, rounded up to whole steps, where it counts these."""
    if config.train.epochs is None:
        return config
    steps = math.ceil(config.train.epochs * batches_per_epoch)
    return dataclasses.replace(config, train=dataclasses.replace(config.train, steps=steps))


def _check_finite(config: Config, state: TrainState, measured: StepMetrics, saved: int) -> None:
    """Raises UserError after too many steps in a row whose gradient was not finite; `saved` is the last good step."""
    train, step, skipped = config.train, int(state.step), int(state.skipped)
    if skipped < train.stop_after_skipped:
        return
    rate = float(schedule(train, config.model.d_model)(step))
    raise UserError(
        f"the last {skipped} steps up to {step} were skipped: their gradients were not finite (norm "
        f"{float(measured.gradient_norm)}, learning rate {rate:.2e}); the checkpoint of step {saved} is good. Train "
        "with a lower --train.learning_rate, more --train.warmup_steps, or --model.compute_dtype float32, in another "
        "--workdir"
    )
