"""Verbs that make a run: quickstart, prepare, train, average."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

from wmt_transformer import config
from wmt_transformer.cli.files import save_picture, say, whole_file
from wmt_transformer.cli.parser import AddVerb, positive
from wmt_transformer.cli.runs import (
    headline,
    is_language_model,
    prepare_data,
    prepared_data,
    run_config,
    scored,
    split_scores,
    table,
    text_scores,
    use_compilation_cache,
)
from wmt_transformer.config import Config, UserError


def add(verb: AddVerb) -> None:
    """Adds the verbs to the command line."""
    names = ", ".join(config.shipped_configs())
    overrides = f"Any field can be changed: --model.dropout 0.3. Shipped configs: {names}."

    sub = verb(quickstart, epilog=overrides, overridable=True)
    sub.add_argument("--workdir", default="runs/quickstart", help="folder of the run (default: %(default)s)")
    sub.add_argument("--json", action="store_true", help="print the report as one JSON object")

    for run in (prepare, train):
        sub = verb(run, epilog=overrides, overridable=True)
        sub.add_argument("config", metavar="CONFIG", help="name of a shipped config, or path of a config file")
        sub.add_argument("--workdir", required=True, help="folder of the run")
        if run is train:
            sub.add_argument(
                "--profile", action="store_true", help="trace a few steps for TensorBoard's profile page and Perfetto"
            )
            hosts = sub.add_argument_group("several processes", "one run on several hosts or devices groups")
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
    from wmt_transformer.decode.generate import Translator
    from wmt_transformer.visualize import attention

    begin, workdir = time.monotonic(), Path(options.workdir)
    settings = config.override(config.load("quickstart"), overrides)
    outcome = _train(settings, workdir)
    if outcome.signal is not None:
        return _after_training(outcome, workdir)
    checkpoint.average(workdir, checkpoint.steps(workdir)[-settings.train.average_last :])
    say("translating the test set: sentences that training never saw")
    scores, hypotheses = split_scores(workdir, "average", "test")
    translator = Translator.load(workdir, "average")
    text = prepared_data(workdir).test_text
    example = max((source for source, _ in text), key=lambda source: (len(source.split()) <= 12, len(source)))
    picture = workdir / "attention.png"
    save_picture(attention.picture(attention.look(translator, example)), str(picture))
    report = {
        "config": settings.name,
        "family": settings.family,
        "bleu": scores.sacrebleu,
        "signature": scores.signature,
        "chrf": scores.chrf,
        "test_pairs": len(text),
        "train_seconds": round(outcome.seconds, 1),
        "compile_seconds": round(outcome.compile_seconds, 1),
        "total_seconds": round(time.monotonic() - begin, 1),
        "steps": outcome.step,
        "parameters": outcome.parameters,
    }
    with whole_file(str(workdir / "report.json")) as out:
        json.dump(report, out, indent=2)
    for (source, reference), hypothesis in list(zip(text, hypotheses, strict=True))[:3]:
        say(f"  source      {source}\n  translation {hypothesis}\n  reference   {reference}")
    say(table(scores))
    say(f"{outcome.parameters:,} parameters, {report['total_seconds']:.0f} s in all, on a synthetic corpus")
    say(f"what the decoder looked at: {picture}; the whole report: {workdir / 'report.json'}\n\nNext:")
    say(f'  wmt-transformer translate --workdir {workdir} "{example}"')
    say("  wmt-transformer train multi30k_en_de --workdir runs/multi30k_en_de")
    say(f"  tensorboard --logdir {workdir / 'tensorboard'}")
    if options.json:
        print(json.dumps(report))
    return 0


def prepare(options: argparse.Namespace, overrides: list[str]) -> None:
    """Builds the vocabulary and the token arrays of a config's corpus."""
    settings = config.override(config.load(options.config), overrides)
    config.check_same_run(Path(options.workdir), settings)
    prepare_data(settings, Path(options.workdir))


def train(options: argparse.Namespace, overrides: list[str]) -> int:
    """Trains; prepares first when needed, and resumes when there is a run in the work folder."""
    settings = config.override(config.load(options.config), overrides)
    _start_hosts(options)
    from wmt_transformer.train import hosts

    with hosts.failing_alone():
        outcome = _train(settings, Path(options.workdir), options.profile)
    return _after_training(outcome, Path(options.workdir))


