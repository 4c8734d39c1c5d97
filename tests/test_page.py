"""The weights that pictures and the page show, against other ways to get them; the page in a real browser."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from commands import refused, run
from translators import MODEL, sentence, toy_params, toy_translator, toy_vocabulary

from wmt_transformer.config import UserError
from wmt_transformer.decode import alignment
from wmt_transformer.model.layers import sinusoids
from wmt_transformer.special_tokens import EOS
from wmt_transformer.visualize import attention, page

SOURCE, TARGET = sentence(3, 6), sentence(4, 5)
DEEP = dataclasses.replace(MODEL, num_layers=2)


def test_the_first_layer_of_the_encoder_looks_where_equation_1_says():
    params = toy_params()
    ids = [*toy_vocabulary().encode(SOURCE), EOS]
    x = np.asarray(params["source_embedding"]["table"])[ids] * np.sqrt(32) + sinusoids(len(ids), 32)
    kernels = (np.asarray(params["encoder_0"]["self_attention"][name]["kernel"]) for name in ("query", "key"))
    query, key = (np.einsum("SD,DHK->HSK", x, kernel) for kernel in kernels)
    scores = np.exp(np.einsum("HTK,HSK->HTS", query, key) / np.sqrt(16))
    maps = attention.look(toy_translator(), SOURCE).maps["encoder"]
    np.testing.assert_allclose(maps.weights[0], scores / scores.sum(axis=-1, keepdims=True), atol=1e-5)
    assert maps.queries == maps.keys and maps.keys[-1] == "<end>"


def test_rows_sum_to_1_and_the_decoder_looks_at_nothing_that_is_to_come():
    look = attention.look(toy_translator(DEEP), SOURCE, TARGET)
    for kind in ("encoder", "decoder", "cross"):
        maps = look.maps[kind]
        assert maps.weights.shape == (2, 2, len(maps.queries), len(maps.keys))
        np.testing.assert_allclose(maps.weights.sum(axis=-1), 1.0, atol=1e-5)
    decoder = look.maps["decoder"]
    assert (np.triu(decoder.weights, 1) == 0).all() and (np.tril(decoder.weights) > 0).sum() > 0
    assert decoder.keys == ["<start>", *decoder.queries[:-1]] and decoder.queries[-1] == "<end>"


def test_cross_attention_and_links_are_those_that_translate_prints_as_alignments():
    translator, vocabulary = toy_translator(DEEP), toy_vocabulary()
    look = attention.look(translator, SOURCE)
    assert look.target == translator.translate([SOURCE])[0]
    source, target = ([*vocabulary.encode(text), EOS] for text in (SOURCE, look.target))
    arrays = jnp.asarray([source]), jnp.asarray([[target]])
    weights = np.asarray(alignment.mean_attention([DEEP], [translator.params], *arrays))[0, 0]
    np.testing.assert_allclose(look.maps["cross"].weights[-1].mean(axis=0), weights, atol=1e-5)
    links, _ = alignment.of_output(vocabulary, SOURCE, 0, target, weights)
    assert links
    assert {(source, target) for target, source in np.argwhere(look.maps["alignment"].weights[0, 0])} == set(links)


@pytest.mark.parametrize("changes", [{"attention": "fused"}, {"remat": True}], ids=str)
def test_however_a_model_is_trained_its_weights_are_shown(changes: dict):
    plain, other = (
        attention.look(toy_translator(dataclasses.replace(DEEP, **some)), SOURCE, TARGET) for some in ({}, changes)
    )
    for kind in attention.KINDS:
        np.testing.assert_allclose(other.maps[kind].weights, plain.maps[kind].weights, atol=1e-6)


def test_texts_without_words_or_too_long_are_refused():
    translator = toy_translator()
    for source, target, message in [
        (" ", None, "the source is empty"),
        (SOURCE, "\t", "the target is empty"),
        (sentence(1, 90), None, "the source has .* at most 39"),
        (SOURCE, sentence(1, 90), "the target has .* at most 39"),
    ]:
        with pytest.raises(UserError, match=message):
            attention.look(translator, source, target)


# ---- The verb


def test_every_kind_is_written_as_png_and_as_svg(toy, tmp_path):
    for kind in ("encoder", "decoder", "cross", "alignment", "positions"):
        text = () if kind == "positions" else ("--source", "red cat", "--target", "RED CAT")
        for suffix, first in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
            path = tmp_path / "new folder" / f"{kind}{suffix}"
            assert run("attention", "--workdir", toy / "run", "--kind", kind, *text, "--output", path) == 0
            assert path.read_bytes().startswith(first)


def test_mistakes_are_one_line_and_write_nothing(toy, tmp_path, capsys):
    def mistake(*options: object, output: str = "a.png") -> str:
        return refused(capsys, "attention", "--workdir", toy / "run", "--output", tmp_path / output, *options)

    assert ".svg" in mistake("--source", "cat", output="a.pdf")
    assert "--source" in mistake()
    assert "page" in mistake("--kind", "positions", output="a.html")
    pair = ("--source", "cat", "--target", "CAT")
    assert "encoder has 1" in mistake(*pair, "--kind", "encoder", "--layer", 2)
    assert "cross has 2" in mistake(*pair, "--head", 3)
    assert "choose from" in mistake("--source", "cat", "--kind", "both")
    assert "empty" in mistake("--source", "")
    (tmp_path / "file").write_text("")
    assert "cannot write" in mistake(*pair, output="file/a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# ---- The page

WEIGHTS = np.random.default_rng(0).dirichlet(np.ones(3), (2, 2, 2)).astype(np.float32)  # [layer, head, query, key]
SHOWN = np.round(WEIGHTS * 255) / 255


def open_page(browser, folder: Path, **options) -> None:
    maps = {kind: attention.Maps(["oben", "<b>"], ["up", "</script><i>", "我们"], WEIGHTS) for kind in attention.KINDS}
    maps["alignment"] = attention.Maps(["x"], ["y"], np.ones((1, 1, 1, 1), np.float32))
    look = attention.Look("up </script><i> 我们", "oben <b>", maps)
    (folder / "page.html").write_text(page.html(look, **options), encoding="utf-8")
    browser.get((folder / "page.html").as_uri())


def words(browser, side: str) -> list:
    return browser.find_elements("css selector", f".{side} .word")


def shares(browser, side: str) -> list[str]:
    return [one.text for one in browser.find_elements("css selector", f".{side} .share")]


def percent(weights: np.ndarray) -> list[str]:
    return [f"{100 * weight:.0f} %" if weight >= 0.005 else "" for weight in weights]


def press(browser, row: str, name: str) -> None:
    buttons = browser.find_elements("css selector", f"#{row} button")
    next(button for button in buttons if button.text == name).click()


def hover(browser, word) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser).move_to_element(word).perform()


def test_pointing_at_a_word_shows_what_it_looks_at(browser, tmp_path):
    open_page(browser, tmp_path, kind="cross", layer=1, head=0)
    assert [word.text for word in words(browser, "queries")] == ["oben", "<b>"]
    assert [word.text for word in words(browser, "keys")] == ["up", "</script><i>", "我们"]
    everything = len(browser.find_elements("css selector", "#words line"))
    assert everything == (SHOWN[1, 0] >= 0.02).sum() and shares(browser, "keys") == [""] * 3
    for query, name in enumerate(["oben", "<b>"]):
        hover(browser, words(browser, "queries")[query])
        assert shares(browser, "keys") == percent(SHOWN[1, 0, query])
        assert len(browser.find_elements("css selector", "#words line")) == (SHOWN[1, 0, query] >= 0.02).sum()
        assert browser.find_element("id", "status").text.startswith(f"{name} looks at: ")
    hover(browser, words(browser, "keys")[2])
    assert shares(browser, "queries") == percent(SHOWN[1, 0, :, 2])
    hover(browser, browser.find_element("tag name", "h1"))
    assert len(browser.find_elements("css selector", "#words line")) == everything
    assert browser.get_log("browser") == []


def test_kind_layer_and_head_are_chosen_and_a_click_keeps_a_word(browser, tmp_path):
    open_page(browser, tmp_path, kind="encoder", layer=-1)
    hover(browser, words(browser, "queries")[1])
    assert shares(browser, "keys") == percent(SHOWN[1, :, 1].mean(axis=0))  # all heads
    words(browser, "queries")[1].click()
    press(browser, "layer", "1")
    press(browser, "head", "2")
    assert shares(browser, "keys") == percent(SHOWN[0, 1, 1])
    press(browser, "kind", "word alignment")
    assert [word.text for word in words(browser, "keys")] == ["y"]
    assert not browser.find_element("id", "head").is_displayed()
    assert len(browser.find_elements("css selector", "#words line")) == 1
    assert browser.get_log("browser") == []


def test_the_verb_writes_a_page_that_asks_for_nothing_else(toy, tmp_path, browser):
    path = tmp_path / "page.html"
    assert run("attention", "--workdir", toy / "run", "--source", "red cat", "--target", "RED", "--output", path) == 0
    text = path.read_text(encoding="utf-8")
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "") and "src=" not in text
    browser.get(path.as_uri())
    assert browser.find_element("id", "target").text == "RED"
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(one => one.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []
    assert browser.get_log("browser") == []
