"""A run that starts from another one: its weights, architecture and vocabulary; after that it needs nothing of it."""

import json
import shutil
import signal

import numpy as np
import pytest
from commands import WORDS, assert_same, params_of, refused, run

from wmt_transformer import checkpoint, experiment
from wmt_transformer.data import fingerprint
from wmt_transformer.train.signals import Stop


@pytest.fixture
def other(toy, tmp_path):
    """A config of another corpus, with another architecture, learning rate and dropout than the toy run's."""
    random = np.random.default_rng(5)
    for split, count in (("train", 60), ("dev", 8)):
        lines = [" ".join(random.choice(WORDS, random.integers(2, 9))) for _ in range(count)]
        (tmp_path / f"{split}.en").write_text("\n".join(lines) + "\n")
        (tmp_path / f"{split}.de").write_text("\n".join(line.title() for line in lines) + "\n")
    text = (toy / "toy.py").read_text().replace(str(toy), str(tmp_path))
    text = text.replace("num_layers=1", "num_layers=2, dropout=0.3").replace(
        "steps=12, ", "steps=6, learning_rate=0.5, "
    )
    (tmp_path / "other.py").write_text(text)
    return tmp_path / "other.py"


def stop_after(monkeypatch, step: int) -> None:
    """Makes the next run stop as by SIGTERM after a step."""
    monkeypatch.setattr(Stop, "agreed", lambda self, now: signal.SIGTERM if now == step else None)


@pytest.mark.parametrize(("name", "which"), [("", "average"), ("@best", "best"), ("@9", 9)])
def test_a_child_begins_with_the_parents_weights_and_vocabulary_and_its_own_settings(
    toy, other, tmp_path, monkeypatch, capsys, name, which
):
    stop_after(monkeypatch, 0)
    assert run("train", other, "--workdir", tmp_path / "w", "--from", f"{toy / 'run'}{name}") == 128 + signal.SIGTERM
    assert checkpoint.steps(tmp_path / "w") == [0] and checkpoint.scheduled_steps(tmp_path / "w") == []
    assert_same(params_of(tmp_path / "w", 0), params_of(toy / "run", which))
    parent, child = (experiment.run_config(folder) for folder in (toy / "run", tmp_path / "w"))
    assert experiment.differences(parent, child) == [
        "name: 'toy' there, 'other' here",
        "model.dropout: 0.1 there, 0.3 here",
        f"data.path: {str(toy)!r} there, {str(tmp_path)!r} here",
        f"data.vocabulary: None there, {str(toy / 'run')!r} here",
        "train.steps: 12 there, 6 here",
        "train.learning_rate: 1.0 there, 0.5 here",
    ]
    vocabularies = [fingerprint.of(folder / "data")["vocabulary"] for folder in (toy / "run", tmp_path / "w")]
    assert vocabularies[0] == vocabularies[1]
    said = capsys.readouterr().err
    assert f"starting from {toy / 'run'}" in said and "the optimiser begins anew" in said and "resuming" not in said
    assert run("info", tmp_path / "w") == 0
    assert (
        f"parent      {toy / 'run'}{name}, step {checkpoint.resolve(toy / 'run', which)[1]}\n"
        in capsys.readouterr().out
    )


