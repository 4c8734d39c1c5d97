"""The parent of a run: the run whose weights it starts from, as in `train CONFIG --from RUN[@CHECKPOINT]`.

Architecture and vocabulary are the parent's, everything else is the config's. The parent's checkpoint is copied as the
first of the child, file by file; from then on the child is a run like any other and does not need its parent, whose
name `parent.json` keeps. The optimiser and its schedule start anew at step 0, or go on from the parent's step.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from wmt_transformer import checkpoint_records as records
from wmt_transformer.config import Config, UserError
from wmt_transformer.data import fingerprint
from wmt_transformer.experiment import differences, json_object, run_config
from wmt_transformer.files import whole_file

FILE = "parent.json"
OWN = ("dropout", "attention_dropout", "relu_dropout", "attention", "remat", "compute_dtype")
"""Settings of the model that are no part of its architecture: the child's are its own."""


@dataclasses.dataclass(frozen=True)
class Parent:
    """Which run a child starts from, or which Marian model a run was imported from."""

    run: str
    """Its folder, or the model's name on the Hugging Face Hub."""
    checkpoint: str | None = None
    """`average`, `best`, `latest` or a step; None: the average where there is one, else the best. Of a model on the
    Hub, its commit."""
    optimizer: bool = False
    """Whether the child keeps the state of the optimiser, and with it the step."""
    step: int | None = dataclasses.field(default=None, compare=False)
    """The step of the checkpoint that was copied; None before that."""
    license: str | None = dataclasses.field(default=None, compare=False)
    """Of the imported model that it all began with, as its card says; None where that is not known."""

    @property
    def on_the_hub(self) -> bool:
        """Whether it is a model of the Hugging Face Hub; a run's folder is an absolute path."""
        return not Path(self.run).is_absolute()

    def __str__(self) -> str:
        asked = self.run if self.checkpoint is None else f"{self.run}@{self.checkpoint}"
        return asked if self.step is None else f"{asked}, step {self.step}"


def named(text: str, optimizer: bool = False) -> Parent:
    """Returns the parent that `RUN` or `RUN@CHECKPOINT` names."""
    run, at, which = text.rpartition("@")
    if not at or Path(text).is_dir():
        run, which = text, ""
    return Parent(str(Path(run).absolute()), which or None, optimizer)


def of(workdir: Path) -> Parent | None:
    """Returns the parent of the run in a work folder, None where it has none. Raises UserError for a damaged file."""
    if not (workdir / FILE).is_file():
        return None
    try:
        return Parent(**json_object(workdir / FILE))
    except TypeError as error:
        raise UserError(f"{workdir / FILE} is damaged: {error}; restore it, or train in another folder") from error


def write(workdir: Path, parent: Parent) -> None:
    """Keeps the parent of the run in a work folder."""
    with whole_file(workdir / FILE) as out:
        out.write(json.dumps(dataclasses.asdict(parent), indent=2) + "\n")


def check(workdir: Path, given: Parent | None) -> None:
    """Raises UserError where a work folder holds a run that did not start from the parent that is given."""
    there = of(workdir)
    if given is None or given == there or not any((workdir / name).is_file() for name in (FILE, "config.json")):
        return
    found = "from nothing" if there is None else f"from {there}{' with its optimiser' * there.optimizer}"
    raise UserError(
        f"{workdir} holds a run that started {found}, not from {given}{' with its optimiser' * given.optimizer}; "
        "leave out --from to go on with it, or choose another --workdir"
    )


def inherited(config: Config, workdir: Path, given: Parent | None) -> Config:
    """Returns the config with the architecture and the vocabulary of the parent, if there is one.

    A child that has begun has them in its own config: its parent may be gone. Raises UserError where the parent is no
    run.
    """
    parent = given or of(workdir)
    if parent is None:
        return config
    begun = (workdir / "config.json").is_file()
    source = run_config(workdir if begun else Path(parent.run))
    model = dataclasses.replace(source.model, **{name: getattr(config.model, name) for name in OWN})
    vocabulary = source.data.vocabulary if begun else parent.run
    return dataclasses.replace(config, model=model, data=dataclasses.replace(config.data, vocabulary=vocabulary))


def check_inherited(config: Config, workdir: Path, given: Parent | None) -> None:
    """Raises UserError where the config has another architecture or vocabulary than the parent; it says what differs.

    The size of the vocabulary follows from the vocabulary.
    """
    if changed := differences(inherited(config, workdir, given), config, {"model.vocabulary_size"}):
        raise UserError(
            f"the run starts from {given or of(workdir)}, whose architecture and vocabulary it has, and these differ: "
            f"{'; '.join(changed)}; leave them out"
        )


def begin(parent: Parent, workdir: Path, config: Config, say: Callable[[str], None]) -> None:
    """Makes a copy of the parent's checkpoint the first one of a run whose data is prepared, and says which it is.

    Raises UserError where the parent is gone, has no such checkpoint, was trained with another vocabulary than it has
    now, or has no optimiser's state that the config could go on with.
    """
    from wmt_transformer import checkpoint

    theirs = run_config(Path(parent.run))
    folder, step = checkpoint.resolve(Path(parent.run), parent.checkpoint)
    items = ["params", "optimizer", "trained"] if parent.optimizer else ["params"]
    record = records.verify(folder / str(step), items)
    if parent.optimizer:
        _check_optimizer(parent, theirs, config, folder / str(step))
    data = fingerprint.of(workdir / "data")
    vocabulary = {name: digest for name, digest in record.data.items() if name == "vocabulary"}
    fingerprint.check(vocabulary, data, f"checkpoint {step} of {parent.run}")
    grandparent = of(Path(parent.run))
    write(workdir, dataclasses.replace(parent, step=step, license=grandparent and grandparent.license))
    first = step if parent.optimizer else 0
    records.copy(folder / str(step), workdir / "checkpoints" / str(first), items, records.Record(False, data=data))
    kind = "the average at " if folder.name == "average" else ""
    optimiser = "goes on" if parent.optimizer else "begins anew"
    say(f"starting from {parent.run}, {kind}step {step} ({theirs.name}); the optimiser {optimiser}")
    pairs = [f"{one.data.source} to {one.data.target}" for one in (theirs, config)]
    if pairs[0] != pairs[1]:
        say(f"note: {parent.run} was trained from {pairs[0]}, and this run is from {pairs[1]}")


def _check_optimizer(parent: Parent, theirs: Config, config: Config, folder: Path) -> None:
    """Raises UserError where a checkpoint has no optimiser's state, or another one than the config needs."""
    if not (folder / "optimizer").is_dir():
        raise UserError(
            f"{folder} has no state of an optimiser, as averages and imported models have none; name a checkpoint of "
            f"{parent.run} by its step, or leave out --from-optimizer"
        )
    for name in ("freeze", "weight_decay", "ema_decay"):
        was, now = (getattr(one.train, name) for one in (theirs, config))
        if was != now and (name == "freeze" or bool(was) != bool(now)):
            raise UserError(
                f"--from-optimizer: with train.{name} {was!r} in {parent.run} and {now!r} here the optimiser's states "
                "differ; make them alike, or leave it out"
            )
    if config.train.epochs is None and config.train.steps <= int(folder.name):
        raise UserError(
            f"--from-optimizer goes on from step {folder.name} of {parent.run}, and train.steps is "
            f"{config.train.steps}: nothing is left to train; set --train.steps to more"
        )
