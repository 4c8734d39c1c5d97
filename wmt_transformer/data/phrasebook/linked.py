"""Sentences of two clauses, drawn for the built-in phrasebook: thoughts, weather, moods, reasons, relative clauses."""

from __future__ import annotations

from wmt_transformer.data.phrasebook import words
from wmt_transformer.data.phrasebook.actions import act, doing, move, travel
from wmt_transformer.data.phrasebook.choices import (
    ACTORS,
    EMBEDDED,
    STATED,
    Source,
    chance_adjective,
    pick,
    place,
    predicate,
    someone,
)
from wmt_transformer.data.phrasebook.clauses import Clause, being, english, finished, french, german, say
from wmt_transformer.data.phrasebook.grammar import (
    agreement,
    elide,
    object_pronoun,
    phrase,
    relative,
    subject_pronoun,
)
from wmt_transformer.data.phrasebook.parts import NOT, YES, Words
from wmt_transformer.data.phrasebook.words import (
    BY_NAME,
    CAN,
    NOUNS,
    PREDICATES,
    VERBS,
    fixed,
)


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
        said = say(doing(source, subject, noun), "verb last")
    if doubt:
        return finished(f"{head.en} whether {said.en}", f"{head.de}, ob {said.de}", f"{head.fr} {_if(said.fr)}")
    return finished(f"{head.en} that {said.en}", f"{head.de}, dass {said.de}", f"{head.fr} {elide('que', said.fr)}")


BELIEFS, DOUBTS = fixed("beliefs"), fixed("doubts")


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
        return _because(say(clause), when)
    return _whenever(when, clause._replace(mode="present", polarity=YES if clause.polarity == YES else NOT))


WEATHER = fixed("weather")
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
    return _because(say(clause._replace(subject=subject)), said)


MOODS = [
    (next(a for a in words.ADJECTIVES if a.en == row[0][0]), name) for row in words.rows("moods") for name in row[1]
]


def _because(main: Words, why: Words) -> Words:
    return finished(
        f"{main.en} because {why.en}", f"{main.de}, weil {why.de}", f"{main.fr} {elide('parce que', why.fr)}"
    )


def _whenever(when: Words, clause: Clause) -> Words:
    said = say(clause, front=f"wenn {when.de},")
    return finished(f"when {when.en}, {said.en}", said.de, f"quand {when.fr}, {said.fr}")


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
        return _because(say(main), why)
    back, it = subject_pronoun(subject, natural=True), object_pronoun(thing, natural=False)
    if draw < 0.6 or not USES[noun]:
        second = Clause(back, VERBS["like"].verb, "present", YES, it)
    else:
        uses = [verb for verb in USES[noun] if not (usage is BORROW and verb is SELL)]
        second = Clause(back, pick(source, uses or USES[noun]), pick(source, WILLING), YES, it)
    return _because(say(main), say(second, "verb last"))


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
        said = say(doing(source, relative(who, True), noun), "verb last")
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
        return finished(*being(who._replace(en=en, nom=f"{who.nom}, {said.de},", fr=fr), what))
    main = Clause(pick(source, STATED), pick(source, DIRECTLY[noun]), "present", YES, who._replace(en=en, fr=fr))
    return finished(english(main), f"{german(main)}, {said.de}", french(main))


DIRECT = [
    usage
    for usage in words.TRANSITIVE
    if usage.verb.de_case == "A" and not usage.verb.de_prep and usage.verb.fr_object == "A"
]
DIRECTLY = {noun: [usage.verb for usage in DIRECT if noun in usage.objects] for noun in NOUNS}
