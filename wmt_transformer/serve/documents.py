"""Files as people have them: which texts are in one, and the file again with their translations.

What is no text stays as it is: times and numbers of subtitles, comments and translated entries of .po files, pictures,
tables and formats of .docx files. Files of text are UTF-8.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import polib
from babel import UnknownLocaleError
from babel.messages.plurals import get_plural

from wmt_transformer.serve.failures import Refused
from wmt_transformer.serve.kept import protected, restored
from wmt_transformer.serve.word import read as read_docx

CUE = re.compile(r"^(\d+:\d\d:\d\d[,.]\d{1,3}[ \t]*-->[^\n]*\n)((?:[^\n]*\S[^\n]*(?:\n|\Z))+)", re.MULTILINE)
"""The time of a subtitle, and its lines."""


class Document(NamedTuple):
    """The texts of a file, whether they are HTML, and what makes a file of their translations."""

    texts: Sequence[str]
    html: bool
    written: Callable[[Sequence[str]], bytes]


def read(data: bytes, suffix: str, target: str) -> Document:
    """Returns a file's texts; `target` is the language that they will be in. Raises Refused for a file that is not what
    its name says."""
    return FORMATS[suffix](data, target)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(400, f"Invalid request: byte {error.start} of the file is not UTF-8") from None


def _txt(data: bytes, target: str) -> Document:
    return Document([_decoded(data)], False, lambda translations: translations[0].encode())


def _html(data: bytes, target: str) -> Document:
    return Document([_decoded(data)], True, lambda translations: translations[0].encode())


def _docx(data: bytes, target: str) -> Document:
    return Document(*read_docx(data))


# ---- Subtitles


def _srt(data: bytes, target: str) -> Document:
    text = _decoded(data)
    end = "\r\n" if "\r\n" in text else "\n"
    text = text.replace("\r\n", "\n")
    cues = [found[2].rstrip("\n") for found in CUE.finditer(text)]
    if not cues:
        raise Refused(400, "Invalid request: the file has no subtitles")
    parts = [_speeches(cue) for cue in cues]
    asked = [protected(part) for cue in parts for part in cue]

    def written(translations: Sequence[str]) -> bytes:
        given = iter(translations)
        found = iter([restored(next(given), kept).text if page else "" for page, kept in asked])
        new = iter(["\n".join(_lines(next(found) or part, part.count("\n") + 1) for part in cue) for cue in parts])
        result = CUE.sub(lambda cue: cue[1] + next(new) + "\n" * cue[2].endswith("\n"), text)
        return result.replace("\n", end).encode()

    return Document([page for page, _ in asked if page], True, written)


def _speeches(cue: str) -> list[str]:
    """Returns the parts of a subtitle: one, whose sentences may go on in the next line, or one for each speaker."""
    lines = cue.split("\n")
    return lines if all(re.match(r"\s*[-–—]", line) for line in lines) else [cue]  # noqa: RUF001


def _lines(text: str, count: int) -> str:
    """Returns a translation in about as many lines as the subtitle had, broken between words."""
    words = re.findall(r"(?:<[^<>]*>|[^\s<]|<)+", text)
    width = math.ceil(len(re.sub("<[^<>]*>", "", " ".join(words))) / count)
    lines, used = [""], 0
    for word in words:
        length = len(re.sub("<[^<>]*>", "", word))
        if used and used + length / 2 > width and len(lines) < count:
            lines, used = [*lines, ""], 0
        lines[-1] += (" " if lines[-1] else "") + word
        used += length + 1
    return "\n".join(lines)


# ---- Catalogues of messages


def _po(data: bytes, target: str) -> Document:
    try:
        # A line break first: polib opens what is the name of a file, and that is for nobody to choose.
        catalogue = polib.pofile(f"\n{_decoded(data)}")
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise Refused(400, f"Invalid request: the file is no .po file: {str(error).splitlines()[0][:80]}") from None
    forms = _plural_forms(catalogue, target)
    entries = [one for one in catalogue if not one.obsolete and not one.translated() and one.msgid]
    messages = [text for one in entries for text in (one.msgid, one.msgid_plural) if text]
    rows = {message: [protected(row) for row in message.split("\n")] for message in messages}

    def written(translations: Sequence[str]) -> bytes:
        given = iter(translations)
        found: dict[str, tuple[str, bool]] = {}
        for message, lines in rows.items():
            done = [restored(next(given), kept) if page else None for page, kept in lines]
            pairs = [(one.text if one else row) for one, row in zip(done, message.split("\n"), strict=True)]
            found[message] = "\n".join(pairs), all(one.certain for one in done if one)
        for one in entries:
            text, certain = found[one.msgid]
            if one.msgid_plural:
                many, sure = found[one.msgid_plural]
                one.msgstr_plural = {form: text if form == 0 and forms > 1 else many for form in range(forms)}
                certain &= sure
            else:
                one.msgstr = text
            if not certain and not one.fuzzy:
                one.flags.append("fuzzy")
        return str(catalogue).encode()

    return Document([page for lines in rows.values() for page, _ in lines if page], True, written)


def _plural_forms(catalogue: polib.POFile, target: str) -> int:
    """Returns how many plural forms a catalogue has by its header; one without gets those of its language."""
    found = re.match(r"nplurals=([1-6]);", catalogue.metadata.get("Plural-Forms", ""))
    if found:
        return int(found[1])
    locale = target.replace("-", "_")
    try:
        plural = get_plural(locale)
        forms, header = plural.num_plurals, plural.plural_forms
    except (UnknownLocaleError, ValueError):
        forms, header = 2, "nplurals=2; plural=(n != 1);"
    catalogue.metadata |= {"Language": locale, "Plural-Forms": header}
    return forms


FORMATS = {".txt": _txt, ".html": _html, ".srt": _srt, ".docx": _docx, ".po": _po}
