"""The page in which a model thinks: its JavaScript against Python and JAX, in Node and in a real browser."""

import base64
import dataclasses
import functools
import json
import random
import re
import shutil
import subprocess
import time
import types
import unicodedata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import refused, run
from translators import CONFIG, MODEL, sentence, toy_params, toy_vocabulary

from wmt_transformer.baselines.ngram import NGram
from wmt_transformer.config import ModelConfig, UserError
from wmt_transformer.data import vocabulary as vocabularies
from wmt_transformer.data.vocabulary import Vocabulary, normalise
from wmt_transformer.decode import runs, sampling
from wmt_transformer.decode.completion import LanguageModel
from wmt_transformer.decode.generate import Translator
from wmt_transformer.decode.token_scores import token_log_probabilities
from wmt_transformer.evaluate import bleu
from wmt_transformer.evaluate import runs as evaluations
from wmt_transformer.explain import document, rounding, vocabulary, weights
from wmt_transformer.model.build import build
from wmt_transformer.special_tokens import BOS, EOS, PAD

LIBRARY = ("pieces", "weights", "model", "beam", "sampling", "markov", "seen")
NAMES = "Pieces, normalise, Transformer, unpacked, search, top, filtered, Chain, logSoftmax, gathering"


@pytest.fixture(params=["node", "chromium"])
def javascript(request, tmp_path):
    """Returns what the body of a function of `lib`, the page's modules, and `given`, JSON, returns: in Node, where the
    modules are imported as they are, and in Chromium, where they stand one after the other as in the page."""
    if request.param == "node":
        if not shutil.which("node"):
            pytest.skip("there is no node to run the page's modules with")
        imports = "".join(f'import * as {name} from "{(document.FOLDER / name).as_uri()}.js";\n' for name in LIBRARY)

        def run(body: str, given: Any) -> Any:
            script = tmp_path / "script.mjs"
            lib = ", ".join(f"...{name}" for name in LIBRARY)
            script.write_text(
                f'{imports}import fs from "fs";\nconst lib = {{ {lib} }};\n'
                f"const run = (lib, given) => {{ {body} }};\n"
                "console.log(JSON.stringify(run(lib, JSON.parse(fs.readFileSync(0)))));"
            )
            done = subprocess.run(["node", script], input=json.dumps(given), capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        return run
    browser = request.getfixturevalue("browser")
    (tmp_path / "empty.html").write_text("<!doctype html>")
    browser.get((tmp_path / "empty.html").as_uri())
    text = f"{document.scripts(LIBRARY)}; return {{ {NAMES} }};"
    whole = (
        "const lib = new Function(arguments[0])(), run = (lib, given) => {{ {} }};"
        "return JSON.stringify(run(lib, JSON.parse(arguments[1])))"
    )
    return lambda body, given: json.loads(browser.execute_script(whole.format(body), text, json.dumps(given)))


# ---- Pieces

ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyzäöüßÄÖÜ .,!?'",
    "the cat sees a small dog in den Garten hinter dem See ",
    "我们的猫看见狗。",
    "e\u0301a\u0308\u1112\u1161\u11ab\u0345\u05b0",
    "\u2581\u2585<0x41> \t\n\r\x00\x1f\x7f\x85\xa0\u2028\ufeff\u200d\u3000\u180e",
    "😀👩\u200d👩\u200d👧🏳️\u200d🌈",
]


def odd_lines(count: int) -> list[str]:
    """Returns lines of words, of letters at random, of several scripts, and of any characters that there are."""
    draw = random.Random(1)
    assigned = [chr(i) for i in range(0x20000) if unicodedata.category(chr(i)) not in ("Cn", "Cs")]
    lines = ["", " ", "\n", "\u2581", "a", " a  b "]
    while len(lines) < count:
        letters = assigned if draw.random() < 0.2 else "".join(draw.sample(ALPHABETS, draw.randint(1, 3)))
        words = [sentence(len(lines), draw.randint(1, 6))] if draw.random() < 0.3 else []
        lines.append(" ".join([*words, "".join(draw.choices(letters, k=draw.randint(0, 24)))]))
    return lines


