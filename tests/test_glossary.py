"""Glossaries: which terms are in a sentence, that each translation has them, and the same from a server."""

import concurrent.futures
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import refused, run
from servers import Running, running, translator
from translators import sentence, toy_vocabulary

from wmt_transformer.config import UserError
from wmt_transformer.decode import glossary
from wmt_transformer.decode.constraints import MOST_TERMS
from wmt_transformer.decode.generate import Translator
from wmt_transformer.decode.glossary import Glossary, missing
from wmt_transformer.decode.lines import Part, Translation
from wmt_transformer.decode.sampling import Sample
from wmt_transformer.serve.directions import Direction, Directions

TERMS = {"Hund": "kleinen Garten", "Mann": "See", "im Garten": "hinter"}
TEXTS = [sentence(seed, 1 + seed % 4) for seed in range(16)] + ["am Hund im Garten"]


@pytest.fixture(scope="module")
def model() -> Translator:
    return translator(0, max_length=8)


# ---- Which terms are in a sentence


@pytest.mark.parametrize(
    ("terms", "text", "found"),
    [
        (["dog"], "The dog, the dogs, a hotdog and the Dog; dog", ["dog", "dog"]),
        (["dog", "big dog", "big"], "a big dog, a big cat, a dog", ["big dog", "big", "dog"]),
        (["big dog", "dog house"], "a big dog house", ["big dog"]),  # what is found belongs to no other
        (["C++", "C"], "C++ and C, C++11", ["C++", "C", "C++"]),
        (["a  b"], "a\tb", ["a b"]),
        (["caf\u00e9"], "cafe\u0301 cafe", ["caf\u00e9"]),  # NFC
        (["\u0915"], "\u0915\u0941\u0924 \u0915", ["\u0915"]),  # a vowel sign belongs to its letter
        (["犬", "iPhone"], "大きい犬とiPhoneがiPhone2個", ["犬", "iPhone"]),
        (["หมา"], "หมาใหญ่", ["หมา"]),
        (["de"], ">>de<< de", ["de"]),
        ([], "dog", []),
    ],
)
def test_terms_are_found_as_whole_words(terms: list[str], text: str, found: list[str]):
    assert list(Glossary({term: term for term in terms}).found(text)) == found


