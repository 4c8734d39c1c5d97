"""HTML in, HTML out: only the text between tags is translated.

Tags, attributes, comments, scripts and whatever lies in `code`, `pre` or `translate="no"` come back letter by letter;
what was escaped is escaped. A block is the text between two tags that are not inline; its inline tags go where the word
alignment says that their words went, and stay well nested.
"""

from __future__ import annotations

import dataclasses
import html
import itertools
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser

from wmt_transformer.decode.alignment import Links
from wmt_transformer.decode.lines import Translation
from wmt_transformer.serve.directions import Direction
from wmt_transformer.serve.sentences import Sentence, cut

INLINE = re.compile(
    "a|abbr|b|bdi|bdo|big|cite|data|del|dfn|em|font|i|img|ins|label|mark|q|s|small|span|strong|sub|sup|time|tt|u|var|wbr"
)
VOID = {"img", "wbr"}
"""Those that have no end tag."""
EMPTY = VOID | {"area", "base", "br", "col", "embed", "hr", "input", "link", "meta", "source", "track"}
"""All elements of HTML that have none."""
KEPT = {"code", "kbd", "math", "pre", "samp", "script", "style", "svg", "textarea"}
"""Elements that are not translated."""


@dataclasses.dataclass(frozen=True)
class Tag:
    """An inline tag as it was written, and before which character of its block's text."""

    place: int
    name: str
    closes: bool
    raw: str


@dataclasses.dataclass(frozen=True)
class Element:
    """A tag with its end tag, or one tag alone, where `start` is `end`: from which character to which."""

    start: int
    end: int
    opens: str
    closes: str = ""
    inside: list[Element] = dataclasses.field(default_factory=list)


class Block:
    """Text with inline tags."""

    def __init__(self) -> None:
        self.raw = ""
        """As it stands in the page."""
        self.text = ""
        self.tags: list[Tag] = []
        self.translations: list[Translation] = []
        """Of its sentences, when they are there."""

    def cut(self, direction: Direction) -> list[Sentence]:
        """Returns the sentences; those with tags inside need their alignment. Line breaks in a page are spaces."""
        self._cut = cut(re.sub(r"[\t\r\n\f]", " ", self.text), direction)
        self._pairs = _pairs(self.tags)
        self._inside = list(map(self._range, self._cut.sentences))
        found = zip(self._cut.sentences, self._inside, strict=True)
        return [one._replace(linked=first < last) for one, (first, last) in found]

    def _range(self, one: Sentence) -> tuple[int, int]:
        """Returns the first of the tags inside a sentence, and the one after the last.

        A tag at its very start or end is inside where its partner is.
        """
        start, end = one.place, one.place + len(one.text)
        inside = [number for number, tag in enumerate(self.tags) if start < tag.place < end]
        for pair in self._pairs:
            if set(pair) & set(inside):
                inside += [number for number in pair if start <= self.tags[number].place <= end]
        after = sum(tag.place <= start for tag in self.tags)
        return (min(inside), max(inside) + 1) if inside else (after, after)

    def joined(self) -> str:
        """Returns the block with translations in place of its sentences; one without any as it is."""
        if not self._cut.sentences:
            return self.raw
        out, read, written = [], 0, 0
        sentences = zip(self._cut.sentences, self._cut.between, self._inside, self.translations, strict=False)
        for one, between, (first, last), translation in sentences:
            first, last = max(first, written), max(last, written)
            inner = [dataclasses.replace(tag, place=tag.place - one.place) for tag in self.tags[first:last]]
            out.append(self._between(read, one.place, between, self.tags[written:first]))
            out.append(_with_tags(one.text, translation, inner))
            read, written = one.place + len(one.text), last
        return "".join([*out, self._between(read, len(self.text), self._cut.between[-1], self.tags[written:])])

    def _between(self, start: int, end: int, between: str, tags: Sequence[Tag]) -> str:
        """Returns what lies between two sentences as it was, but for a space that the target language adds or lacks."""
        text = self.text[start:end]
        if text != between and not text.strip() and "\n" not in text:
            closing = len(list(itertools.takewhile(lambda tag: tag.closes, tags)))
            raw = [tag.raw for tag in tags]
            return "".join([*raw[:closing], _escaped(between), *raw[closing:]])
        out = []
        for tag in tags:
            out += [_escaped(self.text[start : tag.place]), tag.raw]
            start = max(start, tag.place)
        return "".join([*out, _escaped(self.text[start:end])])