def trained(folder: Path, lines: bool, model: str = "bpe", symbols: tuple[str, ...] = ()) -> Vocabulary:
    text = [sentence(i, 8) for i in range(300)] + ["我们 的 猫 看见 狗 。", "hä? Öl!"]
    return vocabularies.train_fitting(lambda: text, folder / "words.model", 420, model, print, symbols, lines)


CUT = """const pieces = new lib.Pieces(given.vocabulary);
return [given.lines.map((line) => pieces.encode(line)), given.ids.map((ids) => pieces.decode(ids))];"""


@pytest.mark.parametrize(
    ("lines", "model", "symbols"),
    [(False, "bpe", ()), (False, "bpe", (">>de<<", "<BT>")), (True, "bpe", ()), (False, "char", ())],
    ids=["pairs", "tags", "language model", "characters"],
)
def test_text_is_cut_and_joined_as_in_python(javascript, tmp_path, lines: bool, model: str, symbols: tuple[str, ...]):
    words = trained(tmp_path, lines, model, symbols=symbols)
    texts = odd_lines(2_500)  # 10,000 lines in all
    if symbols:
        texts = [f"{symbols[len(text) % 2]} {text}" for text in texts]
    draw = np.random.default_rng(0)
    ids = [draw.integers(3, len(words), draw.integers(0, 9)).tolist() for _ in range(500)]
    given = {"vocabulary": vocabulary.described(words), "lines": texts, "ids": ids}
    cut, joined = javascript(CUT, given)
    for text, found in zip(texts, cut, strict=True):
        assert found == words.encode(text), repr(text)
    for some, found in zip(ids, joined, strict=True):
        assert found == words._processor.decode(some), some


def test_lone_surrogates_and_every_kind_of_space_are_as_in_python(javascript):
    texts = [f"a{chr(i)}b" for i in range(0x3100)] + ["\ud800a", "a\udc00"]
    assert javascript("return given.map(lib.normalise);", texts) == [normalise(text) for text in texts]


# ---- The model

THINK = """
const bytes = Uint8Array.from(atob(given.weights), (one) => one.charCodeAt(0)).buffer;
const model = new lib.Transformer(given.config, lib.unpacked(bytes, given.tensors));
const seen = {};
const see = (name, rows) => (seen[name] = rows.map((row) => (row[0]?.length ? row.map((r) => [...r]) : [...row])));
const begin = () => model.start(given.source && model.encode(given.source, see), see);
"""
WHOLE = f"{THINK} model.extend(given.inputs, begin(), see); return seen;"


def run_of(config: ModelConfig, params: Any, precision: weights.Precision = "float16") -> dict[str, Any]:
    tensors, numbers = weights.packed(params, precision)
    described = dataclasses.asdict(config) | {"decoder_layers": config.decoder_layers}
    return {"config": described, "tensors": tensors, "weights": base64.b64encode(numbers).decode()}


def intermediates(config: ModelConfig, params: Any, source: list[int], target: list[int]) -> dict[str, np.ndarray]:
    """Returns what JAX's modules return, by their names; a table that serves both sides gives two arrays."""
    arrays = jnp.asarray([source]), jnp.asarray([target])
    logits, state = build(config).apply(
        {"params": params}, *arrays, capture_intermediates=True, mutable="intermediates"
    )
    found = {"logits": np.asarray(logits)[0]}
    for path, leaf in jax.tree_util.tree_flatten_with_path(state["intermediates"])[0]:
        *names, last, number = (str(getattr(step, "key", getattr(step, "idx", ""))) for step in path)
        name = "/".join([*names, last] if last != "__call__" else names)
        if name.endswith("_embedding"):
            both = name == "target_embedding" and config.tied_embeddings == "all" and len(source) > 1
            name = "source/embedding" if name.startswith("source") or (both and number == "0") else "target/embedding"
        array = np.asarray(leaf)[0]
        if name.rsplit("/", 1)[-1] in ("query", "key", "value"):
            array = array.reshape(len(array), -1)
        if name and not name.endswith("/attention_weights/__call__"):
            found[name] = array
    return found


VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {"tied_embeddings": "all"},
    "pre-norm, learned, biases": {
        "norm_position": "pre", "positions": "learned", "max_positions": 16, "attention_bias": True,
    },
    "Marian": {"sinusoid_layout": "concatenated", "activation": "swish", "output_bias": True, "attention_bias": True},
    "odd sizes": {"d_model": 31, "d_v": 5, "num_heads": 3, "num_decoder_layers": 1, "tied_embeddings": "target"},
    "language model": {"architecture": "decoder_only", "tied_embeddings": "all"},
    "language model like GPT-2": {
        "architecture": "decoder_only", "norm_position": "pre", "positions": "learned", "max_positions": 16,
        "activation": "gelu", "attention_bias": True,
    },
}  # fmt: skip


@functools.cache
def jax_found(variant: str, precision: weights.Precision) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns what the page is given of a model with random weights, and every array that JAX computes with them."""
    config = dataclasses.replace(MODEL, **{"num_layers": 2, **VARIANTS[variant]})
    translates = config.architecture == "encoder_decoder"
    draw = np.random.default_rng(0)
    source, target = (draw.integers(4, config.vocabulary_size, size).tolist() for size in (7, 6))
    arrays = jnp.asarray([source]), jnp.asarray([target])
    shapes: Any = jax.eval_shape(build(config).init, jax.random.key(0), *arrays)["params"]
    # Scales near 1 and no bias of 0, so that nothing hides.
    params = jax.tree.map(lambda x: draw.normal(0, 0.2, x.shape) + (len(x.shape) == 1), shapes)
    given = run_of(config, params, precision)
    given |= {"source": source if translates else None, "inputs": [BOS, *target[:-1]]}
    params = jax.device_put(weights.rounded(params, precision))
    return given, intermediates(config, params, source if translates else [BOS], target)


@pytest.mark.parametrize("precision", ["float16", "int8"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_array_is_jax_s_on_the_same_rounded_weights(javascript, variant: str, precision: weights.Precision):
    given, expected = jax_found(variant, precision)
    found = javascript(WHOLE, given)
    assert len(expected) > 20 and expected.keys() <= found.keys(), expected.keys() - found.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(np.asarray(found[name], np.float32), array, atol=1e-4, err_msg=name)


PIECEMEAL = f"""{THINK}
model.extend(given.inputs, begin(), see);
const {{ see: add, gathered }} = lib.gathering();
let cache = model.start(given.source && model.encode(given.source, add), add);
for (const ids of [given.inputs.slice(0, 2), ...given.inputs.slice(2).map((id) => [id])])
  cache = model.extend(ids, cache, add).cache;
