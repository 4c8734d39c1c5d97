"""Clauses of the built-in phrasebook: who does what, put in the word order of each language.

What decides between two correct translations is fixed here. German: definite objects come before the time and
others after it, time before place, an object with a preposition last; the verb comes second, first in questions,
last in subordinate clauses, with its prefix. French: pronouns before the verb that they belong to, questions with
"est-ce que". A negated indefinite object takes "kein" and "de".
"""

from __future__ import annotations

from typing import NamedTuple

from wmt_transformer.data.phrasebook.grammar import agreeing, agreement, contract, elide, german_contraction
from wmt_transformer.data.phrasebook.parts import NEVER, NOT, THIRD, YES, Modal, Phrase, Pronoun, Verb, Words


class Clause(NamedTuple):
    """Who does what. `mode` is "present", "perfect" or a modal verb; `agree` overrides the French agreement."""

    subject: Phrase
    verb: Verb
    mode: str | Modal = "present"
    polarity: int = YES
    direct: Phrase | Pronoun | None = None
    recipient: Phrase | Pronoun | None = None
    adverb: Words | None = None
    time: Words | None = None
    place: Words | None = None
    agree: str = ""


HAVE = ("have", "has", "have", "have", "have")
BE = ("am", "is", "are", "are", "are")
HABEN = ("habe", "hat", "haben", "haben", "haben")
SEIN = ("bin", "ist", "sind", "sind", "sind")
AVOIR = ("ai", "a", "avons", "avez", "ont")
ETRE = ("suis", "est", "sommes", "êtes", "sont")


def english(clause: Clause, question: bool = False) -> str:
    """Says a clause in English, with do-support where it is needed."""
    _, verb, mode, polarity, *_ = clause
    subject, person = clause.subject.en, clause.subject.person
    base, third, participle = verb.en
    middle = " never" if polarity == NEVER else f" {clause.adverb.en}" if clause.adverb else ""
    negation = " not" if polarity == NOT else ""
    does = "does" if person == THIRD else "do"
    if isinstance(mode, Modal):
        form = (mode.en_not if polarity == NOT and not question else mode.en)[person == THIRD]
        if not question:
            text = f"{subject} {form} {base}"
        elif form.startswith("want"):
            text = f"{does} {subject}{negation} want to {base}"
        else:
            first, _, rest = form.partition(" ")
            text = f"{first} {subject}{negation} {rest} {base}" if rest else f"{first} {subject}{negation} {base}"
    elif mode == "perfect":
        text = f"{HAVE[person]} {subject}" if question else f"{subject} {HAVE[person]}"
        text += f"{negation}{middle} {participle}"
    elif question:
        text = f"{does} {subject}{negation}{middle} {base}"
    elif negation:
        text = f"{subject} {does} not {base}"
    else:
        text = f"{subject}{middle} {third if person == THIRD else base}"
    if clause.direct:
        text += f"{verb.en_prep} {clause.direct.en}"
    if clause.recipient:
        text += f" to {clause.recipient.en}"
    if clause.place:
        text += f" {clause.place.en}"
    if clause.time:
        text += f" {clause.time.en}"
    return text


def german(clause: Clause, order: str = "main", front: str = "") -> str:
    """Says a clause in German: order "main", "verb first" or "verb last"; `front` comes before an inversion."""
    _, verb, mode, polarity, direct, recipient, adverb, time, place, _ = clause
    person = clause.subject.person
    if isinstance(mode, Modal):
        finite, last = mode.de[person], verb.prefix + verb.de_infinitive
    elif mode == "perfect":
        finite, last = (SEIN if verb.sein else HABEN)[person], verb.de_participle
    elif order == "verb last":
        finite, last = verb.prefix + verb.de[person], ""
    else:
        finite, last = verb.de[person], verb.prefix
    when = "nie" if polarity == NEVER else adverb.de if adverb else time.de if time else ""
    before, after, prepositional = [], [], ""
    negation = "nicht" if polarity == NOT else ""
    if recipient:
        (before if isinstance(recipient, Pronoun) or recipient.definite else after).append(recipient.dat)
    if direct:
        text = direct.acc if verb.de_case == "A" else direct.dat
        if verb.de_prep:
            prepositional = german_contraction(f"{verb.de_prep} {text}")
        elif isinstance(direct, Pronoun):
            before.insert(0, text)
        elif direct.definite:
            before.append(text)
        elif polarity == NOT:
            after, negation = [*after, direct.german_no], ""
        else:
            after.append(text)
    where = place.de if place else ""
    middle = [*before, when, *after, negation, where, prepositional]
    subject = clause.subject.nom
    if order == "verb last":
        words = [subject, *middle, last, finite]
    elif front or order == "verb first":
        words = [front, finite, subject, *middle, last]
    else:
        words = [subject, finite, *middle, last]
    return " ".join([word for word in words if word])


