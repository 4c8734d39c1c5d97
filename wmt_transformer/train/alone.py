"""One run in a work folder at a time: two would write over each other's checkpoints and metrics."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from wmt_transformer.config import UserError


@contextlib.contextmanager
def alone(workdir: Path) -> Iterator[None]:
    """Holds the work folder for this process; raises UserError where another process holds it.

    The lock is the operating system's (flock), so it ends with the process however that ends, and a stale file means
    nothing. Systems without flock go on unprotected.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / ".lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise UserError(
                f"{workdir} is in use by a run ({holder}); wait for it, or choose another --workdir"
            ) from None
        except OSError:  # a file system without locks
            yield
            return
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}")
        file.flush()
        yield