const whole = {{ ...seen }};
for (const [name, rows] of Object.entries(gathered())) see(name, rows);
return [whole, seen];"""


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_gathered_piece_by_piece_is_what_the_whole_text_gives(javascript, variant: str):
    whole, gathered = javascript(PIECEMEAL, jax_found(variant, "float16")[0])
    assert gathered == whole and len(whole) > 20  # to the last bit, masked scores as well


def test_int8_weights_are_at_most_half_a_step_of_their_output_channel_away():
    config = dataclasses.replace(MODEL, attention_bias=True, num_heads=3, d_k=5, d_v=7)
    shapes: Any = jax.eval_shape(build(config).init, jax.random.key(0), *[jnp.ones((1, 2), int)] * 2)["params"]
    draw = np.random.default_rng(0)
    params = jax.tree.map(lambda x: draw.normal(0, 0.2, x.shape).astype(np.float32), shapes)
    attention = params["encoder_0"]["self_attention"]
    attention["query"]["kernel"][:, 1, 2] = 0.0
    attention["output"]["kernel"][:, :, 4] *= 1000.0  # what is large in one channel rounds no other
    params["target_embedding"]["table"][9] *= 0.001
    found = weights.rounded(params, "int8")
    changed = jax.tree.map(lambda one, other: np.abs(one - other), found, params)
    inputs = {"query": 0, "key": 0, "value": 0, "output": (0, 1)}
    for part in ("encoder_0", "decoder_0"):
        for name, axis in inputs.items():
            kernel = params[part]["self_attention"][name]["kernel"]
            steps = np.broadcast_to(np.abs(kernel).max(axis, keepdims=True) / 127, kernel.shape)
            assert (changed[part]["self_attention"][name]["kernel"] <= 0.501 * steps).all(), name
            assert changed[part]["self_attention"][name]["bias"].max() < 0.001
    table = params["target_embedding"]["table"]
    assert (changed["target_embedding"]["table"] <= 0.501 * np.abs(table).max(1, keepdims=True) / 127).all()
    assert (found["encoder_0"]["self_attention"]["query"]["kernel"][:, 1, 2] == 0).all()
    (_, half), (_, small) = (weights.packed(params, one) for one in ("float16", "int8"))
    assert 0.5 < len(small) / len(half) < 0.75  # scales are dear in so small a model


# ---- Search

SEARCH = f"""{THINK}
return given.sources.map((source) => {{
  given.source = source;
  const limit = source.length + given.extra;
  const next = (id, before) => {{
    const {{ logits, cache }} = model.extend([id], before);
    return {{ logits: logits[0], cache }};
  }};
  const steps = lib.search(next(1, begin()), next, {{
    width: given.width, alpha: given.alpha, limit, results: given.results }});
  let step;
  while (!(step = steps.next()).done);
  return step.value.map(({{ tokens, score }}) => [tokens, score]);
}});"""


@pytest.mark.parametrize(("width", "alpha", "results"), [(1, 0.0, 1), (4, 0.6, 1), (3, 1.0, 3)], ids=str)
def test_searches_find_what_translate_finds(javascript, width: int, alpha: float, results: int):
    params = jax.device_put(weights.rounded(toy_params()))
    translator = Translator(CONFIG, params, toy_vocabulary())
    texts = [sentence(i, 1 + i % 8) for i in range(24)]
    sources = [[*translator.vocabulary.encode(text), EOS] for text in texts]
    given = {
        "sources": sources,
        "width": width,
        "alpha": alpha,
        "results": results,
        "extra": CONFIG.decode.extra_length,
    }
    found = javascript(SEARCH, run_of(translator.model, params) | given)
    for expected, mine in zip(translator.n_best(texts, results, width, alpha), found, strict=True):
        assert [normalise(translator.vocabulary.decode(tokens)) for tokens, _ in mine] == [one.text for one in expected]
        np.testing.assert_allclose([score for _, score in mine], [one.score for one in expected], atol=1e-4)


# ---- Drawing, and counting


def test_filters_leave_the_probabilities_that_python_s_leave(javascript):
    logits = np.random.default_rng(0).normal(0, 3, 60).astype(np.float32)
    settings = [(1.0, 60, 1.0), (0.5, 60, 1.0), (2.0, 7, 1.0), (1.0, 60, 0.8), (1.3, 20, 0.6), (0.0, 60, 1.0)]
    body = (
        "return given[1].map(([temperature, topK, topP]) => [...lib.filtered(given[0], { temperature, topK, topP })])"
    )
    for (temperature, top_k, top_p), found in zip(settings, javascript(body, [logits.tolist(), settings]), strict=True):
        left = token_log_probabilities(jnp.asarray(logits)[None], (PAD, BOS))
        for one in (sampling.Temperature(temperature), sampling.TopK(top_k), sampling.TopP(top_p)):
            left = one.apply(left, jnp.zeros((1, 1), jnp.int32))
        np.testing.assert_allclose(found, np.asarray(jax.nn.softmax(left))[0], atol=1e-6)


@pytest.mark.parametrize("order", [1, 2])
def test_the_chain_counts_as_the_markov_chain_of_ngram(javascript, order: int):
    documents = np.random.default_rng(0).integers(4, 9, (40, 6)).tolist()
    chain = NGram(documents, order, 9)
    contexts = [[], [4], [5, 6], [8, 4, 4]]
    body = "const chain = new lib.Chain(given[0], given[1]); return given[2].map((one) => chain.next(one));"
    text = [token for one in documents for token in (*one, EOS)]
    for context, found in zip(contexts, javascript(body, [text, order, contexts]), strict=True):
        (expected,) = chain.probabilities(chain.context(context)[None])
        assert len(found) == (expected > 0).sum() and found == sorted(found, key=lambda one: (-one[1], one[0]))
        np.testing.assert_allclose([share for _, share in found], [expected[token] for token, _ in found])


# ---- The page


def open_page(browser, path: Path) -> None:
    browser.get(path.as_uri())
    drawn(browser)


def drawn(browser, after: int = 0) -> int:
    """Waits for a picture that is newer than number `after`, and returns its number."""
    for _ in range(400):
        if (number := int(browser.execute_script("return document.body.dataset.drawn ?? 0"))) > after:
            return number
        time.sleep(0.025)
    raise AssertionError(browser.get_log("browser"))


def says(browser, text: str) -> str:
    """Types a text, and returns what the model makes of it."""
    before = drawn(browser)
    script = (
        "const box = document.getElementById('text'); box.value = arguments[0]; box.dispatchEvent(new Event('input'))"
    )
    browser.execute_script(script, text)
    drawn(browser, before)
    return output(browser)


def gone(browser, selector: str) -> None:
    """Waits until no element is there."""
    for _ in range(400):
        if not browser.find_elements("css selector", selector):
            return
        time.sleep(0.025)
    raise AssertionError(selector)


def output(browser) -> str:
    return browser.find_element("css selector", "#output .translation").text.removeprefix("—")


def click(browser, selector: str) -> None:
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def clicked(browser, selector: str) -> str:
    """Clicks on what changes the thought, and returns the output after it."""
    before = drawn(browser)
    click(browser, selector)
    drawn(browser, before)
    return output(browser)


@pytest.fixture(scope="module")
def page(toy, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "transformer.html"
    assert run("explain", "--workdir", toy / "run", "--output", path) == 0
    return path


@pytest.fixture(scope="module")
def translator(toy) -> Translator:
    """A translator with the page's weights."""
    found = Translator.load(toy / "run")
    found.params = jax.device_put(weights.rounded(found.params))
    return found


