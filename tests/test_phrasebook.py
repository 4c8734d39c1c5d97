"""The built-in phrasebook: declension and word order against hand-written cases, splits, counts, and a lint."""

from __future__ import annotations

import itertools
import json
import math
import re
import subprocess
import sys

import pytest

from wmt_transformer.data.phrasebook import Sentence, generate, split_of
from wmt_transformer.data.phrasebook import words as phrasebook_words
from wmt_transformer.data.phrasebook.choices import ACTORS, HABITS, OBJECTS, STATED, SUBJECTS
from wmt_transformer.data.phrasebook.clauses import Clause, being, english, french, german
from wmt_transformer.data.phrasebook.grammar import (
    an,
    both,
    contract,
    elide,
    german_contraction,
    object_pronoun,
    phrase,
    relative,
    subject_pronoun,
)
from wmt_transformer.data.phrasebook.parts import NEVER, NOT, YES, Words
from wmt_transformer.data.phrasebook.words import ADJECTIVES, BY_NAME, DITRANSITIVE, MODALS, NOUNS, VERBS

ADJECTIVE = {adjective.en: adjective for adjective in ADJECTIVES}
GIVEN = {usage.verb.en[0]: usage.verb for usage in DITRANSITIVE}
CAN, MUST, WANT, _ = MODALS
ICH, HE, SHE, WE, THEY = STATED
ME, HIM, HER, US, YOU, THEM = OBJECTS


def the(name: str, determiner: str = "the", adjective: str = "", plural: bool = False):
    return phrase(BY_NAME[name], determiner, ADJECTIVE[adjective] if adjective else None, plural)


def verb(name: str):
    return VERBS[name].verb


def three(clause: Clause, order: str = "main") -> tuple[str, str, str]:
    return english(clause, order == "verb first"), german(clause, order), french(clause)


@pytest.fixture(scope="module")
def corpora() -> dict[str, list[Sentence]]:
    """Makes the corpora in a process of their own: here every call has its types checked, which takes minutes."""
    code = (
        "import json; from wmt_transformer.data.phrasebook import generate\n"
        "jobs = {'train': (100_000, 1), 'dev': (300, 2), 'test': (300, 3), 'train again': (30_000, 4)}\n"
        "print(json.dumps({name: list(generate(name.split()[0], *job)) for name, job in jobs.items()}))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=_environment("0"), capture_output=True, check=True)
    return {split: [Sentence(*s) for s in sentences] for split, sentences in json.loads(done.stdout).items()}


def _environment(hash_seed: str) -> dict[str, str]:
    return {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)}


@pytest.fixture(scope="module")
def train(corpora) -> list[Sentence]:
    return corpora["train"]


# ---- Noun phrases, from a grammar book's tables


@pytest.mark.parametrize(
    ("determiner", "nominative", "accusative", "dative"),
    [
        ("the", "der alte Mann", "den alten Mann", "dem alten Mann"),
        ("a", "ein alter Mann", "einen alten Mann", "einem alten Mann"),
        ("my", "mein alter Mann", "meinen alten Mann", "meinem alten Mann"),
        ("this", "dieser alte Mann", "diesen alten Mann", "diesem alten Mann"),
        ("no", "kein alter Mann", "keinen alten Mann", "keinem alten Mann"),
    ],
)
def test_an_old_man_declines_weak_after_der_and_mixed_after_ein(determiner, nominative, accusative, dative):
    man = the("man", determiner, "old")
    assert (man.nom, man.acc, man.dat) == (nominative, accusative, dative)


@pytest.mark.parametrize(
    ("name", "determiner", "adjective", "plural", "cases"),
    [
        ("wine", "", "good", False, "guter Wein, guten Wein, gutem Wein"),
        ("milk", "", "cold", False, "kalte Milch, kalte Milch, kalter Milch"),
        ("beer", "", "cold", False, "kaltes Bier, kaltes Bier, kaltem Bier"),
        ("child", "", "small", True, "kleine Kinder, kleine Kinder, kleinen Kindern"),
        ("child", "the", "small", True, "die kleinen Kinder, die kleinen Kinder, den kleinen Kindern"),
        (
            "child",
            "our",
            "small",
            True,
            "unsere kleinen Kinder, unsere kleinen Kinder, unseren kleinen Kindern",
        ),
        ("child", "a", "small", False, "ein kleines Kind, ein kleines Kind, einem kleinen Kind"),
        ("woman", "a", "young", False, "eine junge Frau, eine junge Frau, einer jungen Frau"),
        ("woman", "the", "young", False, "die junge Frau, die junge Frau, der jungen Frau"),
        ("car", "the", "expensive", False, "das teure Auto, das teure Auto, dem teuren Auto"),
        ("cat", "the", "tired", False, "die müde Katze, die müde Katze, der müden Katze"),
    ],
)
def test_german_phrases_decline_by_gender_number_and_determiner(name, determiner, adjective, plural, cases):
    one = the(name, determiner, adjective, plural)
    assert ", ".join([one.nom, one.acc, one.dat]) == cases


