"""What a prepared folder remembers of how it was made, and whether it has to be made again.

Its manifest.json holds the settings and the local files that it was made from, and what the stage that made it wants to
know later. A prepared folder is whole: it is built beside its place and renamed at the end.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.files import whole_folder

FORMAT = 1
"""Raised when the files change their meaning, so that old folders are built again."""

_IRRELEVANT = ("source_tokens", "target_tokens", "num_shapes", "batch_multiple", "context")  # these only shape batches


def print_to_stderr(line: str) -> None:
    """Prints a line on standard error: the usual `report`."""
    print(line, file=sys.stderr, flush=True)


def make(
    data: DataConfig,
    folder: Path,
    files: list[Path],
    report: Callable[[str], None],
    build: Callable[[Path], dict[str, Any]],
) -> None:
    """Fills `folder` by `build`, which returns what to remember, unless it was built by the same settings and files."""
    recipe = _recipe(data, files)
    if _is_current(folder, recipe):
        report(f"{folder} is up to date")
        return
    with whole_folder(folder, "--workdir") as building:
        made = build(building)
        (building / "manifest.json").write_text(json.dumps({"recipe": recipe, **made}, indent=2) + "\n", "utf-8")


def _recipe(data: DataConfig, files: list[Path]) -> dict[str, Any]:
    """Returns what the result depends on: settings, and size and time of the local files."""
    stats = {str(path): path.stat() for path in files}
    return {
        "format": FORMAT,
        "data": _settings(data),
        "files": {path: [stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()},
    }


def _settings(data: DataConfig) -> dict[str, Any]:
    """Returns the settings that matter, as JSON has them."""
    settings = {k: v for k, v in dataclasses.asdict(data).items() if k not in _IRRELEVANT}
    return json.loads(json.dumps(settings))


def _is_current(folder: Path, recipe: dict[str, Any]) -> bool:
    manifest = _manifest(folder)
    if manifest is None:
        return False
    # A setting that was not there yet when the folder was built had its default. Files that are no longer there are no
    # reason to build again: a prepared folder needs them no more.
    was = manifest["recipe"]
    same = {**_settings(DataConfig()), **was["data"]} == recipe["data"]
    return same and all(was["files"].get(k) == v for k, v in recipe["files"].items())


def read_manifest(folder: Path) -> dict[str, Any]:
    """Returns what `make` remembered of a folder. Raises UserError if there is none."""
    manifest = _manifest(folder)
    if manifest is None:
        raise UserError(f"{folder} holds no prepared data of this version; run `wmt-transformer prepare` first")
    return manifest


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if manifest.get("recipe", {}).get("format") == FORMAT else None
