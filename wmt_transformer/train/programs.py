"""The train step's programs, one for each shape of batch, compiled when a step needs them, or before.

Which shapes a run will meet, and in which order, follows from its seed. Where there are cores to spare, threads compile
them in that order, while the run trains on those that are ready: most of a compilation is XLA's and holds no lock of
Python's.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from wmt_transformer.data.batches import Batch
from wmt_transformer.data.shapes import Shape
from wmt_transformer.platform import threads_that_compile
from wmt_transformer.train.sharding import by_rows


@dataclasses.dataclass(frozen=True)
class Compilations:
    """What compiling the train step took."""

    programs: int = 0
    seconds: float = 0.0
    """Of all threads together."""
    found: int = 0
    """Programs that were read from the cache."""
    waited: float = 0.0
    """Seconds in which the run stood still for want of a program."""


class Programs:
    """Calls the compiled step as `programs(state, batch)`; `close` it at the end.

    Args:
      step: the jitted step.
      state: the state, or the shapes of one.
      shapes: of the batches to come, in the order in which they come first.
    """

    def __init__(self, step: Any, state: Any, shapes: Sequence[Shape], mesh: jax.sharding.Mesh) -> None:
        self._step, self._mesh, self._waited = step, mesh, 0.0
        self._state = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)
        spare = threads_that_compile()
        self._threads = ThreadPoolExecutor(max(spare, 1), "compile")
        self._found = threading.local()
        jax.monitoring.register_event_listener(self._listen)
        self._made = {shape: self._threads.submit(self._compile, shape) for shape in shapes if spare}

    def __call__(self, state: Any, batch: Batch) -> Any:
        begin = time.monotonic()
        (rows, source), target = batch.source.shape, batch.target.shape[1]
        shape = Shape(rows, source, target)
        if shape not in self._made:
            self._made[shape] = self._threads.submit(self._compile, shape)
        program, _, _ = self._made[shape].result()
        self._waited += time.monotonic() - begin
        return program(state, batch)

    def close(self) -> None:
        """Leaves out what is not compiled yet."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        jax.monitoring.unregister_event_listener(self._listen)

    def so_far(self) -> Compilations:
        """Returns what compiling took until now."""
        ready = [one.result() for one in self._made.values() if one.done() and not (one.cancelled() or one.exception())]
        seconds, found = math.fsum(took for _, took, _ in ready), sum(cached for _, _, cached in ready)
        return Compilations(len(ready), seconds, found, self._waited)

    def _compile(self, shape: Shape) -> tuple[Any, float, bool]:
        begin, self._found.now = time.monotonic(), False
        rows = by_rows(self._mesh)
        sides = (jax.ShapeDtypeStruct((shape.rows, length), np.int32, sharding=rows) for length in shape[1:])
        with jax.set_mesh(self._mesh):  # a thread's own
            program = self._step.lower(self._state, Batch(*sides)).compile()  # pyright: ignore[reportArgumentType]
        return program, time.monotonic() - begin, self._found.now

    def _listen(self, event: str, **_: Any) -> None:
        """Is called by JAX in the thread that compiles."""
        if event == "/jax/compilation_cache/cache_hits":
            self._found.now = True
