"""Several processes as one run: how they find each other, and what they have to agree on.

JAX's own start kills a process that waits too long, with a C++ stack and without saying who was missing. So before it
there is a roll call: every process reports to process 0, and if one does not come in time, all the others end with
one line that names it. Where the cluster tells JAX who is who (Cloud TPU, Open MPI), JAX is left to it.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import os
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from wmt_transformer.config import UserError

LAST_WORDS = 5.0
"""Seconds that process 0, when it fails, leaves to the others to fail by themselves."""


@dataclasses.dataclass(frozen=True)
class Hosts:
    """Where process 0 is (`host:port`; the port after it is used as well), how many processes, and which is this."""

    coordinator: str
    count: int
    index: int
    timeout: float = 300.0
    """Seconds within which all processes have to come."""


def start(hosts: Hosts) -> None:
    """Returns when all processes are connected; raises UserError naming those that did not come in time."""
    if not 0 <= hosts.index < hosts.count:
        raise UserError(f"--process-id {hosts.index} is not one of {hosts.count} processes, 0 to {hosts.count - 1}")
    name, _, port = hosts.coordinator.rpartition(":")
    if not name or not port.isdigit():
        raise UserError(f"--coordinator {hosts.coordinator}: expected host:port, such as 10.0.0.2:1234")
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


def roll_call(address: tuple[str, int], hosts: Hosts) -> None:
    """Returns when every process has reported to process 0, which listens on `address`."""
    deadline = time.monotonic() + hosts.timeout
    verdict = _call(address, hosts, deadline) if hosts.index == 0 else _report(address, hosts, deadline)
    if verdict != "go":
        raise UserError(verdict)


def is_main() -> bool:
    """Returns whether this process is the one that prints and writes what is written once."""
    return jax.process_index() == 0


@contextlib.contextmanager
def main_first() -> Iterator[None]:
    """Lets process 0 through the block first, and the others when it is done: what it wrote, they find.

    Where process 0 fails the others raise UserError and do not enter the block.
    """
    if not is_main():
        if largest(0):
            raise UserError("process 0 could not begin; it says why")
        yield
        return
    failed = 1
    try:
        yield
        failed = 0
    finally:
        largest(failed)


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


def _call(address: tuple[str, int], hosts: Hosts, deadline: float) -> str:
    """Process 0: waits for the others, tells each how it went, and returns the same."""
    present: dict[int, socket.socket] = {}
    verdict = "go"
    try:
        server = socket.create_server(("", address[1]))
    except OSError as error:
        return f"process 0 cannot listen on port {address[1]}: {error.strerror}; choose another port for --coordinator"
    with contextlib.ExitStack() as stack:
        stack.enter_context(server)
        while len(present) < hosts.count - 1 and verdict == "go":
            server.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                connection = stack.enter_context(server.accept()[0])
                connection.settimeout(5.0)
                index, count = map(int, connection.makefile().readline().split())
            except TimeoutError:
                missing = ", ".join(str(i) for i in range(1, hosts.count) if i not in present)
                verdict = (
                    f"process {missing} of {hosts.count} did not come within {hosts.timeout:.0f} s; is it running?"
                )
            except (OSError, ValueError):
                continue  # somebody else's connection
            else:
                if count != hosts.count or index in present:
                    verdict = f"a second process {index}, or one that counts {count} instead of {hosts.count}, came"
                present[index] = connection
        for connection in present.values():
            with contextlib.suppress(OSError):
                connection.sendall(f"{verdict}\n".encode())
    return verdict


def _report(address: tuple[str, int], hosts: Hosts, deadline: float) -> str:
    """Every other process: reports to process 0 and returns what it says."""
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(address, timeout=2.0) as connection:
                connection.sendall(f"{hosts.index} {hosts.count}\n".encode())
                connection.settimeout(max(deadline - time.monotonic(), 0.0) + 10.0)
                if said := connection.makefile().readline().strip():
                    return said
        except OSError:
            pass
        time.sleep(0.2)
    return f"process 0 did not answer at {address[0]}:{address[1]} within {hosts.timeout:.0f} s; is it running there?"
