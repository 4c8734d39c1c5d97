"""The words' grammar of the built-in phrasebook: noun phrases that decline, agree and elide, and pronouns.

A noun phrase is made in all three languages and in every German case at once, and is kept, since a few tens of
thousands of them serve all sentences. "you" is polite (Sie, vous); "I", "we", "you" and a "they" without a noun are
masculine in French.
"""

from __future__ import annotations

import re
from functools import cache

from wmt_transformer.data.phrasebook.parts import THEY, THIRD, WE, Adjective, Noun, Phrase, Pronoun, Words

# ---- Articles, elisions, contractions

ASPIRATED = re.compile(r"(héros|haricots?|hamsters?|hiboux?|huit|onze)\b")
VOWELS = frozenset("aeiouyâàéèêëîïôöûùœæh")


def an(text: str) -> str:
    """Puts the English indefinite article before a phrase."""
    vowel = text[0] in "aeiou" and not text.startswith("uni")
    return f"an {text}" if vowel else f"a {text}"


def begins_with_vowel(text: str) -> bool:
    """Tells whether French elides before this: a vowel or a mute h."""
    return text[0] in VOWELS and not (text[0] in "ho" and ASPIRATED.match(text))


def elide(word: str, text: str) -> str:
    """Joins a French word in -e or -a to what follows: "le", "ami" gives "l'ami"."""
    return f"{word[:-1]}'{text}" if begins_with_vowel(text) else f"{word} {text}"


def contract(preposition: str, text: str) -> str:
    """Puts à or de before a French noun phrase: au, aux, du, des, d'."""
    if preposition not in ("à", "de", "à côté de"):
        return f"{preposition} {text}"
    head, short = (preposition[:-1], "u") if preposition == "à" else (preposition[:-2], "de")
    if text.startswith("le "):
        return head + ("au " if short == "u" else "du ") + text[3:]
    if text.startswith("les "):
        return head + ("aux " if short == "u" else "des ") + text[4:]
    return f"à {text}" if short == "u" else head + elide("de", text)


def french_plural(adjective: str) -> str:
    """Forms the plural of a French adjective from its singular."""
    if adjective.endswith(("s", "x")) or " " in adjective:  # "bon marché" never changes
        return adjective
    return adjective + ("x" if adjective.endswith("eau") else "s")


MASCULINE_BEFORE_VOWEL = {"beau": "bel", "nouveau": "nouvel", "vieux": "vieil"}


def french_adjective(adjective: Adjective, gender: str, plural: bool) -> str:
    """Makes an adjective agree."""
    form = adjective.fr[gender == "f"]
    return french_plural(form) if plural else form


GERMAN_CONTRACTIONS = {
    "in dem": "im",
    "an dem": "am",
    "zu dem": "zum",
    "zu der": "zur",
    "von dem": "vom",
    "in das": "ins",
    "an das": "ans",
}


def german_contraction(text: str) -> str:
    """Joins a preposition and the definite article at the start of a phrase: "in dem Haus" gives "im Haus"."""
    preposition, article, *rest = text.split(" ", 2)
    joined = GERMAN_CONTRACTIONS.get(f"{preposition} {article}") if rest else None
    return f"{joined} {rest[0]}" if joined else text


# ---- Noun phrases

# Endings in the order m f n plural.
DER = {"nom": ("er", "ie", "as", "ie"), "acc": ("en", "ie", "as", "ie"), "dat": ("em", "er", "em", "en")}
DIES = {"nom": ("er", "e", "es", "e"), "acc": ("en", "e", "es", "e"), "dat": ("em", "er", "em", "en")}
EIN = {"nom": ("", "e", "", "e"), "acc": ("en", "e", "", "e"), "dat": ("em", "er", "em", "en")}
WEAK = {"nom": ("e", "e", "e", "en"), "acc": ("en", "e", "e", "en"), "dat": ("en", "en", "en", "en")}
MIXED = {"nom": ("er", "e", "es", "en"), "acc": ("en", "e", "es", "en"), "dat": ("en", "en", "en", "en")}
STRONG = DIES
# English determiner: German stem, its endings, those of the adjective; French m, f, plural.
DETERMINERS = {
    "the": ("d", DER, WEAK, ("le", "la", "les")),
    "this": ("dies", DIES, WEAK, ("ce", "cette", "ces")),
    "a": ("ein", EIN, MIXED, ("un", "une", "des")),
    "no": ("kein", EIN, MIXED, ("de", "de", "de")),
    "my": ("mein", EIN, MIXED, ("mon", "ma", "mes")),
    "our": ("unser", EIN, MIXED, ("notre", "notre", "nos")),
    "his": ("sein", EIN, MIXED, ("son", "sa", "ses")),
    "her": ("ihr", EIN, MIXED, ("son", "sa", "ses")),
    "their": ("ihr", EIN, MIXED, ("leur", "leur", "leurs")),
}


@cache
def german_phrase(noun: Noun, determiner: str, adjective: Adjective | None, plural: bool, case: str) -> str:
    """Declines a noun phrase; a determiner that is not in the table, such as a number, does not change."""
    column = 3 if plural else "mfn".index(noun.de_gender)
    stem, endings, adjective_endings, _ = DETERMINERS.get(determiner, (determiner, None, STRONG, None))
    words = [stem + endings[case][column] if endings else stem] if stem else []
    if adjective:
        words.append(adjective.de_stem + adjective_endings[case][column])
    word = noun.de[plural]
    if plural and case == "dat" and word[-1] not in "ns":
        word += "n"
    if noun.weak and not plural and case != "nom":
        word = "Herrn" if word == "Herr" else noun.de[1]
    return " ".join([*words, word])


