"""What the data of a run is: one digest of its vocabulary, one of its corpus.

Folders made from the same text by the same settings have the same ones, on whatever machine and at whatever path.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from wmt_transformer.data.manifest import read_manifest

Fingerprint = dict[str, str]
"""SHA-256 in hexadecimal under the names vocabulary and corpus."""


def of(folder: Path) -> Fingerprint:
    """Returns the fingerprint of a prepared folder. Raises UserError where it is none."""
    statistics = json.dumps(read_manifest(folder)["statistics"], sort_keys=True)
    return {
        "vocabulary": hashlib.sha256((folder / "vocabulary.model").read_bytes()).hexdigest(),
        "corpus": hashlib.sha256(statistics.encode()).hexdigest(),
    }
