"""Plain text in which some pieces are not to be translated: placeholders (`%s`, `{name}`) and tags.

For its translation a text becomes HTML. A placeholder becomes a number, which models copy, inside an element of its own
(see `markup`), which the word alignment brings to its place. Each comes back exactly once, and those that only their
order tells apart come back in their order.
"""

from __future__ import annotations

import html
import re
from typing import NamedTuple

from wmt_transformer.serve.detection import has_letters

PLACEHOLDER = re.compile(
    r"""%\(\w+\)[-#0+]*\d*(?:\.\d+)?[a-zA-Z]   # Python's %(name)s
    | %(?:\d+\$)?[-#0+]*\d*(?:\.\d+)?(?:hh|ll|[hlqLjzt])?[diouxXeEfFgGcrsaAp@]  # C's %s, and %1$s
    | [\d.,]*%%
    | \$\{[^{}\n]*\} | \{\{[^{}\n]*\}\} | \{[^{}\n]*\}  # ${name}, {{name}}, {name}; {\an8} of subtitles
    """,
    re.VERBOSE,
)
ORDERED = re.compile(r"%[-#0+]*[\d.]*(?:hh|ll|[hlqLjzt])?[a-zA-Z@]|\{(?:[!:][^{}]*)?\}")
"""Placeholders that take the next value, whatever it is."""
TAGS = re.compile(r"(</?[a-zA-Z][^<>]*>)")
KEPT = re.compile(rf"(?P<tag>{TAGS.pattern})|{PLACEHOLDER.pattern}", re.VERBOSE)
NUMBER = "7"
ELEMENT = re.compile(r"<span kept=(\d+)>(.*?)</span kept>", re.DOTALL)


class Restored(NamedTuple):
    """A translation with its placeholders, and whether each is certainly in its place."""

    text: str
    certain: bool


def protected(text: str) -> tuple[str, list[str]]:
    """Returns a text as HTML, and its placeholders. A text without a letter beside them has no HTML: the empty one."""
    kept: list[str] = []
    out, read = [], 0
    for found in KEPT.finditer(text):
        out.append(html.escape(text[read : found.start()], quote=False))
        read = found.end()
        if found["tag"]:
            out.append(found["tag"])
        else:
            out.append(f"<span kept={len(kept)}>{NUMBER}</span kept>")
            kept.append(found[0])
    out.append(html.escape(text[read:], quote=False))
    return "".join(out) if has_letters(KEPT.sub("", text)) else "", kept


def restored(translation: str, kept: list[str]) -> Restored:
    """Returns a translation of `protected` as plain text."""
    order = iter([one for one in kept if ORDERED.fullmatch(one)])
    out, read, certain = [], 0, True
    for found in ELEMENT.finditer(translation):
        own, inside = kept[int(found[1])], _unescaped(found[2])
        text = next(order) if ORDERED.fullmatch(own) else own
        number = re.search(rf"(?<!\d){NUMBER}(?!\d)", inside)
        certain &= text == own and number is not None
        out.append(_unescaped(translation[read : found.start()]))
        out.append(inside[: number.start()] + text + inside[number.end() :] if number else f"{text} {inside}")
        read = found.end()
    return Restored("".join([*out, _unescaped(translation[read:])]), certain)


def _unescaped(text: str) -> str:
    """Returns a piece of HTML as text, its tags as they are."""
    return "".join(piece if number % 2 else html.unescape(piece) for number, piece in enumerate(TAGS.split(text)))
