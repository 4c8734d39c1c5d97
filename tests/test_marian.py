"""Hugging Face Marian, both ways, with `transformers` as the oracle: its models as runs of ours, ours as its models."""

import dataclasses
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sentencepiece
from fakes import TINY, apply, random_tokens, tiny_model

from wmt_transformer import checkpoint, cli, experiment
from wmt_transformer.config import Config, DataConfig, DecodeConfig, ModelConfig, UserError
from wmt_transformer.data import phrasebook, vocabulary
from wmt_transformer.data.marian_vocabulary import MarianVocabulary
from wmt_transformer.data.vocabulary import Vocabulary
from wmt_transformer.data.vocabulary_files import load_vocabulary
from wmt_transformer.decode import beam
from wmt_transformer.decode.generate import Translator
from wmt_transformer.interop import marian, marian_export
from wmt_transformer.interop.marian_table import to_theirs
from wmt_transformer.model.transformer import Transformer
from wmt_transformer.special_tokens import BOS, EOS, PAD, UNKNOWN
from wmt_transformer.train.loss import cross_entropy

SENTENCES = list(phrasebook.generate("train", 300))
TEST = [sentence.en for sentence in phrasebook.generate("test", 16)]


@pytest.fixture(scope="module")
def transformers() -> Any:
    """Returns the package, or skips; its progress bars are off."""
    pytest.importorskip("torch")
    found = pytest.importorskip("transformers")
    found.utils.logging.disable_progress_bar()
    return found


# ---------------------------------------------------------------------------------------------- theirs as ours

WORDS = 41
# Each with a seed of which most searches end before the limit, and not all at once.
SHAPES: dict[str, dict[str, Any]] = {
    "shared embeddings, swish": {"seed": 2},
    "odd sizes, relu, a deeper decoder": {
        "seed": 7,
        "d_model": 15,
        "heads": 3,
        "ffn": 17,
        "decoder_layers": 3,
        "activation_function": "relu",
    },
    "separate embeddings, a deeper encoder": {
        "seed": 0,
        "share_encoder_decoder_embeddings": False,
        "encoder_layers": 3,
        "decoder_layers": 1,
    },
    "no bias on the logits": {"seed": 29, "biased": False},
    "nothing tied": {"seed": 2, "share_encoder_decoder_embeddings": False, "tie_word_embeddings": False, "heads": 1},
    "embeddings not scaled": {"seed": 21, "scale_embedding": False},
    "decoder starts with eos": {"seed": 2, "decoder_start_token_id": 0},
    "decoder starts with a word": {"seed": 14, "decoder_start_token_id": 7},
}


