"""Files in, translated files out, as LibreTranslate has it: /translate_file, then /download_file.

A result lies in a folder of this process under a name that nobody can guess, for `KEEP` seconds; what was uploaded is
never written there. A path of a request is looked up among these names, so none leads out of the folder.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import secrets
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from wmt_transformer.serve import documents
from wmt_transformer.serve.answering import answered
from wmt_transformer.serve.body import File, fields
from wmt_transformer.serve.directions import Direction
from wmt_transformer.serve.failures import Refused
from wmt_transformer.serve.libretranslate import checked
from wmt_transformer.serve.service import Service

KEEP = 600.0
"""Seconds that a result can be fetched."""
MOST = 64
"""Results; when there are more the oldest goes."""


@dataclasses.dataclass(frozen=True)
class Result:
    """A translated file."""

    path: Path
    shown: str
    """What it is saved as."""


class Results:
    """The translated files that wait to be fetched."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="wmt_transformer-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)  # also when the process ends
        self._found: dict[str, Result] = {}

    def add(self, data: bytes, shown: str) -> str:
        """Keeps a file for a while and returns its name."""
        name = secrets.token_urlsafe(18) + Path(shown).suffix
        path = self._folder / name
        path.write_bytes(data)
        self._found[name] = Result(path, shown)
        while len(self._found) > MOST:
            self.remove(next(iter(self._found)))
        asyncio.get_running_loop().call_later(KEEP, self.remove, name)
        return name

    def find(self, name: str) -> Result | None:
        """Returns the file of a name, None for one that is not there, or no longer."""
        return self._found.get(name)

    def remove(self, name: str) -> None:
        """Deletes a file, unless it is gone."""
        if result := self._found.pop(name, None):
            result.path.unlink(missing_ok=True)


async def translate(request: Request) -> Response:
    """POST /translate_file: returns where the translated file is."""
    service: Service = request.app.state.service
    given = await fields(request, service.limits.file)
    await service.access.admit(request, given, None)
    file = given.get("file")
    if not isinstance(file, File):
        raise Refused(400, "Invalid request: missing file parameter")
    if not file.name:
        raise Refused(400, "Invalid request: empty file")
    suffix = Path(file.name).suffix.lower()
    if suffix not in documents.FORMATS:
        raise Refused(400, "Invalid request: file format not supported")
    translated, direction = await answered(request, _translated(file.data, suffix, given, service))
    stem = re.sub(r"[^\w .-]", "_", Path(file.name.replace("\\", "/")).stem)[:100]
    name = request.app.state.results.add(translated, f"{stem}_{direction.target if direction else 'same'}{suffix}")
    return JSONResponse({"translatedFileUrl": str(request.url_for("download", name=name))})


async def _translated(
    data: bytes, suffix: str, given: dict[str, Any], service: Service
) -> tuple[bytes, Direction | None]:
    """Returns a file's translation, and the direction; its beginning says which language it is in, if nothing does."""
    document = await asyncio.to_thread(documents.read, data, suffix, str(given.get("target")))
    sample = "\n".join(document.texts)[: service.limits.characters] or "-"
    asked = checked({**given, "q": sample, "alternatives": 0, "format": "text"}, service)
    direction = asked.direction
    if direction is None:
        return data, None
    work = service.html if document.html else service.plain
    answers = await work(document.texts, direction, patient=True, glossary=asked.glossary)
    return await asyncio.to_thread(document.written, [one.text for one in answers]), direction


async def download(request: Request) -> Response:
    """GET /download_file/NAME."""
    result = request.app.state.results.find(request.path_params["name"])
    if result is None:
        raise Refused(404, "the file is not there, or no longer")
    return FileResponse(result.path, media_type="application/octet-stream", filename=result.shown)
