"""The export to CTranslate2, whose C++ is the oracle: the probabilities, greedy outputs and beams of the folder that it
loads against ours, on models of every shape that a config can ask for."""

import json
import os
import re
import shutil
import sys
import textwrap
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fakes import TINY, random_tokens, tiny_model

from wmt_transformer import checkpoint, cli
from wmt_transformer.cli.interop import export_ctranslate2
from wmt_transformer.config import Config, DataConfig, DecodeConfig, UserError
from wmt_transformer.data import vocabulary as vocabularies
from wmt_transformer.data.marian_vocabulary import MarianVocabulary
from wmt_transformer.data.prepare import open_prepared
from wmt_transformer.data.vocabulary import normalise
from wmt_transformer.data.vocabulary_files import load_vocabulary
from wmt_transformer.decode.beam import length_penalty
from wmt_transformer.decode.generate import Translator
from wmt_transformer.evaluate import bleu
from wmt_transformer.experiment import from_json, to_json
from wmt_transformer.interop import ctranslate2 as interop
from wmt_transformer.model.layers import sinusoids
from wmt_transformer.special_tokens import BOS, EOS, PAD

ctranslate2 = pytest.importorskip("ctranslate2")
pytestmark = pytest.mark.interop

TOKENS = ["<pad>", "<s>", "</s>", "<unk>", *(f"piece{i}" for i in range(4, TINY.vocabulary_size))]
SHAPES: dict[str, dict[str, Any]] = {
    "the paper": {},
    "pre-norm": {"norm_position": "pre"},
    "concatenated sinusoids": {"sinusoid_layout": "concatenated"},
    "learned positions": {"positions": "learned", "max_positions": 12, "norm_position": "pre"},
    "target and output tied": {"tied_embeddings": "target", "attention_bias": True},
    "nothing tied": {"tied_embeddings": "none", "norm_position": "pre", "attention_bias": True, "norm_epsilon": 0.1},
    "values wider than keys": {"num_heads": 3, "d_k": 5, "d_v": 7, "attention_bias": True},
    "one head as wide as the model": {"num_heads": 1, "d_k": 16, "d_v": 16},
    "as Marian": {"activation": "swish", "num_decoder_layers": 1, "output_bias": True, "attention_bias": True},
}
LENGTHS = [7, 3, 5, 1, 6, 4, 7, 2]  # pieces of the eight sentences that each test translates
WORDS = ["a", "the", "big", "small", "old", "red", "green", "cat", "dog", "man", "woman", "sees", "likes", "eats"]
EXTRA_LENGTH = 20  # pieces that a translation may have beyond its source


def lively(params: Any) -> Any:
    """Returns parameters that say more than one word, as freshly drawn ones do not: louder embeddings and kernels,
    norms and biases as varied as trained ones, and EOS likely."""

    def changed(path: Any, x: jax.Array) -> jax.Array:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        drawn = jax.random.normal(jax.random.key(zlib.crc32(name.encode())), x.shape)
        if name.endswith("table"):
            return (2 * x).at[EOS].multiply(2)
        kinds = {"kernel": 2 * x, "scale": drawn, "bias": 0.1 * drawn}
        return next((value for kind, value in kinds.items() if name.endswith(kind)), x)

    return jax.tree_util.tree_map_with_path(changed, params)


def loaded(model: Any, params: Any, folder: Path, quantization: interop.Quantization = "float32") -> Any:
    """Returns the `ctranslate2.Translator` of the model."""
    spec = interop.specification(model.config, params, TOKENS, TOKENS)
    spec.validate()
    spec.optimize(quantization)
    spec.save(str(folder))
    return ctranslate2.Translator(str(folder), intra_threads=1)


