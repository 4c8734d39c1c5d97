"""The commands as a user types them: a tiny run from text to scores, resuming, averaging, and every mistake."""

import gzip
import io
import json
import os
import shutil
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from commands import assert_same, params_of, refused, run, without_checksums

from wmt_transformer import checkpoint


def test_a_run_leaves_what_the_later_verbs_need(toy):
    names = {path.name for path in (toy / "run").iterdir()}
    assert {"config.json", "data", "checkpoints", "average", "metrics.jsonl", "tensorboard"} <= names
    lines = [json.loads(line) for line in (toy / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "train/loss" in line] == [4, 8, 12]
    assert [line["step"] for line in lines if "dev/bleu" in line] == [6, 12]
    # Four steps of a toy: what a step's tokens are is counted from the batches themselves.
    assert all(0 < line["train/padding"] < 1 for line in lines if "train/loss" in line)


def test_the_average_is_the_mean_of_its_checkpoints(toy):
    newest = checkpoint.steps(toy / "run")[-2:]
    assert newest == [9, 12]
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *(params_of(toy / "run", step) for step in newest))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7),
        params_of(toy / "run", "average"),
        mean,
    )


@pytest.mark.parametrize("keep", [3, 6])
def test_a_run_resumed_from_an_older_checkpoint_ends_with_the_same_parameters_and_metrics(toy, copy, keep):
    for step in checkpoint.steps(copy):
        if step > keep:
            shutil.rmtree(copy / "checkpoints" / str(step))
    expected = params_of(toy / "run", 12)
    assert run("train", toy / "toy.py", "--workdir", copy) == 0
    assert_same(params_of(copy, 12), expected)

    def curve(workdir: Path) -> list[tuple[int, float]]:
        lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
        return [(line["step"], line["dev/loss"]) for line in lines if "dev/loss" in line]

    assert curve(copy) == curve(toy / "run")


def test_a_finished_run_started_again_changes_nothing(toy, copy):
    assert run("train", toy / "toy.py", "--workdir", copy) == 0
    assert_same(params_of(copy, 12), params_of(toy / "run", 12))
    assert (copy / "metrics.jsonl").read_text() == (toy / "run" / "metrics.jsonl").read_text()


def test_translate_gives_one_line_for_every_line_and_json_alone_on_standard_output(toy, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"red cat\n\nthe dog sees"))))
    assert run("translate", "--workdir", toy / "run") == 0
    piped = capsys.readouterr().out
    assert len(piped.splitlines()) == 3 and piped.splitlines()[1] == ""
    (tmp_path / "in").write_text("red cat\n\nthe dog sees\n")
    assert run("translate", "--workdir", toy / "run", "--input", tmp_path / "in", "--output", tmp_path / "out") == 0
    assert (tmp_path / "out").read_text() == piped
    capsys.readouterr()
    assert run("translate", "--workdir", toy / "run", "--json", "--n-best", 2, "red cat", "") == 0
    found = json.loads(capsys.readouterr().out)["translations"]
    assert [item["source"] for item in found] == ["red cat", ""]
    assert found[0]["translations"][0]["text"] == piped.splitlines()[0]
    scores = [item["score"] for item in found[0]["translations"]]
    assert scores == sorted(scores, reverse=True)


def test_several_samples_of_a_line_begin_with_the_one_and_every_line_of_an_argument_is_an_input(toy, capsys):
    command, samples = ("translate", "--workdir", toy / "run"), ("--sample", "--seed", 5)
    assert run(*command, *samples, "red cat", "the dog sees") == 0
    one = capsys.readouterr().out.splitlines()
    assert run(*command, *samples, "--n-best", 3, "red cat\nthe dog sees") == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [number for number, _, _ in rows] == ["1"] * 3 + ["2"] * 3
    assert [text for _, _, text in rows[::3]] == one


def test_evaluate_scores_a_split_and_a_pair_of_files_alike(toy, capsys):
    assert run("evaluate", "--workdir", toy / "run", "--split", "dev", "--json") == 0
    of_split = json.loads(capsys.readouterr().out)
    about = {"config": "toy", "family": "small", "split": "dev", "checkpoint": "average", "step": 12, "changed": []}
    assert about.items() <= of_split.items()
    files = (
        "--hypotheses",
        toy / "run" / "dev.hypotheses.txt",
        "--references",
        toy / "dev.de",
        "--language",
        "de",
    )
    assert run("evaluate", *files, "--json") == 0
    of_files = json.loads(capsys.readouterr().out)
    assert {"sacrebleu", "chrf", "tokenized_lowercase_bleu", "compound_split_bleu"} <= set(of_files)
    assert of_files.items() <= of_split.items()


