"""Runs a command of wmt-transformer as several processes on this machine, as the hosts of one run.

    python launch/cpu_processes.py -n 2 -- train CONFIG --workdir runs/two --data.batch_multiple 8

Each process has one CPU device (`--devices` gives it more, simulated), and they speak to each other through gloo, as
hosts with GPUs do through NCCL. It is the way to see a multi-host run without several hosts. Lines on standard error
carry the number of their process. When one process fails the others are stopped; SIGINT and SIGTERM are passed on to
all, so a run saves its checkpoint first. The exit code is that of the process that failed first, or 0.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from types import FrameType
from typing import IO

GRACE = 30.0
"""Seconds that the others get to end by themselves (to name the one that failed), and again after SIGTERM."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("-n", "--processes", type=int, default=2, help="how many (default: %(default)s)")
    parser.add_argument("--devices", type=int, default=1, help="simulated devices of each (default: %(default)s)")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="after --: train CONFIG --workdir W …")
    options = parser.parse_args()
    if options.processes < 1 or options.devices < 1:
        parser.error("-n and --devices are 1 or more")
    port = free_port()
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={options.devices}",
    }
    processes = []
    for index in range(options.processes):
        place = ["--coordinator", f"localhost:{port}", "--num-processes", str(options.processes)]
        words = [sys.executable, "-m", "wmt_transformer", *options.command, *place, "--process-id", str(index)]
        # A session of its own: Ctrl-C reaches a process once, through us.
        processes.append(subprocess.Popen(words, stderr=subprocess.PIPE, env=environment, start_new_session=True))
    return wait(processes)


def wait(processes: list[subprocess.Popen[bytes]]) -> int:
    """Returns the exit code of the process that failed first, 0 where none did, when all have ended."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        for process in processes:
            process.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    readers = [
        threading.Thread(target=prefix_lines, args=(process.stderr, index)) for index, process in enumerate(processes)
    ]
    for reader in readers:
        reader.start()
    code, deadline, remedy = 0, float("inf"), signal.SIGTERM
    while any(process.poll() is None for process in processes):
        time.sleep(0.05)
        failed = [process.returncode for process in processes if process.poll()]
        if failed and not code:
            # One that a signal ended (its negative number) is the cause where others failed since the last look. A
            # shell says 128 more than the number.
            code, deadline = min(failed), time.monotonic() + GRACE
            code = 128 - code if code < 0 else code
        if time.monotonic() > deadline:
            for process in processes:
                process.send_signal(remedy)
            deadline, remedy = time.monotonic() + GRACE, signal.SIGKILL
    for reader in readers:
        reader.join()
    return code


def prefix_lines(stream: IO[bytes] | None, index: int) -> None:
    """Copies lines to standard error as they come, each after the number of the process that wrote it."""
    for line in stream or ():
        sys.stderr.write(f"[{index}] {line.decode(errors='replace')}")
        sys.stderr.flush()


def free_port() -> int:
    """Returns a port that is free, and the one after it, which the roll call uses, too."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("", port + 1))
            except (OSError, OverflowError):
                continue
            return port


if __name__ == "__main__":
    sys.exit(main())