@pytest.fixture(scope="module", params=SHAPES)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Returns a model twice: as a function from source `[8, 8]` and target `[8, 12]` to log-probabilities, and
    loaded by CTranslate2."""
    model, params = tiny_model(**SHAPES[request.param])
    params = lively(params)

    def log_probabilities(source: np.ndarray, target: np.ndarray) -> jax.Array:
        return jax.nn.log_softmax(jnp.asarray(model.apply({"params": params}, source, target)))

    return jax.jit(log_probabilities), loaded(model, params, tmp_path_factory.mktemp("ctranslate2"))


def sentences(seed: int, length: int) -> np.ndarray:
    """Returns `[8, length]` random ids, each row with EOS behind its own number of pieces and then padding."""
    tokens = np.array(random_tokens(seed, len(LENGTHS), length, LENGTHS))
    tokens[np.arange(len(LENGTHS)), LENGTHS] = EOS
    return tokens


def pieces(rows: np.ndarray) -> list[list[str]]:
    """Returns the rows as CTranslate2 wants them: pieces without padding and EOS."""
    return [[TOKENS[i] for i in row if i not in (PAD, EOS)] for row in rows.tolist()]


def taken(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Returns the entries of `[batch, length, vocabulary]` that belong to the target's tokens."""
    return np.take_along_axis(np.asarray(scores), target[..., None], axis=2)[..., 0]


def naive_greedy(log_probabilities: Any, source: np.ndarray, steps: int) -> np.ndarray:
    """Returns greedy outputs by scoring the whole target again for every token: no cache, no search of ours."""
    target = np.zeros((len(source), steps), np.int32)
    for step in range(steps):
        scores = np.array(log_probabilities(source, target))[:, step]
        scores[:, [PAD, BOS]] = -np.inf
        target[:, step] = np.where((target[:, :step] == EOS).any(axis=1), PAD, scores.argmax(axis=-1))
    return target


def test_ctranslate2_gives_every_token_our_log_probability(both: tuple[Any, Any]):
    log_probabilities, translator = both
    source, target = sentences(1, length=8), sentences(2, length=12)
    ours = taken(log_probabilities(source, target), target)
    assert ours.std() > 0.5  # a model that says the same of every token would prove nothing
    for row, length, scored in zip(ours, LENGTHS, translator.score_batch(pieces(source), pieces(target)), strict=True):
        np.testing.assert_allclose(scored.log_probs, row[: length + 1], atol=5e-5)  # float32 on both sides


def test_greedy_outputs_are_identical_token_for_token(both: tuple[Any, Any]):
    log_probabilities, translator = both
    source = sentences(5, length=8)
    expected = pieces(naive_greedy(log_probabilities, source, steps=12))
    found = translator.translate_batch(
        pieces(source),
        beam_size=1,
        min_decoding_length=0,
        max_decoding_length=12,
        suppress_sequences=[[TOKENS[PAD]], [TOKENS[BOS]]],  # we never generate them, whatever their probability
    )
    assert [result.hypotheses[0] for result in found] == expected
    assert len({tuple(row) for row in expected}) > 1


def test_quantised_weights_change_log_probabilities_by_their_rounding(tmp_path: Path):
    model, params = tiny_model(norm_position="pre")
    source, target = sentences(1, length=8), sentences(2, length=12)
    logits = jnp.asarray(model.apply({"params": params}, jnp.asarray(source), jnp.asarray(target)))
    exact = taken(np.asarray(jax.nn.log_softmax(logits)), target)
    # A weight is rounded by at most 2^-11 of itself in float16, by 1/254 of the largest in its row in int8.
    bounds: dict[interop.Quantization, float] = {"float16": 0.005, "int8": 0.1}
    computed = []
    for quantization, most in bounds.items():
        folder = tmp_path / quantization
        folder.mkdir()
        translator = loaded(model, params, folder, quantization)
        computed.append(translator.compute_type)
        scored = translator.score_batch(pieces(source), pieces(target))
        gaps = [abs(row[: n + 1] - found.log_probs).max() for row, n, found in zip(exact, LENGTHS, scored, strict=True)]
        assert 1e-5 < max(gaps) < most
        assert len(translator.translate_batch(pieces(source), beam_size=4)) == len(source)
    assert computed == ["float32", "int8_float32"]  # a CPU has no products in float16