def parse(text: str) -> list[str | Block]:
    """Returns the parts of a page: what stays as it is, and blocks of text."""
    page, found = _Page(), [(0, "other", "", False), *_Reader(text).found]
    ends = [*(start for start, *_ in found[1:]), len(text)]
    for (start, kind, name, untranslated), end in zip(found, ends, strict=True):
        page.add(text[start:end], kind, name, untranslated)
    return page.parts


def joined(parts: Sequence[str | Block]) -> str:
    """Returns the page of parts whose blocks have their translations."""
    return "".join(part if isinstance(part, str) else part.joined() for part in parts)


def _escaped(text: str) -> str:
    return html.escape(text, quote=False).replace("\u00a0", "&nbsp;")


def _with_tags(sentence: str, translation: Translation, tags: Sequence[Tag]) -> str:
    """Returns a translation with the tags of its sentence around the words that theirs became."""
    if not tags:
        return _escaped(translation.text)
    source, target = ([match.span() for match in re.finditer(r"\S+", text)] for text in (sentence, translation.text))
    links = translation.alignment or ()
    top = [_moved(one, source, target, links, translation.text, sentence) for one in _elements(tags)]
    return "".join(_written(top, translation.text, 0, len(translation.text)))


def _pairs(tags: Sequence[Tag]) -> list[tuple[int, int]]:
    """Returns the places of each tag that has its end tag, and of that."""
    found: list[tuple[int, int]] = []
    open_: list[int] = []
    for number, tag in enumerate(tags):
        if not tag.closes:
            open_ += [number] if tag.name not in VOID else []
        elif any(tags[one].name == tag.name for one in open_):
            while tags[opening := open_.pop()].name != tag.name:
                pass
            found.append((opening, number))
    return found


def _elements(tags: Sequence[Tag]) -> list[Element]:
    """Returns the outermost elements of tags; one without its partner is an element of no width."""
    tops: list[Element] = []
    open_: list[tuple[Tag, list[Element]]] = []  # what is open, and the elements around it
    into = tops
    for tag in tags:
        if tag.closes and any(one.name == tag.name for one, _ in open_):
            while True:
                opening, outer = open_.pop()
                matches = opening.name == tag.name
                end = Element(opening.place, tag.place, opening.raw, tag.raw, into)
                outer += [end] if matches else [Element(opening.place, opening.place, opening.raw), *into]
                into = outer
                if matches:
                    break
        elif tag.closes or tag.name in VOID:
            into.append(Element(tag.place, tag.place, tag.raw))
        else:
            open_.append((tag, into))
            into = []
    for opening, outer in reversed(open_):
        outer += [Element(opening.place, opening.place, opening.raw), *into]
        into = outer
    return tops


