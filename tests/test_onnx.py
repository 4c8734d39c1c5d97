"""The export to ONNX: the graphs in onnxruntime and in transformers.js against our model, tokenizer.json in Rust and in
JavaScript against our vocabulary."""

import dataclasses
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np
import pytest
from fakes import TINY, apply, random_tokens, tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st

from wmt_transformer import checkpoint, cli
from wmt_transformer.config import Config, DataConfig, DecodeConfig, UserError
from wmt_transformer.data import vocabulary as vocabularies
from wmt_transformer.data.vocabulary import Vocabulary, normalise
from wmt_transformer.decode.generate import Translator
from wmt_transformer.experiment import run_config, to_json
from wmt_transformer.interop import onnx_export, onnx_model
from wmt_transformer.interop.onnx_export import SUFFIXES, OnnxTranslator
from wmt_transformer.interop.onnx_graph import Graph, Precision
from wmt_transformer.interop.tokenizer_json import tokenizer_json
from wmt_transformer.special_tokens import BOS, EOS, PAD, UNKNOWN

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.interop

HERE = Path(__file__).parent
SHAPES: dict[str, dict[str, Any]] = {
    "the paper": {},
    "pre-norm, learned positions": {"positions": "learned", "max_positions": 12, "norm_position": "pre"},
    "nothing tied, all biases": {"tied_embeddings": "none", "attention_bias": True, "output_bias": True},
    "as Marian": {"activation": "swish", "num_decoder_layers": 1, "sinusoid_layout": "concatenated", "d_v": 8},
    "values wider than keys": {"num_heads": 3, "d_k": 5, "d_v": 7, "tied_embeddings": "target", "activation": "gelu"},
}
LENGTHS = [7, 3, 5, 1]
WORDS = ["a", "the", "big", "small", "old", "red", "green", "cat", "dog", "man", "woman", "sees", "likes", "eats"]
ODD = [
    "",
    " ",
    "  a\u2581b ",
    "\ufeffmark",
    "e\u0301",
    "a\x00b\x85c",
    "👩\u200d👩\u200d👧 sees",
    "<0x41> <s",
    "<unk>",
    "中文",
    "ﬁ \u2047",
]
ODD += ["aaaaaaaaaaaaa", "a\u1680b\u202fc\u2028d", "\u200b", "İß", "</ s>"]


def varied(params: Any) -> Any:
    """Returns parameters that say more than one word: louder matrices, norms and biases as varied as trained ones."""

    def changed(path: Any, x: jax.Array) -> Any:
        name = path[-1].key
        drawn = np.random.default_rng(len(str(path))).normal(size=x.shape).astype(np.float32)
        return {"scale": 1 + 0.3 * drawn, "bias": 0.1 * drawn, "output_bias": 0.1 * drawn}.get(name, 2 * x)

    return jax.tree_util.tree_map_with_path(changed, params)


def written(folder: Path, precision: Precision = "float32", **shape: Any) -> tuple[Any, Any, OnnxTranslator]:
    """Returns a tiny model, its parameters, and its graphs in onnxruntime."""
    model, params = tiny_model(**shape)
    params = varied(params)
    (folder / "onnx").mkdir()
    for name, make in (("encoder_model", onnx_model.encoder), ("decoder_model_merged", onnx_model.decoder)):
        graph = make(model.config, params, precision, 12)
        onnx.checker.check_model(graph, full_check=True)
        (folder / "onnx" / f"{name}{SUFFIXES[precision]}.onnx").write_bytes(graph.SerializeToString())
    return model, params, OnnxTranslator(folder, precision)


