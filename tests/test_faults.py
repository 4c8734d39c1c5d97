"""What goes wrong while a run trains: signals, kills, full disks, spoilt checkpoints, a second run, a gradient that is
not finite. After each, the run ends as the uninterrupted one does, or says in one line why it cannot."""

import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from commands import ROOT, assert_same, params_of, refused, run

from wmt_transformer import checkpoint


def start(*arguments: object) -> subprocess.Popen:
    """Starts a command in a process of its own."""
    words = [sys.executable, "-m", "wmt_transformer", *map(str, arguments)]
    return subprocess.Popen(words, stderr=subprocess.PIPE, cwd=ROOT, text=True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
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
    kill_often(toy, tmp_path, kills=2, steps=200)


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