def lively(transformers: Any, biased: bool = True, seed: int = 0, **changes: Any) -> Any:
    """Returns a random MarianMTModel that says more than one word: loud embeddings and kernels, varied norms."""
    import torch

    heads, ffn = changes.pop("heads", 2), changes.pop("ffn", 24)
    size = changes.pop("vocab_size", WORDS)
    settings = {
        "vocab_size": size,
        "d_model": 16,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": heads,
        "decoder_attention_heads": heads,
        "encoder_ffn_dim": ffn,
        "decoder_ffn_dim": ffn,
        "activation_function": "swish",
        "scale_embedding": True,
        "max_position_embeddings": 64,
        "eos_token_id": 0,
        "forced_eos_token_id": None,
        "pad_token_id": size - 1,
        "decoder_start_token_id": size - 1,
    }
    settings |= changes
    model = transformers.MarianMTModel(transformers.MarianConfig(**settings)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, x in model.named_parameters():
            drawn = torch.randn(x.shape, generator=generator)
            if "embed_positions" in name:
                continue
            if "norm.weight" in name:
                x.copy_(drawn)
            elif name.endswith("bias"):
                x.copy_(0.1 * drawn)
            else:
                embedding = "shared" in name or "embed_tokens" in name or "lm_head" in name
                x.copy_(drawn * (0.5 if embedding else 1.5 * x.shape[1] ** -0.5))
        if biased:
            model.final_logits_bias.copy_(torch.randn(model.final_logits_bias.shape, generator=generator))
            model.final_logits_bias[0, 0] += 4
        model.lm_head.weight[0] *= 3
    model.generation_config.bad_words_ids = [[settings["pad_token_id"]]]
    return model


@pytest.fixture(scope="module", params=SHAPES)
def pair(request: pytest.FixtureRequest, transformers: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Returns a random model of theirs, and what `read` makes of the folder that it is saved in."""
    model = lively(transformers, **SHAPES[request.param])
    folder = tmp_path_factory.mktemp("theirs")
    model.save_pretrained(folder)
    return model, marian.read(folder)


def numbered(ids: np.ndarray, tokens: np.ndarray) -> jax.Array:
    """Returns our ids of theirs: the first one, where a row is there twice."""
    return jnp.asarray([[np.flatnonzero(ids == token)[0] for token in row] for row in tokens], jnp.int32)


@pytest.mark.interop
def test_an_imported_model_gives_the_same_logits(pair: Any):
    import torch

    model, imported = pair
    random = np.random.default_rng(0)
    source, target = random.integers(1, WORDS - 1, (4, 7)), random.integers(1, WORDS - 1, (4, 6))
    source[1, 4:] = source[2, 2:] = WORDS - 1  # padding
    inputs = np.concatenate([np.full((4, 1), model.config.decoder_start_token_id), target[:, :-1]], axis=1)
    with torch.no_grad():
        expected = model(
            input_ids=torch.tensor(source),
            attention_mask=torch.tensor(source != WORDS - 1),
            decoder_input_ids=torch.tensor(inputs),
        ).logits.numpy()
    transformer = Transformer(imported.config.model)
    tokens = numbered(imported.source_ids, source), numbered(imported.target_ids, target)
    ours = jax.jit(lambda params: apply(transformer, params, *tokens))(imported.params)
    real = imported.params["output_bias"] > marian._SILENT  # rows that are there twice are silent once
    assert sorted(imported.target_ids[real]) == [*range(WORDS)]
    difference = np.abs(ours[..., real] - expected[..., imported.target_ids[real]]).max()
    print(f"largest difference of logits: {difference:.1e}, of {np.abs(expected).max():.1f}")
    assert difference < 1e-4
    shares = jax.nn.log_softmax(ours)[..., real]
    np.testing.assert_allclose(
        shares, torch.tensor(expected).log_softmax(-1).numpy()[..., imported.target_ids[real]], atol=1e-4
    )


def our_beams(imported: marian.Imported, source: np.ndarray, longest: int) -> beam.Hypotheses:
    """Returns the four best hypotheses with alpha 0, in our ids."""
    transformer, params = Transformer(imported.config.model), imported.params

    @jax.jit
    def search(source: jax.Array) -> beam.Hypotheses:
        cache, memory = apply(transformer, params, source, 4, longest, method="start_cache")
        return beam.search(
            lambda tokens, cache, index: apply(transformer, params, tokens, index, cache, memory, method="step"),
            cache,
            jnp.full(source.shape[0], longest),
            beam_size=4,
            max_length=longest,
            alpha=0.0,
            bos=BOS,
            eos=EOS,
            reorder=lambda cache, origin: cache.reordered(origin),
        )

    return search(numbered(imported.source_ids, source))


@pytest.mark.interop
def test_a_beam_of_four_finds_the_same_four_hypotheses_with_the_same_scores(pair: Any):
    import torch

    model, imported = pair
    source, longest = np.random.default_rng(1).integers(1, WORDS - 1, (8, 7)), 40
    for row, length in enumerate([7, 3, 5, 1, 6, 4, 7, 2]):
        source[row, length - 1] = 0
        source[row, length:] = WORDS - 1
    found = model.generate(
        torch.tensor(source),
        attention_mask=torch.tensor(source != WORDS - 1),
        num_beams=4,
        num_return_sequences=4,
        length_penalty=0.0,  # log-probability alone, as alpha 0
        early_stopping=False,  # until no running hypothesis can win, as ours
        max_new_tokens=longest,
        return_dict_in_generate=True,
        output_scores=True,
    )
    expected, scores = found.sequences[:, 1:].reshape(8, 4, -1), found.sequences_scores.reshape(8, 4)
    ours = our_beams(imported, source, longest)
    lengths = []
    for row in range(8):
        if not (expected[row] == 0).any(axis=1).all():
            continue  # one was cut at the limit: theirs ranks it with those that ended, ours behind them
        for k in range(4):
            length = expected[row, k].tolist().index(0) + 1
            mine = imported.target_ids[np.asarray(ours.tokens[row, k][:length])]
            assert mine.tolist() == expected[row, k, :length].tolist()
            assert float(ours.scores[row, k]) == pytest.approx(float(scores[row, k]), abs=1e-4)
            lengths.append(length)
    assert len(lengths) >= 20 and len({*lengths}) >= 4 and max(lengths) >= 5


# ------------------------------------------------------------------------------------- a folder, a run, a sentence


def write_vocabulary(folder: Path) -> dict[str, int]:
    """Writes a vocabulary as opus-mt's: a SentencePiece model for each language, and ids of their own."""
    ids = {"</s>": 0, "<unk>": 1}
    for name, texts in (("source.spm", [s.en for s in SENTENCES]), ("target.spm", [s.de for s in SENTENCES])):
        with (folder / name).open("wb") as out:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts), model_writer=out, vocab_size=150, minloglevel=2
            )
        processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / name))
        for i in range(3, 148 if name == "source.spm" else 150):  # two pieces are left out: they are unknown
            ids.setdefault(processor.id_to_piece(i), len(ids))
    ids["<pad>"] = len(ids)
    (folder / "vocab.json").write_text(json.dumps(ids))
    return ids