def test_the_page_asks_for_nothing_else_and_translates_what_is_typed(page, browser, translator):
    text = page.read_text("utf-8")
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "") and "src=" not in text
    open_page(browser, page)
    for one in ("the red cat", "a <b>bird</b> 😀 likes & sees", "one", "two " * 200):
        found = says(browser, one)
        if len(one) < 100:
            assert normalise(found) == translator.translate(one, beam_size=1, alpha=0.0), one
    assert "left out" in browser.find_element("css selector", "#output .warning").text
    assert says(browser, " ") == ""
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(one => one.name)")
    assert [name for name in loaded if not name.startswith(("data:", "blob:"))] == []
    assert browser.get_log("browser") == []


def test_every_stop_has_its_formula_numbers_and_a_place_on_the_map(page, browser):
    open_page(browser, page)
    stops = [one.get_attribute("id") for one in browser.find_elements("css selector", "main section")]
    assert len(stops) == 15 and stops[0] == "pieces" and stops[-1] == "markov"
    for stop in stops:
        assert browser.find_elements("css selector", f"#{stop} .try")
        assert stop == "breaking" or browser.find_elements("css selector", f"#{stop} math")
        assert stop == "norm" or browser.find_elements("css selector", f"#{stop} .figure > *")
        link = browser.find_elements("css selector", f"#map [data-stop={stop}]")
        assert len(link) == 1, stop
        browser.execute_script("arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))", link[0])
        assert link[0].get_attribute("aria-current") == "location"
    assert browser.get_log("browser") == []


def test_a_position_looks_only_at_what_it_may_see_and_all_keys_have_their_numbers(page, browser):
    open_page(browser, page)
    says(browser, "the red cat sees a small dog and two old birds " * 3)
    count = "return document.querySelectorAll(arguments[0]).length"
    written = browser.execute_script(count, "#masked .pieces .chip")
    read = browser.execute_script(count, "#attention .pieces .chip")
    assert read > 24 and browser.execute_script(count, "#attention tbody tr") == read
    assert browser.execute_script(count, "#masked .bars .row") == 1  # the first position, which sees itself alone
    assert browser.execute_script(count, "#masked tbody tr") == written
    before = browser.find_elements("css selector", "#probabilities .note")[0].text
    assert before == "after ⟨start⟩"


