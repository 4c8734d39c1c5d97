"""The devices of machines that are not there: nothing can be run on them, only compiled for them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

import jax

from wmt_transformer.config import UserError

FAMILIES = {"v2": "4x4", "v3": "4x4", "v4": "2x2x2", "v5e": "4x4", "v5p": "2x2x2", "v6e": "4x4"}
"""Families of slices that libtpu knows and chips.py has figures of, with an example each."""


def slice_devices(topology: str) -> list[Any]:
    """Returns the devices of a slice such as `v5e:4x4`; nothing can be run on them, only compiled for them."""
    name = re.fullmatch(r"(\w+):(\d+(?:x\d+){1,2})", topology)
    if not name or name[1] not in FAMILIES:
        known = ", ".join(f"{family}:{example}" for family, example in FAMILIES.items())
        raise UserError(f"--topology {topology} is not known; the families are, with an example each, {known}")
    sides = [int(side) for side in name[2].split("x")]
    if any(side != 1 and side % 2 for side in sides) or 0 in sides:
        raise UserError(f"--topology {topology}: sides of a slice are 1 or even, as in {name[1]}:{FAMILIES[name[1]]}")
    # A host has a square of four chips where the slice has room for it.
    bounds = tuple(2 if side > 1 and axis < 2 else 1 for axis, side in enumerate([*sides, 1][:3]))
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # libtpu would ask the cloud what machine this is
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # its lock is for chips, and a plan uses none
    from jax.experimental import topologies

    try:
        import libtpu  # noqa: F401  # pyright: ignore[reportMissingImports]  only the extra brings it
    except ImportError:
        raise UserError("libtpu, the TPU's compiler, is not installed: pip install 'wmt-transformer[tpu]'") from None
    try:
        with _quiet():
            found = topologies.get_topology_desc(platform="tpu", topology_name=topology, chips_per_host_bounds=bounds)
    except (jax.errors.JaxRuntimeError, RuntimeError) as error:
        raise UserError(f"--topology {topology}: libtpu says {str(error).splitlines()[0]}") from None
    return list(found.devices)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back what libtpu writes to standard error when it finds no TPU: it is not looked for."""
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