def average(options: argparse.Namespace, overrides: list[str]) -> None:
    """Averages checkpoints, and says the development score before and after."""
    from wmt_transformer import checkpoint

    workdir = Path(options.workdir)
    settings = run_config(workdir)
    saved = checkpoint.steps(workdir)
    last = options.last or settings.train.average_last
    if options.steps is None and saved and len(saved) < last:
        say(f"there are {len(saved)} checkpoints, fewer than {last}: averaging these")
    steps = saved[-last:] if options.steps is None else options.steps
    step = checkpoint.average(workdir, steps)
    say(f"wrote {workdir / 'average' / str(step)}, the mean of steps {', '.join(map(str, steps))}")
    if not options.no_scores:
        both = (
            text_scores(workdir, which, "dev")
            if is_language_model(settings)
            else split_scores(workdir, which, "dev")[0]
            for which in (max(steps), "average")
        )
        (name, before), (_, after) = map(headline, both)
        say(f"dev {name} {before:.2f} (step {max(steps)}) -> {after:.2f} (average)")


def _start_hosts(options: argparse.Namespace) -> None:
    given = [options.coordinator, options.num_processes, options.process_id]
    if options.cluster or any(value is not None for value in given):
        from wmt_transformer.train import hosts

        if options.cluster:
            hosts.start_from_cluster()
        elif any(value is None for value in given):
            raise UserError("--coordinator, --num-processes and --process-id belong together")
        else:
            hosts.start(
                hosts.Hosts(options.coordinator, options.num_processes, options.process_id, options.start_timeout)
            )


def _train(settings: Config, workdir: Path, profile: bool = False) -> Any:
    from wmt_transformer.train.memory import keep_freed_memory

    keep_freed_memory()
    from wmt_transformer.data.prepare import fingerprint
    from wmt_transformer.model.attention import check_attention
    from wmt_transformer.train import hosts
    from wmt_transformer.train.alone import alone

    use_compilation_cache()
    check_attention(settings.model)
    with contextlib.ExitStack() as held:
        with hosts.main_first():
            if hosts.is_main():
                held.enter_context(alone(workdir))
            config.check_same_run(workdir, settings)
            prepared = prepare_data(settings, workdir, say if hosts.is_main() else lambda _: None)
        hosts.check_same("the prepared data", fingerprint(prepared))
        sized = dataclasses.replace(settings.model, vocabulary_size=len(prepared.vocabulary))
        settings = dataclasses.replace(settings, model=sized)
        if hosts.is_main():
            with whole_file(str(workdir / "config.json")) as out:
                out.write(config.to_json(settings))

        from wmt_transformer.train import loop

        evaluate = (_development_text if is_language_model(settings) else _development_score)(settings, prepared)
        return loop.train(settings, workdir, prepared, evaluate, profile)


def _after_training(outcome: Any, workdir: Path) -> int:
    from wmt_transformer.train import hosts

    if not hosts.is_main():
        return 0 if outcome.signal is None else 128 + outcome.signal
    say(
        f"{outcome.parameters:,} parameters, step {outcome.step}, {outcome.seconds:.0f} s "
        f"({outcome.compile_seconds:.0f} s of them first calls, which compile)"
    )
    if outcome.signal is not None:
        say(f"stopped by a signal; a checkpoint of step {outcome.step} is saved: the same command goes on from there")
        return 128 + outcome.signal
    say(f"next: wmt-transformer average --workdir {workdir}")
    return 0


def _development_score(settings: Config, prepared: Any) -> Any:
    """Returns the evaluation given to the training loop: BLEU or F1 of greedy output, and some of it."""
    pairs = prepared.dev_text[: settings.train.evaluate_pairs]
    if not pairs:
        return None
    from wmt_transformer.decode.generate import Translator

    translator: Translator | None = None

    def measure(params: Any) -> tuple[dict[str, float], str]:
        nonlocal translator
        translator = translator or Translator(settings, params, prepared.vocabulary)
        translator.params = params
        scores, hypotheses = scored(translator, pairs, settings, beam_size=1)
        name, value = headline(scores)
        shown = zip(pairs, hypotheses, strict=True)
        lines = [f"  {source}\n  -> {now}" for (source, _), now in list(shown)[: settings.train.show_translations]]
        return {name.lower(): value}, "\n".join(lines)

    return measure


def _development_text(settings: Config, prepared: Any) -> Any:
    """Returns the evaluation of a language model: what it writes behind the beginning of the development text."""
    if not settings.train.show_translations:
        return None
    from wmt_transformer.decode.completion import LanguageModel

    prompt = prepared.dev_text[0][:40]
    model: LanguageModel | None = None

    def show(params: Any) -> tuple[dict[str, float], str]:
        nonlocal model
        model = model or LanguageModel(settings, params, prepared.vocabulary)
        model.params = params
        text = model.generate_text(prompt, num_tokens=60, temperature=0.8, keep_last=True)
        return {}, f"  {prompt}|{text}".replace("\n", "\n  ")

    return show