@cache
def french_phrase(noun: Noun, determiner: str, adjective: Adjective | None, plural: bool) -> str:
    """Builds a French noun phrase: "", for none, gives the partitive or "des"."""
    core = noun.fr[plural]
    if adjective:
        form = french_adjective(adjective, noun.fr_gender, plural)
        if adjective.before:
            if not plural and noun.fr_gender == "m" and begins_with_vowel(core):
                form = MASCULINE_BEFORE_VOWEL.get(form, form)
            core = f"{form} {core}"
        else:
            core = f"{core} {form}"
    if determiner == "" and not plural:
        return contract("de", french_phrase(noun, "the", adjective, plural))
    if determiner == "no" or (plural and determiner in ("", "a") and adjective and adjective.before):
        return elide("de", core)
    _, _, _, forms = DETERMINERS.get(determiner or "a", ("", None, None, (determiner,) * 3))
    article = forms[2 if plural else noun.fr_gender == "f"]
    if begins_with_vowel(core):
        if article in ("le", "la"):
            return f"l'{core}"
        article = {"ce": "cet", "ma": "mon", "sa": "son"}.get(article, article)
    return f"{article} {core}"


@cache
def phrase(
    noun: Noun, determiner: str, adjective: Adjective | None, plural: bool, number: Words | None = None
) -> Phrase:
    """Builds a noun phrase in the three languages; `number` takes the place of the determiner."""
    core = noun.en[plural] if adjective is None else f"{adjective.en} {noun.en[plural]}"
    english = {"": core, "a": an(core), "this": f"{'these' if plural else 'this'} {core}"}.get(determiner)
    german, french = (number.de, number.fr) if number else (determiner, determiner)
    nom, acc, dat = (german_phrase(noun, german, adjective, plural, case) for case in ("nom", "acc", "dat"))
    indefinite = determiner in ("", "a") and number is None
    return Phrase(
        f"{number.en} {core}" if number else english or f"{determiner} {core}",
        nom,
        acc,
        dat,
        french_phrase(noun, french, adjective, plural),
        THEY if plural else THIRD,
        noun.de_gender,
        noun.fr_gender,
        definite=determiner in DETERMINERS and determiner != "a" and number is None,
        german_no=german_phrase(noun, "no", adjective, plural, "acc") if indefinite else "",
        french_no=french_phrase(noun, "no", adjective, plural) if indefinite else "",
    )


def subject_pronoun(antecedent: Phrase, natural: bool) -> Phrase:
    """Refers back to a phrase as subject; `natural`: a person, "he" or "she" in English."""
    plural = antecedent.person == THEY
    german = "sie" if plural else {"m": "er", "f": "sie", "n": "es"}[antecedent.de_gender]
    french = ("elle" if antecedent.fr_gender == "f" else "il") + ("s" if plural else "")
    english = {"m": "he", "f": "she"}[antecedent.fr_gender] if natural else "it"
    return antecedent._replace(en="they" if plural else english, nom=german, fr=french)


def object_pronoun(antecedent: Phrase, natural: bool) -> Pronoun:
    """Refers back to a phrase as object."""
    feminine = antecedent.fr_gender == "f"
    if antecedent.person == THEY:
        stressed, ending = ("elles", "es") if feminine else ("eux", "s")
        return Pronoun("them", "sie", "ihnen", "les", "leur", stressed, ending)
    acc, dat = {"m": ("ihn", "ihm"), "f": ("sie", "ihr"), "n": ("es", "ihm")}[antecedent.de_gender]
    english = ("her" if feminine else "him") if natural else "it"
    french = ("la", "lui", "elle", "e") if feminine else ("le", "lui", "lui", "")
    return Pronoun(english, acc, dat, *french)


def relative(antecedent: Phrase, person: bool) -> Phrase:
    """Makes the relative pronoun that refers to a phrase: as subject in `nom`, as object in `acc`."""
    column = 3 if antecedent.person == THEY else "mfn".index(antecedent.de_gender)
    nom, acc = "d" + DER["nom"][column], "d" + DER["acc"][column]
    return antecedent._replace(en="who" if person else "that", nom=nom, acc=acc, fr="qui")


def both(one: Phrase, other: Phrase) -> Phrase:
    """Joins two phrases with "and"; one masculine makes them masculine in French."""
    gender = "f" if one.fr_gender == other.fr_gender == "f" else "m"
    return Phrase(
        f"{one.en} and {other.en}",
        f"{one.nom} und {other.nom}",
        f"{one.acc} und {other.acc}",
        f"{one.dat} und {other.dat}",
        f"{one.fr} et {other.fr}",
        THEY,
        "m",
        gender,
        one.definite and other.definite,
    )


def agreement(of: Phrase | Pronoun) -> str:
    """Gives the ending of a French participle that agrees: "", e, s, es."""
    if isinstance(of, Pronoun):
        return of.ending
    return ("e" if of.fr_gender == "f" else "") + ("s" if of.person in (WE, THEY) else "")


def agreeing(participle: str, ending: str) -> str:
    """Adds an ending to a French participle: "compris" has its plural already."""
    return participle + (ending[:-1] if ending == "s" and participle.endswith("s") else ending)
