"""What a clause of the built-in phrasebook is made of, in three languages: nouns, adjectives, verbs, pronouns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

# Grammatical persons as indices into every list of verb forms. "you" is Sie and vous.
SPEAKER, THIRD, WE, YOU, THEY = range(5)
YES, NOT, NEVER = range(3)


@dataclass(frozen=True, eq=False)
class Noun:
    """A noun with its forms; `weak` is the German masculine that takes -n outside the nominative."""

    en: tuple[str, str]
    de: tuple[str, str]
    de_gender: str
    weak: bool
    fr: tuple[str, str]
    fr_gender: str
    kind: str


@dataclass(frozen=True, eq=False)
class Adjective:
    """An adjective; `comparative` is (English, German) or None, `before` its French place."""

    en: str
    de: str
    de_stem: str
    fr: tuple[str, str]
    before: bool
    predicate: bool
    comparative: tuple[str, str] | None


class Phrase(NamedTuple):
    """A noun phrase or a pronoun. `german_no` and `french_no` are its forms under a negation."""

    en: str
    nom: str
    acc: str
    dat: str
    fr: str
    person: int
    de_gender: str
    fr_gender: str
    definite: bool = True
    german_no: str = ""
    french_no: str = ""


class Pronoun(NamedTuple):
    """A pronoun as object: German cases; French direct, indirect and stressed; what a participle agrees with."""

    en: str
    acc: str
    dat: str
    direct: str
    indirect: str
    stressed: str
    ending: str


@dataclass(frozen=True, eq=False)
class Verb:
    """A verb; the forms are for I, he, we, you, they. `sein` and `etre`: the auxiliary of the perfect."""

    en: tuple[str, str, str]
    en_prep: str
    prefix: str
    de: tuple[str, ...]
    de_infinitive: str
    de_participle: str
    sein: bool
    de_prep: str
    de_case: str
    fr: tuple[str, ...]
    fr_infinitive: str
    fr_participle: str
    etre: bool
    fr_object: str


class Modal(NamedTuple):
    """A modal verb; English has its own negated forms."""

    en: tuple[str, str]
    en_not: tuple[str, str]
    de: tuple[str, ...]
    fr: tuple[str, ...]


class Words(NamedTuple):
    """An adverb or a phrase that never changes."""

    en: str
    de: str
    fr: str
