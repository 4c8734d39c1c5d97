"""Glossaries: which terms are in a sentence, that each translation has them, and the same from a server."""

import concurrent.futures
from pathlib import Path

import numpy as np
import pytest
from commands import refused, run
from servers import Running, running, translator
from translators import CONFIG, forward, sentence, toy_translator, toy_vocabulary

from wmt_transformer.config import UserError
from wmt_transformer.decode import glossary
from wmt_transformer.decode.beam import length_penalty
from wmt_transformer.decode.constraints import MOST_TERMS
from wmt_transformer.decode.generate import Translator
from wmt_transformer.decode.glossary import Glossary
from wmt_transformer.decode.sampling import Sample
from wmt_transformer.special_tokens import EOS

TERMS = {"Hund": "kleinen Garten", "Mann": "See", "im Garten": "hinter"}
TEXTS = [sentence(seed, 1 + seed % 6) for seed in range(24)]


@pytest.fixture(scope="module")
def model() -> Translator:
    return toy_translator()


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
    for wrong in (["Hund"], {"Hund": 3}):
        with pytest.raises(TypeError, match="glossary: "):
            model.translate("Hund", glossary=wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="empty term"):
        model.translate("Hund", glossary={"Hund": " "})
    with pytest.raises(UserError, match="leave out the glossary"):
        model.translate("Hund", glossary=TERMS, sampler=Sample())


def test_without_spaces_a_term_is_spelt_without_one():
    vocabulary = toy_vocabulary()
    assert vocabulary.decode([*vocabulary.encode("Hund"), *glossary.spelt(vocabulary, "犬", "")]) == "Hund犬"
    assert vocabulary.decode([*vocabulary.encode("Hund"), *glossary.spelt(vocabulary, "See", "")]) == "Hund See"


# ---- Translations


def test_each_translation_has_its_terms_and_the_models_own_score(model: Translator):
    found = model.n_best(TEXTS, 3, glossary=TERMS)
    with_terms = 0
    for text, hypotheses in zip(TEXTS, found, strict=True):
        wanted = list(Glossary(TERMS).found(text))
        with_terms += bool(wanted)
        for one in hypotheses:
            assert all(one.text.count(term) >= wanted.count(term) for term in wanted) and one.missing == ()
    assert 8 < with_terms < len(TEXTS)
    text = next(text for text in TEXTS if "Hund" in text)
    best, *_ = model.n_best(text, 1, glossary=TERMS)
    ids = toy_vocabulary().encode(best.text)
    source = [*toy_vocabulary().encode(text), EOS]
    target = [*ids, EOS][: len(source) + CONFIG.decode.extra_length]
    scores = forward(model.model, model.params, source, [1, *target[:-1]])
    expected = scores[np.arange(len(target)), target].sum() / length_penalty(len(target), CONFIG.decode.alpha)
    assert best.score == pytest.approx(float(expected), abs=1e-3)


def test_a_sentence_without_terms_is_translated_as_without_a_glossary_and_company_changes_nothing(model: Translator):
    found = model.n_best(TEXTS, 2, glossary=TERMS)
    plain = model.n_best(TEXTS, 2)
    for text, one, without in zip(TEXTS, found, plain, strict=True):
        if not any(Glossary(TERMS).found(text)):
            assert one == without
    for place in (0, 5, 11):
        alone = model.n_best(TEXTS[place], 2, glossary=TERMS)
        assert [one.text for one in alone] == [one.text for one in found[place]]
        assert [one.score for one in alone] == pytest.approx([one.score for one in found[place]], abs=1e-5)


def test_terms_go_with_prefixes_lengths_coverage_and_alignments(model: Translator):
    [best] = model.n_best("ein Hund", 1, prefixes="See", min_length=9, max_length=14, beta=0.2, glossary=TERMS)
    assert best.text.startswith("See") and "kleinen Garten" in best.text and best.missing == ()
    [best] = model.n_best("ein Hund", 1, beam_size=1, alignments=True, glossary=TERMS)
    assert "kleinen Garten" in best.text and best.alignment is not None


def test_terms_without_room_are_named(model: Translator):
    heard: list[str] = []
    many = {word: f"{word}{word}" for word in ("ein", "Mann", "Frau", "Hund", "im", "Garten", "am", "See", "den")}
    text = " ".join(many)
    [best] = model.n_best(text, 1, warn=heard.append, glossary=many)
    there = [term for term in many.values() if term in best.text]
    assert best.missing == tuple(term for term in many.values() if term not in there) and best.missing
    assert there[:1] == ["einein"] and len(there) <= MOST_TERMS
    assert heard == [f"line 1: there was no room for {', '.join(best.missing)} of the glossary"]
    [best] = model.n_best("ein Hund", 1, max_length=1, warn=heard.append, glossary=TERMS)
    assert best.missing == ("kleinen Garten",)


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
def server():
    with running(glossary=Glossary({"Hund": "kleinen Garten"})) as found:
        yield found


def test_an_answer_is_that_of_translate(server: Running):
    expected = translator(0).translate(TEXTS[:12], glossary=TERMS)
    own = {"Mann": "See", "im Garten": "hinter"}
    assert server.translate(TEXTS[:12], glossary=own)["translatedText"] == expected
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: server.translate(text, glossary=own)["translatedText"], TEXTS[:12]))
    assert found == expected
    lines = "\n".join(f"{term}\t{other}" for term, other in own.items())
    assert server.translate(TEXTS[:12], glossary=lines)["translatedText"] == expected
    of_server = translator(0).translate(TEXTS[:12], glossary={"Hund": "kleinen Garten"})
    assert server.translate(TEXTS[:12])["translatedText"] == of_server
    assert "wmt_transformer_programs_compiled_after_ready 0.0" in server.ask("/metrics")[1]


def test_a_requests_terms_count_before_the_servers_in_html_and_files_too(server: Running):
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