@pytest.mark.slow
def test_a_child_that_was_stopped_goes_on_without_its_parent_as_one_that_was_not(
    toy, copy, other, tmp_path, monkeypatch, capsys
):
    command = ["train", other, "--workdir"]
    assert run(*command, tmp_path / "whole", "--from", copy) == 0
    with monkeypatch.context() as patched:
        stop_after(patched, 2)
        assert run(*command, tmp_path / "w", "--from", copy) == 128 + signal.SIGTERM
    shutil.rmtree(copy)
    with monkeypatch.context() as patched:  # the same command, and then without --from
        stop_after(patched, 4)
        assert run(*command, tmp_path / "w", "--from", copy) == 128 + signal.SIGTERM
    assert run(*command, tmp_path / "w") == 0
    assert checkpoint.steps(tmp_path / "w") == [3, 6]
    assert_same(params_of(tmp_path / "w", 6), params_of(tmp_path / "whole", 6))
    assert run("train", "--workdir", tmp_path / "w", "--train.steps", 7) == 0
    assert run("average", "--workdir", tmp_path / "w", "--no-scores") == 0
    there = f"started from {copy}, step 12, not from"
    for given, found in (
        ([toy / "run"], f"{there} {toy / 'run'}"),
        ([f"{copy}@9"], f"{there} {copy}@9"),
        ([copy, "--from-optimizer"], f"{there} {copy} with its optimiser"),
    ):
        assert found in refused(capsys, *command, tmp_path / "w", "--from", *given)


def test_a_child_that_was_killed_before_its_first_checkpoint_begins_again(toy, other, tmp_path, monkeypatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("wmt_transformer.checkpoint_records.copy", killed)
        assert run("train", other, "--workdir", tmp_path / "w", "--from", toy / "run") == 130
    assert checkpoint.steps(tmp_path / "w") == []
    stop_after(monkeypatch, 0)
    assert run("train", other, "--workdir", tmp_path / "w") == 128 + signal.SIGTERM
    assert_same(params_of(tmp_path / "w", 0), params_of(toy / "run", "average"))


def test_with_the_optimiser_a_child_with_the_parents_settings_ends_as_the_parent_does(toy, tmp_path):
    workdir = tmp_path / "w"
    assert run("train", toy / "toy.py", "--workdir", workdir, "--from", f"{toy / 'run'}@9", "--from-optimizer") == 0
    assert_same(params_of(workdir, 12), params_of(toy / "run", 12))
    steps = [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert min(steps) == 9


def test_what_a_child_cannot_have_is_one_line(toy, copy, other, tmp_path, capsys):
    def said(*more: object, config: object = other) -> str:
        line = refused(capsys, "train", config, "--workdir", tmp_path / "w", *more)
        assert not (tmp_path / "w" / "checkpoints").exists()
        return line

    parent = ["--from", toy / "run"]
    line = said(*parent, "--model.num_layers", 3, "--data.vocabulary", "mine.model")
    assert "model.num_layers: 1 there, 3 here; data.vocabulary: " in line and str(toy / "run") in line
    assert "holds no run" in said("--from", tmp_path / "none")
    assert "no checkpoint '7'" in said("--from", f"{toy / 'run'}@7")
    assert "belongs to --from" in said("--from-optimizer")
    assert "has no state of an optimiser" in said(*parent, "--from-optimizer")
    newest = ["--from", f"{toy / 'run'}@12", "--from-optimizer"]
    assert "nothing is left to train" in said(*newest, "--train.steps", 12)
    assert "train.weight_decay 0.0" in said(*newest, "--train.steps", 20, "--train.weight_decay", 0.1)
    assert "started from nothing" in refused(capsys, "train", toy / "toy.py", "--workdir", copy, *parent)


def test_a_damaged_note_of_the_parent_is_one_line(copy, capsys):
    for damaged in ('{"run": "/a", "chfckpoint": null}', "[]", '{"run": '):
        (copy / "parent.json").write_text(damaged)
        for command in (("info", copy), ("train", "--workdir", copy, "--train.steps", 13)):
            assert "parent.json" in refused(capsys, *command)


def test_another_pair_of_languages_is_said(toy, other, tmp_path, monkeypatch, capsys):
    stop_after(monkeypatch, 0)
    for split in ("train", "dev"):
        (tmp_path / f"{split}.de").rename(tmp_path / f"{split}.fr")
    other.write_text(other.read_text().replace('target="de"', 'target="fr"').replace('.de"', '.fr"'))
    assert run("train", other, "--workdir", tmp_path / "w", "--from", toy / "run") == 128 + signal.SIGTERM
    assert "was trained from en to de, and this run is from en to fr" in capsys.readouterr().err
