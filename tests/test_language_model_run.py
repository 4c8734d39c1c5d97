"""A language model's run from text to completion by the commands that a user gives, and how mistakes are told."""

import json
import math
from pathlib import Path

import commands
import numpy as np
import pytest
from commands import assert_same, params_of, refused, run

import wmt_transformer
from wmt_transformer.data.documents import prepare as prepare_text
from wmt_transformer.special_tokens import EOS

CONFIG = """
from wmt_transformer.config import Config, DataConfig, ModelConfig, TrainConfig

def get_config():
    return Config(
        family="small",
        model=ModelConfig(
            architecture="decoder_only", num_layers=1, d_model=16, d_ff=32, num_heads=2, d_k=8, d_v=8,
        ),
        data=DataConfig(
            corpus="text", documents="paragraph", path={path!r}, train_files=("text.txt",), vocabulary_size=300,
            context=16, target_tokens=256,
        ),
        train=TrainConfig(
            steps=12, warmup_steps=10, label_smoothing=0.0, log_every=4, evaluate_every=6, checkpoint_every=3,
            keep_checkpoints=3, average_last=2, show_translations=0,
        ),
    )
"""


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    """A folder with a text, its config, and a finished run of it in `run`."""
    folder = tmp_path_factory.mktemp("text")
    random = np.random.default_rng(0)
    lines = [" ".join(random.choice(commands.WORDS, random.integers(2, 9))) for _ in range(300)]
    paragraphs = ["\n".join(lines[start : start + 3]) for start in range(0, 300, 3)]
    (folder / "text.txt").write_text("\n\n".join(paragraphs))
    (folder / "text.py").write_text(CONFIG.format(path=str(folder)))
    assert run("train", folder / "text.py", "--workdir", folder / "run") == 0
    return folder


def printed(capsys, *arguments: object) -> dict:
    capsys.readouterr()
    assert run(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_text_is_prepared_as_documents_of_lossless_tokens(text):
    prepared = prepare_text.open_prepared(text / "run" / "data")
    whole = (text / "text.txt").read_text()
    ids = prepared.train.tokens.astype(int).tolist()
    documents, begin = [], 0
    for end in (place for place, token in enumerate(ids) if token == EOS):
        documents.append(prepared.vocabulary.decode(ids[begin:end]))
        begin = end + 1
    assert begin == len(ids) and documents == whole[: int(len(whole) * 0.9)].split("\n\n")
    assert prepared.statistics["dev_bytes"] == sum(map(len, prepared.dev_text))  # ASCII


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_bit_for_bit_also_with_accumulation(text, tmp_path):
    options = ("--train.accumulation", "2", "--data.batch_multiple", "2")
    assert run("train", text / "text.py", "--workdir", tmp_path / "whole", *options) == 0
    for steps in (6, 12):
        assert run("train", text / "text.py", "--workdir", tmp_path / "parts", "--train.steps", steps, *options) == 0
    assert_same(params_of(tmp_path / "whole", 12), params_of(tmp_path / "parts", 12))


def test_evaluate_says_what_training_measured_and_average_and_info_know_such_runs(text, capsys):
    workdir = text / "run"
    logged = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    dev = next(line for line in reversed(logged) if "dev/bits_per_byte" in line)
    # Training's windows lie over documents packed side by side; with short documents both see the same.
    found = printed(capsys, "evaluate", "--workdir", workdir, "--split", "dev", "--checkpoint", 12)
    assert math.log(found["perplexity"]) * found["tokens"] == pytest.approx(found["nats"])
    assert found["bits_per_byte"] == pytest.approx(dev["dev/bits_per_byte"], rel=0.05)
    assert dev["dev/loss"] == pytest.approx(dev["dev/bits_per_byte"] * found["bytes"] * math.log(2) / found["tokens"])
    assert run("average", "--workdir", workdir) == 0
    assert "dev bits per byte" in capsys.readouterr().err
    summary = printed(capsys, "info", workdir)
    assert summary["language_model"] and summary["dev_bits_per_byte"] == dev["dev/bits_per_byte"]


def test_generate_and_predict_next_print_what_the_library_returns(text, capsys):
    workdir = text / "run"
    model = wmt_transformer.LanguageModel.load(workdir, "latest")
    options = ("--workdir", workdir, "--checkpoint", "latest", "--prompt", "the cat")
    found = printed(capsys, "generate", *options, "--num-tokens", 9, "--temperature", 0.8, "--top-k", 40, "--seed", 3)
    expected = model.generate_text("the cat", 9, temperature=0.8, top_k=40, seed=3)
    assert found == {"prompt": "the cat", "text": expected}
    capsys.readouterr()
    assert run("generate", *options, "--num-tokens", 9, "--temperature", 0.8, "--top-k", 40, "--seed", 3) == 0
    assert capsys.readouterr().out == "the cat" + expected + "\n"
    likely = printed(capsys, "predict-next", *options, "--top", 3)["next"]
    assert likely == [one._asdict() for one in model.predict_next("the cat", 3)]
    assert run("predict-next", *options, "--top", 3) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_translation_run_predicts_and_generates_given_a_source(toy, capsys):
    options = ("--workdir", toy / "run", "--source", "the cat sees", "--prompt", "THE")
    assert len(printed(capsys, "predict-next", *options)["next"]) == 10
    assert printed(capsys, "generate", *options, "--num-tokens", 5)["prompt"] == "THE"


def test_mistakes_are_told_in_one_line(text, toy, tmp_path, capsys):
    workdir = text / "run"
    for verb in ("generate", "predict-next"):
        assert "is a translation run" in refused(capsys, verb, "--workdir", toy / "run", "--prompt", "a")
    assert "does not translate" in refused(capsys, "translate", "--workdir", workdir, "a")
    assert "top-p is 1.5" in refused(capsys, "generate", "--workdir", workdir, "--prompt", "a", "--top-p", 1.5)
    assert "leave --beam-size out" in refused(capsys, "evaluate", "--workdir", workdir, "--beam-size", 2)
    assert "leave --alpha out" in refused(capsys, "evaluate", "--workdir", workdir, "--alpha", 0)
    assert "has no test split" in refused(capsys, "evaluate", "--workdir", workdir, "--split", "test")
    wrong = ("train", text / "text.py", "--workdir", tmp_path, "--data.documents", "none")
    assert "reads documents" in refused(capsys, *wrong)
