"""The kinds of sentences that the built-in phrasebook has, each drawn from `source`, and how often each comes.

A pronoun occurs as "it" only where its noun, and so its gender, stands in the same sentence: that is what a
translation must look back for.
"""

from __future__ import annotations

from wmt_transformer.data.phrasebook import words
from wmt_transformer.data.phrasebook.choices import (
    ACTORS,
    ASKED,
    EMBEDDED,
    FLAT,
    NUMBERS,
    OBJECTS,
    OUTSIDE,
    STATED,
    WHO,
    Source,
    act,
    chance_adjective,
    doing,
    move,
    pick,
    place,
    position,
    predicate,
    someone,
    something,
    travel,
)
from wmt_transformer.data.phrasebook.clauses import Clause, being, english, french, german
from wmt_transformer.data.phrasebook.grammar import (
    NOT,
    SPEAKER,
    THEY,
    YES,
    Noun,
    Phrase,
    Words,
    agreement,
    elide,
    french_adjective,
    german_phrase,
    object_pronoun,
    phrase,
    relative,
    subject_pronoun,
)
from wmt_transformer.data.phrasebook.words import BY_NAME, COMPARABLE, NOUNS, OF_KIND, PREDICATES, VERBS, fixed, named


def any_sentence(source: Source) -> Words:
    """Draws a sentence of any kind."""
    draw = source()
    for limit, pattern in PATTERNS:
        if draw < limit:
            return pattern(source)
    raise AssertionError("the last limit is 1")


def _finished(en: str, de: str, fr: str, mark: str = ".") -> Words:
    space = " " if mark == "?" else ""  # French sets the question mark apart
    return Words(en[0].upper() + en[1:] + mark, de[0].upper() + de[1:] + mark, fr[0].upper() + fr[1:] + space + mark)


def _said(clause: Clause, order: str = "main", front: str = "") -> Words:
    return Words(english(clause), german(clause, order, front), french(clause))


# ---- The kinds of sentences


def statement(source: Source) -> Words:
    """A main clause, with the time in front now and then."""
    clause = doing(source, *someone(source, animals=True))
    time = clause.time
    if not time or source() < 0.7:
        return _finished(*_said(clause))
    said = _said(clause._replace(time=None), front=time.de)
    return _finished(f"{time.en} {said.en}", said.de, f"{time.fr}, {said.fr}")


def question(source: Source) -> Words:
    """A question: yes or no, or who, why, when, where."""
    draw = source()
    if draw < 0.25:
        return _finished(*_said(doing(source, WHO, None)), "?")
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
    return _finished(
        en + english(clause, question=True),
        german(clause, "verb first", de),
        fr + elide("est-ce que", french(clause)),
        "?",
    )


CAN, MUST, *_ = words.MODALS


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
        return _finished(*said)
    asked = being(subject, what, negated, "question")
    return _finished(asked.en, asked.de, elide("est-ce que", said.fr), "?")


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
    return _finished(*being(subject, what))


def location(source: Source) -> Words:
    """Where something is: the dative after the prepositions that take the accusative with "puts"."""
    subject = something(source, pick(source, FLAT if source() < 0.7 else SMALL_ANIMALS), "dn")
    where = position(source, "dat")
    if subject.definite and source() < 0.2:
        asked = being(subject, where, False, "question")
        return _finished(asked.en, asked.de, elide("est-ce que", being(subject, where).fr), "?")
    return _finished(*being(subject, where, subject.definite and source() < 0.15))


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
        return _finished(en, f"{where.de} ist {nobody}", f"il n'y a pas {one.french_no} {where.fr}")
    if draw < 0.6:
        there, is_, ist = one, "is", "ist"
    else:
        there, is_, ist = phrase(noun, "", adjective, True, pick(source, NUMBERS)), "are", "sind"
    return _finished(
        f"there {is_} {there.en} {where.en}", f"{where.de} {ist} {there.nom}", f"il y a {there.fr} {where.fr}"
    )


