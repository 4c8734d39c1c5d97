"""The words of the built-in phrasebook: nouns, places, adjectives, verbs, times, in three languages.

They are in `tables/*.txt`, one word a line, so that a reader of any of the three languages can check them by eye; this
file reads them. Every English word has one sense here and one translation, since a small model can only learn what the
source determines. Classes keep the sentences sensible: a verb names the classes of its objects, an adjective the
classes that it fits. Endings and articles are in `grammar.py`, word order in `clauses.py`.
"""

from __future__ import annotations

import importlib.resources
from typing import NamedTuple

from wmt_transformer.data.phrasebook.parts import Adjective, Modal, Noun, Verb, Words


class Usage(NamedTuple):
    """A verb, the nouns that it takes as objects, its flags (see tables/verbs.txt) and the places where one does it."""

    verb: Verb
    objects: tuple[Noun, ...]
    flags: str
    places: tuple[Noun, ...]


def _read_tables() -> dict[str, list[str]]:
    """Returns the lines of every table by its name, [name] in the files; # is a comment, two spaces continue a line."""
    tables: dict[str, list[str]] = {}
    lines: list[str] = []
    folder = importlib.resources.files("wmt_transformer.data.phrasebook") / "tables"
    for file in ("nouns", "adjectives", "verbs", "phrases", "lists"):
        for line in (folder / f"{file}.txt").read_text("utf-8").splitlines():
            if line.startswith("["):
                lines = tables[line.strip("[]")] = []
            elif line.startswith("  "):
                lines[-1] += " " + line.strip()
            elif line and not line.startswith("#"):
                lines.append(line)
    return tables


_TABLES = _read_tables()


def rows(table: str) -> list[list[list[str]]]:
    """Returns the lines of a table, each as columns of words; an underscore joins words."""
    return [
        [[word.replace("_", " ") for word in column.split()] for column in line.split(" | ")] for line in _TABLES[table]
    ]


def listed(table: str) -> str:
    """Returns the words of a table without columns."""
    return " ".join(_TABLES[table])


def named(names: str) -> tuple[Noun, ...]:
    """Picks nouns by the letters of kinds, if the list opens with them, and by name; a minus leaves one out."""
    chosen = [name.replace("_", " ") for name in names.split()]
    kinds = "" if chosen[0] in BY_NAME else chosen[0]
    out = {name[1:] for name in chosen if name[0] == "-"}
    return tuple(noun for noun in NOUNS if (noun.kind in kinds or noun.en[0] in chosen) and noun.en[0] not in out)


def fixed(table: str) -> list[Words]:
    """Returns a table of phrases that never change."""
    return [Words(*(" ".join(column) for column in row[:3])) for row in rows(table)]


def _nouns(table: str, kind: str) -> list[Noun]:
    return [
        Noun((en[0], en[1]), (de[0], de[1]), de[2][0], de[2] == "mn", (fr[0], fr[1]), fr[2], kind)
        for en, de, fr, *_ in rows(table)
    ]


def _adjective(row: list[list[str]]) -> Adjective:
    (en, comparative), de, fr, (place,), _ = row
    pair = None if comparative == "-" else (comparative, de[2])
    return Adjective(en.lower(), de[0], de[1], (fr[0], fr[1]), place == "before", en.islower(), pair)


def _french_present(infinitive: str, given: list[str]) -> tuple[str, ...]:
    if given:
        return tuple(given)
    stem = infinitive[:-2]
    return (stem + "e", stem + "e", stem + "ons", stem + "ez", stem + "ent")