@pytest.mark.parametrize(
    ("name", "cases"),
    [
        ("boy", "der Junge, den Jungen, dem Jungen"),
        ("student", "der Student, den Studenten, dem Studenten"),
        ("neighbor", "der Nachbar, den Nachbarn, dem Nachbarn"),
        ("gentleman", "der Herr, den Herrn, dem Herrn"),
        ("bear", "der Bär, den Bären, dem Bären"),
        ("teacher", "der Lehrer, den Lehrer, dem Lehrer"),
    ],
)
def test_weak_masculines_take_n_outside_the_nominative_and_others_do_not(name, cases):
    one = the(name)
    assert ", ".join([one.nom, one.acc, one.dat]) == cases


@pytest.mark.parametrize(
    ("name", "dative"),
    [
        ("gentleman", "den Herren"),
        ("table", "den Tischen"),
        ("car", "den Autos"),
        ("garden", "den Gärten"),
        ("teacher", "den Lehrern"),
        ("waitress", "den Kellnerinnen"),
    ],
)
def test_the_dative_plural_ends_in_n_unless_the_plural_ends_in_s(name, dative):
    assert the(name, plural=True).dat == dative


@pytest.mark.parametrize(
    ("name", "determiner", "adjective", "plural", "expected"),
    [
        ("man", "the", "", False, "l'homme"),
        ("hero", "the", "", False, "le héros"),
        ("owl", "the", "", False, "le hibou"),
        ("bean", "the", "", True, "les haricots"),
        ("hospital", "this", "", False, "cet hôpital"),
        ("man", "this", "beautiful", False, "ce bel homme"),
        ("elephant", "a", "old", False, "un vieil éléphant"),
        ("hotel", "a", "new", False, "un nouvel hôtel"),
        ("woman", "the", "beautiful", True, "les belles femmes"),
        ("dog", "", "big", True, "de grands chiens"),
        ("man", "", "old", True, "de vieux hommes"),
        ("dog", "", "black", True, "des chiens noirs"),
        ("church", "my", "", False, "mon église"),
        ("church", "my", "beautiful", False, "ma belle église"),
        ("school", "his", "", False, "son école"),
        ("water", "", "", False, "de l'eau"),
        ("milk", "", "", False, "du lait"),
        ("meat", "", "fresh", False, "de la viande fraîche"),
        ("picture", "the", "beautiful", True, "les beaux tableaux"),
        ("lamp", "", "cheap", True, "des lampes bon marché"),
        ("woman", "the", "polite", True, "les femmes polies"),
        ("orange", "a", "good", False, "une bonne orange"),
    ],
)
def test_french_phrases_elide_agree_and_place_their_adjectives(name, determiner, adjective, plural, expected):
    assert the(name, determiner, adjective, plural).fr == expected


def test_french_contracts_a_and_de_with_le_and_les_only():
    assert [contract("à", text) for text in ("le parc", "les parcs", "la gare", "l'hôtel", "un parc")] == [
        "au parc",
        "aux parcs",
        "à la gare",
        "à l'hôtel",
        "à un parc",
    ]
    assert [contract("de", text) for text in ("le lit", "les lits", "la reine", "l'homme", "elle", "un lit")] == [
        "du lit",
        "des lits",
        "de la reine",
        "de l'homme",
        "d'elle",
        "d'un lit",
    ]
    assert contract("à côté de", "le lit") == "à côté du lit"
    assert elide("que", "il dort") == "qu'il dort" and elide("que", "huit chats dorment") == "que huit chats dorment"


def test_german_contracts_only_the_article_after_its_preposition():
    pairs = {"in dem Haus": "im Haus", "in das alte Haus": "ins alte Haus", "zu der Schule": "zur Schule"}
    pairs |= {
        "an dem See": "am See",
        "zu dem Zug": "zum Zug",
        "von dem Mann": "vom Mann",
        "in die Stadt": "in die Stadt",
    }
    pairs |= {"mit dem Hund": "mit dem Hund", "in diesem Haus": "in diesem Haus", "von ihm": "von ihm"}
    assert {text: german_contraction(text) for text in pairs} == pairs


