"""The kinds of sentences that the built-in phrasebook has, each drawn from `source`, and how often each comes.

A pronoun occurs as "it" only where its noun, and so its gender, is in the same sentence: that is what a
translation must look back for.
"""

from __future__ import annotations

from wmt_transformer.data.phrasebook import words
from wmt_transformer.data.phrasebook.actions import doing
from wmt_transformer.data.phrasebook.choices import (
    ACTORS,
    ASKED,
    FLAT,
    NUMBERS,
    OBJECTS,
    OUTSIDE,
    STATED,
    WHO,
    Source,
    chance_adjective,
    pick,
    place,
    position,
    predicate,
    someone,
    something,
)
from wmt_transformer.data.phrasebook.clauses import Clause, being, english, finished, french, german, say
from wmt_transformer.data.phrasebook.grammar import (
    elide,
    french_adjective,
    german_phrase,
    phrase,
)
from wmt_transformer.data.phrasebook.linked import mood, qualified, reason, thought, weather
from wmt_transformer.data.phrasebook.parts import NOT, SPEAKER, THEY, YES, Noun, Phrase, Words
from wmt_transformer.data.phrasebook.words import (
    BY_NAME,
    CAN,
    COMPARABLE,
    MUST,
    NOUNS,
    OF_KIND,
    PREDICATES,
    named,
)


def any_sentence(source: Source) -> Words:
    """Draws a sentence of any kind."""
    draw = source()
    for limit, pattern in PATTERNS:
        if draw < limit:
            return pattern(source)
    raise AssertionError("the last limit is 1")


# ---- The kinds of sentences


def statement(source: Source) -> Words:
    """A main clause, with the time in front now and then."""
    clause = doing(source, *someone(source, animals=True))
    time = clause.time
    if not time or source() < 0.7:
        return finished(*say(clause))
    said = say(clause._replace(time=None), front=time.de)
    return finished(f"{time.en} {said.en}", said.de, f"{time.fr}, {said.fr}")


def question(source: Source) -> Words:
    """A question: yes or no, or who, why, when, where."""
    draw = source()
    if draw < 0.25:
        return finished(*say(doing(source, WHO, None)), "?")
    clause = doing(source, *someone(source, pronouns=ASKED))
    if clause.mode is MUST:
        clause = clause._replace(mode=CAN)
    en, de, fr = "", "", ""
    if draw > 0.6:
        en, de, fr = "why ", "warum", "pourquoi "
        if (
            draw > 0.75
            and not clause.place
            and clause.mode != "present"
            and clause.polarity == YES
            and not clause.verb.sein
        ):
            en, de, fr = "where ", "wo", "où "
            if draw > 0.87 and not clause.time and not clause.adverb:
                en, de, fr = "when ", "wann", "quand "
    return finished(
        en + english(clause, question=True),
        german(clause, "verb first", de),
        fr + elide("est-ce que", french(clause)),
        "?",
    )


def description(source: Source) -> Words:
    """What somebody or something is like, or is compared with another."""
    draw = source()
    if draw < 0.2:
        subject, noun = pick(source, STATED), BY_NAME["woman"]
    else:
        noun = pick(source, NOUNS)
        subject = _described(source, noun)
    if draw > 0.75 and COMPARABLE[noun]:
        return _comparison(source, subject, noun)
    negated = source() < 0.2
    what = predicate(source, subject, pick(source, PREDICATES[noun]), not negated)
    said = being(subject, what, negated)
    if subject.person == SPEAKER or subject.en == "they" or source() > 0.15:
        return finished(*said)
    asked = being(subject, what, negated, "question")
    return finished(asked.en, asked.de, elide("est-ce que", said.fr), "?")


def _described(source: Source, noun: Noun) -> Phrase:
    many = noun.kind not in "md" and source() < 0.3
    determiners = ("the", "the", "the", "this", "my", "our") if noun.kind in "rwtv" else ("the", "the", "this")
    return phrase(noun, pick(source, determiners), None, many)


def _comparison(source: Source, subject: Phrase, noun: Noun) -> Words:
    adjective = pick(source, COMPARABLE[noun])
    other = pick(source, [n for n in OF_KIND[noun.kind] if adjective in COMPARABLE[n]])
    than = phrase(other, "my" if subject.en.startswith("the ") and other.kind in "wtv" else "the", None, False)
    if other is noun:  # "older than the book" is the same book
        than = phrase(noun, "the" if not subject.en.startswith("the ") else "this", None, False)
    en, de = adjective.comparative or ("", "")
    fr = french_adjective(adjective, subject.fr_gender, subject.person == THEY)
    what = Words(f"{en} than {than.en}", f"{de} als {than.nom}", f"plus {fr} {elide('que', than.fr)}")
    return finished(*being(subject, what))


def location(source: Source) -> Words:
    """Where something is: the dative after the prepositions that take the accusative with "puts"."""
    subject = something(source, pick(source, FLAT if source() < 0.7 else SMALL_ANIMALS), "dn")
    where = position(source, "dat")
    if subject.definite and source() < 0.2:
        asked = being(subject, where, False, "question")
        return finished(asked.en, asked.de, elide("est-ce que", being(subject, where).fr), "?")
    return finished(*being(subject, where, subject.definite and source() < 0.15))


SMALL_ANIMALS = named("cat dog bird mouse rabbit hamster frog turtle snake duck")


def existence(source: Source) -> Words:
    """What there is somewhere."""
    draw = source()
    noun = pick(source, ACTORS if draw < 0.5 else OF_KIND["a"])
    where = place(source, OF_KIND["s"] if draw < 0.5 else OUTSIDE)
    adjective = chance_adjective(source, noun, 0.35)
    one = phrase(noun, "a", adjective, False)
    draw = source()
    if draw < 0.25:
        nobody = german_phrase(noun, "no", adjective, False, "nom")
        en = f"there is no {one.en.partition(' ')[2]} {where.en}"
        return finished(en, f"{where.de} ist {nobody}", f"il n'y a pas {one.french_no} {where.fr}")
    if draw < 0.6:
        there, is_, ist = one, "is", "ist"
    else:
        there, is_, ist = phrase(noun, "", adjective, True, pick(source, NUMBERS)), "are", "sind"
    return finished(
        f"there {is_} {there.en} {where.en}", f"{where.de} {ist} {there.nom}", f"il y a {there.fr} {where.fr}"
    )


def belonging(source: Source) -> Words:
    """Whose a thing is: a dative verb."""
    noun = pick(source, OWNED)
    thing = phrase(noun, pick(source, ("the", "the", "this")), chance_adjective(source, noun, 0.5), source() < 0.3)
    owner = pick(source, OBJECTS) if source() < 0.3 else something(source, pick(source, ACTORS), "d")
    clause = Clause(thing, words.BELONG, "present", NOT if source() < 0.15 else YES, owner)
    if source() > 0.2:
        return finished(*say(clause))
    return finished(
        english(clause, question=True), german(clause, "verb first"), elide("est-ce que", french(clause)), "?"
    )


OWNED = [noun for kind in "wtv" for noun in OF_KIND[kind]] + [*named("book house hotel castle farm restaurant")]


# Each kind of sentence up to a number between 0 and 1.
PATTERNS = (
    (0.46, statement),
    (0.60, question),
    (0.67, description),
    (0.70, location),
    (0.72, existence),
    (0.75, belonging),
    (0.82, thought),
    (0.85, weather),
    (0.88, mood),
    (0.94, reason),
    (1.00, qualified),
)
