"""Files and folders, written whole or not at all; locks; the cache folder. How files are read is in `reading.py`.

There is one of each, and every stage uses it. What is written appears under its name when it is complete, so a run that
is killed leaves what was there before. Every failure is a `UserError` of one line that names the file.
"""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, BinaryIO

from wmt_transformer.config import UserError


def cache_folder() -> Path:
    """Returns where downloads and compiled programs are kept: $WMT_TRANSFORMER_CACHE, or ~/.cache/wmt_transformer.

    A user without a home that can be written, as in a container with a number for a user, has a folder among the
    temporary files. Raises UserError where that is somebody else's: what is in it is trusted.
    """
    if named := os.environ.get("WMT_TRANSFORMER_CACHE"):
        return Path(named)
    with contextlib.suppress(RuntimeError):  # neither HOME nor an entry in passwd
        folder = Path.home() / ".cache" / "wmt_transformer"
        if may_write(folder):
            return folder
    user = "user" if sys.platform == "win32" else os.getuid()
    folder = Path(tempfile.gettempdir(), f"wmt_transformer-{user}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        ours = user == "user" or folder.lstat().st_uid == user
    except OSError:
        ours = False
    if not ours:
        raise UserError(f"there is no place for a cache: {folder} is not ours; name one in WMT_TRANSFORMER_CACHE")
    return folder


# ---- Writing

_NUMBERS = itertools.count()
"""Of the unfinished files of this process."""


def may_write(path: str | os.PathLike[str]) -> bool:
    """Tells whether a file or folder can be written, or made with the folders on the way to it."""
    there = next(place for place in (Path(path).absolute(), *Path(path).absolute().parents) if place.exists())
    return os.access(there, os.W_OK) and (there.is_dir() or there == Path(path).absolute())


@contextlib.contextmanager
def whole_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields an empty file that takes the place of `path` when it is complete; makes the folders on the way.

    Where `path` is a symbolic link, what it points to is replaced. The file has the mode of the one that it replaces,
    or the one that the umask gives. Raises UserError, before anything is yielded where that can be known, when it
    cannot be written.
    """
    with _explained(path):
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise UserError(f"cannot write {path}: it is a folder; give the name of a file")
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _new_file(target.parent)
        try:
            if target.exists():
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            yield temporary
            _write_through(temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_bytes(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a file that appears when it is complete (see `whole_path`); a pipe or device is written into."""
    with _explained(path):
        descriptor = _open_special(os.fspath(path))
        if descriptor is not None:
            with os.fdopen(descriptor, "wb") as out:
                yield out
            return
    with whole_path(path) as temporary, temporary.open("wb") as out:
        yield out


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str] | None) -> Iterator[IO[str]]:
    """Opens a UTF-8 file as `whole_bytes` does, or standard output where no path is given."""
    if path is None:
        if not sys.stdout.writable():
            raise UserError("standard output is closed; name a file with --output")
        yield sys.stdout
        return
    with whole_bytes(path) as out:
        text = io.TextIOWrapper(out, "utf-8")
        try:
            yield text
            text.flush()
        finally:
            with contextlib.suppress(OSError):  # that was raised above
                text.detach()


