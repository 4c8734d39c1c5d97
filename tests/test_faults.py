"""What goes wrong while a run trains: signals, kills, full disks, spoilt checkpoints, a second run, a gradient that is
not finite. After each, the run ends as the uninterrupted one does, or says in one line why it cannot."""

import random
import shutil
import signal
import subprocess
import sys
import time
from typing import Any, cast

import jax
import numpy as np
import optax
import pytest
from commands import ROOT, assert_same, params_of, refused, run, without_checksums

from wmt_transformer import checkpoint, checkpoint_records
from wmt_transformer.train import start as start_of_run
from wmt_transformer.train.development import Development
from wmt_transformer.train.signals import Stop
from wmt_transformer.train.state import TrainState


def start(*arguments: object) -> subprocess.Popen:
    """Starts a command in a process of its own."""
    words = [sys.executable, "-m", "wmt_transformer", *map(str, arguments)]
    return subprocess.Popen(words, stderr=subprocess.PIPE, cwd=ROOT, text=True)


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)]
)
def test_a_run_stopped_by_a_signal_saves_and_ends_with_the_same_parameters_when_it_goes_on(toy, tmp_path, number, code):
    metrics = tmp_path / "w" / "metrics.jsonl"
    process = start("train", toy / "toy.py", "--workdir", tmp_path / "w")
    while not (metrics.exists() and "train/loss" in metrics.read_text()):  # written at step 4, before any checkpoint is
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    stopped_at = checkpoint.steps(tmp_path / "w")[-1]
    assert process.returncode == (code if stopped_at < 12 else 0)
    assert stopped_at >= 4
    assert run("train", toy / "toy.py", "--workdir", tmp_path / "w") == 0
    assert_same(params_of(tmp_path / "w", 12), params_of(toy / "run", 12))


def kill_often(toy, folder, kills: int, steps: int) -> None:
    """Trains with a checkpoint after every second step, killed so often at random moments; compares the end."""
    settings = ["--train.steps", steps, "--train.checkpoint_every", 2, "--train.evaluate_every", steps]
    assert run("train", toy / "toy.py", "--workdir", folder / "whole", *settings) == 0
    moments, workdir = random.Random(0), folder / "killed"
    for _ in range(kills):
        process = start("train", toy / "toy.py", "--workdir", workdir, *settings)
        before = checkpoint.steps(workdir)[-1:]
        while checkpoint.steps(workdir)[-1:] == before:
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        time.sleep(moments.uniform(0.0, 0.3))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert checkpoint.steps(workdir)[-1] < steps
    assert run("train", toy / "toy.py", "--workdir", workdir, *settings) == 0
    assert_same(params_of(workdir, steps), params_of(folder / "whole", steps))


def test_a_run_killed_at_random_moments_ends_with_the_same_parameters(toy, tmp_path):
    kill_often(toy, tmp_path, kills=1, steps=40)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_run_killed_twenty_times_ends_with_the_same_parameters(toy, tmp_path):
    kill_often(toy, tmp_path, kills=20, steps=1200)


