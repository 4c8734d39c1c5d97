"""What the command line reads and writes: standard input or a file, pictures, words for people.

Results are UTF-8 wherever they go, as files are: what reads them need not know the locale. A stream that the caller
closed is an error only for a verb that needs it.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn, cast

from wmt_transformer.config import UserError
from wmt_transformer.letters import visible_lines
from wmt_transformer.reading import opened, reading

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Closed(io.TextIOBase):
    """In place of a standard output that the caller closed: writing to it is the user's mistake."""

    def writable(self) -> bool:
        return False

    def write(self, text: str) -> NoReturn:
        raise UserError("standard output is closed, and the result goes there; open it")


def open_streams() -> None:
    """Makes the standard streams what the command line expects, whatever the caller and the locale made them."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # the next file to be opened would take this number, and whatever a library prints
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - open until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A path that is not UTF-8 is printed as it is.
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")


def say(text: str) -> None:
    """Writes lines for people, on standard error, whatever characters a file's name or a text in them has."""
    print(visible_lines(text), file=sys.stderr, flush=True)


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
    """Opens a file, or standard input where no path is given, plain or compressed by gzip; yields it and its name."""
    if path is None:
        if sys.stdin is None:
            raise UserError("standard input is closed; give the text as an argument, or open it")
        yield cast(io.BufferedIOBase, sys.stdin.buffer), "standard input"
        return
    with reading(path):  # opening alone: what is done with the text fails for other reasons
        stream = opened(Path(path))
    with stream:
        yield stream, path


def picture_format(path: str) -> str:
    """Returns the format that a path asks for, png or svg. Raises UserError for another one."""
    suffix = Path(path).suffix
    if suffix not in (".png", ".svg"):
        raise UserError(f"{path} is neither a .png nor a .svg picture; name it so")
    return suffix[1:]


def save_picture(figure: Figure, out: BinaryIO, kind: str) -> None:
    """Writes a matplotlib figure as png or svg."""
    drawn = io.BytesIO()  # drawing moves back and forth in its file, which a pipe cannot
    figure.savefig(drawn, format=kind, dpi="figure")
    out.write(drawn.getvalue())