def test_english_articles_follow_the_sound():
    words = ["apple", "old man", "dog", "university", "umbrella", "e-mail", "uncle"]
    assert [an(word).split()[0] for word in words] == ["an", "an", "a", "a", "an", "an", "an"]


# ---- Clauses


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        (
            Clause(the("man"), verb("buy"), direct=the("apple", "a")),
            ("the man buys an apple", "der Mann kauft einen Apfel", "l'homme achète une pomme"),
        ),
        (
            Clause(the("man"), verb("eat"), polarity=NOT, direct=the("apple", "a")),
            ("the man does not eat an apple", "der Mann isst keinen Apfel", "l'homme ne mange pas de pomme"),
        ),
        (
            Clause(the("man"), verb("eat"), polarity=NOT, direct=the("apple")),
            (
                "the man does not eat the apple",
                "der Mann isst den Apfel nicht",
                "l'homme ne mange pas la pomme",
            ),
        ),
        (
            Clause(THEY, verb("drink"), "perfect", NEVER, the("water", "")),
            ("they have never drunk water", "sie haben nie Wasser getrunken", "ils n'ont jamais bu d'eau"),
        ),
        (
            Clause(ICH, verb("answer"), "perfect", direct=HER),
            ("I have answered her", "ich habe ihr geantwortet", "je lui ai répondu"),
        ),
        (
            Clause(the("woman"), verb("listen to"), polarity=NOT, direct=the("neighbor")),
            (
                "the woman does not listen to the neighbor",
                "die Frau hört dem Nachbarn nicht zu",
                "la femme n'écoute pas le voisin",
            ),
        ),
        (
            Clause(the("girl", plural=True), verb("arrive"), "perfect"),
            ("the girls have arrived", "die Mädchen sind angekommen", "les filles sont arrivées"),
        ),
        (
            Clause(HE, verb("call"), WANT, NOT, THEM),
            ("he does not want to call them", "er will sie nicht anrufen", "il ne veut pas les appeler"),
        ),
        (
            Clause(SHE, GIVEN["give"], recipient=HIM, direct=the("book")),
            ("she gives the book to him", "sie gibt ihm das Buch", "elle lui donne le livre"),
        ),
        (
            Clause(ICH, verb("wait for"), polarity=NOT, direct=the("bus")),
            ("I do not wait for the bus", "ich warte nicht auf den Bus", "je n'attends pas le bus"),
        ),
        (
            Clause(WE, verb("photograph"), "perfect", direct=THEM),
            ("we have photographed them", "wir haben sie fotografiert", "nous les avons photographiés"),
        ),
        (
            Clause(HE, verb("have"), polarity=NOT, direct=the("dog", "", plural=True)),
            ("he does not have dogs", "er hat keine Hunde", "il n'a pas de chiens"),
        ),
    ],
)
def test_clauses_say_the_same_in_three_languages(clause, expected):
    assert three(clause) == expected


def test_time_stands_before_place_in_german_and_after_it_in_english_and_french():
    place = Words("in the garden", "im Garten", "dans le jardin")
    clause = Clause(the("man"), verb("sleep"), time=HABITS[0], place=place)
    assert three(clause) == (
        "the man sleeps in the garden every day",
        "der Mann schläft jeden Tag im Garten",
        "l'homme dort dans le jardin tous les jours",
    )
    assert german(clause._replace(time=None), front="jeden Tag") == "jeden Tag schläft der Mann im Garten"


def test_the_german_verb_stands_first_in_questions_and_last_in_subordinate_clauses():
    call = Clause(the("man"), verb("call"), direct=the("woman"))
    assert three(call, "verb first")[:2] == ("does the man call the woman", "ruft der Mann die Frau an")
    assert german(call, "verb last") == "der Mann die Frau anruft"
    assert german(call._replace(mode="perfect"), "verb last") == "der Mann die Frau angerufen hat"
    assert german(call._replace(mode=MUST), "verb last") == "der Mann die Frau anrufen muss"
    asked = call._replace(polarity=NOT)
    assert english(asked, question=True) == "does the man not call the woman"
    assert english(asked._replace(mode=CAN), question=True) == "can the man not call the woman"
    assert english(asked._replace(mode="perfect"), question=True) == "has the man not called the woman"