def test_two_files_are_scored_without_a_word_of_the_paper(toy, tmp_path, capsys):
    (tmp_path / "zh").write_text("我爱北京。\n", encoding="utf-8")
    (tmp_path / "en").write_text("I love Beijing .\n")
    for language in ("zh", "en"):
        files = ("--hypotheses", tmp_path / language, "--references", tmp_path / language, "--language", language)
        assert run("evaluate", *files) == 0
        out = capsys.readouterr().out
        assert "paper's" not in out and "French" not in out and "100.00" in out
    capsys.readouterr()
    assert run("evaluate", "--workdir", toy / "run") == 0  # another corpus than the paper's
    assert "paper's" not in capsys.readouterr().out


def test_evaluate_takes_the_split_that_a_corpus_has(toy, copy, capsys):
    for side in ("en", "de"):
        (copy / "data" / f"test.{side}").write_text("")
    without_checksums(copy)
    assert run("evaluate", "--workdir", copy, "--json") == 0
    assert json.loads(capsys.readouterr().out)["split"] == "dev"
    assert "has no test split; it has dev: give --split dev" in refused(
        capsys, "evaluate", "--workdir", copy, "--split", "test"
    )


def test_a_checkpoint_that_is_not_the_newest_is_named(toy, copy, tmp_path, capsys):
    text = ("translate", "--workdir", copy, "red cat")
    assert run(*text) == 0
    assert "is used" not in capsys.readouterr().err  # the average's newest step is the run's
    assert run("average", "--workdir", copy, "--steps", 6, 9, "--no-scores") == 0
    capsys.readouterr()
    for command in (
        text,
        ("evaluate", "--workdir", copy),
        ("export-embeddings", "--workdir", copy, "--output", tmp_path / "e"),
    ):
        assert run(*command) == 0
        err = capsys.readouterr().err
        assert "the averaged checkpoint, step 9, is used; the newest is step 12" in err, command
    assert run(*text[:3], "--checkpoint", "9", "red cat") == 0
    assert "is used" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["in.txt", "in.txt.gz"])
def test_translations_do_not_depend_on_how_the_input_is_written(toy, tmp_path, capsys, name):
    expected = translated(capsys, toy, b"red cat\nthe dog sees\n", tmp_path / name)
    for text in (b"\xef\xbb\xbfred cat\nthe dog sees\n", b"red cat\r\nthe dog sees\r\n", b"red cat\nthe dog sees"):
        assert translated(capsys, toy, text, tmp_path / name) == expected
    (tmp_path / "damaged.gz").write_bytes(gzip.compress(b"red cat\n" * 1000)[:-20])
    arguments = ("translate", "--workdir", toy / "run", "--input", tmp_path / "damaged.gz")
    capsys.readouterr()
    assert run(*arguments) == 2
    assert "damaged.gz is damaged" in capsys.readouterr().err


def translated(capsys, toy: Path, text: bytes, path: Path) -> str:
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    capsys.readouterr()
    assert run("translate", "--workdir", toy / "run", "--input", path) == 0
    return capsys.readouterr().out


def test_settings_that_do_not_exist_or_do_not_fit_are_refused(toy, tmp_path, capsys):
    config = toy / "toy.py"
    assert "multi30k_en_de" in refused(capsys, "train", "nonesuch", "--workdir", tmp_path)
    assert "did you mean --model.dropout" in refused(
        capsys, "train", config, "--workdir", tmp_path, "--model.droput", "1"
    )
    assert "a number, 0 or more" in refused(capsys, "train", config, "--workdir", tmp_path, "--model.dropout", "high")
    assert "a whole number" in refused(capsys, "train", config, "--workdir", tmp_path, "--train.steps=many")
    assert "--workdir" in refused(capsys, "train", config)
    assert "VERB" in refused(capsys, "trian")


def test_data_that_cannot_be_used_is_refused(toy, tmp_path, capsys):
    config = toy / "toy.py"
    arguments = ("prepare", config, "--workdir", tmp_path / "w")
    assert str(tmp_path / "none") in refused(capsys, *arguments, "--data.path", tmp_path / "none")
    shutil.copytree(toy, tmp_path / "toy", ignore=shutil.ignore_patterns("run", "cache"))
    (tmp_path / "toy" / "train.de").write_text("EIN\n")
    message = refused(capsys, *arguments, "--data.path", tmp_path / "toy")
    assert "train.en" in message and "train.de" in message and "200" in message and "1" in message
    (tmp_path / "toy" / "train.de").write_bytes(b"ok\n\xff\xfe\n" * 100)
    assert "line 2" in refused(capsys, *arguments, "--data.path", tmp_path / "toy")
    assert not (tmp_path / "w" / "data").exists()


def test_a_work_folder_of_another_config_is_refused_and_the_fields_are_named(toy, capsys):
    message = refused(capsys, "train", toy / "toy.py", "--workdir", toy / "run", "--model.dropout", "0.3")
    assert "model.dropout: 0.1 there, 0.3 here" in message