def belonging(source: Source) -> Words:
    """Whose a thing is: a dative verb."""
    noun = pick(source, OWNED)
    thing = phrase(noun, pick(source, ("the", "the", "this")), chance_adjective(source, noun, 0.5), source() < 0.3)
    owner = pick(source, OBJECTS) if source() < 0.3 else something(source, pick(source, ACTORS), "d")
    clause = Clause(thing, words.BELONG, "present", NOT if source() < 0.15 else YES, owner)
    if source() > 0.2:
        return _finished(*_said(clause))
    return _finished(
        english(clause, question=True), german(clause, "verb first"), elide("est-ce que", french(clause)), "?"
    )


OWNED = [noun for kind in "wtv" for noun in OF_KIND[kind]] + [*named("book house hotel castle farm restaurant")]


def thought(source: Source) -> Words:
    """A clause after "that" or "whether": the German verb at its end."""
    doubt = source() < 0.4
    head = pick(source, DOUBTS if doubt else BELIEFS)
    subject, noun = someone(source, animals=True, pronouns=EMBEDDED)
    if source() < 0.2:
        said = being(
            subject,
            predicate(source, subject, pick(source, PREDICATES[noun or BY_NAME["woman"]])),
            order="verb last",
        )
    else:
        said = _said(doing(source, subject, noun), "verb last")
    if doubt:
        return _finished(f"{head.en} whether {said.en}", f"{head.de}, ob {said.de}", f"{head.fr} {_if(said.fr)}")
    return _finished(f"{head.en} that {said.en}", f"{head.de}, dass {said.de}", f"{head.fr} {elide('que', said.fr)}")


BELIEFS, DOUBTS = fixed(words.BELIEFS), fixed(words.DOUBTS)


def _if(clause: str) -> str:
    """Puts "si" before a French clause: it elides before il and ils only."""
    return f"s'{clause}" if clause.startswith(("il ", "ils ")) else f"si {clause}"


def weather(source: Source) -> Words:
    """What somebody does because of the weather, or when it is like that: German inverts after a clause."""
    when = pick(source, WEATHER)
    subject, noun = someone(source)
    because = source() < 0.5
    if not because and source() < 0.6:  # in "drinks the tea because it is cold" the tea could be meant
        clause = act(source, subject, noun, pick(source, INDOORS))
    else:
        clause = (move if source() < 0.6 else travel)(source, subject, noun)
    clause = clause._replace(time=None, adverb=None)
    if because:
        return _because(_said(clause), when)
    return _whenever(when, clause._replace(mode="present", polarity=YES if clause.polarity == YES else NOT))


WEATHER = fixed(words.WEATHER)
INDOORS = [VERBS[name] for name in ("drink", "read", "write", "prepare", "clean", "play with", "call")]


def mood(source: Source) -> Words:
    """What somebody does when happy or tired: a pronoun that refers to the subject of the first clause."""
    subject, _ = someone(source, pronouns=None, natural=True)
    adjective, name = pick(source, MOODS)
    state = being(subject, predicate(source, subject, adjective, graded=False), order="verb last")
    verb = VERBS[name.lstrip("-")].verb
    back = subject_pronoun(subject, natural=True)
    clause = Clause(back, verb, "present", NOT if name[0] == "-" else YES)
    if source() < 0.5:
        if name in ("sing", "dance", "laugh", "play") and source() < 0.5:
            clause = clause._replace(place=place(source, VERBS["play with"].places))
        return _whenever(state, clause)
    said = being(back, predicate(source, back, adjective), order="verb last")
    return _because(_said(clause._replace(subject=subject)), said)


MOODS = [
    (next(a for a in words.ADJECTIVES if a.en == row[0][0]), name) for row in words.rows(words.MOODS) for name in row[1]
]


def _because(main: Words, why: Words) -> Words:
    return _finished(
        f"{main.en} because {why.en}", f"{main.de}, weil {why.de}", f"{main.fr} {elide('parce que', why.fr)}"
    )


def _whenever(when: Words, clause: Clause) -> Words:
    said = _said(clause, front=f"wenn {when.de},")
    return _finished(f"when {when.en}, {said.en}", said.de, f"quand {when.fr}, {said.fr}")