def test_the_auxiliary_is_sein_and_etre_for_motion_and_haben_and_avoir_otherwise():
    said = {name: three(Clause(SHE, verb(name), "perfect"))[1:] for name in ("go", "swim", "sleep", "return")}
    assert said == {
        "go": ("sie ist gegangen", "elle est allée"),
        "swim": ("sie ist geschwommen", "elle a nagé"),
        "sleep": ("sie hat geschlafen", "elle a dormi"),
        "return": ("sie ist zurückgekommen", "elle est revenue"),
    }


def test_pronouns_take_the_gender_that_their_noun_has_in_each_language():
    apple, lamps = the("apple"), the("lamp", plural=True)
    likes = Clause(subject_pronoun(the("man"), True), verb("like"), direct=object_pronoun(apple, False))
    assert three(likes, "verb last") == ("he likes it", "er ihn mag", "il l'apprécie")
    assert subject_pronoun(apple, False)[:2] == ("it", "er") and subject_pronoun(apple, False).fr == "elle"
    assert subject_pronoun(lamps, False).fr == "elles"
    found = Clause(HE, verb("find"), "perfect", direct=object_pronoun(lamps, False))
    assert french(found) == "il les a trouvées"


def test_being_agrees_in_french_and_negates_with_nicht():
    tired = Words("tired", "müde", "fatiguées")
    said = being(the("woman", plural=True), tired, negated=True)
    assert said == (
        "the women are not tired",
        "die Frauen sind nicht müde",
        "les femmes ne sont pas fatiguées",
    )
    assert being(the("dog"), Words("big", "groß", "grand"), order="verb last").de == "der Hund groß ist"


def test_relative_pronouns_take_gender_from_the_noun_and_case_from_their_clause():
    assert (relative(the("man"), True).nom, relative(the("man"), True).acc) == ("der", "den")
    assert relative(the("woman", plural=True), True).acc == "die" and relative(the("book"), False).nom == "das"


def test_one_masculine_makes_a_pair_masculine():
    assert both(the("man"), the("woman")).fr_gender == "m" and both(the("aunt"), the("woman")).fr_gender == "f"


# ---- The corpus


def test_splits_share_no_sentence_in_any_language(corpora):
    for one, other in itertools.combinations([corpora[split] for split in ("train", "dev", "test")], 2):
        for language in range(3):
            assert not {s[language] for s in one} & {s[language] for s in other}
    assert [len(corpora[split]) for split in ("train", "dev", "test")] == [100_000, 300, 300]


def test_sentences_with_the_same_translation_differ_in_a_pronoun_only_and_so_share_a_split(corpora):
    assert split_of("We see her.") == split_of("We see them.") == split_of("We see him.")
    for language in (1, 2):
        seen: dict[str, str] = {}
        for sentence in itertools.chain(*corpora.values()):
            key = re.sub(r"\b(him|her|it)\b", "them", sentence.en)
            assert seen.setdefault(sentence[language], key) == key, sentence


def test_an_english_sentence_is_always_drawn_with_the_same_translations(corpora):
    first = {sentence.en: sentence for sentence in corpora["train"]}
    again = [sentence for sentence in corpora["train again"] if sentence.en in first]
    assert len(again) > 500
    assert all(first[sentence.en] == sentence for sentence in again)


def test_a_seed_gives_the_same_distinct_sentences_in_every_process():
    here = list(generate("train", 500, seed=5))
    assert len({sentence.en for sentence in here}) == 500
    code = (
        "from wmt_transformer.data.phrasebook import generate\n"
        "import sys; sys.stdout.buffer.write(repr([*map(tuple, generate('train', 500, 5))]).encode())"
    )
    command = [sys.executable, "-c", code]
    outputs = [subprocess.run(command, env=_environment(seed), capture_output=True) for seed in ("1", "2")]
    assert [output.stdout.decode() for output in outputs] == [repr([*map(tuple, here)])] * 2
    assert list(generate("train", 500, seed=6)) != here


def test_an_unknown_split_is_refused_by_name():
    with pytest.raises(ValueError, match="'validation'; choose train, dev or test"):
        next(generate("validation", 1))


def test_there_are_150_nouns_60_verbs_and_40_adjectives():
    verbs = {*VERBS, *GIVEN, "put", "belong", "travel"}
    assert len(set(BY_NAME)) == len(NOUNS) >= 150 and len(verbs) >= 60 and len({a.en for a in ADJECTIVES}) >= 40


