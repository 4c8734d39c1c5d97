"""`info` tells of a run what its files say."""

import json

import jax
import numpy as np
import pytest
from commands import params_of, refused, run
from matplotlib import image


def info(capsys, workdir) -> dict:
    capsys.readouterr()
    assert run("info", workdir, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_a_finished_run_in_one_object(toy, capsys):
    found = info(capsys, toy / "run")
    leaves = jax.tree.leaves(params_of(toy / "run", 12))
    lines = [json.loads(line) for line in (toy / "run" / "metrics.jsonl").read_text().splitlines()]
    known = {"config": "toy", "family": "small", "source": "en", "target": "de", "step": 12, "steps": 12}
    assert {name: found[name] for name in known} == known
    assert found["parameters"] == sum(leaf.size for leaf in leaves)
    assert found["best_score"] == max(line["dev/bleu"] for line in lines if "dev/bleu" in line)
    assert (found["devices"], found["processes"], found["restarts"]) == (1, 1, 0)
    assert found["wall_seconds"] == round(lines[-1]["time"] - lines[0]["time"], 1) > 0
    assert [one["step"] for one in found["checkpoints"]] == [6, 9, 12] and found["average"]["step"] == 12
    # A checkpoint holds the parameters and Adam's two moments in float32, compressed.
    assert all(0.5 < one["bytes"] / (3 * 4 * found["parameters"]) < 3 for one in found["checkpoints"])


@pytest.mark.slow
def test_restarts_are_counted_where_steps_were_made(toy, tmp_path, capsys):
    workdir = tmp_path / "w"
    for steps, restarts in ((3, 0), (6, 1), (6, 1)):
        assert run("train", toy / "toy.py", "--workdir", workdir, "--train.steps", steps) == 0
        assert info(capsys, workdir)["restarts"] == restarts


def test_the_screen_has_a_line_for_everything_and_fits(toy, capsys):
    capsys.readouterr()
    assert run("info", toy / "run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 24 and all(line.strip() for line in lines)
    text = "\n".join(lines)
    for part in ("toy, family small", "12 of 12", "10,176 parameters", "0 restarts", "tokens/s/chip", "MB"):
        assert part in text


def test_a_folder_that_was_only_imported_or_just_begun_is_no_error(copy, capsys):
    for name in ("metrics.jsonl", "average"):
        (copy / name).rename(copy / f"{name} away")
    found = info(capsys, copy)
    assert (found["step"], found["best_score"], found["restarts"], found["average"]) == (12, None, None, None)
    assert run("info", copy) == 0
    assert "not measured yet" in capsys.readouterr().out


def test_the_folder_is_named_as_other_verbs_name_it_too(toy, capsys):
    found = info(capsys, toy / "run")
    assert run("info", "--workdir", toy / "run", "--json") == 0
    assert json.loads(capsys.readouterr().out) == found
    assert "WORKDIR" in refused(capsys, "info")


def test_a_folder_without_a_run_is_one_line(tmp_path, capsys):
    assert "holds no run" in refused(capsys, "info", tmp_path)


def test_the_learning_curves_are_drawn_beside_the_summary(toy, tmp_path, capsys):
    picture = tmp_path / "curves.png"
    assert run("info", toy / "run", "--plot", picture) == 0
    assert "12 of 12" in capsys.readouterr().out
    pixels = np.round(image.imread(picture)[:, :, :3] * 255).astype(int)
    blue = (pixels == [31, 119, 180]).all(axis=-1)  # matplotlib's first colour: the dev loss left, dev BLEU right
    assert pixels.shape[1] == 1350 and all(half.any() for half in np.split(blue, 2, axis=1))
    assert run("info", toy / "run", "--plot", tmp_path / "curves.svg") == 0
    assert "<svg" in (tmp_path / "curves.svg").read_text("utf-8")


def test_curves_that_cannot_be_drawn_are_one_line_and_leave_no_file(copy, tmp_path, capsys):
    assert ".png or .svg" in refused(capsys, "info", copy, "--plot", tmp_path / "curves.pdf")
    (copy / "metrics.jsonl").unlink()
    assert "train first" in refused(capsys, "info", copy, "--plot", tmp_path / "curves.png")
    assert not list(tmp_path.glob("curves*"))
