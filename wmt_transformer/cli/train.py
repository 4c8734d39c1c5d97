"""Verbs that make a run: quickstart, prepare, train, average."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

from wmt_transformer import experiment, parent, training
from wmt_transformer.cli.parser import AddVerb, positive
from wmt_transformer.cli.streams import save_picture, say
from wmt_transformer.compilation import use_compilation_cache
from wmt_transformer.config import Config, UserError
from wmt_transformer.experiment import run_config
from wmt_transformer.files import whole_bytes, whole_file
from wmt_transformer.messages import number_of

if TYPE_CHECKING:
    from wmt_transformer.train.loop import Outcome


def add(verb: AddVerb) -> None:
    """Adds the verbs to the command line."""
    names = ", ".join(experiment.shipped_configs())
    overrides = f"Any field can be changed: --model.dropout 0.3. Shipped configs: {names}."

    sub = verb(quickstart, epilog=overrides, overridable=True)
    sub.add_argument("--workdir", default="runs/quickstart", help="folder of the run (default: %(default)s)")
    sub.add_argument("--json", action="store_true", help="print the report as one JSON object")

    for run in (prepare, train):
        sub = verb(run, epilog=overrides, overridable=True)
        sub.add_argument(
            "config",
            metavar="CONFIG",
            nargs="?",
            help="name of a shipped config, or path of a config file; may be left out where --workdir holds a run",
        )
        sub.add_argument("--workdir", required=True, help="folder of the run")
        if run is train:
            sub.add_argument(
                "--from",
                dest="start",
                metavar="RUN[@CHECKPOINT]",
                help="start from the weights, architecture and vocabulary of a run; CHECKPOINT: average, best, latest, "
                "or a step (default: the average where there is one, else the best)",
            )
            sub.add_argument(
                "--from-optimizer", action="store_true", help="keep the optimiser of --from, and go on from its step"
            )
            sub.add_argument(
                "--profile", action="store_true", help="trace a few steps for TensorBoard's profile page and Perfetto"
            )
            hosts = sub.add_argument_group("several processes", "one run on several hosts, or several on one")
            hosts.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 listens")
            hosts.add_argument("--num-processes", type=positive, metavar="N", help="how many there are")
            hosts.add_argument("--process-id", type=int, metavar="I", help="which one this is, 0 to N - 1")
            hosts.add_argument("--start-timeout", type=float, default=300.0, help="seconds to wait (default: 300)")
            hosts.add_argument("--cluster", action="store_true", help="the cluster says all this (Cloud TPU, Slurm)")

    sub = verb(average)
    sub.add_argument("--workdir", required=True, help="folder of the run")
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--last", type=positive, help="how many of the newest checkpoints (default: the config's)")
    which.add_argument("--steps", type=positive, nargs="+", help="the checkpoints of these steps")
    sub.add_argument("--no-scores", action="store_true", help="do not measure before and after")


def quickstart(options: argparse.Namespace, overrides: list[str]) -> int:
    """Trains a translator on the built-in corpus and shows what it learned: data to BLEU in five minutes."""
    import time

    from wmt_transformer import checkpoint
    from wmt_transformer.data.prepare import open_text
    from wmt_transformer.decode.generate import Translator
    from wmt_transformer.evaluate.bleu import Scores
    from wmt_transformer.evaluate.runs import description, keep_report, split_scores, table
    from wmt_transformer.visualize import attention

    begin, workdir = time.monotonic(), Path(options.workdir)
    settings = experiment.override(experiment.load("quickstart"), overrides)
    outcome = training.train(settings, workdir, say)
    if outcome.signal is not None:
        return _after_training(outcome, workdir)
    checkpoint.average(workdir, checkpoint.scheduled_steps(workdir)[-settings.train.average_last :])
    say("translating the test set: sentences that training never saw")
    scores, hypotheses = split_scores(workdir, "average", "test", warn=say)
    translator = Translator.load(workdir, "average")
    text = open_text(workdir / "data")["test"]
    # To look into: a long sentence that fits a picture, and that the model translates as the reference does.
    (example, _), _ = max(
        zip(text, hypotheses, strict=True),
        key=lambda one: (one[0][1] == one[1], len(one[0][0].split()) <= 12, len(one[0][0])),
    )
    picture = workdir / "attention.png"
    with whole_bytes(picture) as out:
        save_picture(attention.picture(attention.look(translator, example)), out, "png")
    assert isinstance(scores, Scores)  # the phrasebook is no treebank
    report = {
        "config": settings.name,
        "family": settings.family,
        "bleu": scores.sacrebleu,
        "signature": scores.signature,
        "chrf": scores.chrf,
        "test_pairs": len(text),
        "train_seconds": round(outcome.seconds, 1),
        "compile_seconds": round(outcome.compiled.seconds, 1),
        "total_seconds": round(time.monotonic() - begin, 1),
        "steps": outcome.step,
        "parameters": outcome.parameters,
    }
    keep_report(workdir, {**description(workdir, "average", "test"), **scores.report()})
    with whole_file(str(workdir / "report.json")) as out:
        json.dump(report, out, indent=2)
    for (source, reference), hypothesis in list(zip(text, hypotheses, strict=True))[:3]:
        say(f"  source      {source}\n  translation {hypothesis}\n  reference   {reference}")
    say(table(scores))
    say(f"{outcome.parameters:,} parameters, {report['total_seconds']:.0f} s in all, on a synthetic corpus")
    say(f"what the decoder looked at: {picture}; the whole report: {workdir / 'report.json'}\n\nNext:")
    say(f'  wmt-transformer translate --workdir {workdir} "{example}"')
    say("  wmt-transformer train multi30k_en_de --workdir runs/multi30k_en_de")
    installed = importlib.util.find_spec("tensorboard")
    if installed and installed.origin:  # a run's folder of this name, where Python starts, has no origin
        say(f"  tensorboard --logdir {workdir / 'tensorboard'}")
    if options.json:
        print(json.dumps(report))
    return 0


def prepare(options: argparse.Namespace, overrides: list[str]) -> None:
    """Builds the vocabulary and the token arrays of a config's corpus."""
    training.prepare(_settings(options, overrides), Path(options.workdir), say)


