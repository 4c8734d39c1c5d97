"""The roll call of a run's processes: each reports to process 0, before JAX connects them.

JAX's own start kills a process that waits too long, with a C++ stack and without saying who was missing. Here, if one
does not come in time, all the others end with one line that names it. Whoever else connects (a port scanner, a process
of another run) is told apart by what it says, and a connection that says nothing keeps nobody waiting.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import json
import queue
import socket
import threading
import time
from typing import Any

from wmt_transformer.config import UserError

READ_SECONDS = 10.0
"""Seconds within which whoever connects has to say who it is."""
PROTOCOL = "wmt_transformer roll call 1"
"""Begins whatever processes of a run say to each other; others are strangers."""
MOST_BYTES = 4096
"""Length of a line that is read at most."""
GO = "go"


@dataclasses.dataclass(frozen=True)
class Hosts:
    """Where process 0 is (`host:port`; the port after it is used as well), how many processes, and which is this."""

    coordinator: str
    count: int
    index: int
    timeout: float = 300.0
    """Seconds within which all processes have to come."""
    run: str = ""
    """What run this is, in the same words in all its processes; a process of another run is refused."""


def roll_call(address: tuple[str, int], hosts: Hosts) -> None:
    """Returns when every process has reported to process 0, which listens on `address`."""
    deadline = time.monotonic() + hosts.timeout
    verdict = _call(address, hosts, deadline) if hosts.index == 0 else _report(address, hosts, deadline)
    if verdict != GO:
        raise UserError(verdict)


@dataclasses.dataclass(frozen=True)
class Report:
    """What a process tells process 0."""

    index: int
    count: int
    run: str
    connection: socket.socket


def _call(address: tuple[str, int], hosts: Hosts, deadline: float) -> str:
    """Process 0: waits for the others, tells each how it went, and returns the same."""
    present: dict[int, socket.socket] = {}
    reports: queue.Queue[Report] = queue.Queue()
    verdict = GO
    try:
        server = _listen(address)
    except OSError as error:
        return f"process 0 cannot listen on port {address[1]}: {error.strerror}; choose another port for --coordinator"
    with server:
        threading.Thread(target=_receive, args=(server, reports), daemon=True).start()
        while len(present) < hosts.count - 1 and verdict == GO:
            try:
                report = reports.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                missing = ", ".join(str(i) for i in range(1, hosts.count) if i not in present)
                verdict = (
                    f"process {missing} of {hosts.count} did not come within {hosts.timeout:.0f} s; is it running?"
                )
                continue
            if report.run != hosts.run:
                verdict = f"process {report.index} of another run came ({report.run}, this is {hosts.run})"
            elif report.count != hosts.count or report.index in present:
                verdict = (
                    f"a second process {report.index}, or one that counts {report.count} instead of {hosts.count}, came"
                )
            present[report.index] = report.connection
    for connection in present.values():
        with contextlib.suppress(OSError), connection:
            connection.sendall(_line(verdict=verdict))
    return verdict


def _listen(address: tuple[str, int]) -> socket.socket:
    """Returns a server on the interface that the others know process 0 by; on all where that is none of this host's."""
    with contextlib.suppress(OSError):
        family, _, _, _, place = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
        # Some systems know their own name as 127.0.1.1, where no other host can come.
        if address[0] == "localhost" or not ipaddress.ip_address(place[0]).is_loopback:
            return socket.create_server(place[:2], family=family)
    return socket.create_server(("", address[1]))


def _receive(server: socket.socket, reports: queue.Queue[Report]) -> None:
    """Reads each connection in a thread of its own, so that a silent one keeps nobody waiting; ends with the server."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_read_report, args=(connection, reports), daemon=True).start()


def _read_report(connection: socket.socket, reports: queue.Queue[Report]) -> None:
    connection.settimeout(READ_SECONDS)
    said = _read_line(connection)
    try:
        reports.put(Report(int(said["index"]), int(said["count"]), str(said["run"]), connection))
    except (KeyError, TypeError, ValueError):
        connection.close()  # somebody else's connection


def _report(address: tuple[str, int], hosts: Hosts, deadline: float) -> str:
    """Every other process: reports to process 0 and returns what it says."""
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=2.0) as connection:
            connection.sendall(_line(index=hosts.index, count=hosts.count, run=hosts.run))
            connection.settimeout(max(deadline - time.monotonic(), 0.0) + READ_SECONDS)
            if verdict := _read_line(connection).get("verdict"):
                return str(verdict)
        time.sleep(0.2)
    return f"process 0 did not answer at {address[0]}:{address[1]} within {hosts.timeout:.0f} s; is it running there?"


def _line(**said: object) -> bytes:
    return (json.dumps({"protocol": PROTOCOL, **said}) + "\n").encode()


def _read_line(connection: socket.socket) -> dict[str, Any]:
    """Returns what another process of ours says; nothing where it is a stranger, or says nothing in time."""
    try:
        said = json.loads(connection.makefile("rb").readline(MOST_BYTES))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) and said.get("protocol") == PROTOCOL else {}
