"""Files, read: the bytes of a file or a pipe, and the lines of a text; one way for every verb and format.

Text is UTF-8, with or without a byte order mark, plain or compressed by gzip, with either kind of line end. Every
failure is a `UserError` of one line that names the file and, where there is one, the line.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from wmt_transformer.config import UserError

_GZIP = b"\x1f\x8b"
_BLOCK = 1 << 22
"""Bytes of a file that are read at a time."""


@contextlib.contextmanager
def open_binary(path: Path) -> Iterator[io.BufferedReader | gzip.GzipFile]:
    """Opens a file or a pipe to read its bytes, unpacked where it is compressed by gzip, whatever its name.

    Raises UserError, also while it is read, when there is no such file, or it is damaged or cannot be read.
    """
    with reading(str(path)), opened(path) as file:
        yield file


def opened(path: Path) -> io.BufferedReader | gzip.GzipFile:
    """Returns the bytes of a file or a pipe, unpacked where it is compressed by gzip; the caller closes it."""
    with contextlib.ExitStack() as failed:
        file = failed.enter_context(open(path, "rb"))
        found = _Unpacked(file) if path.suffix == ".gz" else unpacked(file)
        failed.pop_all()
    return found


def unpacked(file: io.BufferedReader) -> io.BufferedReader | gzip.GzipFile:
    """Returns the bytes of an open file, unpacked where it is compressed by gzip."""
    return _Unpacked(file) if file.peek(2)[:2] == _GZIP else file  # UTF-8 cannot begin with these


class _Unpacked(gzip.GzipFile):
    """The text of a compressed file, which is closed with it."""

    def __init__(self, file: io.BufferedReader):
        self._file = file
        super().__init__(fileobj=file, mode="rb")

    def close(self) -> None:
        """Closes both."""
        super().close()
        self._file.close()


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Turns what goes wrong while a file is opened or read into UserError."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"there is no file {name}; check its name and folder") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{name} is damaged: {error}; fetch it again") from error
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror}; check its type and permissions") from error


def checksum(path: Path) -> str:
    """Returns the CRC-32 of a file's bytes, as 8 hexadecimal digits. Raises OSError where it cannot be read."""
    value = 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            value = zlib.crc32(block, value)
    return f"{value:08x}"


def check_read_again(path: Path, reader: str) -> None:
    """Raises UserError where a file is a pipe: it can be read once, and `reader` reads several times."""
    with contextlib.suppress(OSError):  # whoever opens it says what is wrong
        if not path.is_dir() and not path.is_file() and path.exists():
            raise UserError(f"{path} is a pipe, which can be read once; {reader} reads its text several times: save it")


def read_lines(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yields the lines of a UTF-8 text file or pipe, plain or compressed by gzip, without their ends.

    Only \\n and \\r\\n end a line, as in every tool that counts lines: Unicode's other line separators occur inside
    sentences. A byte order mark is no part of the text. Raises UserError for a file that cannot be read, naming the
    first line that is not UTF-8.
    """
    with open_binary(Path(path)) as file:
        for line in decoded(file, str(path)):
            yield line.rstrip("\r\n")


def read_text(path: Path) -> str:
    """Returns the whole text of a UTF-8 file, plain or compressed by gzip, with its line ends as they are.

    Raises UserError as `read_lines` does.
    """
    with open_binary(path) as file:
        return "".join(decoded(file, str(path)))


def decoded(lines: Iterable[bytes], name: str, before: int = 0) -> Iterator[str]:
    """Yields lines of UTF-8 as text, without a byte order mark, with their ends; `before` lines came before them.

    Raises UserError, with `name` and the line's number, where they are not UTF-8.
    """
    for number, line in enumerate(lines, before + 1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{name}, line {number} is not UTF-8 (byte {error.start + 1} is 0x{line[error.start]:02x}); "
                "convert the file, for instance with iconv"
            ) from error
        yield text.removeprefix("\ufeff") if number == 1 else text


def available_lines(stream: io.BufferedIOBase, name: str) -> Iterator[list[str]]:
    """Yields the lines that are there already, as they come: a pipe that waits for each answer gets it.

    Raises UserError as `read_lines` does.
    """
    rest, number = b"", 0
    if isinstance(stream, io.BufferedReader):  # standard input, which is not looked into before it is read
        with reading(name):
            stream = unpacked(stream)
    while True:
        with reading(name):
            block = stream.read1(1 << 20)
        if not block:
            break
        *whole, rest = (rest + block).split(b"\n")
        if whole:
            yield [line.rstrip("\r") for line in decoded(whole, name, number)]
            number += len(whole)
    if rest:
        yield [line.rstrip("\r") for line in decoded([rest], name, number)]
