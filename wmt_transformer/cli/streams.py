"""What the command line reads and writes: standard input or a file, pictures, words for people."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from wmt_transformer.config import UserError
from wmt_transformer.files import opened, reading, whole_path


def say(text: str) -> None:
    """Writes a line for people, on standard error."""
    print(text, file=sys.stderr, flush=True)


def mounted(argument: str) -> str:
    """Returns an argument with `gs://BUCKET/PATH` in it (or `--option=gs://…`) as the path where the bucket is mounted.

    That is `/gcs/BUCKET/PATH`, or below the folder in WMT_TRANSFORMER_BUCKETS; Cloud Storage FUSE makes it a folder
    like any other. Other arguments stay as they are. Raises UserError where the bucket is not mounted.
    """
    option, scheme, path = argument.partition("gs://")
    if not scheme or not (option == "" or option.endswith("=")):
        return argument
    bucket = Path(os.environ.get("WMT_TRANSFORMER_BUCKETS", "/gcs"), path.partition("/")[0])
    if not bucket.is_dir():
        raise UserError(
            f"gs://{path}: the bucket is not mounted at {bucket}; mount it there with gcsfuse, or say in "
            "WMT_TRANSFORMER_BUCKETS below which folder buckets are mounted"
        )
    return option + str(bucket.parent / path)


@contextlib.contextmanager
def open_input(path: str | None) -> Iterator[tuple[io.BufferedIOBase, str]]:
    """Opens a file, plain or .gz, or standard input where no path is given; yields it and what messages call it."""
    if path is None:
        yield cast(io.BufferedIOBase, sys.stdin.buffer), "standard input"
        return
    with reading(path):  # opening alone: what is done with the text fails for other reasons
        stream = opened(Path(path))
    with stream:
        yield stream, path


def save_picture(figure: Any, path: str) -> None:
    """Writes a matplotlib figure in the format of the path's suffix, whole or not at all."""
    with whole_path(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix[1:], dpi="figure")
