"""Fetches one public file: verified, resumable, whole or not at all.

The bytes go into `NAME.part` beside the goal and are moved there only when size and SHA-256 agree with the
pinned ones, so a file with its final name is good. A `.part` that an earlier attempt left is continued with
an HTTP range request. Every failure is one line that names the address and where to put the file by hand.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from wmt_transformer.config import UserError


def fetch(
    url: str,
    path: Path,
    size: int | None = None,
    sha256: str | None = None,
    report: Callable[[str], None] = lambda line: None,
    timeout: float = 60.0,
) -> Path:
    """Downloads `url` to `path` unless it is there already, and returns `path`.

    Args:
      size, sha256: what the file must have; None for a file that its publisher keeps changing.
      timeout: seconds without a byte before giving up.

    Raises UserError when the download fails, breaks off (running again resumes it), has another size or
    checksum, or does not fit on the disk.
    """
    if path.is_file() and _fault(path, size, sha256) is None:
        return path
    by_hand = f"fetch it by hand and put it at {path}"
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if size is None or not part.is_file() or part.stat().st_size != size:
            report(f"downloading {url}")
            _receive(url, part, size, timeout)
    except urllib.error.HTTPError as error:
        error.close()
        raise UserError(f"{url} answered {error.code} {error.reason}; try again later, or {by_hand}") from error
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"cannot download {url}: {reason}; run again to resume, or {by_hand}") from error
    except OSError as error:
        raise UserError(
            f"cannot write {part}: {error.strerror}; set WMT_TRANSFORMER_CACHE to another folder"
        ) from error

    if fault := _fault(part, size, sha256):
        part.unlink()
        raise UserError(f"{url} {fault}; {by_hand}")
    os.replace(part, path)
    return path


def _receive(url: str, part: Path, size: int | None, timeout: float) -> None:
    have = part.stat().st_size if size is not None and part.is_file() else 0
    if size is not None and have > size:
        have = 0
    # manythings.org refuses Python's own name.
    headers = {"User-Agent": "Mozilla/5.0 (compatible; wmt-transformer)"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as response:
        resumed = response.status == 206
        expected = response.headers.get("Content-Length")
        received = 0
        with open(part, "ab" if resumed else "wb") as file:
            while block := response.read(1 << 16):
                file.write(block)
                received += len(block)
            file.flush()
            os.fsync(file.fileno())
    if expected is not None and received < int(expected):
        raise ConnectionError(f"the connection broke after {received:,} of {int(expected):,} bytes")


def _fault(path: Path, size: int | None, sha256: str | None) -> str | None:
    """Returns what is wrong with the file, or None."""
    found = path.stat().st_size
    if size is not None and found != size:
        return f"has {found:,} bytes, expected {size:,}"
    if sha256 is not None:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sha256:
            return f"has SHA-256 {digest}, expected {sha256}"
    return None
