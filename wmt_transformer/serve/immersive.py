"""Immersive Translate's own service, as its browser extension asks for it: POST /imme."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wmt_transformer.serve.answering import answered
from wmt_transformer.serve.body import fields
from wmt_transformer.serve.libretranslate import checked
from wmt_transformer.serve.service import Service


async def translate(request: Request) -> Response:
    """Translates `text_list`; the extension sends pieces of pages, with the tags inside them."""
    service: Service = request.app.state.service
    given = await fields(request, service.limits.body)
    await service.access.admit(request, given, given.get("text_list"))
    languages = {"source": given.get("source_lang") or "auto", "target": given.get("target_lang")}
    asked = checked({"q": given.get("text_list"), "format": "html", **languages}, service)
    answers = await answered(request, service.html(asked.texts, asked.direction))
    source = asked.detected.language if asked.detected else languages["source"]
    return JSONResponse({"translations": [{"detected_source_lang": source, "text": one.text} for one in answers]})