def test_a_file_has_a_term_and_its_translation_in_each_line(tmp_path: Path):
    path = tmp_path / "terms.tsv"
    path.write_bytes("\ufeffdog\tHund\r\n\n  big  dog \t großer Hund\ndog\tHund\n".encode())
    assert glossary.read(path).terms == {"dog": "Hund", "big dog": "großer Hund"}
    assert (glossary.read(path) | Glossary({"dog": "Köter"})).terms == {"dog": "Köter", "big dog": "großer Hund"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\ndog Hund\n", "line 2 is 'dog Hund'; a line of a glossary is a term, a tab and its translation"),
        ("a\tb\tc\n", "line 1 is 'a\\tb\\tc'"),
        ("\n\tb\n", "line 2 is '\\tb'"),
        ("a\tb\n\na\tc\n", "line 3: 'a' is 'c', and 'b' in line 1"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, message: str):
    path = tmp_path / "terms.tsv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        glossary.read(path)
    assert f"{path}, {message}" in str(error.value)


def test_what_is_no_glossary_is_refused(model: Translator):
    wrong: Any
    for wrong in (["Hund"], {"Hund": 3}):
        with pytest.raises(TypeError, match="glossary"):
            model.translate("Hund", glossary=wrong)
    with pytest.raises(UserError, match="empty term"):
        model.translate("Hund", glossary={"Hund": " "})
    with pytest.raises(UserError, match="leave out the glossary"):
        model.translate("Hund", glossary=TERMS, sampler=Sample())


def test_without_spaces_a_term_is_spelt_without_one():
    vocabulary = toy_vocabulary()
    assert vocabulary.decode([*vocabulary.encode("Hund"), *glossary.spelt(vocabulary, "犬", "")]) == "Hund犬"
    assert vocabulary.decode([*vocabulary.encode("Hund"), *glossary.spelt(vocabulary, "See", "")]) == "Hund See"


def test_what_there_is_no_room_for_is_left_out():
    vocabulary = toy_vocabulary()
    many = [chr(place) for place in range(ord("a"), ord("a") + MOST_TERMS + 2)]
    terms = Glossary({letter: letter.upper() for letter in many})
    part = Part(1, 0, " ".join([*many, "a"]), [], [], 0)
    found = terms.constrained(part, vocabulary, room=sys.maxsize)
    assert found.terms == tuple(letter.upper() for letter in [*many, "a"])
    assert [vocabulary.decode(ids) for ids in found.required] == [*(one.upper() for one in many[:MOST_TERMS]), "A"]
    found = terms.constrained(part, vocabulary, room=2 * len(vocabulary.encode("A")))
    assert [vocabulary.decode(ids) for ids in found.required] == ["A", "B"]
    assert len(terms.constrained(part, vocabulary, room=0).required) == 0
    long = Glossary({"a": "x" * 40, "b": "See"})
    assert long.constrained(part, vocabulary, room=sys.maxsize).required == [vocabulary.encode("See")]
    assert missing("ABAC", ["A", "A", "D", "C", "C", "D"]) == ("D", "C")


# ---- Translations


def test_each_translation_has_its_terms_and_company_changes_nothing(model: Translator):
    found, plain = model.n_best(TEXTS, 4, glossary=TERMS), model.n_best(TEXTS, 4)
    wanted = [list(Glossary(TERMS).found(text)) for text in TEXTS]
    assert sum(map(bool, wanted)) == 6
    for terms, hypotheses, without in zip(wanted, found, plain, strict=True):
        for one in hypotheses:
            assert all(one.text.count(term) >= terms.count(term) for term in terms) and one.missing == ()
        if not terms:
            assert_alike(hypotheses, without)
    for place, terms in enumerate(wanted):
        if terms:
            assert_alike(model.n_best(TEXTS[place], 4, glossary=TERMS), found[place])


def assert_alike(found: list[Translation], expected: list[Translation]) -> None:
    assert [one.text for one in found] == [one.text for one in expected]
    assert [one.score for one in found] == pytest.approx([one.score for one in expected], abs=1e-4)


def test_terms_go_with_prefixes_lengths_coverage_and_alignments(model: Translator):
    [best] = model.n_best(
        "ein Hund", 1, prefixes="See", min_length=9, max_length=14, beta=0.2, alignments=True, glossary=TERMS
    )
    assert best.text.startswith("See") and "kleinen Garten" in best.text and best.alignment is not None


def test_terms_without_room_are_named(model: Translator):
    heard: list[str] = []
    [best] = model.n_best("ein Hund", 4, warn=heard.append, glossary={"Hund": "x" * 40})[:1]
    assert best.missing == ("x" * 40,)
    assert heard == [f"line 1: there was no room for {'x' * 40} of the glossary"]


def test_translate_takes_a_file(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "terms.tsv"
    path.write_text("dog\tWORT\n")
    assert run("translate", "--workdir", toy / "run", "--glossary", path, "the dog", "the cat") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "WORT" in first and "WORT" not in second
    path.write_text("dog\n")
    assert f"{path}, line 1 is 'dog'" in refused(capsys, "translate", "--workdir", toy / "run", "--glossary", path, "a")
    serving = ("serve", "--workdir", toy / "run", "--port", 0, "--glossary")
    assert "the direction is en-de" in refused(capsys, *serving, f"de-en={path}")
    assert f"{path}, line 1 is 'dog'" in refused(capsys, *serving, f"en-de={path}")


# ---- The server


@pytest.fixture(scope="module")
def server(model: Translator):
    one = Direction("de", "en", model, ("one",), glossary=Glossary({"Hund": "kleinen Garten"}))
    with running(directions=Directions([one])) as found:
        yield found


def test_an_answer_is_that_of_n_best_and_nothing_compiles(server: Running, model: Translator):
    def alone(terms: dict[str, str]) -> list[str]:
        return [model.n_best(text, 4, glossary=terms)[0].text for text in TEXTS]

    own = {term: TERMS[term] for term in ("Mann", "im Garten")}
    expected = alone(TERMS)
    assert server.translate(TEXTS, glossary=own)["translatedText"] == expected
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: server.translate(text, glossary=own)["translatedText"], TEXTS))
    assert found == expected
    lines = "\n".join(f"{term}\t{other}" for term, other in own.items())
    assert server.translate(TEXTS, glossary=lines)["translatedText"] == expected
    assert server.translate(TEXTS)["translatedText"] == alone({"Hund": TERMS["Hund"]})
    assert "wmt_transformer_programs_compiled_after_ready 0.0" in server.ask("/metrics")[1]


def test_a_requests_terms_count_before_the_servers_in_html_too(server: Running):
    page = "<p>ein <b>Hund</b> im Garten</p>"
    assert "kleinen Garten" in server.translate("ein Hund im Garten", alternatives=2)["translatedText"]
    html = server.translate(page, format="html", glossary={"Hund": "Seesee"})["translatedText"]
    assert "Seesee" in html and html.count("<b>") == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (7, "glossary parameter is neither an object of texts nor lines of two columns"),
        ({"Hund": 7}, "glossary parameter is neither an object of texts nor lines of two columns"),
        ({"Hund": ""}, "the glossary has an empty term ('Hund': ''); leave it out"),
        ("Hund", "glossary, line 1 is 'Hund'; a line of a glossary is a term, a tab and its translation"),
        ({str(number): "a" for number in range(1001)}, "glossary (1001) exceeds limit of terms (1000)"),
        ({"Hund": "a" * 201}, "glossary has a term (201) that exceeds limit (200)"),
    ],
    ids=["number", "value", "empty", "line", "many", "long"],
)
def test_a_wrong_glossary_is_an_error_400(server: Running, given: object, message: str):
    asked = {"q": "Hund", "source": "de", "target": "en", "glossary": given}
    assert server.ask("/translate", asked)[:2] == (400, {"error": f"Invalid request: {message}"})


def test_terms_without_room_are_in_the_reply(server: Running):
    reply = server.translate("Hund", glossary={"Hund": "Frau " * 30})
    assert reply["missing"] == [("Frau " * 30).strip()]
    assert "missing" not in server.translate("Frau")
