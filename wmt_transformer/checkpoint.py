"""Checkpoints of a run: the only file that imports Orbax.

A work folder holds `checkpoints/STEP` (parameters and optimiser, written in the background, renamed into place
when complete, so a kill leaves only whole ones) and, after `average`, `average/STEP` (parameters alone). The
newest few are kept, and the one with the best development score.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wmt_transformer.config import UserError


class Broken(UserError):
    """A checkpoint that is there and cannot be read: a file of it is cut off, changed or missing."""


class Checkpoints:
    """The checkpoints of one work folder, open for reading and writing."""

    def __init__(self, workdir: Path, keep: int = 5) -> None:
        training = _orbax().training
        policies = training.preservation_policies
        best = policies.BestN(
            get_metric_fn=lambda metrics: metrics["score"], n=1, keep_checkpoints_without_metrics=False
        )
        self._checkpointer = training.Checkpointer(
            (Path(workdir) / "checkpoints").resolve(),
            preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(keep), best]),
            cleanup_tmp_directories=True,
        )

    def steps(self) -> list[int]:
        """Returns the steps that can be restored, oldest first."""
        return sorted(checkpoint.step for checkpoint in self._checkpointer.checkpoints)

    def save(self, step: int, params: Any, optimizer: Any, score: float | None = None) -> None:
        """Starts writing a checkpoint in the background; `score` (higher is better) decides which is best."""
        metrics = None if score is None else {"score": float(score)}
        items = {"params": params, "optimizer": optimizer}
        # Asked first: a write that fails half-way leaves nothing spoilt, but its threads fill the screen.
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(items))
        free = shutil.disk_usage(self._checkpointer.directory).free
        if free < needed:
            raise OSError(errno.ENOSPC, f"a checkpoint needs {needed:,} bytes and {free:,} are free")
        self._checkpointer.save_checkpointables_async(step, items, force=True, overwrite=True, metrics=metrics)

    def restore(self, step: int, params: Any, optimizer: Any) -> tuple[Any, Any]:
        """Returns the checkpoint's parameters and optimiser state, as the given shapes and shardings say.

        Raises Broken when it cannot be read.
        """
        with _readable(self._checkpointer.directory / str(step)):
            items = self._checkpointer.load_checkpointables(step, {"params": params, "optimizer": optimizer})
            return items["params"], items["optimizer"]

    def wait(self) -> None:
        """Returns when what `save` started is on disk; raises OSError when it could not be written."""
        self._checkpointer.wait()

    def close(self) -> None:
        """Waits for the last save and releases the folder."""
        self._checkpointer.close()


def steps(workdir: Path) -> list[int]:
    """Returns the steps of the run's whole checkpoints, oldest first."""
    folder = Path(workdir) / "checkpoints"
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []


def resolve(workdir: Path, which: str | int | None = None) -> tuple[Path, int]:
    """Returns the folder and step of a checkpoint: `average`, `best`, `latest` or a step.

    None means the average where there is one, otherwise the best. Raises UserError when there is none such.
    """
    workdir = Path(workdir)
    averaged = sorted(int(p.name) for p in (workdir / "average").glob("*") if p.name.isdigit())
    saved = steps(workdir)
    if which is None:
        which = "average" if averaged else "best"
    if which == "average":
        if not averaged:
            raise UserError(
                f"{workdir} holds no averaged checkpoint; write one with: wmt-transformer average --workdir {workdir}"
            )
        return workdir / "average", averaged[-1]
    if not saved:
        raise UserError(
            f"{workdir} holds no checkpoint; train one with: wmt-transformer train CONFIG --workdir {workdir}"
        )
    if which == "latest":
        return workdir / "checkpoints", saved[-1]
    if which == "best":
        return workdir / "checkpoints", _best_step(workdir, saved)
    if str(which).isdigit() and int(which) in saved:
        return workdir / "checkpoints", int(which)
    found = ", ".join(map(str, saved))
    raise UserError(
        f"there is no checkpoint {which!r} in {workdir}; there are average, best, latest, and steps {found}"
    )


def load_params(workdir: Path, which: str | int | None = None) -> Any:
    """Returns the parameters of a checkpoint (see `resolve`) as arrays on the first device."""
    folder, step = resolve(workdir, which)
    return _load_params(folder, step)


def write_params(workdir: Path, step: int, params: Any) -> None:
    """Writes parameters that no training of ours made, such as imported ones, as the run's checkpoint of a step."""
    with contextlib.closing(_orbax().training.Checkpointer((Path(workdir) / "checkpoints").resolve())) as out:
        out.save_checkpointables(step, {"params": jax.tree.map(jnp.asarray, params)}, force=True, overwrite=True)


def average(workdir: Path, which: Sequence[int]) -> int:
    """Writes the mean of the parameters of the given steps to `average/STEP`; returns the newest step.

    The mean is taken in float64, one checkpoint in memory at a time (§6.1: the last 5 of base, 20 of big). Raises
    UserError for a step named twice or not there.
    """
    workdir, saved = Path(workdir), steps(workdir)
    repeated = sorted({step for step in which if list(which).count(step) > 1})
    if repeated:
        raise UserError(f"step {repeated[0]} is named more than once; an average takes each checkpoint once")
    for step in which:
        resolve(workdir, step)
    if not which:
        resolve(workdir, "latest")
        raise UserError(f"no steps to average; there are {', '.join(map(str, saved))}")
    total: Any = None
    for step in which:
        params = jax.tree.map(lambda x: np.asarray(x, np.float64), _load_params(workdir / "checkpoints", step))
        total = params if total is None else jax.tree.map(np.add, total, params)
    mean = jax.tree.map(lambda x: jnp.asarray(x / len(which), jnp.float32), total)
    training = _orbax().training
    newest = training.preservation_policies.LatestN(1)
    root = (workdir / "average").resolve()
    for old in root.glob("*") if root.is_dir() else []:
        # Orbax refuses to write a step older than the newest one there.
        if old.name.isdigit() and int(old.name) >= max(which):
            shutil.rmtree(old)
    with contextlib.closing(
        training.Checkpointer(root, preservation_policy=newest, cleanup_tmp_directories=True)
    ) as out:
        out.save_checkpointables(max(which), {"params": mean}, force=True, overwrite=True)
    return max(which)


def _load_params(folder: Path, step: int) -> Any:
    ocp = _orbax()
    path = (folder / str(step)).resolve()
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with _readable(path):
        shapes = ocp.checkpointables_metadata(path).metadata["params"]
        abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes)
        return ocp.load_checkpointables(path, {"params": abstract})["params"]


@contextlib.contextmanager
def _readable(path: Any) -> Iterator[None]:
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
    raise Broken(f"the checkpoint {path} cannot be read ({reason}); delete it, or name another one")


def _best_step(workdir: Path, saved: list[int]) -> int:
    with contextlib.closing(_orbax().training.Checkpointer((workdir / "checkpoints").resolve())) as checkpointer:
        scores = {c.step: c.metrics["score"] for c in checkpointer.checkpoints if c.metrics}
    return max(scores, key=lambda step: (scores[step], step)) if scores else saved[-1]


def _orbax() -> Any:
    # Orbax logs every file it touches and, with what it runs on, the traceback of each failure of its threads;
    # it then raises the failure to its caller, and that is enough.
    for name in ("absl", "asyncio", "concurrent.futures"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    from orbax.checkpoint import v1

    return v1