@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_nothing_is_cut_at_any_width_in_either_language(page, browser, width: int):
    outside = """return [...document.querySelectorAll('body *')].filter((one) => {
      if (one.closest('.scroll, .formula, svg')) return false;
      const { left, right } = one.getBoundingClientRect();
      return right > innerWidth + 1 || left < -1;
    }).map((one) => one.outerHTML.slice(0, 80)).concat(
      [...document.querySelectorAll('#map :is(a, g) > text')].filter((one) => {
        const shape = one.parentNode.querySelector('rect')?.getBBox(), { x, width } = one.getBBox();
        return shape && (x < shape.x || x + width > shape.x + shape.width);
      }).map((one) => one.textContent))"""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        open_page(browser, page)
        for text in ("Donaudampfschifffahrtsgesellschaftskapitän" * 2, "the red cat"):
            says(browser, text)
            for language in (1, 2):
                before = drawn(browser)
                click(browser, f"#languages button:nth-of-type({language})")
                assert browser.execute_script(outside) == [], (text, language, before)
                assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        cell = (
            "const { width } = document.querySelector('#attention .pair canvas').getBoundingClientRect(); return width"
        )
        columns = len(browser.find_elements("css selector", "#attention .pieces .chip"))
        assert browser.execute_script(cell) / columns > 14  # a short sentence's grid uses the room that there is
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_what_is_opened_stays_open_and_a_beam_of_other_settings_is_dimmed(page, browser):
    open_page(browser, page)
    says(browser, "the red cat sees a dog")
    open_numbers = "return document.querySelector('#masked details').open"
    browser.execute_script(open_numbers.replace("return ", "") + " = true")
    click(browser, "#masked .pieces .chip:last-child")
    browser.execute_async_script("setTimeout(arguments[0], 300)")
    assert browser.find_elements("css selector", "#masked .pieces .chip:last-child[aria-pressed=true]")
    assert browser.execute_script(open_numbers)
    gone(browser, "[aria-busy]")
    slide = (
        "const slider = document.querySelector('[data-key=width]'); slider.value = 2;"
        "slider.dispatchEvent(new Event('input')); return document.querySelectorAll('[aria-busy]').length"
    )
    assert browser.execute_script(slide) == 1
    gone(browser, "[aria-busy]")
    assert browser.execute_script("return document.querySelectorAll('#beam .results tbody tr').length") == 2


def test_choosing_another_piece_turns_the_text_and_it_turns_back(page, browser, translator):
    open_page(browser, page)
    own = says(browser, "the red cat")
    second = browser.find_element("css selector", "#probabilities [data-key='next/1'] .name").text
    turned = clicked(browser, "#probabilities [data-key='next/1']")
    prefix = translator.vocabulary.decode([translator.vocabulary.ids()[second.replace("␣", "▁")]])
    assert turned != own and turned.startswith(prefix)
    assert normalise(turned) == translator.translate("the red cat", beam_size=1, alpha=0.0, prefixes=prefix)
    assert clicked(browser, "[data-key='undo']") == own


def test_parts_are_switched_off_and_mended(page, browser):
    open_page(browser, page)
    own = says(browser, "the red cat sees a dog")
    clicked(browser, "[data-key='positions']")
    before, now = browser.find_element("css selector", "#breaking dl dd:last-child").text.split(", ")
    assert before.split()[0] != now.split()[0]
    clicked(browser, "[data-key='decoder_0/cross_attention/1']")
    assert browser.find_element("css selector", "#breaking dd").text == own
    assert clicked(browser, "[data-key='mend']") == own
    assert browser.get_log("browser") == []


def test_the_beam_s_best_is_translate_s(page, browser, translator):
    open_page(browser, page)
    says(browser, "two small birds")
    expected = [one.text for one in translator.n_best("two small birds", 4)]
    rows: list[str] = []
    for _ in range(200):
        rows = browser.execute_script(
            "return [...document.querySelectorAll('#beam .results td:first-child')].map((one) => one.textContent)"
        )
        if [normalise(one) for one in rows] == expected:
            break
        time.sleep(0.05)
    else:
        raise AssertionError((rows, expected))
    assert browser.find_elements("css selector", "#beam .node.pruned")
    click(browser, "[data-key='draw']")
    time.sleep(0.5)
    assert len(browser.find_elements("css selector", "#sampling .drawn li")) == 5


