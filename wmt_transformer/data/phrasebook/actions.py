"""Draws whole clauses for the built-in phrasebook: who acts, gives, moves, puts or travels, when and where."""

from __future__ import annotations

from wmt_transformer.data.phrasebook import words
from wmt_transformer.data.phrasebook.choices import (
    ACTORS,
    ANIMAL_MODALS,
    ANIMAL_MOVES,
    ANIMAL_VERBS,
    APART,
    FAR,
    FLAT,
    HABIT_ADVERBS,
    HABITS,
    NEGATABLE_HABITS,
    OBJECTS,
    PAST_ADVERBS,
    PASTS,
    PLANS,
    WAYS,
    Source,
    owner_of,
    pick,
    place,
    position,
    something,
)
from wmt_transformer.data.phrasebook.clauses import Clause
from wmt_transformer.data.phrasebook.grammar import both, phrase
from wmt_transformer.data.phrasebook.parts import (
    NEVER,
    NOT,
    YES,
    Modal,
    Noun,
    Phrase,
    Pronoun,
    Words,
)
from wmt_transformer.data.phrasebook.words import OF_KIND, Usage


def doing(source: Source, subject: Phrase, noun: Noun | None) -> Clause:
    """Draws any kind of clause for a subject."""
    draw = source()
    if noun is not None and noun.kind == "a":
        return act(source, subject, noun) if draw < 0.6 else move(source, subject, noun)
    if draw < 0.55:
        return act(source, subject, noun)
    if draw < 0.72:
        return move(source, subject, noun)
    if draw < 0.88:
        return give(source, subject, noun)
    return put(source, subject, noun) if draw < 0.95 else travel(source, subject, noun)


def act(source: Source, subject: Phrase, noun: Noun | None, usage: Usage | None = None) -> Clause:
    """Draws a clause with an object."""
    animal = noun is not None and noun.kind == "a"
    if usage is None:
        usage = pick(source, ANIMAL_VERBS if animal else words.TRANSITIVE)
    state = "s" in usage.flags
    mode = "present" if state else _mode(source, animal)
    polarity = _polarity(source, mode, 0.12)
    if polarity == YES and mode != "present" and source() < 0.04 and not isinstance(mode, Modal):
        polarity = NEVER
    direct = _object(source, usage, subject, noun, polarity)
    time, adverb = (None, None) if state or polarity == NEVER or animal else _when(source, mode, polarity)
    where = place(source, usage.places) if usage.places and polarity == YES and source() < 0.25 else None
    return Clause(subject, usage.verb, mode, polarity, direct, None, adverb, time, where)


def _mode(source: Source, animal: bool = False) -> str | Modal:
    draw = source()
    if draw < 0.7:
        return "present" if draw < 0.42 else "perfect"
    return pick(source, ANIMAL_MODALS if animal else words.MODALS)


def _polarity(source: Source, mode: str | Modal, chance: float) -> int:
    return NOT if source() < chance and not (isinstance(mode, Modal) and mode.en_not[0] == "-") else YES


def _when(source: Source, mode: str | Modal, polarity: int) -> tuple[Words | None, Words | None]:
    """Draws a time or an adverb or none."""
    draw = source()
    if isinstance(mode, Modal):
        return (pick(source, PLANS) if draw < 0.4 else None), None
    perfect = mode == "perfect"
    if draw < 0.25:
        return pick(source, PASTS if perfect else HABITS if polarity == YES else NEGATABLE_HABITS), None
    if draw < 0.4 and polarity == YES:
        return None, pick(source, PAST_ADVERBS if perfect else HABIT_ADVERBS)
    return None, None


def _object(source: Source, usage: Usage, subject: Phrase, noun: Noun | None, polarity: int) -> Phrase | Pronoun:
    """Draws an object for a verb; only direct ones may be indefinite under a negation."""
    verb = usage.verb
    target = pick(source, usage.objects)
    while target is noun:
        target = pick(source, usage.objects)
    if target.kind == "p" and source() < 0.4:
        pronoun = pick(source, OBJECTS)
        if pronoun.en not in APART.get(subject.en, ()):
            return pronoun
    plainly_direct = verb.de_case == "A" and not verb.de_prep and verb.fr_object == "A"
    kinds = "din" if verb.fr_object != "de" else "dn"  # "rêve de chiens" would hide "des"
    if verb.en[0] == "have":
        kinds = "i" if polarity else "in"
    elif "s" in usage.flags:
        kinds = "d"  # "aime les chiens" would be both "dogs" and "the dogs"
    elif polarity != YES:
        kinds = "di" if plainly_direct else "d"
    one = something(source, target, kinds, owner_of(subject, noun))
    if plainly_direct and polarity == YES and target.kind not in "pas" and source() < 0.04:
        other = pick(source, OF_KIND[target.kind])
        if other in usage.objects and other is not target:
            return both(phrase(target, "a" if target.kind not in "md" else "", None, False), _one(other))
    return one


def _one(noun: Noun) -> Phrase:
    return phrase(noun, "" if noun.kind in "md" else "a", None, False)


def give(source: Source, subject: Phrase, noun: Noun | None) -> Clause:
    """Draws a clause with somebody who receives: "gives the book to the woman"."""
    clause = act(source, subject, noun, pick(source, words.DITRANSITIVE))
    pronoun = pick(source, OBJECTS)
    if source() < 0.4 and pronoun.en not in APART.get(subject.en, ()):
        return clause._replace(recipient=pronoun)
    target = pick(source, ACTORS)
    while target is noun:
        target = pick(source, ACTORS)
    return clause._replace(recipient=something(source, target, "d", owner_of(subject, noun)))


def move(source: Source, subject: Phrase, noun: Noun | None) -> Clause:
    """Draws a clause without object: sleeping somewhere, going somewhere."""
    animal = noun is not None and noun.kind == "a"
    usage = pick(source, ANIMAL_MOVES if animal else words.INTRANSITIVE)
    mode = _mode(source, animal)
    polarity = _polarity(source, mode, 0.15)
    time, adverb = (None, None) if animal else _when(source, mode, polarity)
    where = None
    if usage.places and ("t" in usage.flags or usage.verb.en[0] in ("stay", "arrive") or source() < 0.6):
        way = "into" if "t" in usage.flags else "arrive" if usage.verb.en[0] == "arrive" else "at"
        where = place(source, usage.places, way)
    return Clause(subject, usage.verb, mode, polarity, None, None, adverb, time, where)


def put(source: Source, subject: Phrase, noun: Noun | None) -> Clause:
    """Draws a clause about putting a thing somewhere: the accusative of motion."""
    mode = _mode(source)
    time, adverb = _when(source, mode, YES)
    thing = something(source, pick(source, FLAT), "din", owner_of(subject, noun))
    return Clause(subject, words.PUT, mode, YES, thing, None, adverb, time, position(source, "acc"))


def travel(source: Source, subject: Phrase, noun: Noun | None) -> Clause:
    """Draws a clause about travelling: "travels to the city by train"."""
    mode = _mode(source)
    polarity = _polarity(source, mode, 0.1)
    time, adverb = _when(source, mode, polarity)
    to, way = place(source, FAR, "to"), pick(source, WAYS)
    journey = Words(f"{to.en} {way.en}", f"{way.de} {to.de}", f"{to.fr} {way.fr}")
    return Clause(subject, words.TRAVEL, mode, polarity, None, None, adverb, time, journey)
