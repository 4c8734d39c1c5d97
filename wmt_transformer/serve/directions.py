"""Which languages are translated into which, by which translator.

A run is a direction, by the languages of its config; one whose vocabulary has tags (`>>de<<`) is a direction for each.
Several runs of one direction are an ensemble. Codes are LibreTranslate's: `zh`, `zt` and `pb` are known beside
`zh-Hans`, `zh-Hant` and `pt-BR`, and case does not matter. A language translated into itself stays as it is.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from babel import Locale, UnknownLocaleError

from wmt_transformer.config import DecodeDtype, UserError
from wmt_transformer.data.treebanks import corpora as treebanks
from wmt_transformer.decode import glossary
from wmt_transformer.decode.generate import Translator
from wmt_transformer.decode.glossary import Glossary
from wmt_transformer.experiment import is_language_model, run_config

ISO = {"zh": "zh-Hans", "zt": "zh-Hant", "pb": "pt-BR"}


@dataclasses.dataclass(frozen=True, eq=False)
class Direction:
    """A translator, from one language to another."""

    source: str
    target: str
    translator: Translator
    runs: tuple[str, ...]
    """The folders of its runs: several are an ensemble."""
    tag: str = ""
    """What comes before each sentence."""
    glossary: Glossary | None = None
    """Terms of every request."""

    def __str__(self) -> str:
        return f"{self.source} → {self.target}"


class Directions:
    """All directions of a server, by their languages."""

    def __init__(self, directions: Sequence[Direction]):
        self._all = {(one.source, one.target): one for one in directions}
        self._codes = {code.lower(): code for pair in self._all for code in pair}
        self._codes |= {short: code for short, code in ISO.items() if code in self._codes.values()}

    def __iter__(self) -> Iterator[Direction]:
        return iter(self._all.values())

    @property
    def sources(self) -> list[str]:
        """The languages that are translated into others."""
        return sorted({source for source, _ in self._all})

    @property
    def codes(self) -> list[str]:
        """All languages, those translated into others first."""
        return [*self.sources, *sorted(set(self._codes.values()) - set(self.sources))]

    def targets(self, source: str) -> list[str]:
        """Returns what a language is translated into: itself, which changes nothing, and others."""
        return sorted({source, *(target for one, target in self._all if one == source)})

    def code(self, given: str) -> str | None:
        """Returns the code of a language as this server writes it, None for a language that it does not know."""
        return self._codes.get(given.strip().lower().replace("_", "-"))

    def find(self, source: str, target: str) -> Direction | None:
        """Returns the direction from one language to another, None where there is none."""
        return self._all.get((source, target))


def with_glossaries(directions: Directions, given: Sequence[str]) -> Directions:
    """Returns the directions with the glossaries of `SOURCE-TARGET=FILE`, one for a direction.

    Raises UserError for a direction that is not served, and for a file or a term that cannot be used.
    """
    found = {f"{one.source}-{one.target}".lower(): one for one in directions}
    for one in given:
        pair, _, path = one.partition("=")
        if pair.lower() not in found or not path:
            raise UserError(f"--glossary {one}: give DIRECTION=FILE, where the direction is {' or '.join(found)}")
        direction, terms = found[pair.lower()], glossary.read(path)
        for term in terms.terms.values():
            glossary.spelt(direction.translator.vocabulary, term, path)
        found[pair.lower()] = dataclasses.replace(direction, glossary=terms)
    return Directions(list(found.values()))


def name(code: str, locale: str = "en") -> str:
    """Returns what a language is called, the code itself where that is unknown."""
    try:
        return Locale.parse(code, sep="-").get_display_name(locale) or code
    except (UnknownLocaleError, ValueError):
        return code


def load(
    workdirs: Sequence[str | os.PathLike[str]],
    compute_dtype: DecodeDtype | None,
    warn: Callable[[str], None],
) -> Directions:
    """Reads runs as directions. Raises UserError for a folder without a run that translates, and for runs of one
    direction that make no ensemble."""
    folders: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for workdir in map(str, workdirs):
        config = run_config(Path(workdir))
        if is_language_model(config) or config.data.corpus in treebanks.CORPORA:
            raise UserError(f"{workdir} is no run that translates; give --workdir the folder of one that does")
        languages = (config.data.source, config.data.target, config.data.tags)
        folders.setdefault(languages, []).append(workdir)
    found: dict[tuple[str, str], Direction] = {}
    for (source, target, _), runs in folders.items():
        translator = Translator.load(runs, compute_dtype=compute_dtype, warn=warn)
        tags = {tag.strip("<>"): tag for tag in translator.vocabulary.tags}
        for to, tag in (tags or {target: ""}).items():
            one = Direction(ISO.get(source, source), ISO.get(to, to), translator, tuple(runs), tag)
            if other := found.get((one.source, one.target)):
                raise UserError(
                    f"{other.runs[0]} and {runs[0]} both translate {one}, with other tags; give one of them"
                )
            if one.source != one.target:
                found[one.source, one.target] = one
    return Directions(list(found.values()))