@pytest.mark.parametrize("fault", ["cut off", "missing"])
def test_a_spoilt_checkpoint_is_named_and_the_one_before_is_used(toy, copy, capsys, fault):
    newest = copy / "checkpoints" / "12"
    largest = max((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    if fault == "cut off":
        largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    else:
        largest.unlink()
    assert run("train", toy / "toy.py", "--workdir", copy) == 0
    shown = capsys.readouterr().err
    assert str(newest) in shown.replace("\n", "") and "resuming at step 9" in shown
    assert_same(params_of(copy, 12), params_of(toy / "run", 12))


def test_translating_with_a_spoilt_checkpoint_is_one_line(toy, copy, capsys):
    for path in (copy / "average").rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.unlink()
    assert "cannot be read" in refused(capsys, "translate", "--workdir", copy, "red cat")


def test_a_second_run_in_one_work_folder_is_refused(toy, tmp_path, capsys):
    workdir = tmp_path / "w"
    process = start("train", toy / "toy.py", "--workdir", workdir, "--train.steps", 100000)
    while not checkpoint.steps(workdir):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    assert f"in use by a run (process {process.pid}" in refused(capsys, "train", toy / "toy.py", "--workdir", workdir)
    process.kill()
    process.communicate()


def test_a_gradient_that_stays_infinite_stops_the_run_and_keeps_the_last_good_checkpoint(toy, copy, capsys):
    spoilt = ["--train.learning_rate", "1e38", "--train.stop_after_skipped", 3, "--train.log_every", 1]
    said = refused(capsys, "train", toy / "toy.py", "--workdir", copy / "w", "--train.steps", 100, *spoilt)
    assert "were skipped" in said and "learning rate" in said and "norm" in said
    kept = params_of(copy / "w", "latest")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(kept))


def test_a_full_disk_at_a_checkpoint_is_one_line_and_keeps_the_checkpoints(toy, tmp_path, capsys, monkeypatch):
    workdir = tmp_path / "w"
    assert run("train", toy / "toy.py", "--workdir", workdir, "--train.steps", 3) == 0
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    assert "the disk is full" in refused(capsys, "train", toy / "toy.py", "--workdir", workdir)
    assert checkpoint.steps(workdir) == [3]


@pytest.mark.slow
def test_a_write_that_fails_half_way_keeps_the_checkpoints(toy, tmp_path):
    """With a limit on the size of files that the second checkpoint cannot meet."""
    workdir = tmp_path / "w"
    command = f"{sys.executable} -m wmt_transformer train {toy / 'toy.py'} --workdir {workdir}"
    assert run("train", toy / "toy.py", "--workdir", workdir, "--train.steps", 3) == 0
    limited = subprocess.run(
        ["bash", "-c", f"trap '' XFSZ; ulimit -f 8; {command}"], cwd=ROOT, capture_output=True, text=True
    )
    assert limited.returncode == 2, limited.stderr
    assert "wmt-transformer: the disk is full" in limited.stderr
    assert checkpoint.steps(workdir) == [3]
    assert run("train", toy / "toy.py", "--workdir", workdir) == 0
    assert_same(params_of(workdir, 12), params_of(toy / "run", 12))


# ---- Any damage is seen


def flip_a_bit(path, random: random.Random) -> None:
    """Changes one bit at a random place of a file."""
    content = bytearray(path.read_bytes())
    place = random.randrange(len(content))
    content[place] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def test_one_flipped_bit_anywhere_in_a_checkpoint_is_seen(copy):
    newest, moments = copy / "checkpoints" / "12", random.Random(0)
    files = sorted(path for path in newest.rglob("*") if path.is_file() and path.stat().st_size)
    assert len(files) > 12
    for path in files:
        whole = path.read_bytes()
        for _ in range(3):
            flip_a_bit(path, moments)
            with pytest.raises(checkpoint_records.Broken, match=str(newest)):
                checkpoint_records.verify(newest)
            path.write_bytes(whole)
    checkpoint_records.verify(newest)


@pytest.mark.parametrize("item", ["params", "optimizer"])
def test_a_checkpoint_with_a_flipped_bit_in_its_arrays_is_named_and_the_one_before_is_used(toy, copy, capsys, item):
    newest = copy / "checkpoints" / "12"
    arrays = max((path for path in (newest / item).rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    flip_a_bit(arrays, random.Random(1))
    assert run("train", toy / "toy.py", "--workdir", copy) == 0
    shown = capsys.readouterr().err.replace("\n", "")
    assert str(newest) in shown and "has changed since it was saved" in shown and "resuming at step 9" in shown
    assert_same(params_of(copy, 12), params_of(toy / "run", 12))


def test_a_flipped_bit_is_seen_where_parameters_are_translated_with_and_averaged(toy, copy, capsys):
    for folder in (copy / "checkpoints" / "9", copy / "average" / "12"):
        flip_a_bit(next((folder / "params" / "ocdbt.process_0" / "d").iterdir()), random.Random(2))
    assert "has changed" in refused(capsys, "translate", "--workdir", copy, "red cat")
    assert "has changed" in refused(capsys, "average", "--workdir", copy, "--steps", 9, 12)


def test_an_average_names_the_checkpoint_whose_record_is_damaged(copy, capsys):
    record = copy / "checkpoints" / "12" / checkpoint_records.NAME
    flip_a_bit(record, random.Random(3))
    assert run("average", "--workdir", copy, "--no-scores") == 0
    said = capsys.readouterr().err
    assert str(record.parent) in said and "averaging without it" in said and "the mean of steps 6, 9" in said


def test_a_checkpoint_of_an_older_version_without_a_record_is_used(toy, copy):
    for path in copy.rglob(checkpoint_records.NAME):
        path.unlink()
    assert checkpoint.scheduled_steps(copy) == checkpoint.steps(copy)
    assert_same(params_of(copy, 12), params_of(toy / "run", 12))


def test_processes_of_which_one_finds_damage_all_try_the_same_older_checkpoint(copy, monkeypatch):
    asked = []

    def largest(value: int) -> int:
        asked.append(int(value))
        return max(int(value), answers.pop(0))

    # Process 1, which finds nothing wrong: three checkpoints; of step 12, which another process cannot read; of step 9.
    answers = [3, 12, 1, 9]
    monkeypatch.setattr(start_of_run, "largest", largest)
    monkeypatch.setattr(start_of_run, "is_main", lambda: False)
    opened, nothing = checkpoint.Checkpoints(copy), TrainState(*cast(Any, [None] * 4))
    tried: list[int] = []
    monkeypatch.setattr(opened, "verify", lambda step: tried.append(step) or raise_at(step, 9))
    with pytest.raises(KeyboardInterrupt):
        start_of_run._restored(opened, optax.identity(), nothing)
    assert tried == [12, 9] and asked == [0, 0, 0, 0]


def raise_at(step: int, last: int) -> None:
    if step == last:
        raise KeyboardInterrupt


# ---- A run is bound to its data


def test_another_vocabulary_under_a_run_is_refused_by_name_everywhere(toy, copy, tmp_path, capsys):
    assert run("prepare", toy / "toy.py", "--workdir", tmp_path / "w", "--data.vocabulary_model", "unigram") == 0
    shutil.copy(tmp_path / "w" / "data" / "vocabulary.model", copy / "data" / "vocabulary.model")
    without_checksums(copy)  # by which it would be named as damaged
    for command in (
        ("train", toy / "toy.py", "--workdir", copy),
        ("translate", "--workdir", copy, "red cat"),
        ("average", "--workdir", copy),
    ):
        assert "another vocabulary" in refused(capsys, *command), command


def test_a_data_folder_that_moved_with_the_same_content_goes_on(toy, copy, tmp_path):
    shutil.copytree(toy, tmp_path / "moved", ignore=shutil.ignore_patterns("run", "cache", "one"))
    more = ["--train.steps", 13, "--data.path", tmp_path / "moved"]
    assert run("train", toy / "toy.py", "--workdir", copy, *more) == 0
    assert checkpoint.steps(copy)[-1] == 13


def test_training_files_that_grew_under_a_run_are_refused_and_its_data_stay(toy, copy, tmp_path, capsys):
    shutil.copytree(toy, tmp_path / "grown", ignore=shutil.ignore_patterns("run", "cache", "one"))
    for side in ("en", "de"):
        with (tmp_path / "grown" / f"train.{side}").open("a") as file:
            file.write("another old bird\n" * 30)
    before = (copy / "data" / "vocabulary.model").read_bytes()
    refused(capsys, "train", toy / "toy.py", "--workdir", copy, "--data.path", tmp_path / "grown")
    assert (copy / "data" / "vocabulary.model").read_bytes() == before


# ---- What is kept and averaged


def stop_after(monkeypatch, step: int) -> None:
    """Makes the next run stop as by SIGTERM after a step."""
    monkeypatch.setattr(Stop, "agreed", lambda self, now: signal.SIGTERM if now == step else None)


@pytest.mark.slow
def test_the_average_of_a_run_that_was_stopped_is_that_of_a_run_that_was_not(toy, tmp_path, monkeypatch):
    workdir = tmp_path / "w"
    for step in (2, 7, 11):
        with monkeypatch.context() as patched:
            stop_after(patched, step)
            assert run("train", toy / "toy.py", "--workdir", workdir) == 128 + signal.SIGTERM
        assert checkpoint.steps(workdir)[-1] == step and step not in checkpoint.scheduled_steps(workdir)
    assert run("train", toy / "toy.py", "--workdir", workdir) == 0
    assert checkpoint.steps(workdir) == checkpoint.steps(toy / "run")
    assert run("average", "--workdir", workdir, "--no-scores") == 0
    assert_same(params_of(workdir, "average"), params_of(toy / "run", "average"))


def test_the_checkpoint_with_the_best_score_is_on_disk_wherever_it_was_measured(toy, tmp_path, monkeypatch):
    scores = iter([1.0, 5.0, 3.0, 4.0, 2.0, 0.0])

    def measured(self, params):
        return {"dev/loss": 1.0, "dev/perplexity": 2.0, "dev/accuracy": 0.5, "dev/score": next(scores)}, ""

    monkeypatch.setattr(Development, "__call__", measured)
    often = ["--train.evaluate_every", 2, "--train.checkpoint_every", 3, "--train.keep_checkpoints", 2]
    assert run("train", toy / "toy.py", "--workdir", tmp_path / "w", *often) == 0
    assert checkpoint.resolve(tmp_path / "w", "best")[1] == 4
    assert checkpoint.steps(tmp_path / "w") == [4, 9, 12]
    assert checkpoint.scheduled_steps(tmp_path / "w") == [9, 12]


# ---- Paths


@pytest.mark.parametrize("name", ["runs [1]", "back\\slash", "it's 50% #1 & ?*~{a,b} $HOME é中"])
def test_a_run_works_at_any_path_or_is_refused_before_its_first_step(toy, tmp_path, capsys, name):
    workdir = tmp_path / name / "w"
    if set(name) & set("[]\\"):
        assert "cannot be read back from a path with" in refused(capsys, "train", toy / "toy.py", "--workdir", workdir)
        assert not (workdir / "checkpoints").exists()
        link = tmp_path / "link"
        workdir.parent.mkdir(parents=True)
        link.symlink_to(workdir.parent)
        workdir = link / "w"
    assert run("train", toy / "toy.py", "--workdir", workdir, "--train.steps", 3) == 0
    assert run("translate", "--workdir", workdir, "red cat") == 0


def test_the_first_save_is_read_back(toy, tmp_path, capsys, monkeypatch):
    def unreadable(*_: object) -> None:
        raise checkpoint_records.broken("3", "as if it were")

    monkeypatch.setattr("wmt_transformer.checkpoint._load", unreadable)
    assert "as if it were" in refused(capsys, "train", toy / "toy.py", "--workdir", tmp_path / "w")
    assert checkpoint.steps(tmp_path / "w") == [3]


def test_a_run_stops_early_by_its_development_loss_and_not_by_a_score_that_cannot_move(toy, tmp_path, monkeypatch):
    losses = iter([3.0, 2.0, 2.5, 2.6, 1.0, 1.0])

    def measured(self, params):
        return {"dev/loss": next(losses), "dev/perplexity": 2.0, "dev/accuracy": 0.5, "dev/score": 0.0}, ""

    monkeypatch.setattr(Development, "__call__", measured)
    settings = ["--train.evaluate_every", 2, "--train.patience", 2]
    assert run("train", toy / "toy.py", "--workdir", tmp_path / "w", *settings) == 0
    assert checkpoint.steps(tmp_path / "w")[-1] == 8
