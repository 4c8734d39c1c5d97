"""Which platform a program is traced for: that of the devices here or, in a plan, of devices that are not there.

XLA is told by the devices what it compiles for, but a few choices are made before, while Python traces the model:
the dtype that `auto` stands for, and whose attention kernels are used. They ask here, and a plan answers for them.
"""

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar

import jax

_planned: ContextVar[str | None] = ContextVar("planned", default=None)


def backend() -> str:
    """Returns `cpu`, `gpu` or `tpu`: what programs are traced for."""
    return _planned.get() or jax.default_backend()


def usable_cores() -> int:
    """Returns the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


CORES_EACH = 4
"""A compilation keeps two cores busy. With fewer than these for a thread, nothing is compiled ahead: on two cores it
takes from the steps more than it gives (benchmarks/LOG.md)."""
MOST_THREADS = 4
"""XLA's compiler takes a gigabyte or two for each."""


def threads_that_compile() -> int:
    """Returns how many programs are compiled beside each other; 0 where there are no cores to spare."""
    return min(usable_cores() // CORES_EACH, MOST_THREADS)


@contextlib.contextmanager
def tracing_for(name: str) -> Iterator[None]:
    """Makes `backend` answer `name` within: programs are traced for devices that are not there."""
    token = _planned.set(name)
    try:
        yield
    finally:
        _planned.reset(token)
