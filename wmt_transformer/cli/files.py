"""Lines in and out: standard input as it comes, files that appear when they are whole, words for people."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from wmt_transformer.config import UserError


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
def open_input(path: str | None) -> Iterator[io.BufferedIOBase]:
    """Opens a file, or standard input where no path is given."""
    if path is None:
        yield cast(io.BufferedIOBase, sys.stdin.buffer)
        return
    try:
        stream = open(path, "rb")  # noqa: SIM115 - only opening may fail for a user's mistake, not what is done with it
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    with stream:
        yield stream


def available_lines(stream: io.BufferedIOBase, name: str | None) -> Iterator[list[str]]:
    """Yields the lines that are there already, as they come: a pipe that waits for each answer gets it."""
    rest, number = b"", 0
    while block := stream.read1(1 << 20):
        *whole, rest = (rest + block).split(b"\n")
        if whole:
            yield _decode(whole, number, name)
            number += len(whole)
    if rest:
        yield _decode([rest], number, name)


def _decode(lines: list[bytes], before: int, name: str | None) -> list[str]:
    decoded = []
    for number, line in enumerate(lines, before + 1):
        try:
            decoded.append(line.decode("utf-8").rstrip("\r"))
        except UnicodeDecodeError:
            raise UserError(f"{name or 'standard input'}, line {number} is not UTF-8; convert it first") from None
    return decoded


@contextlib.contextmanager
def whole_file(path: str | None) -> Iterator[IO[str]]:
    """Opens a file that appears when it is complete, or standard output where no path is given."""
    if path is None:
        yield sys.stdout
        return
    with whole_path(path) as temporary, temporary.open("w", encoding="utf-8") as out:
        yield out


@contextlib.contextmanager
def whole_path(path: str) -> Iterator[Path]:
    """Yields where to write what appears at `path` when it is complete; folders on the way are made."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # it is not there, or its folder is none
            temporary.unlink()


def save_picture(figure: Any, path: str) -> None:
    """Writes a matplotlib figure in the format of the path's suffix, whole or not at all."""
    with whole_path(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix[1:], dpi="figure")
