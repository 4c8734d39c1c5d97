"""What a prepared folder remembers of how it was made, and whether it has to be made again.

Its manifest.json holds the settings that it was made with, the local files and a digest of the text that was read, and
what the stage that made it wants to know later. It also has a checksum of every file of the folder, and one of itself:
damage is seen when the folder is opened. Files that were moved, copied or touched are read again: what counts is
their text. Where settings or text differ the folder is made anew, but never after the first checkpoint: its parameters
belong to this vocabulary. A vocabulary that was given is known by its content, wherever it is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import zlib
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import vocabulary_files
from wmt_transformer.data.text_digest import digest_of
from wmt_transformer.files import whole_folder, whole_path
from wmt_transformer.reading import checksum

FORMAT = 1
"""Raised when the files change their meaning, so that old folders are built again."""
MANIFEST = "manifest.json"

_IRRELEVANT = ("source_tokens", "target_tokens", "num_shapes", "batch_multiple", "context")  # these only shape batches

Report = Callable[[str], None]
"""Is given lines for people to read."""
Manifest = dict[str, Any]
"""`recipe` (format, settings, files), `text` (digest of what was read), `checksums` of what was made, `corpus` (its
digest), and what the stage remembers: `dtype`, `statistics`, `credits` (licences, and what to cite)."""


class Stage(NamedTuple):
    """How a folder is prepared, of sentence pairs or of documents."""

    files: Callable[[DataConfig], list[Path]]
    """Returns the local files that a corpus is read from, as far as they exist."""
    texts: Callable[[DataConfig], Iterable[tuple[str, Iterable[str | tuple[str, str]]]]]
    """Yields the texts or pairs of every split, with its name."""
    build: Callable[[Path], Manifest]
    """Fills an empty folder and returns what to remember: at least `text`."""


def print_to_stderr(line: str) -> None:
    """Prints a line on standard error: the usual `report`."""
    print(line, file=sys.stderr, flush=True)


def make(data: DataConfig, folder: Path, stage: Stage, report: Report, trained: bool) -> None:
    """Fills `folder` unless it was made by the same settings from the same text.

    With `trained` there are checkpoints of what it holds: it is filled when it is missing, and never filled anew.
    Raises UserError, which names what differs, where it would have to be.
    """
    manifest = find_manifest(folder)
    recipe = _recipe(data, stage.files(data), manifest["recipe"] if manifest else {})
    if manifest is not None:
        differing = _differing_settings(manifest["recipe"]["data"], recipe["data"])
        differing += ["the vocabulary"] * (manifest["recipe"].get("vocabulary") != recipe["vocabulary"])
        if not differing:
            if _same_files(manifest["recipe"], recipe):
                report(f"{folder} is up to date")
                return
            report(f"{folder} was made from files that have moved or changed: reading their text again")
            if digest_of(stage.texts(data)) == manifest.get("text"):
                _write(folder / MANIFEST, {**manifest, "recipe": recipe})
                report(f"{folder} is up to date: the text is the same")
                return
            differing = [f"the text of corpus {data.corpus}"]
        if trained:
            raise UserError(
                f"{folder} cannot be made anew, because the checkpoints of this run belong to it, and it differs: "
                f"{'; '.join(differing)}; put back what it was made from, or choose another --workdir"
            )
    elif trained and folder.is_dir() and any(folder.iterdir()):
        raise UserError(
            f"{folder} has no {MANIFEST} of this version that is whole, and the checkpoints of this run belong to it; "
            "move it away, and what it was made from makes it anew, or choose another --workdir"
        )
    with whole_folder(folder, "--workdir") as building:
        built = stage.build(building)
        made = {"corpus": corpus_digest(building), "checksums": checksums(building)}
        _write(building / MANIFEST, {"recipe": recipe, **built, **made})


def read_manifest(folder: Path) -> Manifest:
    """Returns what `make` remembered of a folder. Raises UserError if there is none."""
    manifest = find_manifest(folder)
    if manifest is None:
        raise UserError(f"{folder} holds no prepared data of this version; run `wmt-transformer prepare` first")
    return manifest


def find_manifest(folder: Path) -> Manifest | None:
    """Returns what `make` remembered of a folder, None where there is nothing whole that this version can read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        check = manifest.pop("check", None)  # folders of earlier versions have none
        whole = check in (None, _checksum(manifest))
        return manifest if whole and manifest["recipe"]["format"] == FORMAT else None
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return None


def _write(path: Path, manifest: Manifest) -> None:
    with whole_path(path) as temporary:
        checked = {**manifest, "check": _checksum(manifest)}
        temporary.write_text(json.dumps(checked, indent=2) + "\n", "utf-8")


def _checksum(manifest: Manifest) -> str:
    return f"{zlib.crc32(json.dumps(manifest, sort_keys=True).encode()):08x}"


# ---- Whether a folder is what was written


def checksums(folder: Path) -> dict[str, str]:
    """Returns the CRC-32 of every file of a prepared folder but its manifest, by name."""
    return {path.name: checksum(path) for path in _files(folder)}


def corpus_digest(folder: Path) -> str:
    """Returns a digest of everything that was prepared but the vocabulary: tokens, and text to measure on."""
    digest = hashlib.sha256()
    for path in _files(folder):
        if path.name not in vocabulary_files.FILES:
            with open(path, "rb") as file:
                digest.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name != MANIFEST)


def check_whole(folder: Path, manifest: Manifest, names: Collection[str] | None = None) -> None:
    """Raises UserError for the first file of a prepared folder, or of `names` in it, that is not what was written.

    Folders of earlier versions have no checksums, and are not checked.
    """
    for name, written in manifest.get("checksums", {}).items():
        if names is not None and name not in names:
            continue
        try:
            found = None if checksum(folder / name) == written else "it has changed since it was prepared"
        except OSError as error:
            found = error.strerror
        if found:
            raise UserError(
                f"{folder / name} is damaged: {found}; put it back, or move {folder} away, and what it was made from "
                "makes it anew"
            )


# ---- What a folder was made from


def _recipe(data: DataConfig, files: list[Path], was: dict[str, Any]) -> dict[str, Any]:
    """Returns what the result depends on: settings, size and time of the local files, and the vocabulary given."""
    vocabulary = data.vocabulary and (
        was.get("vocabulary")  # one that was taken over and is no longer there is not needed any more
        if not Path(data.vocabulary).exists() and was.get("data", {}).get("vocabulary") == data.vocabulary
        else vocabulary_files.digest(data.vocabulary)
    )
    stats = {str(path): path.stat() for path in files}
    return {
        "format": FORMAT,
        "data": _settings(data),
        "vocabulary": vocabulary,
        "files": {path: [stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()},
    }


def _settings(data: DataConfig) -> dict[str, Any]:
    """Returns the settings that matter, as JSON has them."""
    settings = {k: v for k, v in dataclasses.asdict(data).items() if k not in _IRRELEVANT}
    return json.loads(json.dumps(settings))


def _differing_settings(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Returns a line for each setting that differs; a path is none, since the content that is there counts."""
    was = {**_settings(DataConfig()), **was}  # a setting that was not there yet had its default
    names = [name for name in now if name not in ("path", "vocabulary") and was[name] != now[name]]
    return [f"data.{name}: {was[name]!r} there, {now[name]!r} here" for name in names]


def _same_files(was: dict[str, Any], now: dict[str, Any]) -> bool:
    """Tells whether all files are those that were read. One that is no longer there is not needed any more."""
    return was["data"]["path"] == now["data"]["path"] and all(was["files"].get(k) == v for k, v in now["files"].items())