def text(seed: int, words: int) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, words))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a run with one checkpoint, averaged, of a lively model; no training was needed."""
    workdir = tmp_path_factory.mktemp("run")
    (workdir / "data").mkdir()
    words = vocabularies.train((text(i, 8) for i in range(200)), workdir / "data" / "vocabulary.model", size=320)
    shape: dict[str, Any] = {"vocabulary_size": len(words), "norm_position": "pre", "output_bias": True}
    model, params = tiny_model(**shape)
    bias = 0.1 * jax.random.normal(jax.random.key(4), (len(words),))
    # So improbable that whether a search forbids them, as ours does, makes no difference.
    params = lively(params) | {"output_bias": bias.at[np.array([PAD, BOS])].set(-1e4).at[EOS].set(3.0)}
    settings = Config(
        model=model.config, data=DataConfig(max_length=60), decode=DecodeConfig(extra_length=EXTRA_LENGTH)
    )
    (workdir / "config.json").write_text(to_json(settings))
    checkpoint.write_params(workdir, 7, params)
    return workdir


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["export-ctranslate2", *map(str, arguments)])
    return stopped.value.code  # type: ignore[return-value]


def translated(
    translator: Any, ours: Translator, texts: list[str], extra_length: int = EXTRA_LENGTH, **options: Any
) -> tuple[list[str], list[tuple[list[str], bool]]]:
    """Returns CTranslate2's best translations as text, and as pieces with whether they ended, both cut where ours
    must end: at the source's pieces and `extra_length` more."""
    sources = [ours.vocabulary.pieces(normalise(line)) for line in texts]
    results = translator.translate_batch(
        sources, min_decoding_length=0, max_batch_size=1024, batch_type="tokens", return_end_token=True, **options
    )
    limits = [len(source) + 1 + extra_length for source in sources]
    cut = [result.hypotheses[0][:limit] for result, limit in zip(results, limits, strict=True)]
    ended = [(row, row[-1:] == ["</s>"]) for row in cut]
    names = ours.vocabulary.ids()
    return [normalise(ours.vocabulary.decode([names[piece] for piece in row])) for row in cut], ended


def test_the_exported_folder_translates_text_as_the_run_does(run: Path, tmp_path: Path, capsys):
    output = tmp_path / "new" / "model"
    assert command("--workdir", run, "--output", output) == 0
    assert capsys.readouterr().out == ""
    assert {path.name for path in output.iterdir()} == {
        "model.bin",
        "config.json",
        "shared_vocabulary.json",
        "vocabulary.model",
        "export.json",
    }
    ours, texts = Translator.load(run), [text(i, 2 + i % 7) for i in range(40)]
    theirs = ctranslate2.Translator(str(output), intra_threads=1)
    found, _ = translated(theirs, ours, texts, beam_size=1)
    assert found == ours.translate(texts, beam_size=1)
    assert len(set(found)) > 20

    found, ended = translated(theirs, ours, texts, beam_size=4, length_penalty=0)
    expected = ours.translate(texts, beam_size=4, alpha=0.0)
    kept = [i for i, (_, whole) in enumerate(ended) if whole]  # what the limits cut is not compared
    assert len(kept) > 20
    assert [found[i] for i in kept] == [expected[i] for i in kept]


def test_ctranslate2_divides_by_a_power_of_the_pieces_and_eos(run: Path, tmp_path: Path):
    interop.export(from_json((run / "config.json").read_text()), checkpoint.load_params(run), run / "data", tmp_path)
    translator = ctranslate2.Translator(str(tmp_path), intra_threads=1)
    ours = Translator.load(run)
    sources = [ours.vocabulary.pieces(text(i, 5)) for i in range(20)]
    results = translator.translate_batch(
        sources, beam_size=4, length_penalty=0.7, min_decoding_length=0, return_scores=True
    )
    outputs = [result.hypotheses[0] for result in results]
    scored = translator.score_batch(sources, outputs)
    kept = [i for i, row in enumerate(outputs) if 1 < len(row) < 256]  # 256 is where it cuts
    assert len(kept) > 5
    for i in kept:
        assert len(scored[i].log_probs) == len(outputs[i]) + 1  # EOS's is there too, and the length counts it
        expected = sum(scored[i].log_probs) / len(scored[i].log_probs) ** 0.7
        np.testing.assert_allclose(results[i].scores[0], expected, rtol=1e-4)