def train(options: argparse.Namespace, overrides: list[str]) -> int:
    """Trains; prepares first when needed, and resumes when there is a run in the work folder."""
    if options.from_optimizer and options.start is None:
        raise UserError("--from-optimizer belongs to --from RUN@STEP, which names the run")
    start = parent.named(options.start, options.from_optimizer) if options.start else None
    settings = _settings(options, overrides, start)
    use_compilation_cache()  # which looks at the driver, before the other processes are called
    _start_hosts(options, settings.name)
    from wmt_transformer.train import hosts

    with hosts.failing_alone():
        outcome = training.train(settings, Path(options.workdir), say, options.profile, start=start)
    return _after_training(outcome, Path(options.workdir))


def average(options: argparse.Namespace, overrides: list[str]) -> None:
    """Averages checkpoints, and says the development score before and after."""
    from wmt_transformer.evaluate.runs import evaluate, headline

    workdir = Path(options.workdir)
    steps = training.average(workdir, options.last, options.steps or (), say)
    step = max(steps)
    say(f"wrote {workdir / 'average' / str(step)}, the mean of steps {', '.join(map(str, steps))}")
    if not options.no_scores:
        (name, before), (_, after) = (headline(evaluate(workdir, "dev", which, say=say)) for which in (step, "average"))
        say(f"dev {name} {before:.2f} (step {step}) -> {after:.2f} (average)")


def _settings(options: argparse.Namespace, overrides: list[str], start: parent.Parent | None = None) -> Config:
    """Returns the named config, or else that of the run in the work folder, with its settings changed as asked.

    Where the run has a parent, architecture and vocabulary are its.
    """
    workdir = Path(options.workdir)
    named = run_config(workdir) if options.config is None else experiment.load(options.config)
    parent.check(workdir, start)
    changed = experiment.override(parent.inherited(named, workdir, start), overrides)
    parent.check_inherited(changed, workdir, start)
    return changed


def _start_hosts(options: argparse.Namespace, run: str) -> None:
    given = [options.coordinator, options.num_processes, options.process_id]
    if not options.cluster and all(value is None for value in given):
        return
    from wmt_transformer.train import hosts

    if options.cluster:
        hosts.start_from_cluster()
    elif any(value is None for value in given):
        raise UserError("--coordinator, --num-processes and --process-id belong together")
    else:
        coordinator, count, index = given
        hosts.start(hosts.Hosts(coordinator, count, index, options.start_timeout, run))


def _after_training(outcome: Outcome, workdir: Path) -> int:
    from wmt_transformer.train import hosts

    if not hosts.is_main():
        return 0 if outcome.signal is None else 128 + outcome.signal
    made = outcome.compiled
    say(
        f"{outcome.parameters:,} parameters, step {outcome.step}, {outcome.seconds:.0f} s, {made.waited:.0f} of them "
        f"waiting for {number_of(made.programs, 'program')} to be compiled ({made.found} found in the cache)"
    )
    if outcome.signal is not None:
        say(f"stopped by a signal; a checkpoint of step {outcome.step} is saved: the same command goes on from there")
        return 128 + outcome.signal
    say(f"next: wmt-transformer average --workdir {workdir}")
    return 0
