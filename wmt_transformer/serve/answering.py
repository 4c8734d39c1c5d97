"""Waits for an answer for as long as there is a client that waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from wmt_transformer.serve.failures import Gone

Result = TypeVar("Result")


async def answered(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Returns the result of some work. Raises Gone, and cancels the work, when the client closes its connection.

    The request's body has been read.
    """
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(_closed(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Gone
    finally:
        working.cancel()
        watching.cancel()


async def _closed(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