@pytest.mark.parametrize(("alpha", "pieces"), [(0.6, 15.0), (1.0, 40.0), (0.0, 10.0)])
def test_the_equivalent_length_penalty_grows_as_ours_does_near_a_length(alpha: float, pieces: float):
    def growth(penalty: Any) -> float:  # by finite differences on logarithmic axes
        return float(np.log(penalty(pieces * 1.01) / penalty(pieces / 1.01)))

    theirs = growth(lambda n: (n + 1) ** interop.length_penalty(alpha, pieces))
    ours = growth(lambda n: np.float64(length_penalty(1, 1.0)) * ((5 + n + 1) / 6) ** alpha)
    np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-9)


def test_the_example_in_the_verbs_help_runs(run: Path, tmp_path: Path, capsys):
    folder = str(tmp_path / "model")
    command("--workdir", run, "--output", folder)
    capsys.readouterr()
    found = re.search(r"\n\n( {8}import .*?)\n\n", export_ctranslate2.__doc__ or "", re.DOTALL)
    assert found is not None
    exec(textwrap.dedent(found[1]), {"folder": folder})
    best = Translator.load(run).n_best(["A man in a red shirt rides a bicycle."], 4)[0]
    assert capsys.readouterr().out.strip() in [translation.text for translation in best]


def test_a_run_imported_from_marian_keeps_its_two_vocabularies(run: Path, tmp_path: Path):
    """The ids of the target are another order of the source's, so that a mix-up of the two changes every word."""
    workdir, output = tmp_path / "run", tmp_path / "model"
    shutil.copytree(run, workdir)
    shared = load_vocabulary(workdir / "data").ids()
    (workdir / "data" / "vocabulary.model").rename(workdir / "data" / "source.spm")
    shutil.copyfile(workdir / "data" / "source.spm", workdir / "data" / "target.spm")
    turned = {piece: i if i < 4 else len(shared) + 3 - i for piece, i in shared.items()}
    (workdir / "data" / "vocab.json").write_text(json.dumps(shared))
    (workdir / "data" / MarianVocabulary.TARGET_FILE).write_text(json.dumps(turned))
    params = checkpoint.load_params(run, 7)
    shutil.rmtree(workdir / "checkpoints")
    checkpoint.write_params(workdir, 7, params)  # which belongs to these vocabularies
    assert command("--workdir", workdir, "--output", output, "--checkpoint", "7") == 0
    assert {"source.spm", "target.spm", "source_vocabulary.json", "target_vocabulary.json"} < set(os.listdir(output))
    ours, texts = Translator.load(workdir), [text(i, 4) for i in range(10)]
    translator = ctranslate2.Translator(str(output), intra_threads=1)
    results = translator.translate_batch([ours.vocabulary.pieces(line) for line in texts], beam_size=1)
    for line, result, expected in zip(texts, results, ours.translate(texts, beam_size=1), strict=True):
        limit = len(ours.vocabulary.pieces(line)) + 1 + EXTRA_LENGTH
        ids = [turned[piece] for piece in result.hypotheses[0][:limit]]
        assert normalise(ours.vocabulary.decode(ids)) == expected


def test_an_earlier_export_is_replaced_and_anything_else_is_left_alone(run: Path, tmp_path: Path, capsys):
    output = tmp_path / "model"
    assert command("--workdir", run, "--output", output) == 0
    size = (output / "model.bin").stat().st_size
    assert command("--workdir", run, "--output", output, "--quantization", "int8") == 0
    assert (output / "model.bin").stat().st_size < size
    (output / "notes.txt").write_text("mine")
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("{}")
    for occupied in (output, other, tmp_path / "other" / "config.json"):
        capsys.readouterr()
        assert command("--workdir", run, "--output", occupied) == 2
        assert "choose another --output" in capsys.readouterr().err
    assert (output / "notes.txt").read_text() == "mine" and (other / "config.json").read_text() == "{}"


