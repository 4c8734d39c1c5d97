"""LibreTranslate's interface: the same paths, fields, codes and words of errors, in the same order.

Where LibreTranslate is known to be wrong we are not: an array is one batch, a wrong number is an error 400 and no
crash, and html stays escaped. Added: `alignments`, which gives the pairs of words, `attention`, which gives the weights
that they come from, `repeats`, which flags a translation that repeats itself, and `glossary`, terms that must be
translated so; those that there was no room for are in `missing`.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wmt_transformer.decode.alignment import Attention
from wmt_transformer.decode.glossary import Glossary, parse
from wmt_transformer.decode.texts import lines_and_breaks
from wmt_transformer.serve.answering import answered
from wmt_transformer.serve.body import fields, is_text
from wmt_transformer.serve.detection import Detected
from wmt_transformer.serve.directions import Direction, name
from wmt_transformer.serve.documents import FORMATS
from wmt_transformer.serve.failures import Refused
from wmt_transformer.serve.service import Service

NOTHING = Detected("en", 0.0)
"""What LibreTranslate finds in a text without letters."""
MOST_CHARACTERS = 200
"""Of a term in a request's glossary."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """A checked request."""

    texts: list[str]
    is_list: bool
    direction: Direction | None
    html: bool
    alternatives: int
    alignments: bool
    attention: bool
    detected: Detected | None
    glossary: Glossary | None


async def translate(request: Request) -> Response:
    """POST /translate."""
    service: Service = request.app.state.service
    given = await fields(request, service.limits.body)
    await service.access.admit(request, given, given.get("q"))
    asked = checked(given, service)
    if asked.html:
        work = service.html(asked.texts, asked.direction, glossary=asked.glossary)
    else:
        linked = asked.alignments or asked.attention
        work = service.plain(asked.texts, asked.direction, asked.alternatives, linked, glossary=asked.glossary)
    answers = await answered(request, work)

    def shown(values: list[Any]) -> Any:
        return values if asked.is_list else values[0]

    reply: dict[str, Any] = {"translatedText": shown([one.text for one in answers])}
    if asked.detected:
        reply["detectedLanguage"] = shown([_as_json(asked.detected)] * len(answers))
    if asked.alternatives:
        reply["alternatives"] = shown([list(one.alternatives) for one in answers])
    if asked.alignments:
        reply["alignments"] = shown([[list(pair) for pair in one.links or ()] for one in answers])
    if asked.attention:
        reply["attention"] = shown([[_weights(each) for each in one.attention] for one in answers])
    if any(one.repeats for one in answers):
        reply["repeats"] = shown([one.repeats for one in answers])
    if any(one.missing for one in answers):
        reply["missing"] = shown([list(one.missing) for one in answers])
    return JSONResponse(reply)


def checked(given: dict[str, Any], service: Service) -> Asked:
    """Returns what a request asks for. Raises Refused with LibreTranslate's words, in its order."""
    texts = given.get("q")
    for field in ("q", "source", "target"):
        if not given.get(field):
            raise Refused(400, f"Invalid request: missing {field} parameter")
    alternatives = _alternatives(given.get("alternatives"), service.most_alternatives)
    is_list = isinstance(texts, list)
    texts = _texts(texts, service)
    source, target = given["source"], given["target"]
    detected = None
    if source == "auto":
        detected = next(iter(service.detect(texts)), NOTHING)
        source = service.directions.sources[0] if detected is NOTHING else detected.language
    codes = []
    for code in (source, target):
        if not (isinstance(code, str) and (known := service.directions.code(code))):
            raise Refused(400, f"{code} is not supported")
        codes.append(known)
    form = given.get("format") or "text"
    if form not in ("text", "html"):
        raise Refused(400, f"{form} format is not supported")
    return Asked(
        texts,
        is_list,
        direction(codes[0], codes[1], service),
        form == "html",
        alternatives,
        _is_true(given.get("alignments")),
        _is_true(given.get("attention")),
        detected,
        _glossary(given.get("glossary"), service),
    )


