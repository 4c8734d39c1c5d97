"""Reads parallel text files: two files line by line, or one with tabs; UTF-8, plain, .gz or .zip.

Whatever is wrong is a UserError that names the file and, where there is one, the line.
"""

from __future__ import annotations

import io
import itertools
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from wmt_transformer.config import UserError
from wmt_transformer.reading import decoded, read_lines


def find(folder: str, names: list[str]) -> Path:
    """Returns the first of these files that exists."""
    for name in names:
        path = Path(folder).expanduser() / name
        if path.is_file():
            return path
    raise UserError(f"{folder} has no {' or '.join(names)}; give --data.path the folder that holds it")


def parallel(
    source: Path, target: Path, *, text: Callable[[str], str | None] = lambda line: line
) -> Iterator[tuple[str, str]]:
    """Yields line n of both files; raises UserError with both counts when one ends before the other.

    `text` makes of a line what counts, None of a line that does not.
    """
    sources, targets = (
        (found for line in _not_empty(path) if (found := text(line)) is not None) for path in (source, target)
    )
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
                lines = decoded(io.BytesIO(archive.read(name)), f"{path / name}")
        except (zipfile.BadZipFile, zlib.error, StopIteration) as error:
            raise UserError(f"{path} is damaged or holds no text; delete it and fetch it again") from error
    else:
        lines = _not_empty(path)
    for number, line in enumerate(lines, 1):
        columns = line.rstrip("\r\n").split("\t")
        if not line.strip():
            columns = ["", ""]  # a pair of blank lines, as in two files; `prepare` counts and drops it
        if len(columns) < 2:
            raise UserError(f"{path}, line {number} has no tab; expected source<TAB>target")
        yield columns[0], columns[1]


def _not_empty(path: Path) -> Iterator[str]:
    """Yields the lines of a file. Raises UserError where it has none."""
    empty = True
    for line in read_lines(path):
        empty = False
        yield line
    if empty:
        raise UserError(f"{path} is empty; it should have one sentence a line")
