"""Checkpoints of a run: the only file that imports Orbax.

A work folder holds `checkpoints/STEP` (parameters and optimiser) and, after `average`, `average/STEP` (parameters
alone). A checkpoint is written in the background under another name, gets its record (`records.py`) and is
then renamed, so a kill leaves only whole ones. Kept are the newest scheduled ones, the one with the best development
score, and the newest of all: a run that is stopped saves out of turn, goes on from there, and then has the same
checkpoints as a run that was never stopped.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import gc
import logging
import math
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wmt_transformer import checkpoint_records as records
from wmt_transformer.checkpoint_records import UNFINISHED, Record
from wmt_transformer.config import UserError
from wmt_transformer.data import fingerprint


class Checkpoints:
    """The checkpoints of one work folder, open for reading and writing.

    `data` are the fingerprints of what the run trains on. Raises UserError for a path that Orbax cannot read from.
    """

    def __init__(self, workdir: Path, keep: int = 5, data: Mapping[str, str] | None = None) -> None:
        self._workdir, self._folder = Path(workdir), records.readable_path(Path(workdir) / "checkpoints")
        self._keep, self._data = keep, dict(data or {})
        self._background = concurrent.futures.ThreadPoolExecutor(1)
        self._saving: concurrent.futures.Future[None] | None = None
        self._best_score = max(records.scores(self._folder).values(), default=-math.inf)
        self.read_back_once = False
        """Whether a checkpoint of this start of the run was read back."""
        if jax.process_index() == 0:
            self._folder.mkdir(parents=True, exist_ok=True)
            records.clear_left_over(self._folder)

    def steps(self) -> list[int]:
        """Returns the steps that are there, oldest first."""
        return records.numbered(self._folder)

    def is_better(self, score: float) -> bool:
        """Tells whether a development score is higher than those of all checkpoints."""
        return score > self._best_score

    def save(self, step: int, items: Mapping[str, Any], score: float | None = None, scheduled: bool = True) -> None:
        """Starts writing a checkpoint in the background; `score` (higher is better) decides which is best.

        Its items are trees of arrays by name: `params`, those to translate with, and what else training goes on from.
        Raises OSError where the disk has no room, or the save before this one failed.
        """
        self.wait()
        # Checked first: a write that fails half-way damages nothing, but its threads fill the screen.
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(items))
        free = shutil.disk_usage(self._folder).free
        if free < needed:
            raise OSError(errno.ENOSPC, f"a checkpoint needs {needed:,} bytes and {free:,} are free")
        unfinished = self._folder / f"{step}{UNFINISHED}"
        written = _orbax().save_checkpointables_async(unfinished, dict(items), overwrite=True)
        if score is not None and math.isfinite(score):
            self._best_score = max(self._best_score, score)
        else:
            score = None
        self._saving = self._background.submit(self._finish, written, unfinished, Record(scheduled, score, self._data))

    def read_back(self, step: int, params: Any) -> None:
        """Reads the parameters of a checkpoint, of these shapes, into the host's memory; raises Broken if it cannot."""
        _load(self._folder / str(step), {"params": jax.tree.map(lambda x: np.empty(x.shape, x.dtype), params)})
        self.read_back_once = True

    def verify(self, step: int) -> None:
        """Raises Broken where a file of the checkpoint is not what was saved, UserError where the run's data are not
        those that it was trained on."""
        record = records.verify(self._folder / str(step))
        fingerprint.check(record.data, self._data, f"checkpoint {step} of {self._workdir}")

    def restore(self, step: int, items: Mapping[str, Any]) -> dict[str, Any]:
        """Returns those items of a checkpoint that it has, as the given shapes and shardings say.

        All have `params`; one that another run or program gave has these alone. Raises Broken when it cannot be read.
        """
        folder = self._folder / str(step)
        return _load(
            folder, {name: shapes for name, shapes in items.items() if name == "params" or (folder / name).is_dir()}
        )

    def wait(self) -> None:
        """Returns when what `save` started is on disk; raises OSError when it could not be written."""
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def close(self) -> None:
        """Waits for the last save and releases the folder."""
        try:
            self.wait()
        finally:
            self._background.shutdown()

    def _finish(self, written: Any, unfinished: Path, record: Record) -> None:
        """Runs in the background: when all arrays are written, gives the checkpoint its record and its name."""
        written.result()
        if jax.process_index() == 0:
            records.complete(unfinished, record)
            records.delete_old(self._folder, self._keep)


def steps(workdir: Path) -> list[int]:
    """Returns the steps of the run's checkpoints, oldest first."""
    return records.numbered(Path(workdir) / "checkpoints")


def scheduled_steps(workdir: Path) -> list[int]:
    """Returns the steps of the checkpoints that may be averaged: all but those saved on a signal or for their score."""
    return records.scheduled(Path(workdir) / "checkpoints")


def resolve(workdir: Path, which: str | int | None = None) -> tuple[Path, int]:
    """Returns the folder and step of a checkpoint: `average`, `best`, `latest` or a step.

    None means the average where there is one, otherwise the best. Raises UserError when there is none such.
    """
    workdir = Path(workdir)
    averaged, saved = records.numbered(workdir / "average"), steps(workdir)
    if which is None:
        which = "average" if averaged else "best"
    if which != "average":
        return workdir / "checkpoints", _chosen(workdir, which, saved)
    if not averaged:
        raise UserError(
            f"{workdir} holds no averaged checkpoint; write one with: wmt-transformer average --workdir {workdir}"
        )
    return workdir / "average", averaged[-1]


