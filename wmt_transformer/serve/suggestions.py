"""Better translations that users suggest, as LibreTranslate has it: a JSON line each, in a file that somebody reads.

Off unless the server is given a file: then, and only then, it writes texts of users anywhere.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wmt_transformer.config import UserError
from wmt_transformer.files import append_line, may_write
from wmt_transformer.serve.body import fields, is_text
from wmt_transformer.serve.failures import Refused
from wmt_transformer.serve.service import Service

MOST = 64 * 2**20
"""Bytes of the file, which clients fill: then suggestions are refused."""
FIELDS = ("q", "s", "source", "target")


def check(path: Path) -> None:
    """Raises UserError for a file that lines cannot be added to."""
    if path.is_dir() or not may_write(path):
        raise UserError(f"cannot write suggestions to {path}; name another file with --suggestions")


async def suggest(request: Request) -> Response:
    """POST /suggest."""
    service: Service = request.app.state.service
    if service.suggestions is None:
        raise Refused(403, "Suggestions are disabled on this server.")
    given = await fields(request, service.limits.body)
    await service.access.admit(request, given, None)
    for field in FIELDS:
        if not given.get(field):
            raise Refused(400, f"Invalid request: missing {field} parameter")
        if not is_text(given[field]) or len(given[field]) > service.limits.characters:
            raise Refused(400, f"Invalid request: {field} parameter is not a text, or too long")
    line = json.dumps({field: given[field] for field in FIELDS}, ensure_ascii=False)
    await asyncio.to_thread(_add, service.suggestions, line)
    return JSONResponse({"success": True})


def _add(path: Path, line: str) -> None:
    if path.exists() and path.stat().st_size + len(line) > MOST:
        raise Refused(503, "no more suggestions are taken: their file is full")
    append_line(path, line)