def french(clause: Clause) -> str:
    """Says a clause in French; object pronouns come before the verb that they belong to."""
    subject, verb, mode, polarity, direct, recipient, adverb, time, place, agree = clause
    person = subject.person
    clitics, tail = [], []
    if isinstance(direct, Pronoun):
        if verb.fr_object in "AD":
            clitics.append(direct.direct if verb.fr_object == "A" else direct.indirect)
        else:
            tail.append(contract(verb.fr_object, direct.stressed))
    elif direct:
        text = direct.french_no if polarity and direct.french_no and verb.fr_object == "A" else direct.fr
        tail.append(text if verb.fr_object == "A" else contract(FRENCH_CASES.get(verb.fr_object, verb.fr_object), text))
    if isinstance(recipient, Pronoun):
        clitics.insert(0 if recipient.indirect in ("me", "nous", "vous") else 1, recipient.indirect)
    elif recipient:
        tail.append(contract("à", recipient.fr))
    if place:
        tail.append(place.fr)
    if time:
        tail.append(time.fr)
    middle = "" if polarity == YES else "pas" if polarity == NOT else "jamais"
    if adverb:
        middle = adverb.fr
    if isinstance(mode, Modal):
        finite, last = mode.fr[person], _with_clitics(clitics, verb.fr_infinitive)
    elif mode == "perfect":
        if verb.etre:
            ending = agreement(subject)
        else:
            before = isinstance(direct, Pronoun) and verb.fr_object == "A"
            ending = agree or (agreement(direct) if before and direct else "")
        finite = _with_clitics(clitics, (ETRE if verb.etre else AVOIR)[person])
        last = agreeing(verb.fr_participle, ending)
    else:
        finite, last = _with_clitics(clitics, verb.fr[person]), ""
    if polarity:
        finite = elide("ne", finite)
    start = elide("je", finite) if subject.fr == "je" else f"{subject.fr} {finite}" if subject.fr else finite
    return " ".join([word for word in (start, middle, last, *tail) if word])


FRENCH_CASES = {"D": "à"}


def _with_clitics(clitics: list[str], verb: str) -> str:
    for clitic in reversed(clitics):
        verb = elide(clitic, verb) if clitic in ("me", "le", "la") else f"{clitic} {verb}"
    return verb


def being(subject: Phrase, predicate: Words, negated: bool = False, order: str = "main", front: str = "") -> Words:
    """Says what or where somebody is; `order` is "main", "verb last" or "question" (verb first in English too)."""
    person = subject.person
    is_, ist, est = BE[person], SEIN[person], ETRE[person]
    no = " not" if negated else ""
    nicht = "nicht " if negated else ""
    en = f"{is_} {subject.en}{no}" if order == "question" else f"{subject.en} {is_}{no}"
    if order == "verb last":
        de = f"{subject.nom} {nicht}{predicate.de} {ist}"
    elif order == "question" or front:
        de = f"{front} {ist} {subject.nom} {nicht}{predicate.de}".lstrip()
    else:
        de = f"{subject.nom} {ist} {nicht}{predicate.de}"
    group = f"{elide('ne', est)} pas" if negated else est
    fr = elide("je", group) if subject.fr == "je" else f"{subject.fr} {group}"
    return Words(f"{en} {predicate.en}", de, f"{fr} {predicate.fr}")


def say(clause: Clause, order: str = "main", front: str = "") -> Words:
    """Says a clause in the three languages; `order` and `front` are German's."""
    return Words(english(clause), german(clause, order, front), french(clause))


def finished(en: str, de: str, fr: str, mark: str = ".") -> Words:
    """Makes sentences of clauses: a capital letter first and a mark at the end."""
    space = " " if mark == "?" else ""  # French sets the question mark apart
    return Words(en[0].upper() + en[1:] + mark, de[0].upper() + de[1:] + mark, fr[0].upper() + fr[1:] + space + mark)