def load_params(workdir: Path, which: str | int | None = None) -> Any:
    """Returns the parameters of a checkpoint (see `resolve`) as arrays on the first device.

    Raises Broken where they are damaged, UserError where the run's vocabulary is not the one they were trained with.
    """
    folder, step = resolve(workdir, which)
    return _load_params(Path(workdir), folder, step, ["vocabulary"])[0]


def write_params(workdir: Path, step: int, params: Any) -> None:
    """Writes parameters that no training of ours made, such as imported ones, as the run's checkpoint of a step."""
    _write(records.readable_path(Path(workdir) / "checkpoints"), step, params, Record(data=_fingerprint(Path(workdir))))


def average(workdir: Path, which: Sequence[int]) -> int:
    """Writes the mean of the parameters of the given steps to `average/STEP`; returns the newest step.

    The mean is taken in float64, with one checkpoint in memory at a time (§6.1: the last 5 of base, 20 of big). Raises
    UserError for a step that is named twice or not there, or was trained on other data than the run has now.
    """
    workdir, saved = Path(workdir), steps(workdir)
    repeated = sorted({step for step in which if list(which).count(step) > 1})
    if repeated:
        raise UserError(f"step {repeated[0]} is named more than once; an average takes each checkpoint once")
    for step in which:
        resolve(workdir, step)
    if not which:
        resolve(workdir, "latest")
        raise UserError(
            f"{workdir} has no checkpoint saved on schedule to average yet; train on, or name steps: "
            f"{', '.join(map(str, saved))}"
        )
    total: Any = None
    data: Mapping[str, str] = {}
    for step in which:
        params, record = _load_params(workdir, workdir / "checkpoints", step, ["vocabulary", "corpus"])
        data = {**data, **record.data}
        params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
        total = params if total is None else jax.tree.map(np.add, total, params)
    mean = jax.tree.map(lambda x: (x / len(which)).astype(np.float32), total)
    _write(records.readable_path(workdir / "average"), max(which), mean, Record(data=data))
    return max(which)


def _chosen(workdir: Path, which: str | int, saved: Sequence[int]) -> int:
    if not saved:
        raise UserError(
            f"{workdir} holds no checkpoint; train one with: wmt-transformer train CONFIG --workdir {workdir}"
        )
    if which == "latest":
        return saved[-1]
    if which == "best":
        scores = records.scores(workdir / "checkpoints")
        return records.best(scores) if scores else saved[-1]
    if str(which).isdecimal() and int(which) in saved:
        return int(which)
    found = ", ".join(map(str, saved))
    raise UserError(
        f"there is no checkpoint {which!r} in {workdir}; there are average, best, latest, and steps {found}"
    )


def _fingerprint(workdir: Path) -> Mapping[str, str]:
    return fingerprint.of(workdir / "data") if (workdir / "data").is_dir() else {}


# ---- Arrays


def _write(folder: Path, step: int, params: Any, record: Record) -> None:
    """Writes parameters as the only checkpoint of their step; older and newer ones of an average go."""
    unfinished = folder / f"{step}{UNFINISHED}"
    folder.mkdir(parents=True, exist_ok=True)
    _orbax().save_checkpointables(unfinished, {"params": jax.tree.map(jnp.asarray, params)}, overwrite=True)
    records.complete(unfinished, record)
    for other in records.numbered(folder):
        if folder.name == "average" and other != step:
            records.delete(folder / str(other))


def _load_params(workdir: Path, folder: Path, step: int, compared: Sequence[str]) -> tuple[Any, Record]:
    """Returns parameters and record of a checkpoint whose `compared` fingerprints are those of the run's data."""
    path = records.readable_path(folder) / str(step)
    record = records.verify(path, ["params"])
    saved = {name: digest for name, digest in record.data.items() if name in compared}
    fingerprint.check(saved, _fingerprint(workdir), f"checkpoint {step} of {workdir}")
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with _readable(path):
        shapes = _orbax().checkpointables_metadata(path).metadata["params"]
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes)
    return _load(path, {"params": abstract})["params"], record


def _load(path: Path, items: dict[str, Any]) -> dict[str, Any]:
    with _readable(path):
        return _orbax().load_checkpointables(path, items)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns whatever goes wrong while a checkpoint is read into Broken."""
    try:
        yield
        return
    except Exception as error:  # Orbax and tensorstore have many kinds for a file that is cut off or gone
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    with warnings.catch_warnings():
        # Orbax leaves the reading of the other files unfinished, and Python would tell the user so.
        warnings.simplefilter("ignore", RuntimeWarning)
        gc.collect()
    raise records.broken(path, reason)


def _orbax() -> Any:
    # Orbax logs every file it touches and, with what it runs on, the traceback of each failure of its threads;
    # it then raises the failure to its caller, and that is enough.
    for name in ("absl", "asyncio", "concurrent.futures"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    from orbax.checkpoint import v1

    return v1