def append_line(path: str | os.PathLike[str], line: str) -> None:
    """Adds a line to a UTF-8 file, which need not exist, in one piece: nothing that others add meanwhile is lost."""
    with _explained(path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b", buffering=0) as file:
            _lock(file.fileno(), wait=True)  # or two see the same line without an end, and both end it
            ended = not file.seek(0, os.SEEK_END) or (file.seek(-1, os.SEEK_END), file.read())[1] == b"\n"
            file.write(f"{'' if ended else chr(10)}{line}\n".encode())


def _open_special(path: str) -> int | None:
    """Returns a descriptor to write into a pipe, a device or what this process has open; None for any other path.

    /dev/stdout is the file that is open, be it a regular one: renaming another over it would lose what others write.
    """
    name = os.path.abspath(path)
    for _ in range(40):  # links, as many as Linux follows
        if named := re.fullmatch(r"/dev/(stdout|stderr)|(?:/dev/fd|/proc/self/fd)/(\d+)", name):
            return os.dup(int(named[2] or 1 + (named[1] == "stderr")))
        if not os.path.islink(name):
            break
        name = os.path.normpath(os.path.join(os.path.dirname(name), os.readlink(name)))
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else os.open(path, os.O_WRONLY)


def _new_file(folder: Path) -> Path:
    """Returns a file that did not exist before."""
    while True:
        path = folder / f".{os.getpid()}.{next(_NUMBERS)}.unfinished"
        with contextlib.suppress(FileExistsError):
            path.open("xb").close()
            return path


@contextlib.contextmanager
def _explained(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raises UserError in place of an OSError; a reader that closes its pipe early is none."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def whole_folder(folder: Path, option: str, replaced: Collection[str] | None = None) -> Iterator[Path]:
    """Yields an empty folder that takes the place of `folder` when it is complete, and goes away when it fails.

    Every file in it is on the disk before it does. What a killed process left half-made is cleared away, and what it
    was about to replace is put back.
    Raises UserError, which names the command line's `option`, where `folder` cannot be written, where another process
    is writing it, and where it holds files other than those `replaced` (None: whatever it holds is).
    """
    folder = folder.resolve()
    new, old = (folder.with_name(f".{folder.name}.{word}") for word in ("new", "old"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _made_here(new, folder):
            try:
                if old.exists() and not folder.exists():
                    old.rename(folder)
                _check_replaceable(folder, option, replaced)
                yield new
                _write_through(new)
                shutil.rmtree(old, ignore_errors=True)
                if folder.exists():
                    folder.rename(old)
                new.rename(folder)
            finally:
                shutil.rmtree(new, ignore_errors=True)
                if not folder.exists() and old.exists():
                    old.rename(folder)
                shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = f"{'make room, or ' if full else ''}choose another {option}"
        kept = f"; what was there is in {old}" if old.exists() and not folder.exists() else ""
        raise UserError(
            f"cannot write {error.filename or folder}: {error.strerror or error}; {advice}{kept}"
        ) from error


def _check_replaceable(folder: Path, option: str, replaced: Collection[str] | None) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; choose another {option}")
    if replaced is None:
        return
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if strange := [name for name in found if name not in replaced]:
        raise UserError(f"{folder} holds {', '.join(strange[:3])} already; choose another {option}")


def _write_through(written: Path) -> None:
    """Returns when a file, or every file in a folder, is on the disk."""
    for path in written.rglob("*") if written.is_dir() else [written]:
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
def locked(workdir: Path, name: str = ".lock") -> Iterator[None]:
    """Holds the folder of a run for this process; raises UserError where another process holds it, and where
    it cannot be written.

    Two runs in one folder would write over each other's checkpoints and metrics. The lock is the operating system's
    (flock), so it ends with the process however that ends, and a stale file means nothing. Systems without flock go on
    unprotected. What may go on beside training has a lock of another `name`.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / name).open("a+")
    except OSError as error:
        raise UserError(
            f"cannot write in {workdir}: {error.strerror}; choose another --workdir, or copy the run to one of yours"
        ) from error
    with file:
        if not _lock(file.fileno()):
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise UserError(f"{workdir} is in use by a run ({holder}); wait for it, or choose another --workdir")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        yield


def _lock(descriptor: int, wait: bool = False) -> bool:
    """Tells whether this process now holds the file's lock; where there are no locks, everybody does."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@contextlib.contextmanager
def gone_if_failed(workdir: Path) -> Iterator[None]:
    """Takes away a work folder that was not there before, and those above it, where what is inside fails.

    Whatever was written into it stays, and the folder with it; a lock counts as nothing.
    """
    missing = [path for path in (workdir, *workdir.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        if missing and workdir.is_dir() and [path.name for path in workdir.iterdir()] == [".lock"]:
            (workdir / ".lock").unlink()
        for path in missing:
            with contextlib.suppress(OSError):  # it is not empty, or was never made
                path.rmdir()
        raise