def test_a_missing_run_or_checkpoint_is_refused(toy, copy, tmp_path, capsys):
    assert "holds no run" in refused(capsys, "translate", "--workdir", tmp_path / "none", "hello")
    assert "9, 12" in refused(capsys, "translate", "--workdir", copy, "--checkpoint", 7, "hello")
    assert "more than once" in refused(capsys, "average", "--workdir", copy, "--steps", 9, 9)
    shutil.rmtree(copy / "checkpoints")
    shutil.rmtree(copy / "average")
    assert "holds no checkpoint" in refused(capsys, "translate", "--workdir", copy, "hello")


def test_a_vocabulary_of_another_run_is_refused(toy, copy, tmp_path, capsys):
    assert run("prepare", toy / "toy.py", "--workdir", tmp_path / "w", "--data.vocabulary_size", 310) == 0
    shutil.copy(tmp_path / "w" / "data" / "vocabulary.model", copy / "data" / "vocabulary.model")
    assert "another vocabulary" in refused(capsys, "translate", "--workdir", copy, "hello")


def test_files_that_do_not_match_are_refused(toy, tmp_path, capsys):
    (tmp_path / "one").write_text("a\n")
    files = ("--hypotheses", tmp_path / "one", "--references", toy / "dev.de")
    assert "1" in refused(capsys, "evaluate", *files) and "8" in refused(capsys, "evaluate", *files)
    assert "--hypotheses" in refused(capsys, "evaluate")


def test_a_full_disk_is_one_line_and_leaves_the_file_that_was_there(toy, tmp_path, capsys, monkeypatch):
    (tmp_path / "out").write_text("before")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    monkeypatch.setattr("pathlib.Path.replace", full)
    arguments = ("translate", "--workdir", toy / "run", "--output", tmp_path / "out", "red cat")
    assert "No space left" in refused(capsys, *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_text() == "before"
    assert run("evaluate", "--workdir", toy / "run", "--json") == 2
    scores, error = capsys.readouterr()
    assert "sacrebleu" in json.loads(scores) and "No space left" in error  # what was computed is printed all the same


@pytest.mark.parametrize(("chips", "platforms"), [([], "cpu"), (["/dev/accel0"], None)])
def test_a_tpu_compiler_without_a_tpu_is_passed_over(monkeypatch, capsys, chips, platforms):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name == "libtpu" else None)
    monkeypatch.setattr("glob.glob", lambda pattern: [chip for chip in chips if "accel" in pattern])
    assert run("paper", "--help") == 0
    assert os.environ.get("JAX_PLATFORMS") == platforms


def test_a_run_says_what_it_does_before_its_first_report_and_where_its_trace_is(toy, tmp_path, capsys):
    workdir = tmp_path / "w"
    assert run("train", toy / "toy.py", "--workdir", workdir, "--profile", "--train.steps", 8) == 0
    lines = capsys.readouterr().err.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("step 1/8 "))
    assert any(line.endswith("compiling the first step") for line in lines[:first])
    assert first < next(index for index, line in enumerate(lines) if line.startswith("step 4/8 "))
    (said,) = (line for line in lines if line.startswith("the trace of steps"))
    (trace,) = (word.rstrip(":;,") for word in said.split() if ".trace.json.gz" in word)
    traced = Path(trace)
    names = {event.get("name", "") for event in json.loads(gzip.decompress(traced.read_bytes()))["traceEvents"]}
    assert any("step" in name for name in names)  # the compiled function's name
    assert list(traced.parent.glob("*.xplane.pb"))  # what TensorBoard's profile plugin looks for
    assert traced.parents[1] == workdir / "tensorboard" / "plugins" / "profile"
    assert not any(line.startswith("note:") for line in lines)  # the batch of the paper is that of its family


@pytest.mark.slow
def test_a_run_of_the_papers_family_is_told_that_its_batch_is_not_the_papers(toy, tmp_path, capsys):
    workdir = tmp_path / "w"
    assert run("train", toy / "toy.py", "--workdir", workdir, "--family", "paper", "--train.steps", 4) == 0
    assert "are made for about 25,000" in capsys.readouterr().err


def test_an_empty_path_is_no_folder(capsys):
    for command in (("train", "quickstart", "--workdir", ""), ("translate", "--workdir", "", "a cat"), ("info", "")):
        assert "it is empty" in refused(capsys, *command)


def test_a_memory_that_is_too_small_is_one_line(tmp_path, capsys, monkeypatch):
    def too_much(*_: object, **__: object) -> None:
        raise ValueError("a batch cannot be made") from MemoryError("Unable to allocate 312. GiB")

    monkeypatch.setattr("wmt_transformer.training.train", too_much)
    said = refused(capsys, "train", "quickstart", "--workdir", tmp_path / "w")
    assert "memory of this machine is too small for that (Unable to allocate 312. GiB)" in said


def test_vectors_that_are_not_there_are_refused_before_anything_is_prepared(toy, tmp_path, capsys):
    given = ("--model.pretrained_embeddings", tmp_path / "none.vec")
    assert "there is no file" in refused(capsys, "train", toy / "toy.py", "--workdir", tmp_path / "w", *given)
    assert not (tmp_path / "w").exists()