def test_a_write_that_fails_leaves_nothing_behind(run: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    output = tmp_path / "model"
    command("--workdir", run, "--output", output)
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    monkeypatch.setattr(shutil, "copyfile", full)  # after the weights are written
    capsys.readouterr()
    assert command("--workdir", run, "--output", output, "--quantization", "float16") == 2
    assert "No space left on device" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_cannot_be_exported_is_refused_in_one_line(
    run: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    settings, params = from_json((run / "config.json").read_text()), checkpoint.load_params(run)
    fewer = params | {"target_embedding": {"table": params["target_embedding"]["table"][:-1]}}
    with pytest.raises(UserError, match="the vocabulary has 320 pieces and the checkpoint's embedding 319 rows"):
        interop.export(settings, fewer, run / "data", tmp_path / "model")
    with pytest.raises(UserError, match="there is no vocabulary at"):
        interop.export(settings, params, tmp_path, tmp_path / "model")
    assert command("--workdir", tmp_path, "--output", tmp_path / "model") == 2
    assert "holds no run" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "ctranslate2", None)  # as if it were not installed
    assert command("--workdir", run, "--output", tmp_path / "model") == 2
    assert "pip install 'ctranslate2>=4.6'" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_an_export_is_compared_in_float32_before_it_is_there_and_a_wrong_one_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    given = from_json((run / "config.json").read_text()), checkpoint.load_params(run), run / "data", tmp_path / "model"
    found = interop.export(*given, "int8")
    assert (found.kind, found.sentences, found.same["float32"]) == ("made-up sentences", 16, 16)
    report = json.loads((tmp_path / "model" / "export.json").read_text())
    assert report["program"] == f"ctranslate2 {ctranslate2.__version__}" and set(report["same"]) == {"float32", "int8"}
    assert len(report["differences"]) == 16 - found.same["int8"]
    assert ctranslate2.Translator(str(tmp_path / "model")).compute_type == "int8_float32"
    before = (tmp_path / "model" / "model.bin").read_bytes()
    monkeypatch.setattr(interop, "sinusoids", lambda *shape: sinusoids(*shape)[::-1].copy())
    with pytest.raises(
        UserError, match=r"translates \d+ of 16 made-up sentences otherwise .* is '.*' here and '.*' there"
    ):
        interop.export(*given)
    assert (tmp_path / "model" / "model.bin").read_bytes() == before


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_trained_run_translates_its_test_set_alike_and_scores_alike(tmp_path: Path):
    folder = os.environ.get("WMT_TRANSFORMER_RUN")
    if not folder:
        pytest.skip("WMT_TRANSFORMER_RUN is not set: it names the folder of a trained run")
    ours, data = Translator.load(folder), open_prepared(Path(folder) / "data")
    settings = from_json((Path(folder) / "config.json").read_text())
    texts = [source for source, _ in data.test_text]

    def score(hypotheses: list[str]) -> float:
        references = [reference for _, reference in data.test_text]
        return bleu.score(hypotheses, references, language=settings.data.target).sacrebleu

    greedy = ours.translate(texts, beam_size=1)
    ranked_plainly, ranked = (ours.translate(texts, beam_size=4, alpha=alpha) for alpha in (0.0, 0.6))
    extra = settings.decode.extra_length
    bars: dict[interop.Quantization, tuple[float, float]] = {
        "float32": (0.999, 0.1),
        "float16": (0.98, 0.1),
        "int8": (0.8, 0.5),
    }
    for quantization, (same, gap) in bars.items():
        output = tmp_path / quantization
        interop.export(settings, checkpoint.load_params(Path(folder)), Path(folder) / "data", output, quantization)
        translator = ctranslate2.Translator(str(output))
        found, rows = translated(translator, ours, texts, extra, beam_size=1)
        # Not all of them: rounding may part two equal probabilities.
        assert np.mean([a == b for a, b in zip(found, greedy, strict=True)]) >= same
        penalty = interop.length_penalty(0.6, pieces=float(np.mean([len(row) for row, _ in rows])))
        for expected, exponent in ((ranked_plainly, 0.0), (ranked, penalty)):
            found, _ = translated(translator, ours, texts, extra, beam_size=4, length_penalty=exponent)
            difference = score(found) - score(expected)
            print(f"{quantization}, length_penalty {exponent:.2f}: {difference:+.3f} BLEU")
            assert abs(difference) <= gap
