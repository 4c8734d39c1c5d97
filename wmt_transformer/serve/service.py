"""Requests in, answers out, whatever the interface: what is allowed, which language, which sentences, joined again."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import itertools
import operator
from collections.abc import Iterable, Sequence
from pathlib import Path

from wmt_transformer.decode.alignment import Attention, Links
from wmt_transformer.decode.glossary import Glossary
from wmt_transformer.decode.lines import Translation
from wmt_transformer.serve import markup
from wmt_transformer.serve.access import Access
from wmt_transformer.serve.batching import Batcher
from wmt_transformer.serve.detection import Detected, Detector
from wmt_transformer.serve.directions import Direction, Directions
from wmt_transformer.serve.failures import Busy, TooLate
from wmt_transformer.serve.sentences import Cut, Sentence, cut

AT_A_TIME = 128
"""Sentences of a file that are in the queue: a full batch, and the next."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one request may ask for."""

    body: int = 2 * 2**20
    """Bytes."""
    file: int = 10 * 2**20
    """Bytes of a body that brings a file."""
    characters: int = 10_000
    """Of one text."""
    texts: int = 128
    """In one array."""
    terms: int = 1000
    """In one glossary."""
    seconds: float = 60.0
    """Until an answer."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """A text's translation."""

    text: str
    alternatives: tuple[str, ...] = ()
    links: Links | None = None
    """Pairs of a source word and an output word of the whole text, where they were asked for."""
    attention: tuple[Attention, ...] = ()
    """Of each sentence, where links were asked for."""
    repeats: bool = False
    """Whether it says the same over and over, as models do with what they do not know."""
    missing: tuple[str, ...] = ()
    """Terms of the glossary that there was no room for."""


class Service:
    """What all interfaces share."""

    def __init__(
        self,
        directions: Directions,
        batcher: Batcher,
        limits: Limits,
        access: Access,
        suggestions: Path | None = None,
    ):
        self.directions = directions
        self.batcher = batcher
        self.limits = limits
        self.access = access
        self.suggestions = suggestions
        self._detector = Detector(directions.sources)

    @property
    def most_alternatives(self) -> int:
        """How many translations there are beside the best one: the beam has no more, in no direction."""
        beams = [self.batcher.request(one.translator, False).settings.beam_size for one in self.directions]
        return min(beams) - 1

    def detect(self, texts: Sequence[str]) -> list[Detected]:
        """Returns up to three languages of texts that are in one language, likeliest first."""
        return self._detector.languages("\n".join(texts))

    async def plain(
        self,
        texts: Sequence[str],
        direction: Direction | None,
        alternatives: int = 0,
        linked: bool = False,
        patient: bool = False,
        glossary: Glossary | None = None,
    ) -> list[Answer]:
        """Returns the translation of each text; without a direction, the texts as they are.

        Args:
          glossary: terms, which count before those of the direction's own.
          patient: many sentences wait outside of the queue until there is room for some of them.

        Raises TooLate after the deadline, and what the queue raises.
        """
        if direction is None:
            return [Answer(text) for text in texts]
        cuts = await asyncio.to_thread(lambda: [cut(text, direction) for text in texts])
        sentences = [one._replace(linked=linked) for each in cuts for one in each.sentences]
        found = iter(await self._translated(direction, sentences, patient, glossary))
        answers = []
        for text, each in zip(texts, cuts, strict=True):
            lists = list(itertools.islice(found, len(each.sentences)))
            every = [each.joined([one.text for one in kth]) for kth in zip(*lists, strict=False)] or [text]
            best, *others = dict.fromkeys(every)
            links = _links(text, each, lists) if linked else None
            attention = tuple(one for best_of in lists for one in best_of[0].attention)
            repeats, missing = any(map(_repeats, lists)), _missing(best_of[0] for best_of in lists)
            answers.append(Answer(best, tuple(others[:alternatives]), links, attention, repeats, missing))
        return answers

    async def html(
        self,
        texts: Sequence[str],
        direction: Direction | None,
        patient: bool = False,
        glossary: Glossary | None = None,
    ) -> list[Answer]:
        """Returns each page with its text translated; see `plain`."""
        if direction is None:
            return [Answer(text) for text in texts]
        pages = await asyncio.to_thread(lambda: [markup.parse(text) for text in texts])
        blocks = [part for page in pages for part in page if isinstance(part, markup.Block)]
        cuts = await asyncio.to_thread(lambda: [block.cut(direction) for block in blocks])
        sentences = [one for each in cuts for one in each]
        found = iter(await self._translated(direction, sentences, patient, glossary))
        for block, each in zip(blocks, cuts, strict=True):
            block.translations = [next(found)[0] for _ in each]
        return await asyncio.to_thread(lambda: [_as_answer(page) for page in pages])

    async def _translated(
        self, direction: Direction, sentences: Sequence[Sentence], patient: bool, glossary: Glossary | None
    ) -> list[list[Translation]]:
        """Returns the n-best list of each sentence."""
        if given := [one for one in (direction.glossary, glossary) if one is not None]:
            sentences = await asyncio.to_thread(_with_terms, sentences, functools.reduce(operator.or_, given))
        try:
            async with asyncio.timeout(self.limits.seconds):
                if not patient:
                    return await self.batcher.translate(direction, sentences)
                found: list[list[Translation]] = []
                while some := sentences[len(found) : len(found) + AT_A_TIME]:
                    try:
                        found += await self.batcher.translate(direction, some)
                    except Busy:
                        await asyncio.sleep(1)
                return found
        except TimeoutError:
            raise TooLate(self.limits.seconds) from None


def _with_terms(sentences: Sequence[Sentence], glossary: Glossary) -> list[Sentence]:
    """Returns the sentences, those in which terms are with the glossary."""
    return [one._replace(glossary=glossary if any(glossary.found(one.text)) else None) for one in sentences]


def _missing(translations: Iterable[Translation]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(term for one in translations for term in one.missing))


def _as_answer(page: Sequence[str | markup.Block]) -> Answer:
    """Returns the answer of a page whose blocks have their translations."""
    translations = (one for part in page if isinstance(part, markup.Block) for one in part.translations)
    return Answer(markup.joined(page), missing=_missing(translations))


def _links(text: str, found: Cut, translations: Sequence[Sequence[Translation]]) -> Links:
    """Returns the links of a whole text from those of the best translation of each sentence."""
    links: list[tuple[int, int]] = []
    output = ""
    for one, before, (best, *_) in zip(found.sentences, found.between, translations, strict=False):
        output += before
        words, targets = len(text[: one.place].split()), len(output.split())
        links += [(source + words, target + targets) for source, target in best.alignment or ()]
        output += best.text
    return tuple(links)


def _repeats(translations: Sequence[Translation]) -> bool:
    """Tells whether the end of a translation is the same one to four words, four times or more."""
    words = translations[0].text.split()
    return any(
        len(words) >= 4 * size and len(set(zip(*[iter(words[-4 * size :])] * size, strict=True))) == 1
        for size in range(1, 5)
    )