def _verb(en: list[str], de: list[str], fr: list[str], german_object: str = "A", french_object: str = "A") -> Verb:
    base, third, participle = (form.partition(" ") for form in en)
    prefix, _, infinitive = de[0].rpartition("|")
    de_prep, _, de_case = german_object.rpartition("+")
    return Verb(
        en=(base[0], third[0], participle[0]),
        en_prep=base[1] + base[2],
        prefix=prefix,
        de=(de[1], de[2], infinitive, infinitive, infinitive),
        de_infinitive=infinitive,
        de_participle=de[3],
        sein=de[4] == "sein",
        de_prep=de_prep,
        de_case=de_case,
        fr=_french_present(fr[0], fr[1:6]),
        fr_infinitive=fr[0],
        fr_participle=fr[6] if len(fr) > 1 else fr[0][:-2] + "é",
        etre=fr[-1] == "être",
        fr_object=french_object,
    )


def _usages(table: str) -> list[Usage]:
    usages = []
    for row in rows(table):
        en, de, german_object, fr, french_object, names, (flags,) = row
        verb = _verb(en, de, fr, german_object[0], french_object[0])
        objects = named(" ".join(name.replace(" ", "_") for name in names))
        usages.append(Usage(verb, objects, flags, PLACES_WHERE.get(flags[-1], ())))
    return usages


def _intransitive(table: str) -> list[Usage]:
    everywhere = {"w": PLACES_WHERE["w"], "t": named(listed("to")), "x": named(listed("arrival"))}
    usages = []
    for en, de, fr, (flags,) in rows(table):
        usages.append(Usage(_verb(en, de, fr), (), flags, everywhere.get(flags[0], ())))
    return usages


def _modal(columns: list[str]) -> Modal:
    en, third, en_not, third_not, de, fr = columns
    ich, sie = de.split()
    return Modal((en, third), (en_not, third_not), (ich, ich, sie, sie, sie), tuple(fr.split()))


def _fitting() -> dict[Noun, tuple[Adjective, ...]]:
    kinds = ["".join(row[4]) for row in rows("adjectives")]
    unfitting = {adjective.lower(): set(nouns) for (adjective,), nouns in rows("unfitting")}
    return {
        noun: tuple(
            adjective
            for adjective, fits in zip(ADJECTIVES, kinds, strict=True)
            if noun.kind in fits and noun.en[0] not in unfitting.get(adjective.en, ())
        )
        for noun in NOUNS
    }


_KINDS = {
    "p": "people",
    "a": "animals",
    "f": "foods",
    "m": "mass_foods",
    "d": "drinks",
    "r": "texts",
    "w": "clothes",
    "t": "things",
    "v": "vehicles",
    "u": "furniture",
    "s": "places",
}
NOUNS = [noun for kind, table in _KINDS.items() for noun in _nouns(table, kind)]
BY_NAME = {noun.en[0]: noun for noun in NOUNS}
OF_KIND = {kind: tuple(noun for noun in NOUNS if noun.kind == kind) for kind in _KINDS}
ADJECTIVES = [_adjective(row) for row in rows("adjectives")]
# The adjectives that fit a noun; those of them that can follow "is"; those that compare.
FITTING = _fitting()
PREDICATES = {noun: tuple(a for a in fitting if a.predicate) for noun, fitting in FITTING.items()}
COMPARABLE = {noun: tuple(a for a in fitting if a.comparative) for noun, fitting in FITTING.items()}
PLACES_WHERE = {row[0][0]: named(" ".join(n.replace(" ", "_") for n in row[1])) for row in rows("where")}
PLACES_WHERE["m"] = OF_KIND["s"]
PREPOSITIONS = {noun: row[3:] for noun, row in zip(OF_KIND["s"], rows("places"), strict=True)}
TRANSITIVE, DITRANSITIVE = _usages("transitive"), _usages("ditransitive")
INTRANSITIVE = _intransitive("intransitive")
VERBS = {usage.verb.en[0] + usage.verb.en_prep: usage for usage in (*INTRANSITIVE, *TRANSITIVE)}
MODALS = [_modal([" ".join(column) for column in row]) for row in rows("modals")]
CAN, MUST, *_ = MODALS
BELONG, PUT, TRAVEL = (
    _verb(en, de, fr, *objects) for (en, de, fr), objects in zip(rows("special"), (("D", "D"), (), ()), strict=True)
)
