"""The devices of machines that are not there: nothing can be run on them, only compiled for them.

TPUs are compiled for by libtpu, which knows its slices by name. NVIDIA's cards are compiled for by JAX's CUDA plugin,
which wants to be told what the card is: `cards/` has a file for each.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from wmt_transformer.config import UserError

SLICES = {"v2": "4x4", "v3": "4x4", "v4": "2x2x2", "v5e": "4x4", "v5p": "2x2x2", "v6e": "4x4", "tpu7x": "2x2x2"}
"""Families of TPU slices that libtpu knows and chips.py has figures of, with an example each."""
CARDS = {path.stem: path for path in sorted((Path(__file__).parent / "cards").glob("*.txtpb"))}
"""What XLA has to know of each card to compile for it."""
MOST_CARDS = 16
"""In one machine; more are machines, `h100:2x8`."""


def devices_of(topology: str) -> list[Any]:
    """Returns the devices of a slice such as `v5e:4x4`, of cards in a machine, `h100:8`, or in machines, `h100:2x8`.

    Raises UserError for a topology that there is not, and where its compiler is not installed.
    """
    family, _, sides = topology.partition(":")
    shape = [int(side) for side in sides.split("x")] if re.fullmatch(r"\d+(x\d+)*", sides) else []
    if family in CARDS and len(shape) in (1, 2):
        return _cards(topology, family, [1, *shape][-2:])
    if family in SLICES and len(shape) in (2, 3):
        return _slice(topology, family, shape)
    slices = ", ".join(f"{name}:{example}" for name, example in SLICES.items())
    cards = ", ".join(f"{name}:8" for name in CARDS)
    raise UserError(
        f"--topology {topology} is not known; there are TPU slices, with an example each, {slices}; and NVIDIA's "
        f"cards, {cards}, any number from 1 to {MOST_CARDS} in a machine, and several machines as in h100:2x8"
    )


def machines(topology: str) -> int:
    """Returns how many machines a topology of cards spans, between which there is only a network; 1 for a slice."""
    family, _, sides = topology.partition(":")
    return int(sides.split("x")[0]) if family in CARDS and "x" in sides else 1


def _slice(topology: str, family: str, sides: list[int]) -> list[Any]:
    if any(side != 1 and side % 2 for side in sides) or 0 in sides:
        raise UserError(f"--topology {topology}: sides of a slice are 1 or even, as in {family}:{SLICES[family]}")
    if importlib.util.find_spec("libtpu") is None:
        raise UserError("libtpu, the TPU's compiler, is not installed: pip install 'wmt-transformer[tpu]'")
    # A host has a square of four chips where the slice has room for it.
    bounds = tuple(2 if side > 1 and axis < 2 else 1 for axis, side in enumerate([*sides, 1][:3]))
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # libtpu would ask the cloud what machine this is
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # its lock is for chips, and a plan uses none
    return _described(topology, "libtpu", platform="tpu", topology_name=topology, chips_per_host_bounds=bounds)


def _cards(topology: str, family: str, shape: list[int]) -> list[Any]:
    if shape[0] < 1 or not 1 <= shape[1] <= MOST_CARDS:
        raise UserError(
            f"--topology {topology}: a machine has from 1 to {MOST_CARDS} cards, {family}:8; several machines are "
            f"written as {family}:2x8"
        )
    if not any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13)):
        raise UserError(
            "JAX's CUDA plugin, the compiler for NVIDIA's cards, is not installed: pip install "
            "'wmt-transformer[cuda]' (about 3 GB; no card is needed)"
        )
    sides = "x".join(map(str, [1, *shape]))
    text = CARDS[family].read_text(encoding="utf-8")
    return _described(
        topology, "the CUDA plugin", platform="cuda", topology_name="", target_config=text, topology=sides
    )


def _described(asked: str, compiler: str, **description: Any) -> list[Any]:
    from jax.experimental import topologies

    try:
        with _quiet():
            return list(topologies.get_topology_desc(**description).devices)
    except (jax.errors.JaxRuntimeError, RuntimeError, NotImplementedError, ValueError) as error:
        raise UserError(f"--topology {asked}: {compiler} says {str(error).splitlines()[0]}") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back what a compiler writes to standard error when it finds no device: it is not looked for."""
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
