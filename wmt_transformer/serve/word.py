"""Word's files: the texts of their paragraphs as HTML, in which every run of one format is an element.

So formats and links go where the word alignment says that their words went. Paragraphs of the body, of tables, text
boxes, headers and footers are translated; footnotes and comments are not. What is deleted by a tracked change stays.
"""

from __future__ import annotations

import copy
import html
import io
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import docx
from docx.opc.exceptions import OpcError
from docx.oxml.ns import qn
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - it is written in C

from wmt_transformer.serve.failures import Refused

UNPACKED = 64 * 2**20
"""Bytes that a file may have unpacked."""
PARTS = re.compile(r"/word/(document|header\d*|footer\d*)\.xml")
ELEMENT = re.compile(r"<span run=(\d+)>(.*?)</span>|([^<]+)", re.DOTALL)
TEXT, RUN, FORMAT, PARAGRAPH = qn("w:t"), qn("w:r"), qn("w:rPr"), qn("w:p")
BREAKS = {qn("w:tab"), qn("w:br"), qn("w:cr")}
HINTS = ("w:proofErr", "w:lastRenderedPageBreak")
"""What Word notes for itself between words, and makes anew."""


def read(data: bytes) -> tuple[list[str], bool, Callable[[Sequence[str]], bytes]]:
    """Returns the texts of a document, that they are HTML, and what makes a document of their translations.

    Raises Refused for what is no Word file, and for one that unpacks to more than `UNPACKED` bytes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > UNPACKED:
                raise Refused(413, f"Invalid request: the file unpacks to more than {UNPACKED} bytes")
        document = docx.Document(io.BytesIO(data))
    except (zipfile.BadZipFile, OpcError, KeyError, ValueError, etree.XMLSyntaxError, NotImplementedError):
        raise Refused(400, "Invalid request: the file is no .docx file") from None
    segments: list[list[Any]] = []
    package = document.part.package
    assert package is not None
    for part in package.iter_parts():
        if PARTS.fullmatch(str(part.partname)):
            segments += _segments(part.element)  # pyright: ignore[reportAttributeAccessIssue] - these parts are XML

    def written(translations: Sequence[str]) -> bytes:
        for segment, translation in zip(segments, translations, strict=True):
            _fill(segment, translation)
        out = io.BytesIO()
        document.save(out)
        return out.getvalue()

    return [_as_html(segment) for segment in segments], True, written


def _segments(root: Any) -> Iterator[list[Any]]:
    """Yields the pieces of text that are translated as one: each a list of children of a paragraph."""
    for hint in HINTS:
        for one in list(root.iter(qn(hint))):
            one.getparent().remove(one)
    for paragraph in list(root.iter(PARAGRAPH)):
        for run in [run for run in paragraph.iter(RUN) if _paragraph_of(run) is paragraph]:
            _split(run)
        segment: list[Any] = []
        for child in list(paragraph):
            own = _format(child)
            if segment and own is not None and own == _format(segment[-1]) and segment[-1].getnext() is child:
                _texts(segment[-1])[0].text += _texts(child)[0].text
                paragraph.remove(child)
            elif _texts(child):
                segment.append(child)
            elif any(True for _ in child.iter(*BREAKS)) and child.tag == RUN:
                yield from [segment] if segment else []
                segment = []
        yield from [segment] if segment else []


def _split(run: Any) -> None:
    """Makes a run into several, each of which has its format and one thing: a text, a break, a picture."""
    content = [child for child in run if child.tag != FORMAT]
    for child in reversed(content[1:]):
        other = etree.SubElement(run.getparent(), RUN)
        if (format_ := run.find(FORMAT)) is not None:
            other.append(copy.deepcopy(format_))
        other.append(child)
        run.addnext(other)


def _paragraph_of(element: Any) -> Any:
    return next(element.iterancestors(PARAGRAPH), None)


def _texts(child: Any) -> list[Any]:
    """Returns the texts in a child of a paragraph, without those of a text box, which has paragraphs of its own."""
    return [one for one in child.iter(TEXT) if _paragraph_of(one) is child.getparent() and one.text]


def _format(child: Any) -> bytes | None:
    """Returns the format of a run that has a text, None for anything else."""
    if child.tag != RUN or not _texts(child):
        return None
    format_ = child.find(FORMAT)
    return b"" if format_ is None else etree.tostring(format_)


def _as_html(segment: Sequence[Any]) -> str:
    texts = [html.escape("".join(one.text for one in _texts(child)), quote=False) for child in segment]
    if len(texts) == 1:
        return texts[0]
    return "".join(f"<span run={number}>{text}</span>" for number, text in enumerate(texts))


def _fill(segment: Sequence[Any], translation: str) -> None:
    """Puts a translation in place of a segment's texts; its children change places as their words did."""
    order: list[int] = []
    texts = [""] * len(segment)
    before = ""  # what comes before the first element
    for found in ELEMENT.finditer(translation):
        if found[1]:
            order.append(int(found[1]))
            texts[order[-1]] += before + html.unescape(found[2])
            before = ""
        elif len(segment) == 1:
            texts[0] += html.unescape(found[3])
        elif order:
            texts[order[-1]] += html.unescape(found[3])
        else:
            before += html.unescape(found[3])
    for child, text in zip(segment, texts, strict=True):
        first, *others = _texts(child)
        first.text = text
        first.set(qn("xml:space"), "preserve")
        for other in others:
            other.text = ""
    if order != sorted(order):
        places = [etree.Element("place") for _ in segment]
        for child, place in zip(segment, places, strict=True):
            child.addprevious(place)
        for number, place in zip(order, places, strict=True):
            place.getparent().replace(place, segment[number])