def logits_of(graphs: OnnxTranslator, source: np.ndarray, target: np.ndarray, at_once: int) -> np.ndarray:
    """Returns the logits of a target, whose first tokens are given at once and the others one by one."""
    inputs = np.pad(target, ((0, 0), (1, 0)), constant_values=BOS)[:, :-1]
    known, found = graphs.encode(source), []
    for begin, end in [(0, at_once), *((i, i + 1) for i in range(at_once, target.shape[1]))]:
        logits, known = graphs.step(known, inputs[:, begin:end])
        found.append(logits)
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_graphs_give_our_logits_step_by_step_and_at_once(shape: dict[str, Any], tmp_path: Path):
    model, params, graphs = written(tmp_path, **shape)
    source, target = np.array(random_tokens(1, 4, 8, LENGTHS)), np.array(random_tokens(2, 4, 9))
    source[np.arange(4), LENGTHS] = EOS
    expected = np.asarray(apply(model, params, source, target))
    assert expected.std() > 0.3
    for at_once in (1, 4, 9):
        np.testing.assert_allclose(logits_of(graphs, source, target, at_once), expected, atol=1e-4)


def test_stored_in_fewer_bits_logits_change_by_their_rounding(tmp_path: Path):
    source, target = np.array(random_tokens(1, 4, 7)), np.array(random_tokens(2, 4, 9))
    bounds: dict[Precision, float] = {"float16": 0.005, "int8": 0.3}
    for precision, most in bounds.items():
        (tmp_path / precision).mkdir()
        model, params, graphs = written(tmp_path / precision, precision)
        found = logits_of(graphs, source, target, 1)
        gap = abs(found - np.asarray(apply(model, params, source, target))).mean()
        assert 1e-5 < gap < most
        alone = [logits_of(graphs, source[i : i + 1], target[i : i + 1], 1)[0] for i in range(4)]
        np.testing.assert_allclose(found, alone, atol=1e-4)  # whatever the neighbours


def test_a_product_of_bytes_is_off_by_half_a_step_of_each_factor_at_most():
    import onnxruntime

    draw = np.random.default_rng(1)
    x, table = (draw.normal(size=(n, 16)).astype(np.float32) * draw.uniform(0.1, 9, (n, 1)) for n in (5, 7))
    graph = Graph("int8")
    outputs = [graph.product("x", "table", table.astype(np.float32)), graph.rows("ids", "table", table)]
    shapes = {"x": (1, x.shape), "ids": (7, [7])}
    inputs = [onnx.helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in shapes.items()]
    model = graph.model("product", inputs, [onnx.helper.make_tensor_value_info(name, 1, None) for name in outputs])
    session: Any = onnxruntime.InferenceSession(model.SerializeToString())
    product, rows = session.run(None, {"x": x.astype(np.float32), "ids": np.arange(7)})
    x_step, step = (abs(one).max(axis=1, keepdims=True) / 127 for one in (x, table))
    assert (abs(rows - table) <= step * 0.501).all()
    bound = x_step / 2 * abs(table).sum(axis=1) + abs(x).sum(axis=1, keepdims=True) * step.T / 2 + 4 * x_step * step.T
    assert (abs(product - x @ table.T) <= bound).all() and bound.max() < 0.3 * abs(x @ table.T).max()


def test_a_cache_counts_only_where_the_caller_says_so_and_nothing_comes_after_eos(tmp_path: Path):
    _, _, graphs = written(tmp_path)
    source = np.array(random_tokens(1, 2, 6))
    known = graphs.encode(source)
    some = {k: np.ones((*v.shape[:2], 3, v.shape[3]), np.float32) for k, v in known.items() if "past" in k}
    first = np.full((2, 1), BOS)
    np.testing.assert_array_equal(graphs.step(known, first)[0], graphs.step(known | some, first)[0])
    ended = graphs.step(graphs.step(known, first)[1], np.array([[EOS], [5]]))[0][:, 0]
    assert ended[0].argmax() == EOS and np.sort(ended[0])[-2] == -1e4
    assert ended[1].min() > -1e4


# ---- A run, exported


def text(seed: int, words: int) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, words))


