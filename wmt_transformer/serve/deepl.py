"""DeepL's API v2, for its official clients (`server_url`): translate, languages, usage.

Codes are upper-case, and a region that no run has (`EN-US`) is left out. `tag_handling` html and xml translate as html.
Formality, a glossary's id and splitting of sentences are taken and change nothing.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wmt_transformer.serve.answering import answered
from wmt_transformer.serve.body import fields, is_text
from wmt_transformer.serve.directions import name
from wmt_transformer.serve.failures import Refused
from wmt_transformer.serve.libretranslate import direction
from wmt_transformer.serve.service import Service

MOST_TEXTS = 50
"""In one request, as DeepL has it."""


def error(message: str) -> dict[str, str]:
    """Returns an error as DeepL words it."""
    return {"message": message}


async def translate(request: Request) -> Response:
    """POST /v2/translate."""
    service: Service = request.app.state.service
    given = await fields(request, service.limits.body)
    texts = given.get("text")
    await service.access.admit(request, given, texts, without_key=403)
    texts = [texts] if isinstance(texts, str) else texts
    if not (isinstance(texts, list) and texts and all(map(is_text, texts))):
        raise Refused(400, "Parameter 'text' not specified.")
    if len(texts) > MOST_TEXTS or any(len(text) > service.limits.characters for text in texts):
        raise Refused(413, f"Request entity too large: at most {MOST_TEXTS} texts of {service.limits.characters}")
    target = code(given, "target_lang", service)
    if target is None:
        raise Refused(400, "Value for 'target_lang' not supported.")
    source = code(given, "source_lang", service)
    if source is None and given.get("source_lang"):
        raise Refused(400, "Value for 'source_lang' not supported.")
    if source is None:
        likely = service.detect(texts)
        source = likely[0].language if likely else service.directions.sources[0]
    to = direction(source, target, service)
    html = given.get("tag_handling") in ("html", "xml")
    work = service.html(texts, to) if html else service.plain(texts, to)
    answers = await answered(request, work)
    found: list[dict[str, Any]] = [{"detected_source_language": _upper(source), "text": one.text} for one in answers]
    if str(given.get("show_billed_characters")).lower() in ("true", "1"):
        found = [{**one, "billed_characters": len(text)} for one, text in zip(found, texts, strict=True)]
    return JSONResponse({"translations": found})


def code(given: dict[str, Any], field: str, service: Service) -> str | None:
    """Returns a language of a request, None where it names none that is served."""
    asked = given.get(field)
    if not isinstance(asked, str):
        return None
    return service.directions.code(asked) or service.directions.code(asked.partition("-")[0])


def _upper(code: str) -> str:
    return code.partition("-")[0].upper()


async def languages(request: Request) -> Response:
    """GET and POST /v2/languages?type=source|target."""
    service: Service = request.app.state.service
    given = await fields(request, service.limits.body)
    service.access.checked(request, given, without_key=403)
    kind = given.get("type") or "source"
    if kind not in ("source", "target"):
        raise Refused(400, "Value for 'type' not supported.")
    codes = sorted({one.source if kind == "source" else one.target for one in service.directions})
    extra = {} if kind == "source" else {"supports_formality": False}
    return JSONResponse([{"language": code.upper(), "name": name(code), **extra} for code in codes])


async def usage(request: Request) -> Response:
    """GET and POST /v2/usage: nothing is counted, and there is no limit of characters."""
    service: Service = request.app.state.service
    service.access.checked(request, await fields(request, service.limits.body), without_key=403)
    return JSONResponse({"character_count": 0, "character_limit": 1_000_000_000_000})
