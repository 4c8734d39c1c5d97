"""The page in which a model thinks: its JavaScript against Python and JAX, in Node and in a real browser."""

import base64
import dataclasses
import json
import random
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from translators import CONFIG, MODEL, sentence, toy_params, toy_vocabulary

from wmt_transformer.config import Config, ModelConfig, UserError
from wmt_transformer.data import vocabulary as vocabularies
from wmt_transformer.data.vocabulary import Vocabulary, normalise
from wmt_transformer.decode.completion import LanguageModel
from wmt_transformer.decode.generate import Translator
from wmt_transformer.explain import document, vocabulary, weights
from wmt_transformer.model.build import build
from wmt_transformer.special_tokens import BOS, EOS

LIBRARY = ("pieces", "model", "beam", "sampling", "markov")
NAMES = "Pieces, normalise, Transformer, unpacked, search, top, filtered, Chain, logSoftmax"


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
    whole = "const lib = new Function(arguments[0])(); return JSON.stringify(((lib, given) => {{ {} }})(lib, JSON.parse(arguments[1])))"
    return lambda body, given: json.loads(browser.execute_script(whole.format(body), text, json.dumps(given)))


# ---- Pieces

ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyzäöüßÄÖÜ .,!?'",
    "the cat sees a small dog in den Garten hinter dem See ",
    "我们的猫看见狗。，",
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


def run_of(config: ModelConfig, params: Any) -> dict[str, Any]:
    tensors, numbers = weights.packed(params)
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
        *names, last, number = (getattr(step, "key", getattr(step, "idx", None)) for step in path)
        name = "/".join([*names, last] if last != "__call__" else names)
        if name.endswith("_embedding"):
            both = name == "target_embedding" and config.tied_embeddings == "all" and len(source) > 1
            name = "source/embedding" if name.startswith("source") or (both and number == 0) else "target/embedding"
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


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=list(VARIANTS))
def test_every_array_is_jax_s_on_the_same_rounded_weights(javascript, changes: dict[str, Any]):
    config = dataclasses.replace(MODEL, **{"num_layers": 2, **changes})
    translates = config.architecture == "encoder_decoder"
    draw = np.random.default_rng(0)
    source, target = (draw.integers(4, config.vocabulary_size, size).tolist() for size in (7, 6))
    params: Any = build(config).init(jax.random.key(0), jnp.asarray([source]), jnp.asarray([target]))["params"]
    noise = iter(jax.random.split(jax.random.key(1), len(jax.tree.leaves(params))))
    params = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(next(noise), x.shape), params)  # no bias is 0
    params = jax.device_put(weights.rounded(params))
    expected = intermediates(config, params, source if translates else [BOS], target)
    inputs = [BOS, *target[:-1]]
    found = javascript(WHOLE, run_of(config, params) | {"source": source if translates else None, "inputs": inputs})
    assert len(expected) > 20 and expected.keys() <= found.keys(), expected.keys() - found.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(np.asarray(found[name], np.float32), array, atol=1e-4, err_msg=name)


# ---- Search

SEARCH = f"""{THINK}
return given.sources.map((source) => {{
  given.source = source;
  const limit = source.length + given.extra;
  const next = (id, cache) => {{ const after = model.extend([id], cache); return {{ ...after, logits: after.logits[0] }} }};
  const steps = lib.search(next(1, begin()), next, {{
    width: given.width, alpha: given.alpha, limit, results: given.results }});
  for (;;) {{ const step = steps.next(); if (step.done) return step.value.map(({{ tokens, score }}) => [tokens, score]); }}
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
