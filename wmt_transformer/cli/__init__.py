"""The command line: one verb for each stage, and the only place where the stages meet.

Results go to standard output; everything for people (progress, tables, warnings) goes to standard error. A
user's mistake is one line and exit code 2, Ctrl-C is exit code 130, and neither shows a traceback.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import importlib.util
import os
import re
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from wmt_transformer import cuda
from wmt_transformer.cli import (
    attention,
    complete,
    evaluate,
    explain,
    info,
    interop,
    ngram,
    paper,
    parse,
    plan,
    serve,
    tokens,
    train,
    translate,
)
from wmt_transformer.cli.parser import parse as parse_arguments
from wmt_transformer.cli.streams import mounted, open_streams, say
from wmt_transformer.config import UserError

VERBS = [
    train.add,
    info.add,
    plan.add,
    translate.add,
    parse.add,
    attention.add,
    explain.add,
    evaluate.add,
    interop.add,
    complete.add,
    tokens.add,
    ngram.add,
    paper.add,
    serve.add,
]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and exits with its code."""
    threading.excepthook = _thread_failed
    _pass_over_absent_tpu()
    open_streams()
    try:
        parsed, overrides = parse_arguments(list(sys.argv[1:] if arguments is None else arguments), VERBS)
        overrides = [mounted(word) for word in overrides]
        code = parsed.run(parsed, overrides) or 0
        sys.stdout.flush()
    except UserError as error:
        say(f"wmt-transformer: {error}")
        code = 2
    except KeyboardInterrupt:
        say("wmt-transformer: interrupted")
        code = 130
    except BrokenPipeError:
        _discard_output()
        code = 0
    except Exception as error:
        if not (reason := _reason(error)):
            raise
        say(f"wmt-transformer: {reason}")
        _discard_output()
        code = 2
    sys.exit(code)


def _pass_over_absent_tpu() -> None:
    """Keeps JAX from trying a TPU where only its compiler is installed, for `plan`: it would print alarming lines."""
    alone = importlib.util.find_spec("libtpu") and cuda.installed() is None
    if alone and not (glob.glob("/dev/accel*") or glob.glob("/dev/vfio/[0-9]*")):
        os.environ.setdefault("JAX_PLATFORMS", "cpu")


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Is silent about a full disk: the caller that waits for the thread's save reports it, in one line."""
    if _reason(failure.exc_value) is None:
        threading.__excepthook__(failure)


def _discard_output() -> None:
    """Lets nothing more be written to standard output, which cannot be, when the process ends."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_FULL = re.compile(r"No space left on device|File too large|Disk quota exceeded")
"""How the libraries that write checkpoints say it, in errors without a number."""


def _reason(error: BaseException | None) -> str | None:
    """Returns what the user can do about an error that the machine made, None where it is the program's own."""
    while error is not None:
        if isinstance(error, MemoryError):
            what = f" ({error})" if str(error) else ""
            return f"the memory of this machine is too small for that{what}; set whatever is large to less"
        number, name = getattr(error, "errno", None), getattr(error, "filename", None)
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or _FULL.search(str(error)):
            return "the disk is full; what was saved is intact: make room and run the same command again"
        if number in (errno.EACCES, errno.EPERM, errno.EROFS) and name is not None:
            return f"{name} may not be read or written ({os.strerror(number)}); see whose it is, and its permissions"
        error = error.__cause__ or error.__context__
    return None