def test_no_two_nouns_share_a_german_or_french_word_and_no_two_adjectives():
    """Otherwise a sentence could have a translation in another split."""
    for language in ("de", "fr"):
        assert len({getattr(noun, language)[0] for noun in NOUNS}) == len(NOUNS)
        assert len({getattr(a, language) for a in ADJECTIVES}) == len(ADJECTIVES)


def test_a_million_distinct_sentences_are_possible():
    """Counts only "The man buys the apple": subject and object with an adjective or none, present, affirmed."""
    fitting = phrasebook_words.FITTING
    actors = sum(1 + len(fitting[noun]) for noun in ACTORS)
    acts = sum(1 + len(fitting[noun]) for usage in phrasebook_words.TRANSITIVE for noun in usage.objects)
    people = math.prod((actors, acts)) - sum(  # nobody does it to himself
        (1 + len(fitting[noun])) ** 2
        for usage in phrasebook_words.TRANSITIVE
        for noun in usage.objects
        if noun in ACTORS
    )
    assert people > 1_000_000


# What no sentence may hold: wrong articles, agreement, contractions that were missed or are wrong, elisions.
LINT = {
    "en": (
        r"\ba [aeio]|\ba u(?!ni)|\ban [^aeiou]",
        r"^(?:He|She|It) (?:have|do|are)\b|^(?:They|We|I) (?:has|does|is)\b|\b(?!cook)(\w+) \1\b",
    ),
    "de": (
        r"\b(?:in|an|zu|von) dem\b|\b(?:in|an) das\b|\bzu der\b",
        r"\b(?:ein|kein|mein|unser) [a-zäöüß]+e |\bnicht (?:eine|einen|einem)\b",
        r"\b(?:den|dem) (?:Herr|Nachbar|Student|Junge|Kollege|Polizist)\b",
    ),
    "fr": (
        r"\b(?:de|à) les?\b|\bsi ils?\b",
        r"\b(?:le|la|je|ne|me|de|que|ce|ma|sa) [aeiouâéèêîôœ]|\bce h[ôo]",
        r"\b[ld]'(?:héros|haricot|hamster|hibou|huit)",
        r"\b(?:mange|boit|achète|vend|lit|a) pas (?:du|de la|des|un|une) ",
    ),
}


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_fifty_thousand_sentences_pass_the_lint(train, language):
    bad = re.compile("|".join(LINT[language]))
    for sentence in train[:50_000]:
        text = getattr(sentence, language)
        assert not bad.search(text), text
        assert re.fullmatch(r"[A-ZÀÉÊÎÜŒ][\w' ,-]*[\w](?:\.| ?\?)", text), text
        assert "  " not in text and " ," not in text, text
        assert text.endswith("?") == sentence.en.endswith("?"), text


def test_subordinate_clauses_end_in_a_finite_verb(train):
    finite = {form for usage in [*VERBS.values(), *DITRANSITIVE] for form in _finite(usage.verb)}
    finite |= {form for special in (phrasebook_words.PUT, phrasebook_words.TRAVEL) for form in _finite(special)}
    finite |= {form for modal in MODALS for form in modal.de}
    finite |= {"ist", "sind", "bin", "hat", "haben", "habe", "regnet", "schneit"}
    clauses = [
        re.split(r", (?:dass|weil|ob) ", sentence.de)[1].rstrip(".")
        for sentence in train
        if re.search(r", (?:dass|weil|ob) ", sentence.de)
    ]
    assert len(clauses) > 5000 and {clause.split()[-1] for clause in clauses} <= finite


def _finite(one) -> list[str]:
    return [one.prefix + form for form in one.de]


def test_sentences_have_3_to_16_words_mostly_and_about_8_on_average(train):
    lengths = [len(sentence.en.split()) for sentence in train]
    assert 7 < sum(lengths) / len(lengths) < 9
    assert sum(3 <= length <= 16 for length in lengths) > 0.98 * len(lengths) and max(lengths) <= 22


def test_you_is_polite_and_is_asked_or_embedded():
    assert SUBJECTS["you"].nom == "Sie" and SUBJECTS["you"].fr == "vous"
    assert three(Clause(SUBJECTS["you"], verb("sleep"), polarity=YES), "verb first")[1] == "schlafen Sie"
    assert all(subject is not SUBJECTS["you"] for subject in STATED)