def test_the_language_is_switched_and_keys_move_the_reader(page, browser):
    from selenium.webdriver import Keys

    open_page(browser, page)
    says(browser, "the red cat")
    chips = browser.find_elements("css selector", "#attention .pieces .chip")
    browser.execute_script("arguments[0].focus()", chips[0])
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    focused = browser.switch_to.active_element
    assert focused.get_attribute("data-key") == "srcattention/1" and focused.get_attribute("aria-pressed") == "true"
    click(browser, "#languages button:last-child")
    assert browser.find_element("css selector", "#pieces h2").text.endswith("文本变成词元")
    assert browser.find_element("tag name", "html").get_attribute("lang") == "zh-Hans"
    keys = (
        "const names = (o) => Object.entries(o).map(([k, v]) => [k, v.constructor === Object ? names(v) : typeof v]);"
    )
    texts = document.scripts(("text_en", "text_zh"))
    english, chinese = browser.execute_script(f"{texts}; {keys} return [names(en), names(zh)]")
    assert english == chinese
    assert browser.get_log("browser") == []


def test_a_browser_without_workers_is_told_so_and_one_without_motion_sees_the_whole_beam(page, browser):
    without = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": "delete window.Worker"})
    browser.get(page.as_uri())
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", without)
    assert "This browser lacks" in browser.find_element("id", "failure").text
    still = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", still)
    open_page(browser, page)
    says(browser, "two small birds")
    while not (whole := len(browser.find_elements("css selector", "#beam .node"))):
        time.sleep(0.05)
    click(browser, "[data-key='grow']")
    assert len(browser.find_elements("css selector", "#beam .node")) == whole
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_language_model_goes_on_as_generate_does(browser, tmp_path):
    words = trained(tmp_path, lines=True)
    config = dataclasses.replace(MODEL, architecture="decoder_only", vocabulary_size=len(words))
    params: Any = build(config).init(jax.random.key(3), jnp.ones((1, 2), int), jnp.ones((1, 2), int))["params"]
    params = jax.device_put(weights.rounded(params | {"output_table": params["output_table"] * 5}))
    data = dataclasses.replace(CONFIG.data, documents="line")
    made = runs.Run(dataclasses.replace(CONFIG, model=config, data=data), params, words, "in memory")
    (tmp_path / "page.html").write_text(document.html(made, tmp_path / "nothing", "zh"), "utf-8")
    open_page(browser, tmp_path / "page.html")
    stops = [one.get_attribute("id") for one in browser.find_elements("css selector", "main section")]
    assert len(stops) == 10 and "cross" not in stops and "markov" not in stops
    found = says(browser, "ein Mann sieht")
    expected = LanguageModel(*made[:3]).generate_text("ein Mann sieht", 24, temperature=0.0)
    assert normalise(found) == normalise("ein Mann sieht" + expected)
    breaks = "return getComputedStyle(document.querySelector('.translation')).whiteSpaceCollapse"
    assert browser.execute_script(breaks) == "preserve-breaks"  # it writes lines
    assert browser.get_log("browser") == []


def test_the_examples_of_a_language_model_are_openings_of_lines(tmp_path, monkeypatch):
    text = "?\n\nGREMIO:\nGood morrow, neighbour Baptista.\n\nBAPTISTA:\nGood morrow, neighbour Gremio. God save you!"
    prepared = types.SimpleNamespace(dev_text=[text], train=types.SimpleNamespace(tokens=np.arange(4, 9)))
    monkeypatch.setattr(document.prepare_text, "open_prepared", lambda folder: prepared)
    model = dataclasses.replace(MODEL, architecture="decoder_only")
    data = dataclasses.replace(CONFIG.data, documents="line")
    settings = dataclasses.replace(CONFIG, model=model, data=data)
    examples, tokens = document._text(settings, tmp_path, 3)
    assert examples == ["Good morrow, neighbour Baptista.", "Good morrow, neighbour Gremio."] and tokens == [4, 5, 6]


