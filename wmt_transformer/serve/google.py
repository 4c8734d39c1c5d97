"""Google Translate's API v2: POST or GET /language/translate/v2."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wmt_transformer.serve.answering import answered
from wmt_transformer.serve.body import fields
from wmt_transformer.serve.libretranslate import checked
from wmt_transformer.serve.service import Service


def error(status: int, message: str) -> dict[str, object]:
    """Returns an error as Google words it."""
    return {"error": {"code": status, "message": message, "errors": [{"message": message}]}}


async def translate(request: Request) -> Response:
    """Translates `q`, a text or several; `format` is html unless it says text, as Google has it."""
    service: Service = request.app.state.service
    given = await fields(request, service.limits.body)
    several = request.query_params.getlist("q")
    if len(several) > 1:
        given["q"] = several
    await service.access.admit(request, given, given.get("q"), without_key=403)
    asked = checked({"source": "auto", "format": "html", **given, "alternatives": 0, "glossary": None}, service)
    work = service.html(asked.texts, asked.direction) if asked.html else service.plain(asked.texts, asked.direction)
    answers = await answered(request, work)
    found = {"detectedSourceLanguage": asked.detected.language} if asked.detected else {}
    return JSONResponse({"data": {"translations": [{"translatedText": one.text, **found} for one in answers]}})