def reason(source: Source) -> Words:
    """Why somebody buys a thing: both pronouns of the second clause refer to nouns of the first."""
    subject, _ = someone(source, pronouns=None, natural=True)
    usage = pick(source, ACQUIRING)
    noun = pick(source, usage.objects)
    draw = source()
    adjective = chance_adjective(source, noun, 0.3) if draw > 0.4 else None
    many = noun.kind not in "md" and source() < 0.25
    thing = phrase(noun, "this" if source() < 0.25 else "the", adjective, many)
    main = Clause(subject, usage.verb, "present" if source() < 0.5 else "perfect", YES, thing)
    if draw < 0.4:
        it = subject_pronoun(thing, natural=False)
        adjective = pick(source, [a for a in PREDICATES[noun] if a.en not in UNWANTED] or PREDICATES[noun])
        why = being(it, predicate(source, it, adjective), order="verb last")
        return _because(_said(main), why)
    back, it = subject_pronoun(subject, natural=True), object_pronoun(thing, natural=False)
    if draw < 0.6 or not USES[noun]:
        second = Clause(back, VERBS["like"].verb, "present", YES, it)
    else:
        uses = [verb for verb in USES[noun] if not (usage is BORROW and verb is SELL)]
        second = Clause(back, pick(source, uses or USES[noun]), pick(source, WILLING), YES, it)
    return _because(_said(main), _said(second, "verb last"))


UNWANTED = frozenset(["bad", "dirty", "broken", "boring", "expensive", "heavy", "slow", "sad"])
ACQUIRING = [VERBS[name] for name in ("buy", "choose", "borrow", "bring", "look for")]
ACQUIRING[-1] = ACQUIRING[-1]._replace(objects=tuple(n for n in ACQUIRING[-1].objects if n.kind in "twr"))
BORROW, SELL = VERBS["borrow"], VERBS["sell"].verb
WILLING = [modal for modal in words.MODALS if modal is not CAN]
USES = {
    noun: [
        VERBS[name].verb
        for name in ("read", "eat", "drink", "repair", "use", "sell", "translate", "prepare", "wash", "cut")
        if noun in VERBS[name].objects
    ]
    for noun in NOUNS
}


def qualified(source: Source) -> Words:
    """A relative clause, about a subject or about an object."""
    if source() < 0.55:
        noun = pick(source, ACTORS)
        who = phrase(noun, "the", None, source() < 0.25)
        said = _said(doing(source, relative(who, True), noun), "verb last")
    else:
        usage = pick(source, DIRECT)
        noun = pick(source, usage.objects)
        many = noun.kind not in "md" and source() < 0.25
        who = phrase(noun, "the", None, many)
        agent, _ = someone(source)
        perfect = "s" not in usage.flags and source() < 0.5
        clause = Clause(agent, usage.verb, "perfect" if perfect else "present", agree=agreement(who))
        pronoun = relative(who, noun.kind == "p").acc
        said = Words(
            f"that {english(clause)}{usage.verb.en_prep}",
            f"{pronoun} {german(clause, 'verb last')}",
            elide("que", french(clause)),
        )
    en, fr = f"{who.en} {said.en}", f"{who.fr} {said.fr}"
    if source() < 0.5:
        what = predicate(source, who, pick(source, PREDICATES[noun]))
        return _finished(*being(who._replace(en=en, nom=f"{who.nom}, {said.de},", fr=fr), what))
    main = Clause(pick(source, STATED), pick(source, DIRECTLY[noun]), "present", YES, who._replace(en=en, fr=fr))
    return _finished(english(main), f"{german(main)}, {said.de}", french(main))


DIRECT = [
    usage
    for usage in words.TRANSITIVE
    if usage.verb.de_case == "A" and not usage.verb.de_prep and usage.verb.fr_object == "A"
]
DIRECTLY = {noun: [usage.verb for usage in DIRECT if noun in usage.objects] for noun in NOUNS}

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
