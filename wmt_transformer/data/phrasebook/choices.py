"""Draws who does what for the built-in phrasebook: subjects, objects, places, whole clauses.

Every choice comes from `source`, a function that gives a number from 0 up to 1, so that a seed decides all of
them, in the same way on every machine. What is drawn together makes sense together: who eats, eats food, in a
kitchen or a garden; who has just bought a thing wants to use it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

from wmt_transformer.data.phrasebook import words
from wmt_transformer.data.phrasebook.grammar import both, contract, french_adjective, german_contraction, phrase
from wmt_transformer.data.phrasebook.parts import (
    SPEAKER,
    THEY,
    THIRD,
    WE,
    YOU,
    Adjective,
    Noun,
    Phrase,
    Pronoun,
    Words,
)
from wmt_transformer.data.phrasebook.words import FITTING, OF_KIND, fixed, listed, named, rows

Source = Callable[[], float]
T = TypeVar("T")

SUBJECTS = {
    "I": Phrase("I", "ich", "", "", "je", SPEAKER, "m", "m"),
    "he": Phrase("he", "er", "", "", "il", THIRD, "m", "m"),
    "she": Phrase("she", "sie", "", "", "elle", THIRD, "f", "f"),
    "we": Phrase("we", "wir", "", "", "nous", WE, "m", "m"),
    "you": Phrase("you", "Sie", "", "", "vous", YOU, "m", "m"),
    "they": Phrase("they", "sie", "", "", "ils", THEY, "m", "m"),
}
WHO = Phrase("who", "wer", "", "", "qui", THIRD, "m", "m")
# In a statement "Sie" at the start could be "you": that is asked, and stated in subordinate clauses only.
STATED = [SUBJECTS[name] for name in ("I", "he", "she", "we", "they")]
ASKED = [SUBJECTS[name] for name in ("he", "she", "we", "you", "you")]
EMBEDDED = [SUBJECTS[name] for name in ("he", "she", "we", "you", "they")]
OBJECTS = [
    Pronoun("me", "mich", "mir", "me", "me", "moi", ""),
    Pronoun("him", "ihn", "ihm", "le", "lui", "lui", ""),
    Pronoun("her", "sie", "ihr", "la", "lui", "elle", "e"),
    Pronoun("us", "uns", "uns", "nous", "nous", "nous", "s"),
    Pronoun("you", "Sie", "Ihnen", "vous", "vous", "vous", ""),
    Pronoun("them", "sie", "ihnen", "les", "leur", "eux", "s"),
]
# Nobody does things to himself here: that takes other pronouns.
APART = {"I": ("me", "us"), "we": ("me", "us"), "you": ("you",)}
ACQUAINTED = named(
    "father mother brother sister uncle aunt grandfather grandmother neighbor teacher doctor colleague lawyer boss "
    "guest dog cat horse hamster rabbit donkey"
)
ONE_ONLY = named("father mother grandfather grandmother boss")
ACTORS = [noun for noun in OF_KIND["p"] if noun.en[0] != "baby"]
GENDERED = [noun for noun in ACTORS if noun.de_gender != "n"]
OUTSIDE, FAR, FLAT = (named(listed(table)) for table in ("outside", "far", "flat"))
ANIMAL_VERBS = [
    usage._replace(objects=tuple(noun for noun in usage.objects if noun.kind in "pa"))
    for usage in words.TRANSITIVE
    if "a" in usage.flags
]
ANIMAL_MOVES = [usage._replace(places=OUTSIDE) for usage in words.INTRANSITIVE if "a" in usage.flags]
ANIMAL_MODALS = words.MODALS[0], words.MODALS[2]
NUMBERS, POSITIONS, WAYS = fixed("numbers"), fixed("positions"), fixed("vehicle_ways")
PLANS, PASTS, HABITS = fixed("plans"), fixed("pasts"), fixed("habits")
HABIT_ADVERBS, PAST_ADVERBS = fixed("habit_adverbs"), fixed("past_adverbs")
NEGATABLE_HABITS = [time for time, row in zip(HABITS, rows("habits"), strict=True) if row[3:] != [["-"]]]


def pick(source: Source, items: Sequence[T]) -> T:
    """Draws one of the items."""
    return items[int(source() * len(items))]


def chance_adjective(source: Source, noun: Noun, chance: float) -> Adjective | None:
    """Draws an adjective that fits the noun, or none."""
    if source() >= chance or not FITTING[noun]:
        return None
    return pick(source, FITTING[noun])


def someone(
    source: Source, animals: bool = False, pronouns: list[Phrase] | None = STATED, natural: bool = False
) -> tuple[Phrase, Noun | None]:
    """Draws a subject that acts: a pronoun, or a person or an animal, with its noun.

    `natural`: only people of whom English, German and French say "he" or "she" alike.
    """
    draw = source()
    if pronouns and draw < 0.3:
        return pick(source, pronouns), None
    noun = pick(source, OF_KIND["a"] if animals and draw > 0.8 else GENDERED if natural else ACTORS)
    if 0.3 <= draw < 0.34 and not natural:
        other = pick(source, GENDERED)
        if other is not noun:
            return both(phrase(noun, "the", None, False), phrase(other, "the", None, False)), noun
    many = source() < 0.25
    adjective = chance_adjective(source, noun, 0.25)
    draw = source()
    if many and draw > 0.9:
        return phrase(noun, "", adjective, True, pick(source, NUMBERS)), noun
    if draw > 0.88:
        return phrase(noun, "this", adjective, many), noun
    owned = draw > 0.68 and noun in ACQUAINTED and not (many and noun in ONE_ONLY)
    return phrase(noun, ("my" if draw < 0.8 else "our") if owned else "the", adjective, many), noun


def something(source: Source, noun: Noun, kinds: str, owner: str = "") -> Phrase:
    """Draws a phrase around a noun. `kinds`: d definite, i indefinite, n with a number; `owner`: "his", "her"."""
    adjective = chance_adjective(source, noun, 0.33)
    draw = source()
    if noun.kind in "md":
        determiner = "" if draw < 0.5 and "i" in kinds else "this" if draw > 0.92 else "the"
        return phrase(noun, determiner, adjective, False)
    many = source() < 0.3
    if draw < 0.35 and "i" in kinds:
        many = many and noun.fr[0] != noun.fr[1]  # "pas de souris" would hide the number
        return phrase(noun, "" if many else "a", adjective, many)
    if draw < 0.45 and "n" in kinds:
        return phrase(noun, "", adjective, True, pick(source, NUMBERS))
    if draw > 0.82:
        ours = noun.kind not in "pas" or (noun in ACQUAINTED and not (many and noun in ONE_ONLY))
        return phrase(noun, (owner or ("my" if draw < 0.92 else "our")) if ours else "the", adjective, many)
    return phrase(noun, "this" if draw > 0.74 else "the", adjective, many)


def owner_of(subject: Phrase, noun: Noun | None) -> str:
    """Gives the possessive that refers to a subject, "" where its gender is not the same in every language."""
    if subject.person in (SPEAKER, WE, YOU) or subject is WHO:
        return {SPEAKER: "my", WE: "our"}.get(subject.person, "")
    if noun and (noun.kind != "p" or noun.de_gender == "n"):
        return ""
    return "their" if subject.person == THEY else "his" if subject.fr_gender == "m" else "her"


def place(source: Source, nouns: Sequence[Noun], way: str = "at", chance: float = 0.15) -> Words:
    """Draws a place with its prepositions; `way`: "at", "into", "to" from afar, "arrive"."""
    noun = pick(source, nouns)
    return _place(noun, chance_adjective(source, noun, chance), way)


@cache
def _place(noun: Noun, adjective: Adjective | None, way: str) -> Words:
    (at, into), (where, whither), (french_preposition,) = words.PREPOSITIONS[noun]
    there = phrase(noun, "the", adjective, False)
    preposition, _, case = (whither if way in ("into", "to") else where).partition("+")
    declined = there.acc if case == "A" else there.dat
    en = {"at": at, "into": into, "arrive": "at"}.get(way, way)
    return Words(
        f"{en} {there.en}",
        german_contraction(f"{preposition} {declined}"),
        contract(french_preposition, there.fr),
    )


def position(source: Source, case: str) -> Words:
    """Draws a place at a piece of furniture: "dat" where something is, "acc" where it is put."""
    noun, where = pick(source, OF_KIND["u"]), pick(source, POSITIONS)
    if noun.en[0] == "carpet":
        where = POSITIONS[0]
    there = something(source, noun, "d")
    return Words(f"{where.en} {there.en}", f"{where.de} {getattr(there, case)}", contract(where.fr, there.fr))


DEGREES = [
    Words("", "", ""),
    Words("", "", ""),
    Words("very ", "sehr ", "très "),
    Words("too ", "zu ", "trop "),
]
NOT_GRADED, TOO = frozenset(listed("not_graded").split()), frozenset(listed("too").split())


def predicate(source: Source, of: Phrase, adjective: Adjective, graded: bool = True) -> Words:
    """Makes an adjective after "is", which agrees in French only; `graded`: with "very" or "too" now and then."""
    most = 1 if not graded or adjective.en in NOT_GRADED else 4 if adjective.en in TOO else 3
    degree = DEGREES[int(source() * most)]
    fr = french_adjective(adjective, of.fr_gender, of.person in (WE, THEY))
    return Words(degree.en + adjective.en, degree.de + adjective.de, degree.fr + fr)