def _moved(
    one: Element,
    source: Sequence[tuple[int, int]],
    target: Sequence[tuple[int, int]],
    links: Links,
    translation: str,
    sentence: str,
) -> Element:
    """Returns an element around the characters of the translation that its words became."""
    inside = [_moved(child, source, target, links, translation, sentence) for child in one.inside]
    if one.start == one.end:  # before its word
        words = {number for number, (_, end) in enumerate(source) if end > one.start}
        words = {min(words)} if words else set()
    else:
        words = {number for number, (start, end) in enumerate(source) if start < one.end and end > one.start}
    found = [to for word, to in links if word in words and to < len(target)]
    if not found:  # nothing is known of its words: in proportion
        start, end = (round(place * len(translation) / max(1, len(sentence))) for place in (one.start, one.end))
        starts = [begin for begin, _ in target if begin <= start] or [0]
        ends = [stop for _, stop in target if stop >= end] or [len(translation)]
        start, end = starts[-1], ends[0]
    else:
        start, end = target[min(found)][0], target[max(found)][1]
        # Where punctuation follows its last word, it follows the translation's too.
        if any(begin < one.end < stop for begin, stop in source):
            end = start + len(translation[start:end].rstrip(".,;:!?…)»”\"'"))
    return Element(start, start if one.start == one.end else end, one.opens, one.closes, inside)


def _written(elements: Sequence[Element], text: str, start: int, end: int) -> Iterator[str]:
    """Yields text from one character to another with elements in it, one after the other."""
    for one in sorted(elements, key=lambda one: one.start):
        first = min(max(one.start, start), end)
        last = min(max(one.end, first), end)
        yield _escaped(text[start:first])
        yield one.opens
        yield from _written(one.inside, text, first, last)
        yield one.closes
        start = last
    yield _escaped(text[start:end])


class _Reader(HTMLParser):
    """Notes what a page consists of, and where each part begins: it ends where the next one does."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=False)
        self._lines = [0, *(found.end() for found in re.finditer("\n", page))]
        self.found: list[tuple[int, str, str, bool]] = []
        """Place, kind, name of a tag, and whether it says that its content is not to be translated."""
        self.feed(page)
        self.close()

    def _note(self, kind: str, name: str = "", untranslated: bool = False) -> None:
        line, column = self.getpos()
        self.found.append((self._lines[line - 1] + column, kind, name, untranslated))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note("start", tag, tag in KEPT or ("translate", "no") in attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note("alone", tag)

    def handle_endtag(self, tag: str) -> None:
        self._note("end", tag)

    def handle_data(self, data: str) -> None:
        self._note("text")

    def handle_entityref(self, name: str) -> None:
        self._note("text")

    def handle_charref(self, name: str) -> None:
        self._note("text")

    def handle_comment(self, data: str) -> None:
        self._note("other")

    def handle_decl(self, decl: str) -> None:
        self._note("other")

    def unknown_decl(self, data: str) -> None:
        self._note("other")

    def handle_pi(self, data: str) -> None:
        self._note("other")


class _Page:
    """The parts of a page, as they come: text of blocks, or what stays as it is."""

    def __init__(self) -> None:
        self.parts: list[str | Block] = []
        self._kept: list[str] = []  # open elements that are not translated

    def add(self, raw: str, kind: str, name: str, untranslated: bool) -> None:
        """Adds what stands in the page as `raw`."""
        if self._kept:
            if kind == "start" and name == self._kept[0]:
                self._kept.append(name)
            elif kind == "end" and name == self._kept[0]:
                self._kept.pop()
            self._raw(raw)
        elif kind == "start" and untranslated and name not in EMPTY:
            self._kept.append(name)
            self._raw(raw)
        elif kind == "text":
            block = self._block(raw)
            block.text += html.unescape(raw)
        elif kind != "other" and INLINE.fullmatch(name) and (kind != "alone" or name in VOID):
            block = self._block(raw)
            block.tags.append(Tag(len(block.text), name, kind == "end", raw))
        else:
            self._raw(raw)

    def _raw(self, raw: str) -> None:
        if self.parts and isinstance(self.parts[-1], str):
            self.parts[-1] += raw
        else:
            self.parts.append(raw)

    def _block(self, raw: str) -> Block:
        if not (self.parts and isinstance(self.parts[-1], Block)):
            self.parts.append(Block())
        block = self.parts[-1]
        assert isinstance(block, Block)
        block.raw += raw
        return block
