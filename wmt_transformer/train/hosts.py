"""Several processes as one run: how they find each other, and what they have to agree on.

A roll call (`roll_call.py`) comes first; where the cluster tells JAX who is who (Cloud TPU, Open MPI), JAX is left to
it. What may take hours, such as preparing the data, is waited for before the devices of the processes are connected.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax._src import distributed  # its coordination service has no public name

from wmt_transformer.config import UserError
from wmt_transformer.train.roll_call import Hosts, roll_call

LAST_WORDS = 5.0
"""Seconds that process 0, when it fails, leaves to the others to fail by themselves."""
WAIT_SECONDS = 60.0
"""Seconds between two words on what a process waits for."""
MOST_PORT = 65535
DONE = "done"

Say = Callable[[str], None]
"""Is given lines for people."""


def start(hosts: Hosts) -> None:
    """Returns when all processes are connected; raises UserError naming those that did not come in time."""
    if not 0 <= hosts.index < hosts.count:
        raise UserError(f"--process-id {hosts.index} is not one of {hosts.count} processes, 0 to {hosts.count - 1}")
    name, _, port = hosts.coordinator.rpartition(":")
    if not name or not port.isdecimal() or not 0 < int(port) < MOST_PORT:  # the port after it is used as well
        raise UserError(
            f"--coordinator {hosts.coordinator}: expected host:port, such as 10.0.0.2:1234; ports are below {MOST_PORT}"
        )
    if not 0 < hosts.timeout < math.inf:
        raise UserError(f"--start-timeout {hosts.timeout:g}: expected a number of seconds above 0")
    if hosts.count > 1:
        roll_call((name, int(port) + 1), hosts)
        _connect(coordinator_address=hosts.coordinator, num_processes=hosts.count, process_id=hosts.index)


def start_from_cluster() -> None:
    """Lets JAX find the other processes by what the cluster says (Cloud TPU, Slurm, Open MPI, Kubernetes)."""
    try:
        _connect()
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"this does not look like a cluster that JAX knows ({str(error).splitlines()[0]}); "
            "give --coordinator HOST:PORT --num-processes N --process-id I"
        ) from error


def is_main() -> bool:
    """Returns whether this process is the one that prints and writes what is written once.

    Where processes have been started together it is known before their devices are connected.
    """
    return (jax.process_index() if _service() is None else distributed.global_state.process_id) == 0


@contextlib.contextmanager
def main_first(what: str, say: Say) -> Iterator[None]:
    """Lets process 0 through the block first, and the others when it is done: what it wrote, they find.

    It may take as long as it needs: `say` is told now and then that the others wait for `what`. All of them leave the
    block together. Where process 0 fails the others raise UserError and do not enter.
    """
    if _service() is None:
        yield
        return
    if not is_main():
        if _wait_for(f"{what}/first", 0, what, say) != DONE:
            raise UserError("process 0 could not begin; it says why")
        yield
    else:
        verdict = "failed"
        try:
            yield
            verdict = DONE
        finally:
            _publish(f"{what}/first", verdict)
    _publish(f"{what}/all", DONE)
    for index in range(distributed.global_state.num_processes):
        _wait_for(f"{what}/all", index, what, say)


@contextlib.contextmanager
def failing_alone() -> Iterator[None]:
    """Ends one of several processes that fails inside the block without waiting for the others.

    JAX waits at exit until all processes are there, and the others may be waiting for this one in the middle of a
    step; when it is gone, they fail as well.
    """
    try:
        yield
    except Exception as error:
        if jax.process_count() > 1:
            atexit.register(_end_at_once, 2 if isinstance(error, UserError) else 1)
        raise


def largest(value: int) -> int:
    """Returns the largest of the numbers that the processes give, the same in all of them."""
    if jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    return int(np.max(multihost_utils.process_allgather(np.int32(value))))


def check_same(what: str, fingerprint: str) -> None:
    """Raises UserError in every process where one has another fingerprint (hexadecimal) than process 0."""
    if jax.process_count() == 1:
        return
    from jax.experimental import multihost_utils

    number = np.frombuffer(bytes.fromhex(fingerprint)[:8], np.uint32)
    everyone: Any = np.asarray(multihost_utils.process_allgather(number))
    others = [index for index, theirs in enumerate(everyone) if (theirs != everyone[0]).any()]
    if others:
        named = ", ".join(map(str, others))
        raise UserError(f"{what} of process {named} differs from that of process 0; give all of them the same files")


def _connect(**known: Any) -> None:
    # JAX would catch SIGTERM for itself; here it is the loop that stops and saves.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(**known)


def _end_at_once(code: int) -> None:
    """Runs after the failure has been printed and before JAX's own exit: hooks are called last in, first out.

    Process 0 leaves last: without it JAX kills the others, which may be about to say in a line that they failed too.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if is_main():
        time.sleep(LAST_WORDS)
    os._exit(code)


# ---- Waiting without a time limit


def _service() -> Any:
    """Returns JAX's coordination service, None where this is the only process.

    Unlike what goes over devices, whose collectives fail after 30 seconds on CPUs, waiting for it has no time limit.
    """
    return distributed.global_state.client


def _publish(key: str, value: str) -> None:
    _service().key_value_set(f"wmt_transformer/{key}/{distributed.global_state.process_id}", value)


def _wait_for(key: str, index: int, what: str, say: Say) -> str:
    """Returns what a process publishes, however long that takes."""
    begin = time.monotonic()
    while True:
        try:
            return _service().blocking_key_value_get(f"wmt_transformer/{key}/{index}", int(WAIT_SECONDS * 1000))
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
        say(f"waiting for process {index}: {what}, {(time.monotonic() - begin) / 60:.0f} minutes so far")
