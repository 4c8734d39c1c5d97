"""The application: which path is answered by what, and what every reply has.

Every error is JSON in the words of its interface. A failure that is ours is a 500 and one line on standard error, which
names where it was and never what was asked.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wmt_transformer.config import UserError
from wmt_transformer.serve import deepl, google, immersive, libretranslate, specification, suggestions, uploads
from wmt_transformer.serve.failures import Gone, NotReady, Refused
from wmt_transformer.serve.metrics import Metrics
from wmt_transformer.serve.service import Service

PAGE = Path(__file__).with_name("page")
BOTH = ["GET", "POST"]


def build(service: Service, metrics: Metrics, origins: str = "*", say: Callable[[str], None] = print) -> ASGIApp:
    """Returns the application of a service.

    Args:
      origins: which pages of other sites may ask: `*` or one origin.
      say: is told of failures that are ours.
    """
    routes = [
        Route("/", page),
        Route("/translate", libretranslate.translate, methods=["POST"]),
        Route("/detect", libretranslate.detect, methods=["POST"]),
        Route("/languages", libretranslate.languages),
        Route("/frontend/settings", libretranslate.settings),
        Route("/suggest", suggestions.suggest, methods=["POST"]),
        Route("/translate_file", uploads.translate, methods=["POST"]),
        Route("/download_file/{name}", uploads.download),
        Route("/health", health),
        Route("/ready", ready),
        Route("/metrics", figures),
        Route("/spec", specification.spec),
        Route("/docs", specification.docs),
        Route("/v2/translate", deepl.translate, methods=["POST"]),
        Route("/v2/languages", deepl.languages, methods=BOTH),
        Route("/v2/usage", deepl.usage, methods=BOTH),
        Route("/language/translate/v2", google.translate, methods=BOTH),
        Route("/imme", immersive.translate, methods=["POST"]),
    ]
    handlers: dict[Any, Any] = {Refused: _refused, UserError: _unfit, HTTPException: _no_such_path, Exception: _failed}
    files = Mount("/page", StaticFiles(directory=PAGE))
    app = Starlette(routes=[*routes, files], exception_handlers=handlers, lifespan=_lifespan)
    app.state.service = service
    app.state.metrics = metrics
    app.state.results = uploads.Results()
    return Replies(app, {route.endpoint: route.path for route in routes}, metrics, origins, say)


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    yield
    await app.state.service.access.close()


async def page(request: Request) -> Response:
    """GET /: the page for people, which asks this server and nobody else."""
    return FileResponse(PAGE / "index.html")


async def health(request: Request) -> Response:
    """GET /health: the process answers, and its translating thread lives."""
    if request.app.state.service.batcher.alive:
        return JSONResponse({"status": "ok"})
    return JSONResponse({"error": "the translating thread has ended"}, 500)


async def ready(request: Request) -> Response:
    """GET /ready: all programs are compiled."""
    if not request.app.state.service.batcher.ready.is_set():
        raise NotReady
    return JSONResponse({"status": "ready"})


async def figures(request: Request) -> Response:
    """GET /metrics."""
    return Response(request.app.state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _error(path: str, status: int, message: str, headers: Any = None) -> Response:
    """Returns an error as the interface of a path words it."""
    if path.startswith("/v2/"):
        body: dict[str, Any] = deepl.error(message)
    elif path.startswith("/language/"):
        body = google.error(status, message)
    else:
        body = {"error": message}
    return JSONResponse(body, status, headers)


async def _refused(request: Request, error: Refused) -> Response:
    return _error(request.url.path, error.status, error.message, error.headers)


async def _unfit(request: Request, error: UserError) -> Response:
    """Answers for a text that the model cannot take."""
    return _error(request.url.path, 400, f"Invalid request: {error}")


async def _no_such_path(request: Request, error: HTTPException) -> Response:
    return _error(request.url.path, error.status_code, error.detail, error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    return _error(request.url.path, 500, HTTPStatus(500).phrase)


class Replies:
    """Around the application: headers of every reply, the answer to OPTIONS, what is counted, what fails."""

    def __init__(self, app: ASGIApp, paths: dict[Any, str], metrics: Metrics, origins: str, say: Callable[[str], None]):
        self._app = app
        self._paths = paths
        self._metrics = metrics
        self._say = say
        allowed = {
            "Access-Control-Allow-Origin": origins,
            "Access-Control-Allow-Headers": "Authorization, Content-Type",
            "Access-Control-Expose-Headers": "Authorization, Retry-After",
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Max-Age": "1728000",
            "Content-Security-Policy": "default-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        self._headers = [(name.lower().encode(), value.encode()) for name, value in allowed.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *self._headers]
            await send(message)

        self._metrics.in_flight.inc()
        try:
            if scope["method"] == "OPTIONS":
                await Response(status_code=204)(scope, receive, with_headers)
            else:
                await self._app(scope, receive, with_headers)
        except Gone:
            self._metrics.gone.inc()
            status = 499  # nginx' number for a client that closed its request
        except Exception as error:  # it has been answered
            frame = traceback.extract_tb(error.__traceback__)[-1]
            self._say(f"a request failed: {type(error).__name__} in {frame.filename}, line {frame.lineno}")
        finally:
            self._metrics.in_flight.dec()
            endpoint = self._paths.get(scope.get("endpoint"), "other")
            self._metrics.requests.labels(endpoint, str(status)).observe(time.perf_counter() - began)
