"""Files: read line by line, written whole or not at all; folders likewise; locks; the cache folder.

There is one of each, and every stage uses it. What is written appears under its name when it is complete, so a run that
is killed leaves what was there before. Every failure is a `UserError` of one line that names the file.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import os
import shutil
import sys
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO

from wmt_transformer.config import UserError


def cache_folder() -> Path:
    """Returns where downloads and compiled programs are kept: $WMT_TRANSFORMER_CACHE, or ~/.cache/wmt_transformer."""
    return Path(os.environ.get("WMT_TRANSFORMER_CACHE") or Path.home() / ".cache" / "wmt_transformer")


# ---- Reading

_GZIP = b"\x1f\x8b"


@contextlib.contextmanager
def open_binary(path: Path) -> Iterator[io.BufferedReader | gzip.GzipFile]:
    """Opens a file or a pipe to read its bytes, unpacked where it is compressed by gzip, whatever its name.

    Raises UserError, also while it is read, when there is no such file, or it is damaged or cannot be read.
    """
    with reading(str(path)), opened(path) as file:
        yield file


def opened(path: Path) -> io.BufferedReader | gzip.GzipFile:
    """Returns a file's bytes, those of the text that it holds where it is compressed; the caller closes it."""
    file = open(path, "rb")  # noqa: SIM115 - the caller closes it
    packed = path.suffix == ".gz" or file.peek(2)[:2] == _GZIP  # which UTF-8 cannot begin with
    if not packed:
        return file
    text = gzip.GzipFile(fileobj=file, mode="rb")
    text.myfileobj = file  # pyright: ignore[reportAttributeAccessIssue]  which is then closed together with it
    return text


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


# ---- Writing


@contextlib.contextmanager
def whole_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields where to write what appears at `path` when it is complete; makes the folders on the way."""
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


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str] | None) -> Iterator[IO[str]]:
    """Opens a UTF-8 file that appears when it is complete, or standard output where no path is given."""
    if path is None:
        yield sys.stdout
        return
    with whole_path(path) as temporary, temporary.open("w", encoding="utf-8") as out:
        yield out


@contextlib.contextmanager
def whole_folder(folder: Path, option: str, replaced: Collection[str] | None = None) -> Iterator[Path]:
    """Yields an empty folder that takes the place of `folder` when it is complete, and goes away when it fails.

    Every file in it is on the disk before it does. A folder that a killed process left half-made is cleared away.
    Raises UserError, which names the command line's `option`, where `folder` cannot be written, where another process
    is writing it, and where it holds files other than those `replaced` (None: whatever it holds is).
    """
    folder = folder.resolve()
    new, old = (folder.with_name(f".{folder.name}.{word}") for word in ("new", "old"))
    if replaced is not None:
        _check_replaceable(folder, option, replaced)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _made_here(new, folder):
            try:
                yield new
                _write_through(new)
                shutil.rmtree(old, ignore_errors=True)
                if folder.exists():
                    folder.rename(old)
                new.rename(folder)
            finally:
                if old.exists() and not folder.exists():
                    old.rename(folder)
                for left_over in (new, old):
                    shutil.rmtree(left_over, ignore_errors=True)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = f"{'make room, or ' if full else ''}choose another {option}"
        raise UserError(f"cannot write {error.filename or folder}: {error.strerror or error}; {advice}") from error


def _check_replaceable(folder: Path, option: str, replaced: Collection[str]) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; choose another {option}")
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if strange := [name for name in found if name not in replaced]:
        raise UserError(f"{folder} holds {', '.join(strange[:3])} already; choose another {option}")


def _write_through(folder: Path) -> None:
    """Returns when every file in a folder is on the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())


@contextlib.contextmanager
def _made_here(new: Path, folder: Path) -> Iterator[None]:
    """Makes `new` an empty folder that this process alone writes to."""
    while True:
        new.mkdir(exist_ok=True)
        with contextlib.ExitStack() as held:
            if sys.platform != "win32":
                descriptor = os.open(new, os.O_RDONLY)
                held.callback(os.close, descriptor)
                if not _lock(descriptor):
                    raise UserError(f"{folder} is being written by another process; wait for it to end")
                try:
                    ours = os.path.samestat(os.fstat(descriptor), os.stat(new))
                except FileNotFoundError:
                    ours = False
                if not ours:  # the process that held it has just renamed it into place
                    continue
            for path in new.iterdir():
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            yield
            return


# ---- Locks


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Holds the folder of a run for this process; raises UserError where another process holds it.

    Two runs in one folder would write over each other's checkpoints and metrics. The lock is the operating system's
    (flock), so it ends with the process however that ends, and a stale file means nothing. Systems without flock go on
    unprotected.
    """
    if sys.platform == "win32":
        yield
        return
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / ".lock").open("a+") as file:
        if not _lock(file.fileno()):
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise UserError(f"{workdir} is in use by a run ({holder}); wait for it, or choose another --workdir")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}")
        file.flush()
        yield


def _lock(descriptor: int) -> bool:
    """Tells whether this process now holds the file's lock; a file system without locks gives it to everybody."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
