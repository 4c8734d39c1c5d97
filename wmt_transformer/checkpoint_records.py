"""The folders of checkpoints, and the record of each: whether its files are what was saved, and what is known of it.

`record.json` in the folder of a checkpoint has a checksum (CRC-32) of every other file there, and one of itself, so
that any damage is seen before a file is read: Orbax itself loads arrays with a flipped bit without a word. It also has
the development score, whether the checkpoint was scheduled, and the fingerprints of the data that it was trained on.
Checkpoints that older versions wrote have no record: they are used unchecked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path

from wmt_transformer.config import UserError
from wmt_transformer.reading import checksum

NAME = "record.json"
UNFINISHED = ".saving"
"""Ends the name of a checkpoint that is being written."""
DELETED = ".deleted"
"""Ends the name of a checkpoint that is being removed."""


class Broken(UserError):
    """A checkpoint that is there and cannot be read: a file of it is cut off, changed or missing."""


@dataclasses.dataclass(frozen=True)
class Record:
    """What is known of a checkpoint."""

    scheduled: bool = True
    """Saved because the schedule says so. Checkpoints saved on a signal, or for their score alone, are not averaged."""
    score: float | None = None
    """On the development set, higher is better; None where it was not measured at this step."""
    data: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Fingerprints of the vocabulary and the corpus (see `data.fingerprint`); none where they are not known."""
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """CRC-32 of every file, by its path in the checkpoint's folder; none where the checkpoint has no record."""


def write(folder: Path, record: Record) -> None:
    """Writes the record of the files in a folder; when it returns, all of them are on the disk."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME)
    files = {path.relative_to(folder).as_posix(): checksum(path) for path in paths}
    text = json.dumps(dataclasses.asdict(dataclasses.replace(record, files=files)), sort_keys=True)
    path = folder / NAME
    path.write_text(f"{text}\n{zlib.crc32(text.encode()):08x}\n", encoding="utf-8")
    for written in (*paths, path):
        with open(written, "rb") as file:
            os.fsync(file.fileno())


def read(folder: Path) -> Record:
    """Returns the record of a checkpoint, an empty one where there is none. Raises Broken where it is damaged."""
    try:
        text, check, _ = (folder / NAME).read_text(encoding="utf-8").split("\n")
        if check != f"{zlib.crc32(text.encode()):08x}":
            raise ValueError("its checksum differs")
        return Record(**json.loads(text))
    except FileNotFoundError:
        return Record()
    except (OSError, ValueError, TypeError) as error:
        raise broken(folder, f"{NAME}: {error}") from error


def verify(folder: Path, items: Collection[str] | None = None) -> Record:
    """Returns the record of a checkpoint whose files are what was saved; raises Broken naming the first that is not.

    With `items` only files of these items (`params`), and those outside all items, are read.
    """
    record = read(folder)
    for name, saved in record.files.items():
        item, inside, _ = name.partition("/")
        if inside and items is not None and item not in items:
            continue
        try:
            found = checksum(folder / name)
        except OSError as error:
            raise broken(folder, f"{name}: {error.strerror}") from error
        if found != saved:
            raise broken(folder, f"{name} has changed since it was saved: its checksum is {found}, not {saved}")
    return record


def broken(folder: object, reason: str) -> Broken:
    """Returns the error that says why a checkpoint cannot be read, and what to do."""
    return Broken(f"the checkpoint {folder} cannot be read ({reason}); delete it, or name another one")


# ---- Folders


def numbered(folder: Path) -> list[int]:
    """Returns the steps of the checkpoints in a folder, oldest first."""
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal()) if folder.is_dir() else []


def records(folder: Path) -> dict[int, Record]:
    """Returns the records of checkpoints by step, without those that are damaged."""
    found = {}
    for step in numbered(folder):
        with contextlib.suppress(Broken):
            found[step] = read(folder / str(step))
    return found


def damaged(folder: Path) -> list[str]:
    """Returns what is wrong with the records of the checkpoints in a folder, a line for each that is damaged."""
    found = []
    for step in numbered(folder):
        try:
            read(folder / str(step))
        except Broken as error:
            found.append(str(error))
    return found


def scheduled(folder: Path) -> list[int]:
    """Returns the steps of the checkpoints in a folder that were saved on schedule, oldest first."""
    return [step for step, record in records(folder).items() if record.scheduled]


def scores(folder: Path) -> dict[int, float]:
    """Returns the development scores of the checkpoints in a folder by step, of those that have one."""
    return {step: record.score for step, record in records(folder).items() if record.score is not None}


def best(scores: Mapping[int, float]) -> int:
    """Returns the step of the highest score, the newest of equal ones."""
    return max(scores, key=lambda step: (scores[step], step))


def complete(unfinished: Path, record: Record) -> None:
    """Gives a written checkpoint its record and its name, which takes the place of what had that name."""
    write(unfinished, record)
    final = unfinished.with_name(unfinished.name.removesuffix(UNFINISHED))
    if final.exists():
        delete(final)
    unfinished.rename(final)


def copy(folder: Path, goal: Path, items: Collection[str], record: Record) -> None:
    """Copies a checkpoint, of its items these alone, which gets a record of its own."""
    left_out = {path.name for path in folder.iterdir() if path.is_dir() and path.name not in items} | {NAME}
    unfinished = goal.with_name(f"{goal.name}{UNFINISHED}")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(folder, unfinished, ignore=lambda inside, _: left_out if Path(inside) == folder else ())
    complete(unfinished, record)


def delete(folder: Path) -> None:
    """Removes a checkpoint, which is no longer one as soon as the first file is gone."""
    deleted = folder.with_name(f"{folder.name}{DELETED}")
    shutil.rmtree(deleted, ignore_errors=True)
    folder.rename(deleted)
    shutil.rmtree(deleted, ignore_errors=True)


def delete_old(folder: Path, keep: int) -> None:
    """Removes all but the newest `keep` scheduled checkpoints, the one with the best score, and the newest of all."""
    saved, scored = numbered(folder), scores(folder)
    kept = {*scheduled(folder)[-keep:], *saved[-1:], *([best(scored)] if scored else [])}
    for step in saved:
        if step not in kept:
            delete(folder / str(step))


def clear_left_over(folder: Path) -> None:
    """Removes what a killed process left unfinished in a folder of checkpoints."""
    for path in folder.iterdir():
        if UNFINISHED in path.name or path.name.endswith(DELETED):
            shutil.rmtree(path, ignore_errors=True)


def readable_path(folder: Path) -> Path:
    """Returns the absolute path of a folder; raises UserError where Orbax could not read what it writes there."""
    path = str(folder.absolute())
    if found := [character for character in "[]\\" if character in path]:
        reason = f"a path with {' and '.join(found)}"
    elif any("\ud800" <= character <= "\udfff" for character in path):
        reason = "a path that is not UTF-8"
    else:
        return folder.absolute()
    raise UserError(
        f"{folder.parent}: checkpoints cannot be read back from {reason}; choose another --workdir, for instance a "
        "symbolic link to this one"
    )
