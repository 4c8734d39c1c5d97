"""What the data of a run is: one digest of its vocabulary, one of its corpus, whatever the paths and times of files.

A run's checkpoints are parameters for the ids of one vocabulary and the sentences of one corpus. Their fingerprint is
kept with them, and compared with that of the data folder before they are used together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from wmt_transformer.config import UserError
from wmt_transformer.data import vocabulary_files
from wmt_transformer.data.manifest import corpus_digest, find_manifest

Fingerprint = dict[str, str]
"""SHA-256 in hexadecimal under the names vocabulary and corpus."""


def of(folder: Path) -> Fingerprint:
    """Returns the fingerprint of a run's data folder; a model imported from Marian has a vocabulary alone.

    The vocabulary is read; the digest of the corpus was stored when it was prepared. Raises UserError where there is
    no vocabulary.
    """
    found = {"vocabulary": _of_files(folder, vocabulary_files.FILES)}
    if not any((folder / name).is_file() for name in vocabulary_files.FILES):
        raise UserError(f"there is no vocabulary in {folder}; `wmt-transformer prepare` makes one")
    if manifest := find_manifest(folder):
        # A folder that was prepared before digests were stored is read through.
        found["corpus"] = manifest.get("corpus") or corpus_digest(folder)
    return found


def check(saved: Mapping[str, str], found: Mapping[str, str], what: str) -> None:
    """Raises UserError, with the names of what differs, where `what` was made with other data than what is there.

    Only what both have is compared: checkpoints of earlier versions have no fingerprint.
    """
    differing = [name for name in found if name in saved and saved[name] != found[name]]
    if differing:
        raise UserError(
            f"{what} was made with another {' and another '.join(differing)} than the data folder holds now; "
            "put the old data folder back, or train in another --workdir"
        )


def _of_files(folder: Path, names: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        if (folder / name).is_file():
            with open(folder / name, "rb") as file:
                digest.update(name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