TEXTS = [text(i, 2 + i % 7) for i in range(200)] + ODD
ONE_LINE = [line for line in TEXTS if line.strip() and len(line.splitlines()) == 1]  # more are translated apart
ODD_LINES = ONE_LINE[190:]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a run with one checkpoint, of a model that was not trained, and so says many things."""
    workdir = tmp_path_factory.mktemp("run")
    (workdir / "data").mkdir()
    words = vocabularies.train((text(i, 8) for i in range(200)), workdir / "data" / "vocabulary.model", size=320)
    model, params = tiny_model(vocabulary_size=len(words), tied_embeddings="none", output_bias=True)
    params = varied(params) | {"output_bias": np.zeros(len(words), np.float32)}
    params["output_bias"][EOS], params["output_bias"][4:260] = 1.5, -9  # bytes alone are seldom a text
    data, decode = DataConfig(max_length=60), DecodeConfig(extra_length=9)
    (workdir / "config.json").write_text(to_json(Config(model=model.config, data=data, decode=decode)))
    checkpoint.write_params(workdir, 7, params)
    return workdir


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    assert command("--workdir", run, "--output", run / "onnx") == 0
    return run / "onnx"


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["export-onnx", *map(str, arguments)])
    return stopped.value.code  # type: ignore[return-value]


def limits(ours: Translator, texts: list[str], extra: int = 9) -> list[int]:
    return [len(ours.vocabulary.encode(line)) + 1 + extra for line in texts]


def test_greedy_translations_in_onnxruntime_are_ours(run: Path, exported: Path):
    ours, graphs = Translator.load(run), OnnxTranslator(exported)
    expected = ours.translate(ONE_LINE, beam_size=1)
    assert len(set(expected)) > 50
    for line, most, translation in zip(ONE_LINE, limits(ours, ONE_LINE), expected, strict=True):
        ids = graphs.greedy([*ours.vocabulary.encode(line), EOS], most)
        assert normalise(ours.vocabulary.decode(ids)) == translation, line


def test_transformers_js_translates_as_we_do(run: Path, exported: Path):
    if not shutil.which("node"):
        pytest.skip("there is no Node to run transformers.js with")
    script = HERE / "transformers_js" / "translate.mjs"
    if not (script.parent / "node_modules" / "@huggingface" / "transformers").is_dir():
        pytest.skip("transformers.js is not installed: npm install --ignore-scripts --prefix tests/transformers_js")
    ours = Translator.load(run)
    cases: list[tuple[Precision, str, list[str]]] = [
        ("float32", "fp32", ONE_LINE),
        ("float16", "fp16", ODD_LINES),
        ("int8", "q8", ODD_LINES),
    ]
    for precision, dtype, texts in cases:
        asked = [dict(text=line, longest=most) for line, most in zip(texts, limits(ours, texts), strict=True)]
        answer = subprocess.run(
            ["node", script, exported, dtype], input=json.dumps(asked), capture_output=True, text=True, timeout=500
        )
        assert answer.returncode == 0 and not answer.stderr, answer.stderr
        found = json.loads(answer.stdout)
        assert found["model"] == "MarianMTModel"
        graphs = OnnxTranslator(exported, precision)
        for one, most in zip(found["alone"], limits(ours, texts), strict=True):
            assert one["ids"] == [BOS, *graphs.greedy(one["source"], most), EOS]
        assert [one["source"] for one in found["alone"]] == [[*ours.vocabulary.encode(line), EOS] for line in texts]
        ended = [i for i in range(20) if len(found["alone"][i]["ids"]) < limits(ours, texts)[i] + 2]
        assert ended or precision != "float32"
        assert all(found["together"][i] == found["alone"][i]["translation"] for i in ended)
        if precision == "float32":
            assert [normalise(one["translation"]) for one in found["alone"]] == ours.translate(texts, beam_size=1)


def test_what_is_written_is_what_transformers_js_looks_for(exported: Path):
    names = [
        f"{name}{suffix}.onnx" for name in ("decoder_model_merged", "encoder_model") for suffix in SUFFIXES.values()
    ]
    assert sorted(path.name for path in (exported / "onnx").iterdir()) == sorted(names)
    assert tuple(SUFFIXES) == get_args(Precision)
    config = json.loads((exported / "config.json").read_text())
    assert (config["model_type"], config["decoder_layers"], config["decoder_attention_heads"]) == ("marian", 2, 2)
    search = json.loads((exported / "generation_config.json").read_text())
    assert (search["num_beams"], search["decoder_start_token_id"], search["bad_words_ids"]) == (1, BOS, [[PAD], [BOS]])
    decoder = onnx.load(exported / "onnx" / "decoder_model_merged.onnx").graph
    known = {"encoder_attention_mask", "input_ids", "encoder_hidden_states", "use_cache_branch"}
    caches = {f"{i}.{side}.{kind}" for i in (0, 1) for side in ("decoder", "encoder") for kind in ("key", "value")}
    assert {one.name for one in decoder.input} == known | {f"past_key_values.{name}" for name in caches}
    assert {one.name for one in decoder.output} == {"logits"} | {f"present.{name}" for name in caches}


# ---- tokenizer.json


def both(folder: Path, size: int = 320, **options: Any) -> tuple[Vocabulary, Any]:
    """Returns a vocabulary, trained, and the tokenizer of its tokenizer.json."""
    tokenizers = pytest.importorskip("tokenizers")
    folder.mkdir(exist_ok=True)
    words = vocabularies.train((text(i, 8) for i in range(200)), folder / "vocabulary.model", size, **options)
    return words, tokenizers.Tokenizer.from_str(json.dumps(tokenizer_json(folder)))


@pytest.fixture(scope="module")
def vocabulary_and_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Vocabulary, Any]:
    return both(tmp_path_factory.mktemp("vocabulary"))


def newer_than_unicode_14(line: str) -> bool:
    """Tells whether a text has characters that one library's Unicode may know and the other's not."""
    import unicodedata

    return any(unicodedata.category(one) == "Cn" for one in line)


@settings(max_examples=500)
@given(line=st.text(st.characters(exclude_categories=["Cs"])) | st.text("aeinst .-h"))
def test_ids_and_texts_are_ours_for_any_unicode(vocabulary_and_tokenizer: tuple[Vocabulary, Any], line: str):
    words, tokenizer = vocabulary_and_tokenizer
    if newer_than_unicode_14(line):
        return
    ids = [*words.encode(line), EOS]
    assert tokenizer.encode(line).ids == ids
    assert tokenizer.decode([BOS, *ids, PAD]) == words.decode(ids) == normalise(line)


def test_ids_are_ours_for_odd_lines_and_random_letters(vocabulary_and_tokenizer: tuple[Vocabulary, Any]):
    words, tokenizer = vocabulary_and_tokenizer
    draw = random.Random(1)
    lines = TEXTS + ["".join(draw.choices("ademnosthe  ", k=draw.randrange(60))) for _ in range(2000)]
    for line in lines:
        assert tokenizer.encode(line).ids == [*words.encode(line), EOS], line
    known = words.encode("a dog")
    assert (
        tokenizer.decode([*known, UNKNOWN, *known]) == words.decode([*known, UNKNOWN, *known]) == "a dog \u2047  a dog"
    )


def test_characters_and_tags_are_pieces_too(tmp_path: Path):
    words, tokenizer = both(tmp_path / "characters", model="char")
    for line in [*TEXTS, "xyz"]:
        assert tokenizer.encode(line).ids == [*words.encode(line), EOS]
    words, tokenizer = both(tmp_path / "tags", symbols=[">>de<<", ">>fr<<"])
    for line in (">>de<< a big dog", ">>fr<<a dog", "the >>de<< cat", " >>de<<", "a>>de<<"):
        assert tokenizer.encode(line).ids == [*words.encode(line), EOS], line
        assert tokenizer.decode(words.encode(line)) == words.decode(words.encode(line))


# ---- What is refused


def test_a_model_or_vocabulary_without_a_counterpart_is_refused_in_one_line(
    run: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
):
    config, params = run_config(run), checkpoint.load_params(run)

    def refused(reason: str, data: Path = tmp_path, config: Config = config) -> None:
        with pytest.raises(UserError, match=re.escape(reason)) as error:
            onnx_export.export(config, params, data, tmp_path / "model")
        assert "\n" not in str(error.value) and not (tmp_path / "model").exists()

    vocabularies.train((text(i, 8) for i in range(200)), tmp_path / "vocabulary.model", 310)
    refused("the vocabulary has 310 pieces and the checkpoint's embedding 320 rows")
    words = vocabularies.train((text(i, 8) for i in range(200)), tmp_path / "vocabulary.model", 290, "unigram")
    with pytest.raises(UserError, match=r"it is a unigram model \(data.vocabulary_model\), where there are byte pairs"):
        tokenizer_json(tmp_path)
    for name in ("source.spm", "target.spm"):
        shutil.copy(tmp_path / "vocabulary.model", tmp_path / name)
    (tmp_path / "vocab.json").write_text(json.dumps(words.ids()))
    with pytest.raises(UserError, match="it was imported from Marian, with a SentencePiece model and a normalisation"):
        tokenizer_json(tmp_path)
    model = dataclasses.replace(config.model, architecture="decoder_only")
    refused("it is a language model", config=dataclasses.replace(config, model=model))
    monkeypatch.setitem(sys.modules, "onnx", None)  # as if it were not installed
    assert command("--workdir", run, "--output", tmp_path / "model") == 2
    assert "pip install 'onnx>=1.17'" in capsys.readouterr().err


def test_weights_that_float16_cannot_hold_are_refused(tmp_path: Path):
    model, params = tiny_model()
    params = {**params, "target_embedding": {"table": params["target_embedding"]["table"] * 1e6}}
    with pytest.raises(Exception, match=r"target_embedding/table has the value .*, which float16 cannot hold"):
        onnx_model.encoder(model.config, params, "float16", 12)


def test_an_earlier_export_is_replaced_and_anything_else_is_left_alone(run: Path, exported: Path, tmp_path: Path):
    output = Path(shutil.copytree(exported, tmp_path / "model"))
    assert command("--workdir", run, "--output", output, "--precision", "int8") == 0
    assert sorted(os.listdir(output / "onnx")) == [
        "decoder_model_merged_quantized.onnx",
        "encoder_model_quantized.onnx",
    ]
    (output / "notes.txt").write_text("mine")
    assert command("--workdir", run, "--output", output) == 2
    assert (output / "notes.txt").read_text() == "mine"


def test_an_export_is_compared_before_it_is_there_and_refused_where_it_translates_otherwise(
    run: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
):
    data = Path(shutil.copytree(run / "data", tmp_path / "data"))
    config, params = run_config(run), checkpoint.load_params(run)
    named = f"onnxruntime {pytest.importorskip('onnxruntime').__version__}"
    without = onnx_export.export(config, params, data, tmp_path / "model", ["float32"])
    assert str(without) == f"of 16 made-up sentences {named} translates as we do: float32 16"
    (data / "dev.en").write_text("\n".join(TEXTS[:20]) + "\n")
    found = onnx_export.export(config, params, data, tmp_path / "model", ["float32", "int8"])
    assert str(found).startswith(f"of 16 development sentences {named} translates as we do: float32 16, int8 ")
    report = json.loads((tmp_path / "model" / "export.json").read_text())
    assert report["program"] == named and report["same"] == found.same
    assert len(report["differences"]) == 16 - found.same["int8"]
    before = os.listdir(tmp_path / "model")
    greedy = OnnxTranslator.greedy
    monkeypatch.setattr(OnnxTranslator, "greedy", lambda *given: greedy(*given)[1:])
    with pytest.raises(UserError, match=r"translates 1[0-6] of 16 development sentences otherwise"):
        onnx_export.export(config, params, data, tmp_path / "new", ["float32"])
    assert not (tmp_path / "new").exists() and os.listdir(tmp_path / "model") == before


def test_learned_positions_are_as_many_as_there_are(run: Path):
    learned = Config(model=TINY.__class__(positions="learned", max_positions=12))
    assert onnx_export.positions(learned) == 12
    assert onnx_export.positions(Config(data=DataConfig(max_length=2000))) == 2050
