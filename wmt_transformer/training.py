"""The stages of a run, each by one call: prepare its data, train and evaluate on the way, average its checkpoints.

This is what the verbs of these names do, for programs and notebooks: the stages below know nothing of each other, and
here they are put together, all in one work folder. A run that was stopped goes on when it is trained again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wmt_transformer import checkpoint_records, experiment, parent
from wmt_transformer.compilation import use_compilation_cache
from wmt_transformer.config import Config, UserError
from wmt_transformer.files import gone_if_failed, locked, whole_file
from wmt_transformer.messages import number_of
from wmt_transformer.parent import Parent

if TYPE_CHECKING:  # they bring JAX, whose threads must not start before `keep_freed_memory`
    from wmt_transformer.data.documents.prepare import PreparedText
    from wmt_transformer.data.prepare import Prepared
    from wmt_transformer.train.log import OnEvaluation, OnStep
    from wmt_transformer.train.loop import Outcome

FINGERPRINTS = "fingerprints.json"


def silent(line: str) -> None:
    """Takes a line for people and says nothing."""


def prepare(config: Config, workdir: str | os.PathLike[str], say: Callable[[str], None] = silent) -> None:
    """Builds the vocabulary and the token arrays of the config's corpus in `workdir`; `train` does it where needed.

    Raises UserError for a corpus that cannot be used, and where the folder holds a run of another config or is in use.

    >>> import wmt_transformer as wt
    >>> config = wt.load_config("quickstart", data={"train_pairs": 300, "vocabulary_size": 400})
    >>> wt.prepare(config, "runs/mine")
    """
    from wmt_transformer.data.runs import prepare_data

    workdir = _checked(config, workdir)
    with gone_if_failed(workdir), locked(workdir):
        experiment.check_same_run(workdir, config)
        prepare_data(config, workdir, say)


def train(
    config: Config,
    workdir: str | os.PathLike[str],
    say: Callable[[str], None] = silent,
    profile: bool = False,
    *,
    start: str | Parent | None = None,
    on_step: OnStep | None = None,
    on_evaluation: OnEvaluation | None = None,
) -> Outcome:
    """Trains the config's model in `workdir`, or goes on with the run that is there; returns what happened.

    The folder is locked while it is trained in. Where several processes are connected (`train.hosts.start`), all of
    them call this. On a terminal and in a notebook a bar shows the progress.

    Args:
      say: is given lines for people, in process 0.
      profile: trace a few steps.
      start: RUN or RUN@CHECKPOINT: a new run starts from the weights of this one and has its architecture and
        vocabulary; a Parent may also say that the optimiser is kept.
      on_step: is called after every step with its number and its metrics. They are on the device: to read one, such as
        `float(metrics.gradient_norm)`, is to wait for the step.
      on_evaluation: is called after every evaluation with the step and what was measured by name, such as `dev/loss`.

    Raises UserError for a corpus that cannot be used, and where the folder holds a run of another config or from
    another start, or is in use. What a callback raises ends the run, whose checkpoints stay.

    >>> import wmt_transformer as wt
    >>> config = wt.load_config(
    ...     "quickstart",
    ...     model={"num_layers": 1, "d_model": 16, "d_ff": 32},
    ...     data={"train_pairs": 300, "vocabulary_size": 400},
    ...     train={"steps": 2, "evaluate_pairs": 2, "show_translations": 0, "average_last": 1},
    ... )
    >>> losses = []
    >>> outcome = wt.train(config, "runs/mine", on_evaluation=lambda step, found: losses.append(found["dev/loss"]))
    >>> outcome.step, outcome.parameters > 10_000, len(losses)
    (2, True, 1)
    """
    from wmt_transformer.train.memory import keep_freed_memory

    keep_freed_memory()  # before JAX starts its threads
    from wmt_transformer import checkpoint
    from wmt_transformer.data.runs import prepare_data
    from wmt_transformer.evaluate.during_training import evaluation
    from wmt_transformer.model.attention import check_attention
    from wmt_transformer.train import hosts, loop
    from wmt_transformer.train.parameters import check_frozen

    workdir = _checked(config, workdir)
    checkpoint_records.readable_path(workdir / "checkpoints")  # before the long work
    use_compilation_cache()
    start = parent.named(start) if isinstance(start, str) else start
    parent.check(workdir, start)
    config = parent.inherited(config, workdir, start)
    check_attention(config.model)
    vectors = config.model.pretrained_embeddings
    if vectors and not Path(vectors).exists() and not checkpoint.steps(workdir):  # before the long work
        raise UserError(f"there is no file {vectors}; check its name and folder")
    check_frozen(config.model, config.train.freeze)
    with contextlib.ExitStack() as held:
        with hosts.main_first("preparing the data", say):
            if hosts.is_main():
                held.enter_context(gone_if_failed(workdir))
                held.enter_context(locked(workdir))
            experiment.check_same_run(workdir, config)
            prepared = prepare_data(config, workdir, say if hosts.is_main() else silent)
            if (origin := start or parent.of(workdir)) and hosts.is_main() and not checkpoint.steps(workdir):
                parent.begin(origin, workdir, config, say)
        config = _settled(config, workdir, prepared)
        return loop.train(config, workdir, prepared, evaluation(config, prepared, say), profile, on_step, on_evaluation)


def _settled(config: Config, workdir: Path, prepared: Prepared | PreparedText) -> Config:
    """Returns the config with the size of the vocabulary that was prepared and the number of shapes of its batches, and
    keeps it, and what the data are, in the work folder.

    Raises UserError where they do not fit the model, or are not those of the run, or of another host.
    """
    from wmt_transformer.data import fingerprint
    from wmt_transformer.train import hosts

    if config.model.tied_embeddings == "all" and not prepared.vocabulary.is_shared:
        raise UserError(
            "model.tied_embeddings is all, and this vocabulary has other pieces for the target than the source; "
            "set --model.tied_embeddings target"
        )
    found = fingerprint.of(prepared.folder)
    for name, digest in found.items():
        hosts.check_same(f"the prepared {name}", digest)
    _bind(workdir, found, hosts.is_main())
    model = dataclasses.replace(config.model, vocabulary_size=len(prepared.vocabulary))
    data = dataclasses.replace(config.data, num_shapes=_num_shapes(config, workdir, prepared))
    config = dataclasses.replace(config, model=model, data=data)
    if hosts.is_main():
        with whole_file(workdir / "config.json") as out:
            out.write(experiment.to_json(config))
    return config


def _num_shapes(config: Config, workdir: Path, prepared: Prepared | PreparedText) -> int:
    """Returns how many shapes of batches a run may have: as many as it is told, or as it has had, or as pay.

    They are decided when the run begins: another number is other batches, and whoever gives it more steps later would
    not expect that.
    """
    from wmt_transformer.data.batches import Batches
    from wmt_transformer.data.prepare import Prepared
    from wmt_transformer.data.shapes import worth_compiling

    data, steps = config.data, config.train.steps
    begun = experiment.run_config(workdir).data.num_shapes if (workdir / "config.json").is_file() else None
    if config.train.epochs is not None and isinstance(prepared, Prepared):
        multiple = data.batch_multiple * config.train.accumulation
        epoch = Batches(prepared.train, data.source_tokens, data.target_tokens, 1, multiple).batches_per_epoch
        steps = round(config.train.epochs * epoch)
    return data.num_shapes or begun or worth_compiling(steps)


def average(
    workdir: str | os.PathLike[str],
    last: int | None = None,
    steps: Sequence[int] = (),
    say: Callable[[str], None] = silent,
) -> list[int]:
    """Writes the mean of several checkpoints' parameters (§6.1), which every later stage prefers; returns their steps.

    It is kept under the newest of them.

    Args:
      last: how many of the newest (default: the config's `train.average_last`); all where there are fewer.
      steps: the checkpoints of these steps instead.

    Raises UserError where the folder holds no run or no such checkpoint.

    >>> import wmt_transformer as wt
    >>> steps = wt.average("runs/quickstart", last=2)
    >>> len(steps), steps[0] < steps[1]
    (2, True)
    """
    from wmt_transformer import checkpoint

    use_compilation_cache()
    folder = Path(workdir)
    saved, count = checkpoint.scheduled_steps(folder), last or experiment.run_config(folder).train.average_last
    for line in () if steps else checkpoint_records.damaged(folder / "checkpoints"):
        say(f"{line}; averaging without it")
    if not steps and saved and len(saved) < count:
        say(f"the run has {number_of(len(saved), 'checkpoint')}, fewer than {count}: averaging all of them")
    chosen = list(steps) or saved[-count:]
    with locked(folder, ".average.lock"):  # training may go on meanwhile
        checkpoint.average(folder, chosen)
    return chosen


def _checked(config: object, workdir: str | os.PathLike[str]) -> Path:
    """Returns the work folder's path. Raises TypeError for a config that is none, such as its name."""
    if not isinstance(config, Config):
        raise TypeError(f"config: {config!r:.60} is of type {type(config).__name__}; `load_config(NAME)` returns one")
    return Path(workdir)


def _bind(workdir: Path, found: Mapping[str, str], write: bool) -> None:
    """Keeps the fingerprints of the run's data beside its config; raises UserError where they were others.

    A run that has no checkpoint yet, or that an older version made without fingerprints, takes on what there is.
    """
    from wmt_transformer import checkpoint
    from wmt_transformer.data import fingerprint

    path = workdir / FINGERPRINTS
    if path.is_file() and checkpoint.steps(workdir):
        fingerprint.check(experiment.json_object(path), found, f"the run in {workdir}")
    if write:
        with whole_file(path) as out:
            out.write(json.dumps(found, indent=2) + "\n")