def direction(source: str, target: str, service: Service) -> Direction | None:
    """Returns a direction, None from a language to itself. Raises Refused where there is none."""
    found = service.directions.find(source, target)
    if found is None and source != target:
        (to, one) = (f"{name(code)} ({code})" for code in (target, source))
        raise Refused(400, f"{to} is not available as a target language from {one}")
    return found


def _is_true(given: Any) -> bool:
    return str(given).lower() in ("true", "1")


def _weights(found: Attention) -> dict[str, Any]:
    """Returns what a sentence's output looked at, in thousandths."""
    weights = (1000 * found.weights).round().astype(int).tolist()
    return {"source": found.source_pieces, "target": found.target_pieces, "weights": weights}


def _alternatives(given: Any, most: int) -> int:
    try:
        count = int(given or 0)
    except (TypeError, ValueError, OverflowError):
        raise Refused(400, "Invalid request: alternatives parameter is not a number") from None
    if count > most:
        raise Refused(400, f"Invalid request: alternatives parameter must be <= {most}")
    return max(0, count)


def _texts(given: Any, service: Service) -> list[str]:
    """Returns the texts of `q`. Raises Refused where there are too many, or one is too long or none."""
    texts = given if isinstance(given, list) else [given]
    most = service.limits.texts
    if len(texts) > most:
        raise Refused(400, f"Invalid request: request ({len(texts)}) exceeds text limit ({most})")
    for text in texts:
        if not is_text(text):
            raise Refused(400, "Invalid request: q parameter is not a text")
        if len(text) > service.limits.characters:
            raise Refused(
                400, f"Invalid request: request ({len(text)}) exceeds text limit ({service.limits.characters})"
            )
    return texts


def _glossary(given: Any, service: Service) -> Glossary | None:
    """Returns the terms of a request. Raises Refused for other types and over the limits, UserError for a bad term."""
    if not given:
        return None
    most = service.limits.terms
    if not (is_text(given) or (isinstance(given, dict) and all(map(is_text, itertools.chain(*given.items()))))):
        raise Refused(400, "Invalid request: glossary parameter is neither an object of texts nor lines of two columns")
    rows: Any = lines_and_breaks(given)[0] if isinstance(given, str) else given
    if len(rows) > most:
        raise Refused(400, f"Invalid request: glossary ({len(rows)}) exceeds limit of terms ({most})")
    found = parse(rows, "glossary") if isinstance(rows, list) else Glossary(rows)
    longest = max(map(len, itertools.chain(*found.terms.items())), default=0)
    if longest > MOST_CHARACTERS:
        raise Refused(400, f"Invalid request: glossary has a term ({longest}) that exceeds limit ({MOST_CHARACTERS})")
    return found


def _as_json(detected: Detected) -> dict[str, Any]:
    return {"confidence": detected.confidence, "language": detected.language}


async def detect(request: Request) -> Response:
    """POST /detect."""
    service: Service = request.app.state.service
    given = await fields(request, service.limits.body)
    await service.access.admit(request, given, given.get("q"))
    if not given.get("q"):
        raise Refused(400, "Invalid request: missing q parameter")
    found = service.detect(_texts(given["q"], service)) or [NOTHING]
    return JSONResponse([_as_json(one) for one in found])


async def languages(request: Request) -> Response:
    """GET /languages."""
    found = request.app.state.service.directions
    return JSONResponse([{"code": code, "name": name(code), "targets": found.targets(code)} for code in found.codes])


async def settings(request: Request) -> Response:
    """GET /frontend/settings."""
    service: Service = request.app.state.service
    first = next(iter(service.directions))
    return JSONResponse(
        {
            "charLimit": service.limits.characters,
            "frontendTimeout": 500,
            "alternatives": service.most_alternatives,
            "apiKeys": service.access.needs_key,
            "keyRequired": service.access.needs_key,
            "suggestions": service.suggestions is not None,
            "filesTranslation": True,
            "supportedFilesFormat": sorted(FORMATS),
            "language": {
                kind: {"code": code, "name": name(code)}
                for kind, code in (("source", first.source), ("target", first.target))
            },
        }
    )