@pytest.fixture(scope="module")
def opus(transformers: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder as one downloads it: weights, configs, SentencePiece files, vocab.json."""
    folder = tmp_path_factory.mktemp("models") / "opus-mt-en-de"
    folder.mkdir()
    ids = write_vocabulary(folder)
    model = lively(transformers, seed=6, vocab_size=len(ids))
    model.save_pretrained(folder)
    return folder


def run(*arguments: object) -> int:
    """Runs the command line and returns its exit code."""
    with pytest.raises(SystemExit) as done:
        cli.main([*map(str, arguments)])
    assert isinstance(done.value.code, int)
    return done.value.code


def their_translations(transformers: Any, folder: Path, texts: list[str]) -> list[str | None]:
    """Returns what tokeniser and model of the folder make of the texts: beam 4, log-probability alone.

    None stands for what did not end: limits mean other things there.
    """
    tokenizer = transformers.MarianTokenizer.from_pretrained(folder)
    model, report = transformers.MarianMTModel.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    found = model.eval().generate(**batch, num_beams=4, length_penalty=0.0, max_new_tokens=50, max_length=None)
    ended = (found[:, 1:50] == model.config.eos_token_id).any(dim=1)
    strings = tokenizer.batch_decode(found, skip_special_tokens=True)
    # With two vocabularies their tokeniser looks for the source side's id of padding, so that the target's stays.
    strings = [" ".join(text.replace("<pad>", " ").split()) for text in strings]
    return [text if end else None for text, end in zip(strings, ended, strict=True)]


def assert_the_same(ours: list[str], theirs: list[str | None]) -> None:
    """Asserts that what ended there is the same here, and that it is worth comparing."""
    assert len({*theirs} - {None, ""}) > 3
    assert [text for text, expected in zip(ours, theirs, strict=True) if expected is not None] == [
        text for text in theirs if text is not None
    ]


@pytest.mark.interop
def test_an_imported_folder_translates_as_its_own_tokeniser_and_model_do(
    transformers: Any, opus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run("import-marian", opus, "--workdir", tmp_path / "run") == 0
    tokenizer = transformers.MarianTokenizer.from_pretrained(opus)
    words = load_vocabulary(tmp_path / "run" / "data")
    theirs, ours = tokenizer.get_vocab(), json.loads((tmp_path / "run" / "data" / "vocab.json").read_text())
    for text in [*TEST, "  zwei  Leerzeichen\tund 日本", ">>de<< Good", ">>", "", "e\u0301 \ufb01 \u00a0x"]:
        pieces = tokenizer.tokenize(text)
        assert words.pieces(text) == pieces
        known = [piece if piece in theirs else "<unk>" for piece in pieces]
        assert words.encode(text) == [ours[piece] for piece in known]
    capsys.readouterr()
    assert run("translate", "--workdir", tmp_path / "run", "--alpha", 0, *TEST) == 0
    assert_the_same(capsys.readouterr().out.splitlines(), their_translations(transformers, opus, TEST))


@pytest.mark.interop
def test_a_run_that_was_imported_is_exported_again_as_the_same_model(transformers: Any, opus: Path, tmp_path: Path):
    assert run("import-marian", opus, "--workdir", tmp_path / "run") == 0
    assert run("export-marian", "--workdir", tmp_path / "run", "--output", tmp_path / "again") == 0
    assert their_translations(transformers, tmp_path / "again", TEST) == their_translations(transformers, opus, TEST)
    assert run("import-marian", tmp_path / "again", "--workdir", tmp_path / "twice") == 0
    one, two = (checkpoint.load_params(tmp_path / name) for name in ("run", "twice"))
    jax.tree.map(np.testing.assert_array_equal, one, two)
    for name in MarianVocabulary.FILES:
        assert (tmp_path / "run" / "data" / name).read_bytes() == (tmp_path / "twice" / "data" / name).read_bytes()


@pytest.mark.interop
def test_two_vocabularies_of_different_sizes_keep_their_ids_apart(transformers: Any, opus: Path, tmp_path: Path):
    folder = tmp_path / "opus-mt-en-de"
    shutil.copytree(opus, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    ids = json.loads((opus / "vocab.json").read_text())
    few = {piece: i for i, piece in enumerate([*list(ids)[:90], "<pad>"])}
    (folder / "target_vocab.json").write_text(json.dumps(few))
    (folder / "tokenizer_config.json").write_text(json.dumps({"separate_vocabs": True, "target_lang": "fr"}))
    sizes: dict[str, Any] = {
        "vocab_size": len(ids),
        "decoder_vocab_size": len(few),
        "share_encoder_decoder_embeddings": False,
    }
    special: dict[str, Any] = {"pad_token_id": len(few) - 1, "decoder_start_token_id": len(few) - 1}
    model = lively(transformers, seed=21, **sizes, **special)
    model.save_pretrained(folder)
    settings = marian.import_run(folder, tmp_path / "run")
    assert (settings.data.source, settings.data.target) == ("en", "fr")  # of the folder's name, and of its tokeniser
    found = Translator.load(tmp_path / "run").translate(TEST, alpha=0.0)
    assert_the_same(found, their_translations(transformers, folder, TEST))
    assert run("export-marian", "--workdir", tmp_path / "run", "--output", tmp_path / "again") == 0
    assert their_translations(transformers, tmp_path / "again", TEST) == their_translations(transformers, folder, TEST)


FINE_TUNING = """
from wmt_transformer.config import Config, DataConfig, TrainConfig

def get_config():
    return Config(
        data=DataConfig(
            corpus="files", source="en", target="de", path={path!r}, train_files=("text.tsv",),
            dev_files=("text.tsv",), num_shapes=1, source_tokens=8192, target_tokens=8192, max_length=200,
        ),
        train=TrainConfig(
            steps=20, schedule="constant", learning_rate=3e-3, warmup_steps=1, label_smoothing=0.0, log_every=1,
            evaluate_every=20, evaluate_pairs=0, checkpoint_every=20,
        ),
    )
"""


def their_loss(transformers: Any, folder: Path, pairs: list[tuple[str, str]]) -> float:
    """Returns the nats per target token, </s> included, that model and tokeniser of a folder give the pairs."""
    import torch

    tokenizer = transformers.MarianTokenizer.from_pretrained(folder)
    model = transformers.MarianMTModel.from_pretrained(folder).eval()
    sources, targets = map(list, zip(*pairs, strict=True))
    batch = tokenizer(sources, text_target=targets, return_tensors="pt", padding=True)
    batch["labels"][batch["labels"] == tokenizer.pad_token_id] = -100
    with torch.no_grad():
        return float(model(**batch).loss)


@pytest.mark.interop
def test_an_imported_model_trains_on_from_their_loss_and_is_exported_again(
    transformers: Any, opus: Path, tmp_path: Path
):
    pairs = [(sentence.en, sentence.de) for sentence in SENTENCES[:24]]
    (tmp_path / "text.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in pairs))
    (tmp_path / "tune.py").write_text(FINE_TUNING.format(path=str(tmp_path)))
    assert run("import-marian", opus, "--workdir", tmp_path / "parent") == 0
    settings = ["--model.dropout", 0, "--train.freeze", ".*embedding/table"]
    assert (
        run("train", tmp_path / "tune.py", "--workdir", tmp_path / "run", "--from", tmp_path / "parent", *settings) == 0
    )
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    first, last = (next(line[name] for line in lines if name in line) for name in ("train/nats_per_token", "dev/loss"))
    assert first == pytest.approx(their_loss(transformers, opus, pairs), rel=1e-4)  # of the one batch, before update 1
    assert last < first - 1
    assert run("export-marian", "--workdir", tmp_path / "run", "--output", tmp_path / "out") == 0
    assert their_loss(transformers, tmp_path / "out", pairs) == pytest.approx(last, rel=1e-4)
    before, after = (checkpoint.load_params(tmp_path / name) for name in ("parent", "run"))
    np.testing.assert_array_equal(before["target_embedding"]["table"], after["target_embedding"]["table"])


@pytest.mark.interop
def test_where_their_softmax_is_taken_again_without_pad_so_is_ours(transformers: Any, tmp_path: Path):
    import torch

    model = lively(transformers, seed=2)
    model.generation_config.renormalize_logits = True
    model.save_pretrained(tmp_path / "m")
    imported = marian.read(tmp_path / "m")
    source = np.random.default_rng(1).integers(1, WORDS - 1, (4, 6))
    settings = {"num_beams": 4, "length_penalty": 0.0, "max_new_tokens": 40, "return_dict_in_generate": True}
    found = model.generate(torch.tensor(source), **settings, output_scores=True)
    ended = (found.sequences[:, 1:] == 0).any(1).numpy()
    assert ended.any()
    ours = our_beams(imported, source, 40).scores[:, 0]
    np.testing.assert_allclose(ours[ended], found.sequences_scores.numpy()[ended], atol=1e-4)


# ---------------------------------------------------------------------------------------------- ours as theirs

OURS: dict[str, dict[str, Any]] = {
    "the paper": {"d_v": 8},
    "as Marian": {
        "d_v": 8,
        "sinusoid_layout": "concatenated",
        "norm_epsilon": 1e-5,
        "attention_bias": True,
        "output_bias": True,
        "activation": "swish",
        "num_decoder_layers": 1,
    },
    "narrow heads": {"num_heads": 2, "d_k": 3, "d_v": 5, "attention_bias": True, "norm_epsilon": 1e-5},
    "odd width": {"d_model": 15, "num_heads": 3, "d_k": 5, "d_v": 5, "tied_embeddings": "target"},
    "nothing tied, a deeper decoder": {"d_v": 8, "tied_embeddings": "none", "num_decoder_layers": 3},
}


def stirred(params: Any, seed: int = 5) -> Any:
    """Returns parameters with norms and biases as varied as trained ones, and louder tables; EOS is likely."""
    keys = iter(jax.random.split(jax.random.key(seed), 500))

    def changed(path: Any, x: jax.Array) -> jax.Array:
        drawn, name = jax.random.normal(next(keys), x.shape), path[-1].key
        if "table" in name:
            # UNKNOWN and single bytes are as rare as in a trained model.
            return (2 * x).at[EOS].multiply(2).at[UNKNOWN : max(UNKNOWN + 1, len(x) - 140)].set(0)
        return {"scale": drawn, "bias": 0.1 * drawn, "output_bias": drawn, "kernel": 1.5 * x}.get(name, x)

    return jax.tree_util.tree_map_with_path(changed, params)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a data folder with the vocabulary of a few phrasebook sentences."""
    folder = tmp_path_factory.mktemp("data")
    texts = [text for sentence in SENTENCES[:100] for text in (sentence.en, sentence.de)]
    vocabulary.train(texts, folder / "vocabulary.model", 400)
    return folder


def write_run(workdir: Path, words: Path, seed: int = 5, **changes: Any) -> tuple[Transformer, Any]:
    """Writes a run with random parameters for the vocabulary and returns them."""
    size = len(load_vocabulary(words))
    model, params = tiny_model(vocabulary_size=size, **changes)
    params = stirred(params, seed)
    settings = Config(model=model.config, data=DataConfig(source="en", target="de"), decode=DecodeConfig(alpha=0.0))
    workdir.mkdir()
    (workdir / "config.json").write_text(experiment.to_json(settings))
    shutil.copytree(words, workdir / "data")
    checkpoint.write_params(workdir, 0, params)
    return model, params


@pytest.mark.interop
@pytest.mark.parametrize("name", OURS)
def test_an_exported_model_gives_the_same_logits(transformers: Any, words: Path, tmp_path: Path, name: str):
    import torch

    model, params = write_run(tmp_path / "run", words, **OURS[name])
    assert run("export-marian", "--workdir", tmp_path / "run", "--output", tmp_path / "out") == 0
    theirs, report = transformers.MarianMTModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    source, target = random_tokens(0, 3, 7, [7, 5, 2]), random_tokens(1, 3, 6)
    inputs = jnp.pad(target, ((0, 0), (1, 0)), constant_values=BOS)[:, :-1]
    with torch.no_grad():
        found = theirs.eval()(
            input_ids=torch.tensor(source.tolist()),
            attention_mask=torch.tensor((source != PAD).tolist()),
            decoder_input_ids=torch.tensor(inputs.tolist()),
        ).logits.numpy()
    expected = apply(model, params, source, target)
    difference = np.abs(found - expected).max()
    print(f"largest difference of logits: {difference:.1e}, of {np.abs(expected).max():.1f}")
    assert difference < (1e-4 if model.config.norm_epsilon < 1e-5 else 2e-5)


def memorise(model: Transformer, params: Any, source: jax.Array, target: jax.Array) -> Any:
    """Returns parameters that know the pairs by heart: what a trained model says ends, unlike a random one's."""
    optimizer = optax.adam(5e-3)

    @jax.jit
    def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], jax.Array]:
        def loss(params: Any) -> jax.Array:
            states = apply(model, params, source, target, method="states")
            sums = cross_entropy(states, apply(model, params, method="vocabulary_table"), target)
            return sums.loss / sums.tokens

        value, gradient = jax.value_and_grad(loss)(carry[0])
        updates, moments = optimizer.update(gradient, carry[1])
        return (optax.apply_updates(carry[0], updates), moments), value

    (params, _), losses = jax.lax.scan(step, (params, optimizer.init(params)), None, 150)
    assert losses[-1] < 0.3, losses[-1]
    return params


