"""Reads parallel text files: two files line by line, or one with tabs; UTF-8, plain, .gz or .zip.

Only \\n ends a line: Unicode's other line separators occur inside sentences, and counting them would put the
two sides out of step. Whatever is wrong is a UserError that names the file and, where there is one, the line.
"""

from __future__ import annotations

import gzip
import io
import itertools
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from wmt_transformer.config import UserError


def find(folder: str, names: list[str]) -> Path:
    """Returns the first of these files that exists."""
    for name in names:
        path = Path(folder).expanduser() / name
        if path.is_file():
            return path
    raise UserError(f"{folder} has no {' or '.join(names)}; give --data.path the folder that holds it")


def parallel(source: Path, target: Path) -> Iterator[tuple[str, str]]:
    """Yields line n of both files; raises UserError with both counts when one ends before the other."""
    sources, targets = read_lines(source), read_lines(target)
    for number, (left, right) in enumerate(itertools.zip_longest(sources, targets)):
        if left is None or right is None:
            longer = number + 1 + sum(1 for _ in (targets if left is None else sources))
            counts = (number, longer) if left is None else (longer, number)
            raise UserError(
                f"{source} has {counts[0]:,} lines and {target} has {counts[1]:,}; line n of one "
                f"must translate line n of the other"
            )
        yield left, right


def tab_separated(path: Path) -> Iterator[tuple[str, str]]:
    """Yields the first two columns of a .tsv or .txt, of its .gz, or of the text in manythings.org's .zip."""
    if path.suffix == ".zip":
        try:
            with zipfile.ZipFile(path) as archive:
                name = next(n for n in archive.namelist() if n.endswith(".txt") and not n.startswith("_"))
                lines = _decoded(io.BytesIO(archive.read(name)), path / name)
        except (zipfile.BadZipFile, zlib.error, StopIteration) as error:
            raise UserError(f"{path} is damaged or holds no text; delete it and fetch it again") from error
    else:
        lines = read_lines(path)
    for number, line in enumerate(lines, 1):
        columns = line.split("\t")
        if len(columns) < 2:
            raise UserError(f"{path} line {number} has no tab; expected source<TAB>target")
        yield columns[0], columns[1]


def text(path: Path) -> str:
    """Returns the whole text of a UTF-8 file, .gz or not, with its line ends as they are."""
    return "".join(read_lines(path, ends=""))


def read_lines(path: Path, ends: str = "\r\n") -> Iterator[str]:
    """Yields the lines of a UTF-8 text file, .gz or not, without their `ends`; only \\n ends a line."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            yield from _decoded(file, path, ends)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}; check its name and folder") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged: {error}; fetch it again") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its type and permissions") from error


def _decoded(lines: Iterable[bytes], path: Path, ends: str = "\r\n") -> Iterator[str]:
    number = 0
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path} line {number} is not UTF-8 (byte {error.start + 1} is 0x{line[error.start]:02x}); "
                "convert the file, for instance with iconv"
            ) from error
        if number == 1:
            text = text.removeprefix("\ufeff")
        yield text.rstrip(ends)
    if not number:
        raise UserError(f"{path} is empty; it should have one sentence a line")
