"""The command line: one verb for each stage, and the only place where the stages meet.

Results go to standard output; everything for people (progress, tables, warnings) goes to standard error. A
user's mistake is one line and exit code 2, Ctrl-C is exit code 130, and neither shows a traceback.
"""

from __future__ import annotations

import errno
import glob
import importlib.util
import os
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from wmt_transformer import cuda
from wmt_transformer.cli import (
    attention,
    complete,
    evaluate,
    info,
    interop,
    ngram,
    paper,
    parse,
    plan,
    tokens,
    train,
    translate,
)
from wmt_transformer.cli.parser import parse as parse_arguments
from wmt_transformer.cli.streams import mounted, say
from wmt_transformer.config import UserError

VERBS = [
    train.add,
    info.add,
    plan.add,
    translate.add,
    parse.add,
    attention.add,
    evaluate.add,
    interop.add,
    complete.add,
    tokens.add,
    ngram.add,
    paper.add,
]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and exits with its code."""
    threading.excepthook = _thread_failed
    _pass_over_absent_tpu()
    try:
        words = [mounted(word) for word in (sys.argv[1:] if arguments is None else arguments)]
        parsed, overrides = parse_arguments(words, VERBS)
        code = parsed.run(parsed, overrides) or 0
        sys.stdout.flush()
    except UserError as error:
        say(f"wmt-transformer: {error}")
        code = 2
    except KeyboardInterrupt:
        say("wmt-transformer: interrupted")
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        if not _disk_is_full(error):
            raise
        say("wmt-transformer: the disk is full; what was saved is intact: make room and run the same command again")
        code = 2
    sys.exit(code)


def _pass_over_absent_tpu() -> None:
    """Keeps JAX from trying a TPU where only its compiler is installed, for `plan`: it would print alarming lines."""
    alone = importlib.util.find_spec("libtpu") and cuda.installed() is None
    if alone and not (glob.glob("/dev/accel*") or glob.glob("/dev/vfio/[0-9]*")):
        os.environ.setdefault("JAX_PLATFORMS", "cpu")


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Says nothing of a full disk: who waits for the thread's save is told, and says it in one line."""
    if not _disk_is_full(failure.exc_value):
        threading.__excepthook__(failure)


def _disk_is_full(error: BaseException | None) -> bool:
    while error is not None:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if full or "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