@pytest.mark.interop
def test_an_exported_run_translates_sentences_to_the_same_strings(transformers: Any, words: Path, tmp_path: Path):
    model, _ = write_run(tmp_path / "run", words, dropout=0.0, **OURS["the paper"])
    pairs, ours = SENTENCES[:12], load_vocabulary(words)
    sides = [
        [[*ours.encode(text), EOS] for text in texts] for texts in zip(*[(s.en, s.de) for s in pairs], strict=True)
    ]
    longest = max(len(ids) for side in sides for ids in side)
    source, target = (jnp.array([ids + [PAD] * (longest - len(ids)) for ids in side]) for side in sides)
    fresh = tiny_model(vocabulary_size=len(ours), dropout=0.0, **OURS["the paper"])[1]
    checkpoint.write_params(tmp_path / "run", 1, memorise(model, fresh, source, target))
    assert run("export-marian", "--workdir", tmp_path / "run", "--output", tmp_path / "out") == 0
    texts = [*[sentence.en for sentence in pairs], *TEST, "日本 and Ærøskøbing"]
    tokenizer = transformers.MarianTokenizer.from_pretrained(tmp_path / "out")
    for text in texts:
        assert tokenizer(text).input_ids == [*ours.encode(text), EOS]
        assert tokenizer.decode(ours.encode(text)) == text
    found = Translator.load(tmp_path / "run").translate(texts)
    assert found[:12] == [sentence.de for sentence in pairs]
    assert_the_same(found, their_translations(transformers, tmp_path / "out", texts))


