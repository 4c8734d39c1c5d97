"""GET /spec and /docs: the interface as an OpenAPI document, and as a page for people that is made from it."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from wmt_transformer import __version__


def document() -> dict[str, Any]:
    """Returns the OpenAPI document."""
    found = json.loads(Path(__file__).with_name("openapi.json").read_text("utf-8"))
    found["info"]["version"] = __version__
    return found


async def spec(request: Request) -> Response:
    """Answers with the document."""
    return JSONResponse(document())


async def docs(request: Request) -> Response:
    """Answers with the page."""
    found = document()
    sections = [
        f"<section><h2><code>{verb.upper()} {html.escape(path)}</code></h2><p>{html.escape(one['summary'])}</p>"
        f"{_fields(one)}</section>"
        for path, verbs in found["paths"].items()
        for verb, one in verbs.items()
    ]
    title = html.escape(f"{found['info']['title']} {__version__}")
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>{title}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="page/page.css">'
        f"<main><h1>{title}</h1>"
        f"<p>{html.escape(found['info']['description'])} <a href=spec>OpenAPI</a></p>{''.join(sections)}</main></html>"
    )


def _fields(operation: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    fields = next(iter(content.values()), {}).get("schema", {}).get("properties", {})
    rows = [
        f"<li><code>{name}</code>: {html.escape(about.get('description', ''))}</li>" for name, about in fields.items()
    ]
    return f"<ul>{''.join(rows)}</ul>" if rows else ""
