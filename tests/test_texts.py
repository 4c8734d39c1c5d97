"""One text or many, with line breaks or without, and what is no text, for each of the three decoders."""

import inspect
from concurrent.futures import ThreadPoolExecutor

import pytest
import translators
from translators import sentence, toy_translator

from wmt_transformer.decode import batched, lines
from wmt_transformer.decode.completion import LanguageModel
from wmt_transformer.decode.parse import Parser
from wmt_transformer.decode.texts import as_list, lines_and_breaks, one_or_all


def decoder() -> LanguageModel:
    return LanguageModel(
        translators.CONFIG, translators.toy_params(), translators.toy_vocabulary(), source=sentence(1, 3)
    )


def test_one_text_gives_one_translation_and_any_iterable_gives_a_list():
    translator, texts = toy_translator(), [sentence(seed, 3) for seed in range(2)]
    expected = [translator.translate(text, 2) for text in texts]
    assert all(isinstance(one, str) for one in expected)
    assert translator.translate(texts, 2) == translator.translate(tuple(texts), 2) == expected
    assert translator.translate(iter(texts), 2) == translator.translate(dict.fromkeys(texts), 2) == expected
    assert translator.translate(texts=texts[1], beam_size=2) == expected[1]  # type: ignore[call-overload]
    assert translator.n_best(texts[0], 2, 2)[0].text == expected[0]
    assert translator.translate([]) == []


def test_one_source_gives_one_score_and_one_prefix_belongs_to_one_text():
    translator, text = toy_translator(), sentence(1, 3)
    assert translator.score(text, "ein Hund") == translator.score([text], ["ein Hund"])[0]
    assert translator.translate(text, prefixes="ein Mann").startswith("ein Mann")


def test_one_prompt_gives_one_text_and_a_stream_of_strings():
    model, prompts = decoder(), ["ein", "eine Frau"]
    several = model.generate_text(prompts, 4, temperature=0.0)
    assert several == [model.generate_text(prompt, 4, temperature=0.0) for prompt in prompts]
    assert "".join(model.stream("ein", 4, temperature=0.0)) == several[0]
    assert model.predict_next(prompts, 2) == [model.predict_next(prompt, 2) for prompt in prompts]


def test_prompts_continued_in_several_threads_are_those_continued_one_after_the_other():
    model, prompts = decoder(), ["ein", "eine", "den", "am"] * 2
    expected = [model.generate_text(prompt, 6, seed=2) for prompt in prompts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda prompt: model.generate_text(prompt, 6, seed=2), prompts)) == expected


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (5, r"texts: 5 is of type int; give a string, or an iterable of strings"),
        (None, r"texts: None is of type NoneType"),
        (b"ein", r"texts: b'ein' is of type bytes"),
        (["ein", 7], r"texts\[1\]: 7 is of type int; each must be a string"),
        (["ein", "Hund", ["Mann"]], r"texts\[2\]: \['Mann'\] is of type list"),
        ((text for text in ("ein", None)), r"texts\[1\]: None"),
    ],
)
def test_what_is_no_text_is_a_type_error_that_says_where(texts, message):
    with pytest.raises(TypeError, match=message):
        toy_translator().translate(texts)


def test_every_method_says_which_of_its_arguments_is_wrong():
    translator = toy_translator()
    with pytest.raises(TypeError, match=r"sources\[0\]: 1 is"):
        translator.score([1], ["ein"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"targets\[0\]: 1 is"):
        as_list([1], "targets")
    with pytest.raises(TypeError, match="prompt: 1 is"):
        decoder().generate_text(1, 4)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"texts\[0\]: None"):
        Parser(translator).parse([None])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="beem_size"):
        translator.translate("ein", beem_size=2)  # type: ignore[call-arg]


def test_the_options_of_a_method_have_names():
    for method in (toy_translator().translate, toy_translator().n_best, decoder().generate_text, Parser.parse):
        kinds = {one.kind for one in inspect.signature(method).parameters.values()}  # type: ignore[arg-type]
        assert not kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}


@pytest.mark.parametrize(
    "text", ["ein Hund\nam See", "ein\r\n\r\nHund\n", "\nein", "\n", " \n\n Hund \n ", "ein\rHund", ""]
)
def test_line_breaks_come_back_and_each_line_is_translated_for_itself(text):
    translator = toy_translator()
    found, breaks = lines_and_breaks(text)
    alone = [translator.translate(line, 2) for line in found]
    expected = "".join(line + end for line, end in zip(alone, [*breaks, ""], strict=True))
    assert translator.translate([sentence(0, 4), text], 2)[1] == expected


def test_a_text_of_several_lines_has_a_score_and_alignments_of_its_words(monkeypatch):
    translator = toy_translator()
    [text, *_] = translator.n_best("ein Hund\n\nam See", 2, 2, alignments=True)
    one, other = (translator.n_best(line, 1, 2, alignments=True)[0] for line in ("ein Hund", "am See"))
    assert text.score == pytest.approx((one.score + other.score) / 2, rel=1e-5)
    moved = {(source + 2, target + len(one.text.split())) for source, target in other.alignment or ()}
    assert text.alignment == tuple(sorted({*(one.alignment or ()), *moved}))


def test_a_line_that_is_split_keeps_the_breaks_around_it(monkeypatch):
    translator, long = toy_translator(), ". ".join(sentence(i, 6) for i in range(20)) + "."

    def echo(models, params, parts, request):
        return [[batched.Output(part.source[:-1], 0.0, None)] for part in parts]

    monkeypatch.setattr(batched, "decode", echo)
    text, warned = f"ein\n{long}\n\nHund\n", []
    assert translator.translate(text, warn=warned.append) == text
    assert len(warned) == 1
    assert lines.join([], "\n") == [lines.Translation("\n", 0.0)]


def test_a_method_of_lists_alone_takes_one_text_too():
    class Doubles:
        @one_or_all
        def twice(self, words: list[str], times: int = 2) -> list[str]:
            return [word * times for word in words]

    assert Doubles().twice("ab") == "abab"
    assert Doubles().twice(iter(["a", "b"]), times=3) == ["aaa", "bbb"]
    assert as_list({"a": 1}) == ["a"]