@pytest.mark.interop
def test_a_random_model_says_the_same_after_its_export(transformers: Any, words: Path, tmp_path: Path):
    write_run(tmp_path / "run", words, seed=10, **OURS["as Marian"])
    assert run("export-marian", "--workdir", tmp_path / "run", "--output", tmp_path / "out") == 0
    found = Translator.load(tmp_path / "run").translate(TEST)
    assert_the_same(found, their_translations(transformers, tmp_path / "out", TEST))


@pytest.mark.interop
def test_what_is_exported_and_imported_again_are_the_same_parameters(transformers: Any, words: Path, tmp_path: Path):
    model, params = write_run(tmp_path / "run", words, **OURS["as Marian"])
    assert run("export-marian", "--workdir", tmp_path / "run", "--output", tmp_path / "out") == 0
    imported = marian.read(tmp_path / "out")
    assert imported.config.model == dataclasses.replace(model.config, dropout=0.1)
    assert imported.target_ids.tolist() == imported.source_ids.tolist() == [*range(model.config.vocabulary_size)]
    jax.tree.map(np.testing.assert_array_equal, imported.params, params)


# ---------------------------------------------------------------------------------------------- what is refused


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Runs a command that must fail with exit code 2, and returns its one line."""
    capsys.readouterr()
    assert run(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and len(shown.err.splitlines()) == 1, shown
    return shown.err


SETTINGS = {"model_type": "marian", "architectures": ["MarianMTModel"], "activation_function": "swish"}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "architecture": ({"model_type": "bart", "architectures": ["BartModel"]}, "another kind: BartModel"),
    "half of it": ({"architectures": ["MarianForCausalLM"]}, "another kind: MarianForCausalLM"),
    "activation": ({"activation_function": "gelu"}, "activation_function 'gelu', where ours are relu, swish"),
    "heads": ({"encoder_attention_heads": 8, "decoder_attention_heads": 4}, "attention_heads 8 in the encoder and 4"),
    "ffn": ({"encoder_ffn_dim": 8, "decoder_ffn_dim": 4}, "ffn_dim 8 in the encoder and 4"),
    "norm": ({"normalize_before": True}, "normalize_before, a layer norm that MarianMTModel does not have"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_model_that_ours_cannot_be_is_refused_with_the_reason(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    changes, message = WRONG[name]
    (tmp_path / "config.json").write_text(json.dumps(SETTINGS | changes))
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    assert message in refused(capsys, "import-marian", tmp_path, "--workdir", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_lacks_a_file_is_refused_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ("import-marian", tmp_path, "--workdir", tmp_path / "run")
    assert "holds no config.json" in refused(capsys, *arguments)
    (tmp_path / "config.json").write_text("{")
    assert "cannot read" in refused(capsys, *arguments)
    (tmp_path / "config.json").write_text(json.dumps(SETTINGS))
    assert "holds no weights" in refused(capsys, *arguments)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    assert "holds no source.spm" in refused(capsys, *arguments)


def old_torch() -> ModuleType:
    """Returns a torch whose loader can be made to run code."""
    module: Any = ModuleType("torch")
    module.__version__ = "2.5.1+cu124"
    return module


@pytest.mark.parametrize(
    ("weights", "modules", "message"),
    [
        (
            "pytorch_model.bin",
            {"torch": None},
            "torch is not installed, and pytorch_model.bin is read with it",
        ),
        ("pytorch_model.bin", {"torch": old_torch()}, "torch 2.5.1+cu124 may run code"),
        ("model.safetensors", {"safetensors": None, "safetensors.flax": None}, "pip install 'safetensors>=0.4.3'"),
        ("model.safetensors", {"torch": None, "transformers": None}, "cannot read the weights in"),  # asked for neither
    ],
)
def test_only_the_package_that_the_weights_need_is_asked_for(
    weights: str,
    modules: dict[str, ModuleType | None],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    (tmp_path / "config.json").write_text(json.dumps(SETTINGS))
    for name in (weights, *MarianVocabulary.FILES):
        (tmp_path / name).write_bytes(b"")
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    assert message in refused(capsys, "import-marian", tmp_path, "--workdir", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.interop
def test_weights_of_every_kind_of_file_are_the_same(transformers: Any, tmp_path: Path):
    import torch

    model = lively(transformers, seed=3)
    folders = [tmp_path / name for name in ("one", "several", "bin", "half")]
    model.save_pretrained(folders[0])
    model.save_pretrained(folders[1], max_shard_size="8KB")
    assert (folders[1] / "model.safetensors.index.json").is_file()
    shutil.copytree(folders[0], folders[2])
    (folders[2] / "model.safetensors").unlink()
    torch.save(model.state_dict(), folders[2] / "pytorch_model.bin")
    model.bfloat16().save_pretrained(folders[3])
    expected = marian.read(folders[0]).params
    for folder in folders[1:3]:
        jax.tree.map(np.testing.assert_array_equal, marian.read(folder).params, expected)
    halved = marian.read(folders[3]).params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-8, atol=1e-6), halved, expected)


@pytest.mark.interop
def test_damaged_weights_and_vocabularies_are_one_line_and_leave_nothing(
    opus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def broken(name: str, change: Callable[[Path], object]) -> str:
        shutil.rmtree(tmp_path, ignore_errors=True)
        shutil.copytree(opus, tmp_path / "m")
        change(tmp_path / "m" / name)
        line = refused(capsys, "import-marian", tmp_path / "m", "--workdir", tmp_path / "run")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]
        return line

    assert "cannot read the weights in" in broken("model.safetensors", lambda path: path.write_bytes(b"no weights"))
    worded = json.dumps({"max_length": "long"})
    assert "max_length is 'long'" in broken("generation_config.json", lambda path: path.write_text(worded))
    assert "vocab.json: line 1, column 2 is not JSON" in broken("vocab.json", lambda path: path.write_text("{1"))
    line = broken("config.json", lambda path: path.write_bytes(b'{"a": "\xff"}'))
    assert "config.json: byte 8 is not UTF-8" in line
    narrow = {"d_model": 8, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    line = broken("config.json", lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | narrow)))
    assert "has the shape" in line and "config.json does not fit" in line
    assert "is not a SentencePiece model" in broken("target.spm", lambda path: path.write_bytes(b"no model"))
    assert "has None as its unk token" in broken("vocab.json", lambda path: path.write_text('{"</s>": 0}'))
    assert "gives 'x' the id 9999" in broken("vocab.json", lambda path: path.write_text('{"x": 9999}'))
    forbidden = json.dumps({"bad_words_ids": [[5, 6]]})
    assert "forbids the output [5, 6]" in broken("generation_config.json", lambda path: path.write_text(forbidden))

    def without_a_layer(path: Path) -> None:
        from safetensors.numpy import load_file, save_file

        arrays = load_file(path)
        del arrays["model.decoder.layers.1.fc2.bias"]
        save_file(arrays, path, {"format": "pt"})

    assert "lack model.decoder.layers.1.fc2.bias (1 array is" in broken("model.safetensors", without_a_layer)


SEARCHES: dict[str, tuple[object, str]] = {
    "no_repeat_ngram_size": (2, "no_repeat_ngram_size = 2"),
    "repetition_penalty": (1.3, "repetition_penalty = 1.3"),
    "forced_bos_token_id": (7, "forced_bos_token_id = 7"),
    "suppress_tokens": ([7], "forbids the output [7]"),
    "begin_suppress_tokens": ([7], "begin_suppress_tokens = [7]"),
    "bad_words_ids": ([[5, 6]], "forbids the output [5, 6]"),
    "do_sample": (True, "do_sample = true"),
    "length_penalty": (-1.0, "length_penalty = -1.0"),
    "encoder_no_repeat_ngram_size": (3, "encoder_no_repeat_ngram_size = 3"),
    "sequence_bias": ([[[5], -3.0]], "sequence_bias"),
}


@pytest.mark.interop
@pytest.mark.parametrize("name", SEARCHES)
def test_a_setting_of_their_search_that_we_lack_is_refused_by_its_name(transformers: Any, tmp_path: Path, name: str):
    value, message = SEARCHES[name]
    lively(transformers).save_pretrained(tmp_path)
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(UserError, match=re.escape(message)):
        marian.read(tmp_path)
    path.rename(tmp_path / "away")  # an older folder says it in config.json
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {name: value}))
    with pytest.raises(UserError, match=re.escape(message)):
        marian.read(tmp_path)


@pytest.mark.interop
@pytest.mark.parametrize(
    "search",
    [
        {"max_length": 6, "forced_eos_token_id": 0},
        {"max_length": 6},
        {"max_new_tokens": 4, "forced_eos_token_id": 0},
        {"min_length": 9, "max_length": 40},
        {"min_new_tokens": 7, "max_length": 40},
        {"max_length": 30},
    ],
    ids=str,
)
def test_limits_of_length_are_imported_and_greedy_outputs_are_theirs(
    transformers: Any, opus: Path, tmp_path: Path, search: dict[str, Any]
):
    shutil.copytree(opus, tmp_path / "m")
    path = tmp_path / "m" / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_beams": 1} | search))
    tokenizer = transformers.MarianTokenizer.from_pretrained(tmp_path / "m")
    model = transformers.MarianMTModel.from_pretrained(tmp_path / "m").eval()
    texts = TEST[:4]
    theirs = tokenizer.batch_decode(
        model.generate(**tokenizer(texts, return_tensors="pt", padding=True)), skip_special_tokens=True
    )
    assert marian.import_run(tmp_path / "m", tmp_path / "run").decode.beam_size == 1
    assert Translator.load(tmp_path / "run").translate(texts) == [" ".join(text.split()) for text in theirs]


@pytest.mark.interop
def test_a_work_folder_in_use_is_left_as_it_is(opus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "metrics.jsonl").write_text("mine")
    line = refused(capsys, "import-marian", opus, "--workdir", tmp_path)
    assert "holds metrics.jsonl already" in line and (tmp_path / "metrics.jsonl").read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm_position": "pre"}, "norm_position = pre"),
        ({"positions": "learned"}, "positions are learned"),
        ({"norm_epsilon": 1e-3}, "adds 0.001 to the variance"),
        ({"d_k": 9}, "2 heads of d_k = 9 and d_v = 6, and Marian's are d_model / heads = 8 wide"),
    ],
)
def test_a_model_that_marian_cannot_be_is_refused_with_the_reason(
    changes: dict[str, Any], message: str, words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_run(tmp_path / "run", words, **changes)
    line = refused(capsys, "export-marian", "--workdir", tmp_path / "run", "--output", tmp_path / "out")
    assert message in line and not (tmp_path / "out").exists()


def test_an_export_replaces_an_earlier_one_and_nothing_else(
    words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("safetensors")
    write_run(tmp_path / "run", words, d_v=8)
    arguments = ("export-marian", "--workdir", tmp_path / "run", "--output", tmp_path / "out")
    assert run(*arguments) == run(*arguments) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == marian_export._FILES - {"target_vocab.json"}
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert "holds notes.txt already" in refused(capsys, *arguments)
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


@pytest.mark.interop
def test_an_export_is_compared_before_it_is_there_and_a_wrong_one_is_refused(
    transformers: Any, words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    write_run(tmp_path / "run", words, **OURS["as Marian"])
    arguments = ("export-marian", "--workdir", tmp_path / "run", "--output", tmp_path / "out")
    assert run(*arguments, "--license", "cc-by-4.0") == 0
    same = f"f 16 made-up sentences transformers {transformers.__version__} translates as we do: float32 16"
    assert same in capsys.readouterr().err and same in (tmp_path / "out" / "README.md").read_text()
    report = json.loads((tmp_path / "out" / "export.json").read_text())
    assert (report["same"], report["differences"]) == ({"float32": 16}, [])
    assert {"wmt_transformer", "jax", "sentencepiece"} < set(report["versions"])

    monkeypatch.setattr(marian_export.marian_table, "to_theirs", lambda *given: wrong(*given))
    before = (tmp_path / "out" / "model.safetensors").read_bytes()

    def wrong(*given: Any) -> dict[str, np.ndarray]:
        found = to_theirs(*given)
        return found | {name: x[::-1].copy() for name, x in found.items() if "decoder.layers.0.fc2.weight" in name}

    line = refused(capsys, *arguments)
    assert re.search(r"translates \d+ of 16 made-up sentences otherwise .* is '.*' here and '.*' there", line)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before


# ------------------------------------------------------------------------------ what the model gained for Marian

SOURCE, TARGET = random_tokens(0, 3, 7, [7, 5, 2]), random_tokens(1, 3, 6, [6, 4, 6])


@pytest.mark.parametrize("depth", [1, 3])
def test_a_decoder_of_another_depth_decodes_step_by_step_as_at_once(depth: int):
    model, params = tiny_model(num_decoder_layers=depth, activation="swish", output_bias=True)
    params = stirred(params)
    assert sum(name.startswith("decoder_") for name in params) == depth
    full = apply(model, params, SOURCE, TARGET)
    cache, memory = apply(model, params, SOURCE, 1, 6, method="start_cache")
    inputs = jnp.pad(TARGET, ((0, 0), (1, 0)), constant_values=BOS)
    for index in range(6):
        step = (inputs[:, index, None], jnp.int32(index), cache, memory)
        logits, cache = apply(model, params, *step, method="step")
        np.testing.assert_allclose(logits[:, 0], full[:, index], atol=1e-5)


def test_the_swish_of_the_feed_forward_network_is_x_times_its_sigmoid():
    model, params = tiny_model(activation="swish")
    layer = Transformer(model.config).bind({"params": params}).encoder[0].feed_forward
    x = jax.random.normal(jax.random.key(0), (5, TINY.d_model))
    w = params["encoder_0"]["feed_forward"]
    hidden = np.asarray(x @ w["hidden"]["kernel"] + w["hidden"]["bias"])
    expected = hidden / (1 + np.exp(-hidden)) @ w["output"]["kernel"] + w["output"]["bias"]
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_training_sees_the_bias_on_the_logits():
    model, params = tiny_model(output_bias=True)
    params = stirred(params)
    logits = apply(model, params, SOURCE, TARGET)
    states = apply(model, params, SOURCE, TARGET, method="states")
    table = apply(model, params, method="vocabulary_table")
    np.testing.assert_allclose(states @ table.T, logits, atol=1e-5)
    without = apply(model, {**params, "output_bias": jnp.zeros(TINY.vocabulary_size)}, SOURCE, TARGET)
    np.testing.assert_allclose(logits - without, np.broadcast_to(params["output_bias"], logits.shape), atol=1e-5)
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), TARGET[..., None], -1)[..., 0]
    assert float(cross_entropy(states, table, TARGET).nll) == pytest.approx(-float((chosen * (TARGET != PAD)).sum()))


def test_a_config_written_before_these_fields_means_the_paper():
    old = json.loads(experiment.to_json(Config()))
    for name in ("num_decoder_layers", "activation", "output_bias"):
        del old["model"][name]
    assert experiment.from_json(json.dumps(old)) == Config()
    assert ModelConfig().decoder_layers == ModelConfig().num_layers == 6


def test_the_target_side_of_one_shared_vocabulary_is_the_source_side(words: Path):
    shared = load_vocabulary(words)
    assert type(shared) is Vocabulary and shared.encode_target(TEST[0]) == shared.encode(TEST[0])
    assert shared.ids()["</s>"] == EOS and len(shared.ids()) == len(shared)


def test_a_tag_of_ours_is_one_piece_for_their_tokeniser(transformers: Any, tmp_path: Path):
    (tmp_path / "out").mkdir()
    words = vocabulary.train([s.en for s in SENTENCES], tmp_path / "vocabulary.model", 400, symbols=[">>de<<"])
    marian_export._export_vocabulary(words, tmp_path, tmp_path / "out")
    files = [str(tmp_path / "out" / name) for name in ("source.spm", "target.spm", "vocab.json")]
    theirs = transformers.MarianTokenizer(*files)
    assert theirs(">>de<<The dog sees it.").input_ids == [*words.encode(">>de<< The dog sees it."), EOS]


def test_a_marian_vocabulary_keeps_its_two_languages_apart_and_drops_what_is_unknown(tmp_path: Path):
    write_vocabulary(tmp_path)
    ids = json.loads((tmp_path / "vocab.json").read_text())
    del ids["<pad>"], ids["</s>"], ids["<unk>"]
    ours = {"<pad>": PAD, "<s>": BOS, "</s>": EOS, "<unk>": UNKNOWN} | {p: i + 4 for i, p in enumerate(ids)}
    (tmp_path / "vocab.json").write_text(json.dumps(ours))
    words = load_vocabulary(tmp_path)
    german = words.encode_target(SENTENCES[0].de)
    assert len(words) == len(ours) and german != words.encode(SENTENCES[0].de)
    assert words.decode([BOS, UNKNOWN, *german, UNKNOWN, EOS, *german]) == SENTENCES[0].de
    tokens, lengths = words.encode_all(["a", ""])
    assert tokens.tolist() == [*words.encode("a"), EOS, EOS] and lengths.tolist() == [len(words.encode("a")) + 1, 1]
    (tmp_path / "vocab.json").write_text("[]")
    with pytest.raises(UserError, match=r"vocab\.json is not a JSON object"):
        load_vocabulary(tmp_path)
