"""Training options in a whole run: it is stopped and goes on as if it never was, and ends when it should."""

import json
import signal

import jax
import numpy as np
import pytest
from commands import assert_same, params_of, refused, run

from wmt_transformer import checkpoint, experiment
from wmt_transformer.data.prepare import open_prepared
from wmt_transformer.model.build import build
from wmt_transformer.train import parameters
from wmt_transformer.train.development import Development
from wmt_transformer.train.host_batches import make_batches
from wmt_transformer.train.optimizer import optimizer
from wmt_transformer.train.sharding import make_mesh
from wmt_transformer.train.signals import Stop
from wmt_transformer.train.state import initial_state

OPTIONS = {
    "train.schedule": "cosine",
    "train.learning_rate": 0.01,
    "train.weight_decay": 0.1,
    "train.clip_norm": 1.0,
    "train.ema_decay": 0.9,
}
WORDS = [word for name, value in OPTIONS.items() for word in (f"--{name}", value)]
FREEZE = ["--train.freeze", "encoder/.*", ".*embedding/table"]


def lines(workdir) -> list[dict]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def items(workdir, step: int = 12) -> dict:
    """Returns all that a checkpoint keeps."""
    path = workdir / "checkpoints" / str(step)
    known = checkpoint._orbax().checkpointables_metadata(path).metadata
    names = [name for name in ("params", "trained", "optimizer") if (path / name).is_dir()]
    empty = {name: jax.tree.map(lambda x: np.empty(x.shape, x.dtype), known[name]) for name in names}
    return jax.tree.map(np.asarray, checkpoint._load(path, empty))


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory):
    """A run with every option, never stopped."""
    workdir = tmp_path_factory.mktemp("whole") / "w"
    assert run("train", toy / "toy.py", "--workdir", workdir, *WORDS, *FREEZE) == 0
    return workdir


@pytest.mark.slow
def test_a_stopped_run_with_every_option_ends_as_one_that_was_not(toy, whole, tmp_path, monkeypatch):
    workdir = tmp_path / "w"
    for step in (2, 7):
        with monkeypatch.context() as patched:
            patched.setattr(
                Stop,
                "agreed",
                lambda self, now, last=step: signal.SIGTERM if now == last else None,
            )
            assert run("train", toy / "toy.py", "--workdir", workdir, *WORDS, *FREEZE) == 128 + signal.SIGTERM
        assert checkpoint.steps(workdir)[-1] == step
    assert run("train", "--workdir", workdir) == 0
    ends = [items(one) for one in (workdir, whole)]
    assert ends[0].keys() == {"params", "trained", "optimizer"}
    assert_same(*ends)


def test_a_checkpoint_gives_the_running_mean_to_translate_with(whole):
    saved = items(whole)
    assert_same(params_of(whole, 12), saved["params"])
    differ = jax.tree.map(lambda one, other: bool((one != other).any()), saved["params"], saved["trained"])
    assert differ["decoder_0"]["feed_forward"]["hidden"]["kernel"] and not differ["target_embedding"]["table"]


def test_frozen_parameters_are_those_of_the_beginning_bit_for_bit_and_are_counted(whole, capsys):
    settings = experiment.run_config(whole)
    model, mesh = build(settings.model), make_mesh(settings.mesh)
    start = initial_state(model, optimizer(settings.train, 16), mesh, settings.train.seed).params
    held = parameters.frozen(start, settings.train.freeze)
    ends = params_of(whole, 12)
    same = jax.tree.map(lambda one, other: np.asarray(one).tobytes() == other.tobytes(), start, ends)
    assert same == held and any(jax.tree.leaves(held))
    trained = sum(x.size for x, is_held in zip(*map(jax.tree.leaves, (ends, held)), strict=True) if not is_held)
    capsys.readouterr()
    assert run("info", whole) == 0
    assert f"10,176 parameters, {trained:,} of them trained" in capsys.readouterr().out


def test_what_is_logged_is_the_rate_of_the_schedule(whole):
    rates = {line["step"]: line["train/learning_rate"] for line in lines(whole) if "train/learning_rate" in line}
    # Warm-up takes 10 of 12 steps; then half a cosine is at its middle, and at its end.
    assert rates == pytest.approx({4: 0.004, 8: 0.008, 12: 0.0}, abs=1e-9)


def test_another_end_is_refused_where_the_schedule_depends_on_it(toy, whole, capsys):
    said = refused(capsys, "train", "--workdir", whole, "--train.steps", 20)
    assert "train.steps: 12 there, 20 here" in said


def test_the_number_of_shapes_follows_the_steps_and_stays_when_these_change(toy, copy, tmp_path):
    config = tmp_path / "toy.py"
    config.write_text((toy / "toy.py").read_text().replace(" num_shapes=2,", ""))
    few = ["--train.evaluate_pairs", 0, "--train.evaluate_every", 1000]
    assert experiment.load(str(config)).data.num_shapes is None
    assert run("train", config, "--workdir", copy, "--train.steps", 13, *few) == 0
    assert experiment.run_config(copy).data.num_shapes == 2  # of the run, not of 13 steps
    assert run("train", config, "--workdir", tmp_path / "new", "--train.steps", 1, *few) == 0
    assert experiment.run_config(tmp_path / "new").data.num_shapes == 1


@pytest.mark.slow
def test_a_run_of_epochs_ends_after_as_many_passes_and_goes_on_to_more(toy, tmp_path, capsys):
    workdir = tmp_path / "w"
    few = ["--train.evaluate_pairs", 0, "--train.evaluate_every", 1000, "--train.checkpoint_every", 1000]
    assert run("train", toy / "toy.py", "--workdir", workdir, "--train.epochs", 0.5, *few) == 0
    settings = experiment.run_config(workdir)
    batches = make_batches(settings, open_prepared(workdir / "data").train, make_mesh(settings.mesh), 2)
    half, one = -(-batches.batches_per_epoch // 2), batches.batches_per_epoch
    assert checkpoint.steps(workdir) == [half] and half > 12  # which `train.steps` says
    capsys.readouterr()
    assert run("info", workdir) == 0
    assert f"{half:,} of {half:,}" in capsys.readouterr().out
    assert run("train", "--workdir", workdir, "--train.epochs", 1, *few) == 0
    assert checkpoint.steps(workdir)[-1] == one


@pytest.mark.slow
def test_a_run_stops_early_by_its_score_where_that_is_asked_for(toy, tmp_path, monkeypatch):
    scores = iter([1.0, 3.0, 2.0, 3.0, 4.0, 5.0])

    def measured(self, params):
        return {"dev/loss": 1.0, "dev/perplexity": 2.0, "dev/accuracy": 0.5, "dev/score": next(scores)}, ""

    monkeypatch.setattr(Development, "__call__", measured)
    settings = ["--train.evaluate_every", 2, "--train.patience", 2, "--train.patience_measure", "score"]
    assert run("train", toy / "toy.py", "--workdir", tmp_path / "w", *settings) == 0
    assert checkpoint.steps(tmp_path / "w")[-1] == 8


def test_a_pattern_that_matches_nothing_is_one_line_with_the_names(toy, tmp_path, capsys):
    said = refused(capsys, "train", toy / "toy.py", "--workdir", tmp_path / "w", "--train.freeze", "encoder")
    assert "no parameter is named 'encoder'" in said and "encoder/0/feed_forward/hidden/kernel" in said
    assert not (tmp_path / "w").exists()  # it is no run of this config, which the next command may mend
