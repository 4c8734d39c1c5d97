"""Ctrl-C and SIGTERM: a run that is asked to stop saves first, after the same step on all its hosts."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

import jax

from wmt_transformer.train.hosts import largest


class Stop:
    """Remembers the signal that asked the run to stop."""

    signal: int | None = None

    def agreed(self, step: int) -> int | None:
        """Returns the signal that any of the processes got, None while there is none; the same in all of them.

        Several processes ask each other every tenth step only: all have to stop after the same one.
        """
        if jax.process_count() == 1:
            return self.signal
        return largest(self.signal or 0) or None if step % 10 == 0 else None


@contextlib.contextmanager
def interruptible() -> Iterator[Stop]:
    """Turns Ctrl-C and SIGTERM into a request to stop after the step under way; a second one stops at once."""
    stop = Stop()

    def request(number: int, frame: FrameType | None) -> None:
        if stop.signal is not None:
            raise KeyboardInterrupt
        stop.signal = number

    try:
        before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, e.g. in a notebook's worker: signals are somebody else's
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
