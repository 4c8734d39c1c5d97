"""The process: a socket, an event loop for the clients, a thread that translates, and an orderly end.

The port is taken and the runs are read before anything is said to be there. From then on /health answers; /ready does
when every program is compiled. SIGTERM closes the door, answers what was accepted, and ends with code 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable

import jax
import uvicorn
from starlette.types import ASGIApp

from wmt_transformer.config import UserError
from wmt_transformer.messages import number_of
from wmt_transformer.serve import app
from wmt_transformer.serve.metrics import Metrics
from wmt_transformer.serve.service import Limits, Service

# What a client needs at most, on a busy machine, from being connected to having sent its request.
_SECONDS_TO_ACCEPT = 0.2
_SECONDS_TO_READ = 0.5


def bound(host: str, port: int) -> socket.socket:
    """Returns a socket at an address. Raises UserError where it is taken, or none of this machine's."""
    if not 0 <= port <= 65535:
        raise UserError(f"port {port}: ports are 0 to 65535; choose another --port")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.ExitStack() as closed:
            found = closed.enter_context(socket.socket(family, kind, protocol))
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
            found.listen(1024)
            closed.pop_all()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot listen at {host}, port {port}: {reason}; choose another --host or --port") from None
    return found


def serve(
    listening: socket.socket,
    service: Service,
    metrics: Metrics,
    origins: str,
    say: Callable[[str], None],
) -> None:
    """Serves until a signal ends it; returns when all that was accepted is answered."""
    began = time.monotonic()
    batcher, limits = service.batcher, service.limits
    address = f"http://{_shown(listening)}"
    for one in service.directions:
        say(f"{one}: {' + '.join(one.runs)}")
    say(f"devices: {', '.join(str(device) for device in jax.local_devices())}; {address}, warming up")
    server = Server(config(app.build(service, metrics, origins, say), limits))

    def ready(programs: int) -> None:
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        say(
            f"ready after {time.monotonic() - began:.1f} s: {address}, {number_of(programs, 'program')}, "
            f"{megabytes:,.0f} MB of memory"
        )

    def failed() -> None:
        server.should_exit = True

    batcher.when_ready, batcher.when_failed = ready, failed
    # uvicorn sends itself the signal again when it has ended; the end is then in order, not by the signal.
    signal.signal(signal.SIGTERM, lambda *_: None)
    batcher.start()
    server.run(sockets=[listening])
    if batcher.failure is not None:
        raise batcher.failure
    if not batcher.ready.is_set():
        os._exit(0)  # asked to end while a program compiles, which cannot be stopped; nothing was accepted
    batcher.stop()


class Server(uvicorn.Server):
    """Ends in order: whoever is connected when the signal comes is answered.

    A port that closes resets the connections that the kernel holds for it, and uvicorn closes those of which it has
    read no request yet. So the kernel is asked to hold no more of them, then what it held is accepted and read.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listening in sockets or []:
            listening.listen(0)
        await asyncio.sleep(_SECONDS_TO_ACCEPT)
        for server in self.servers:
            server.close()
        await asyncio.sleep(_SECONDS_TO_READ)
        await super().shutdown(sockets)


def config(application: ASGIApp, limits: Limits) -> uvicorn.Config:
    """Returns uvicorn's settings: it waits for what it accepted, and logs no addresses."""
    return uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="on",
        backlog=1024,
        timeout_graceful_shutdown=int(limits.seconds) + 5,
    )


def _shown(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
