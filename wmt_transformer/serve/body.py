"""What a request says, whatever form it has: JSON, a form, a query. Bodies have a most size and a time to arrive."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import Request

from wmt_transformer.serve.failures import Gone, Refused

SECONDS = 20
"""A body has arrived after this time, or the request is refused."""


class File(NamedTuple):
    """A file of a form."""

    name: str
    data: bytes


async def fields(request: Request, most: int) -> dict[str, Any]:
    """Returns the fields of a request: those of a JSON object, or of a form with the query's.

    A form's field that is repeated has its last value, but for `text`, which DeepL's clients repeat. Line breaks of a
    form are made LF, as browsers send them CR LF.

    Raises Refused for what is neither, and for a body over `most` bytes.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" and request.method != "GET":  # clients send it with a GET that has no body
        return _object(await _whole(request, most))
    found: dict[str, Any] = {}
    pairs = [*request.query_params.multi_items()]
    if kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
        pairs += await _form(request.headers, kind, await _whole(request, most))
    for name, value in pairs:
        value = value.replace("\r\n", "\n") if isinstance(value, str) else value
        found[name] = [*found.get(name, []), value] if name == "text" else value
    return found


def is_text(given: Any) -> bool:
    """Tells whether a field is a text: JSON may also write half a surrogate pair, which is none."""
    return isinstance(given, str) and not any("\ud800" <= letter <= "\udfff" for letter in given)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused(400, "Invalid JSON format")
    return found


async def _form(headers: Headers, kind: str, body: bytes) -> list[tuple[str, str | File]]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body
        yield b""

    try:
        if kind == "multipart/form-data":
            parsed = await MultiPartParser(headers, stream(), max_files=1, max_part_size=len(body) + 1).parse()
        else:
            parsed = await FormParser(headers, stream(), max_part_size=len(body) + 1).parse()
    except (MultiPartException, KeyError, ValueError):
        raise Refused(400, "Invalid request: the form cannot be read") from None
    found: list[tuple[str, str | File]] = []
    for name, value in parsed.multi_items():
        if isinstance(value, UploadFile):
            found.append((name, File(value.filename or "", await value.read())))
            await value.close()
        else:
            found.append((name, value))
    return found


async def _whole(request: Request, most: int) -> bytes:
    """Returns a body. Raises Refused where it is too large or too slow, Gone where its client went away.

    What is too large is read and dropped: a client that is cut off while it sends does not read why.
    """
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise Gone
                part = message.get("body", b"")
                size += len(part)
                if size <= most:
                    body += part
                if not message.get("more_body"):
                    break
    except TimeoutError:
        if size <= most:
            raise Refused(408, f"Invalid request: the body took longer than {SECONDS} s") from None
    if size > most:
        raise Refused(413, f"Invalid request: the body has more than {most} bytes")
    return bytes(body)