# ---- What a page cannot hold


def test_runs_that_a_page_cannot_compute_are_refused_in_one_line(toy, tmp_path, capsys, monkeypatch):
    with pytest.raises(UserError, match="unigram"):
        vocabulary.described(trained(tmp_path, False, "unigram"))
    with pytest.raises(UserError, match="float16"):
        weights.rounded({"kernel": np.full(3, 1e5, np.float32)})
    with pytest.raises(UserError, match="float16"):
        weights.rounded({"kernel": np.full((3, 3), np.nan, np.float32)}, "int8")
    monkeypatch.setattr(weights, "MOST_BYTES", 100)
    output = tmp_path / "page.html"
    for precision, advice in (("float16", "--precision int8 halves it"), ("int8", "train a smaller one")):
        line = refused(capsys, "explain", "--workdir", toy / "run", "--output", output, "--precision", precision)
        assert f"bytes in {precision}, and a page holds at most 100 (16 MB of text); {advice}" in line
        assert not output.exists()
    assert "holds no run" in refused(capsys, "explain", "--workdir", tmp_path, "--output", output)
    assert not output.exists()


def test_the_page_says_what_rounding_costs(toy, tmp_path, browser, capsys):
    output, folder = tmp_path / "page.html", toy / "run"
    options = ("--precision", "int8", "--evaluate", "dev", "--output", output)
    assert run("explain", "--workdir", folder, *options) == 0
    sources, references = map(list, zip(*evaluations.pairs_of(folder, "dev"), strict=True))
    found = Translator.load(folder)
    own = bleu.score(found.translate(sources), references, language="de").sacrebleu
    found.params = jax.device_put(weights.rounded(found.params, "int8"))
    after = bleu.score(found.translate(sources), references, language="de").sacrebleu
    assert f"dev: BLEU {after:#.4g}, {own:#.4g} before rounding" in capsys.readouterr().err
    open_page(browser, output)
    footer = browser.find_element("id", "origin").text
    assert f"int8 · 300 pieces · BLEU on dev: {after:#.4g} with these weights, {own:#.4g} with float32" in footer
    assert normalise(says(browser, "the red cat")) == found.translate("the red cat", beam_size=1, alpha=0.0)


def test_of_a_language_model_rounding_costs_bits(tmp_path, monkeypatch):
    words = trained(tmp_path, lines=True)
    config = dataclasses.replace(MODEL, architecture="decoder_only", vocabulary_size=len(words))
    params: Any = build(config).init(jax.random.key(3), jnp.ones((1, 2), int), jnp.ones((1, 2), int))["params"]
    data = dataclasses.replace(CONFIG.data, documents="line")
    made = runs.Run(dataclasses.replace(CONFIG, model=config, data=data), params, words, "in memory")
    monkeypatch.setattr(evaluations, "texts_of", lambda workdir, split: [sentence(1, 8)])
    cost = rounding.cost(made, tmp_path, "dev", "int8")
    for value, one in ((cost.own, params), (cost.rounded, weights.rounded(params, "int8"))):
        model = LanguageModel(made.config, jax.device_put(one), words)
        nats = -float(np.sum(model.log_probabilities([*words.encode(sentence(1, 8)), EOS])))
        assert value == pytest.approx(nats / np.log(2) / len(sentence(1, 8).encode()), rel=1e-5)
    assert cost.name == "bits per byte" and cost.own != cost.rounded


def test_a_page_may_be_without_the_text_of_its_corpus(toy, tmp_path, capsys):
    sizes = {}
    for option in ((), ("--no-text",)):
        output = tmp_path / f"{len(option)}.html"
        assert run("explain", "--workdir", toy / "run", "--output", output, *option) == 0
        sizes[option] = output.read_text("utf-8")
    sources = (toy / "run" / "data" / "dev.en").read_text("utf-8").splitlines()
    found = [[line for line in sources if line in page] for page in sizes.values()]
    assert found[0] and not found[1]
    assert [len(re.findall(r'id="sample"[^>]*></', page)) for page in sizes.values()] == [0, 1]
