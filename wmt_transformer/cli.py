"""The command line: one verb for each stage, and the only place where the stages meet.

Results go to standard output; everything for people (progress, tables, warnings) goes to standard error. A
user's mistake is one line and exit code 2, Ctrl-C is exit code 130, and neither shows a traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import io
import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from wmt_transformer import __version__, config
from wmt_transformer.config import Config, UserError


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and exits with its code."""
    threading.excepthook = _thread_failed
    try:
        parsed, overrides = _parse(sys.argv[1:] if arguments is None else list(arguments))
        code = parsed.run(parsed, overrides) or 0
        sys.stdout.flush()
    except UserError as error:
        say(f"wmt-transformer: {error}")
        code = 2
    except KeyboardInterrupt:
        say("wmt-transformer: interrupted")
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        if not _disk_is_full(error):
            raise
        say("wmt-transformer: the disk is full; what was saved is intact: make room and run the same command again")
        code = 2
    sys.exit(code)


def say(text: str) -> None:
    """Writes a line for people, on standard error."""
    print(text, file=sys.stderr, flush=True)


# Verbs, in the order of the street.


def prepare(options: argparse.Namespace, overrides: list[str]) -> None:
    """Builds the vocabulary and the token arrays of a config's corpus."""
    from wmt_transformer.data.prepare import prepare as build

    settings = config.override(config.load(options.config), overrides)
    config.check_same_run(Path(options.workdir), settings)
    build(settings.data, Path(options.workdir) / "data")


def train(options: argparse.Namespace, overrides: list[str]) -> int:
    """Trains; prepares first when needed, and resumes when there is a run in the work folder."""
    settings = config.override(config.load(options.config), overrides)
    outcome = _train(settings, Path(options.workdir))
    return _after_training(outcome, Path(options.workdir))


def average(options: argparse.Namespace, overrides: list[str]) -> None:
    """Averages checkpoints, and says the development BLEU before and after."""
    from wmt_transformer import checkpoint

    workdir = Path(options.workdir)
    settings = _run_config(workdir)
    saved = checkpoint.steps(workdir)
    last = options.last or settings.train.average_last
    if options.steps is None and saved and len(saved) < last:
        say(f"there are {len(saved)} checkpoints, fewer than {last}: averaging these")
    steps = saved[-last:] if options.steps is None else options.steps
    step = checkpoint.average(workdir, steps)
    say(f"wrote {workdir / 'average' / str(step)}, the mean of steps {', '.join(map(str, steps))}")
    if not options.no_scores:
        before, after = (_split_scores(workdir, which, "dev")[0].sacrebleu for which in (max(steps), "average"))
        say(f"dev BLEU {before:.2f} (step {max(steps)}) -> {after:.2f} (average)")


def translate(options: argparse.Namespace, overrides: list[str]) -> None:
    """Translates the texts given, a file, or standard input, one line out for every line in."""
    from wmt_transformer.decode.generate import Translator

    if options.text and options.input:
        raise UserError("give either TEXT or --input FILE, not both")
    _use_compilation_cache()
    translator = Translator.load(options.workdir, options.checkpoint)
    count, results = 1, []
    with _input(options.input) as stream, _whole_file(options.output) as out:
        lines = iter([list(options.text)]) if options.text else _available_lines(stream, options.input)
        for some in lines:
            found = translator.n_best(some, options.n_best, options.beam_size, options.alpha, say, count)
            for number, (text, translations) in enumerate(zip(some, found, strict=True), count):
                if options.json:
                    best = [{"text": t.text, "score": t.score} for t in translations]
                    results.append({"source": text, "translations": best})
                elif options.n_best == 1:
                    print(translations[0].text, file=out)
                else:
                    for t in translations:
                        print(f"{number}\t{t.score:.4f}\t{t.text}", file=out)
            count += len(some)
            out.flush()
        if options.json:
            print(json.dumps({"translations": results}, ensure_ascii=False), file=out)


def evaluate(options: argparse.Namespace, overrides: list[str]) -> None:
    """Scores a split translated by a run, or one file against another."""
    from wmt_transformer.evaluate import bleu

    if options.workdir:
        if options.hypotheses or options.references:
            raise UserError("give either --workdir or --hypotheses and --references, not both")
        workdir = Path(options.workdir)
        scores, hypotheses = _split_scores(workdir, options.checkpoint, options.split, options.beam_size, options.alpha)
        output = workdir / f"{options.split}.hypotheses.txt"
        with _whole_file(str(output)) as out:
            out.writelines(f"{line}\n" for line in hypotheses)
        say(f"translations are in {output}")
    elif options.hypotheses and options.references:
        lines = [bleu.read_lines(path) for path in (options.hypotheses, options.references)]
        scores = bleu.score(*lines, language=options.language)
    else:
        raise UserError("give --workdir W, or --hypotheses FILE and --references FILE")
    print(json.dumps(dataclasses.asdict(scores)) if options.json else _table(scores))


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
    scores, hypotheses = _split_scores(workdir, "average", "test")
    translator = Translator.load(workdir, "average")
    text = _prepared(workdir).test_text
    example = max((source for source, _ in text), key=lambda source: (len(source.split()) <= 12, len(source)))
    picture = workdir / "attention.png"
    attention.cross_attention_map(translator, example, picture)
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
    with _whole_file(str(workdir / "report.json")) as out:
        json.dump(report, out, indent=2)
    for (source, reference), hypothesis in list(zip(text, hypotheses, strict=True))[:3]:
        say(f"  source      {source}\n  translation {hypothesis}\n  reference   {reference}")
    say(_table(scores))
    say(f"{outcome.parameters:,} parameters, {report['total_seconds']:.0f} s in all, on a synthetic corpus")
    say(f"what the decoder looked at: {picture}; the whole report: {workdir / 'report.json'}\n\nNext:")
    say(f'  wmt-transformer translate --workdir {workdir} "{example}"')
    say("  wmt-transformer train multi30k_en_de --workdir runs/multi30k_en_de")
    say(f"  tensorboard --logdir {workdir / 'tensorboard'}")
    if options.json:
        print(json.dumps(report))
    return 0


# What the verbs share.


def _train(settings: Config, workdir: Path) -> Any:
    from wmt_transformer.train.memory import keep_freed_memory

    keep_freed_memory()
    from wmt_transformer.data.prepare import prepare as build

    _use_compilation_cache()
    config.check_same_run(workdir, settings)
    prepared = build(settings.data, workdir / "data")
    sized = dataclasses.replace(settings.model, vocabulary_size=len(prepared.vocabulary))
    settings = dataclasses.replace(settings, model=sized)
    with _whole_file(str(workdir / "config.json")) as out:
        out.write(config.to_json(settings))

    from wmt_transformer.train import loop

    return loop.train(settings, workdir, prepared, _development_bleu(settings, prepared))


def _after_training(outcome: Any, workdir: Path) -> int:
    say(
        f"{outcome.parameters:,} parameters, step {outcome.step}, {outcome.seconds:.0f} s "
        f"({outcome.compile_seconds:.0f} s of them first calls, which compile)"
    )
    if outcome.signal is not None:
        say(f"stopped by a signal; a checkpoint of step {outcome.step} is saved: the same command goes on from there")
        return 128 + outcome.signal
    say(f"next: wmt-transformer average --workdir {workdir}")
    return 0


def _development_bleu(settings: Config, prepared: Any) -> Any:
    """Returns the evaluation given to the training loop: greedy BLEU and a few translations."""
    pairs = prepared.dev_text[: settings.train.evaluate_pairs]
    if not pairs:
        return None
    from wmt_transformer.decode.generate import Translator
    from wmt_transformer.evaluate import bleu

    translator: Translator | None = None

    def measure(params: Any) -> tuple[dict[str, float], str]:
        nonlocal translator
        translator = translator or Translator(settings, params, prepared.vocabulary)
        translator.params = params
        hypotheses = translator.translate([source for source, _ in pairs], beam_size=1)
        scores = bleu.score(hypotheses, [reference for _, reference in pairs], language=settings.data.target)
        shown = zip(pairs, hypotheses, strict=True)
        lines = [f"  {source}\n  -> {now}" for (source, _), now in list(shown)[: settings.train.show_translations]]
        return {"bleu": scores.sacrebleu}, "\n".join(lines)

    return measure


def _split_scores(
    workdir: Path,
    which: str | int | None,
    split: str,
    beam_size: int | None = None,
    alpha: float | None = None,
) -> tuple[Any, list[str]]:
    from wmt_transformer.decode.generate import Translator
    from wmt_transformer.evaluate import bleu

    prepared, settings = _prepared(workdir), _run_config(workdir)
    pairs = {"dev": prepared.dev_text, "test": prepared.test_text}[split]
    if not pairs:
        raise UserError(f"the corpus of {workdir} has no {split} split")
    translator = Translator.load(workdir, which)
    hypotheses = translator.translate([source for source, _ in pairs], beam_size, alpha, warn=say)
    return bleu.score(hypotheses, [reference for _, reference in pairs], language=settings.data.target), hypotheses


def _table(scores: Any) -> str:
    return "\n".join(
        (
            f"sacreBLEU                  {scores.sacrebleu:6.2f}  {scores.signature}",
            f"chrF2                      {scores.chrf:6.2f}",
            f"tokenised lower-cased BLEU {scores.tokenized_lowercase_bleu:6.2f}  Moses tokeniser, multi-bleu",
        )
    )


def _prepared(workdir: Path) -> Any:
    from wmt_transformer.data.prepare import open_prepared

    return open_prepared(workdir / "data")


def _run_config(workdir: Path) -> Config:
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(f"{workdir} holds no run; make one with: wmt-transformer train CONFIG --workdir {workdir}")
    _use_compilation_cache()
    return config.from_json(path.read_text())


def _use_compilation_cache() -> None:
    """Keeps compiled programs between runs: a second start is spared the first one's compilation."""
    import jax

    cache = Path(os.environ.get("WMT_TRANSFORMER_CACHE", Path.home() / ".cache" / "wmt_transformer"))
    jax.config.update("jax_compilation_cache_dir", str(cache / "compiled"))


def _available_lines(stream: io.BufferedIOBase, name: str | None) -> Iterator[list[str]]:
    """Yields the lines that are there already, as they come: a pipe that waits for each answer gets it."""
    rest, number = b"", 0
    while block := stream.read1(1 << 20):
        *whole, rest = (rest + block).split(b"\n")
        if whole:
            yield _decode(whole, number, name)
            number += len(whole)
    if rest:
        yield _decode([rest], number, name)


def _decode(lines: list[bytes], before: int, name: str | None) -> list[str]:
    decoded = []
    for number, line in enumerate(lines, before + 1):
        try:
            decoded.append(line.decode("utf-8").rstrip("\r"))
        except UnicodeDecodeError:
            raise UserError(f"{name or 'standard input'}, line {number} is not UTF-8; convert it first") from None
    return decoded


@contextlib.contextmanager
def _input(path: str | None) -> Iterator[io.BufferedIOBase]:
    """Opens a file, or standard input where no path is given."""
    if path is None:
        yield cast(io.BufferedIOBase, sys.stdin.buffer)
        return
    try:
        stream = open(path, "rb")  # noqa: SIM115 - only opening may fail for a user's mistake, not what is done with it
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    with stream:
        yield stream


@contextlib.contextmanager
def _whole_file(path: str | None) -> Iterator[IO[str]]:
    """Opens a file that appears when it is complete, or standard output where no path is given."""
    if path is None:
        yield sys.stdout
        return
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as out:
            yield out
        temporary.replace(target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Says nothing of a full disk: who waits for the thread's save is told, and says it in one line."""
    if not _disk_is_full(failure.exc_value):
        threading.__excepthook__(failure)


def _disk_is_full(error: BaseException | None) -> bool:
    while error is not None:
        if getattr(error, "errno", None) in (
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EFBIG,
        ) or "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


# The grammar of the command line.


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = _Parser(
        prog="wmt-transformer",
        allow_abbrev=False,
        description='The Transformer of "Attention Is All You Need": prepare, train, average, translate, evaluate.',
    )
    parser.add_argument("--version", action="version", version=f"wmt-transformer {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)

    def verb(run: Any, **extra: Any) -> argparse.ArgumentParser:
        summary = run.__doc__.partition("\n")[0]
        sub = verbs.add_parser(run.__name__, help=summary, description=summary, allow_abbrev=False, **extra)
        sub.set_defaults(run=run)
        return sub

    names = ", ".join(config.shipped_configs())
    overrides = f"Any field can be changed: --model.dropout 0.3. Shipped configs: {names}."

    sub = verb(quickstart, epilog=overrides)
    sub.add_argument("--workdir", default="runs/quickstart", help="folder of the run (default: %(default)s)")
    sub.add_argument("--json", action="store_true", help="print the report as one JSON object")

    for run in (prepare, train):
        sub = verb(run, epilog=overrides)
        sub.add_argument("config", metavar="CONFIG", help="name of a shipped config, or path of a config file")
        sub.add_argument("--workdir", required=True, help="folder of the run")

    sub = verb(average)
    sub.add_argument("--workdir", required=True, help="folder of the run")
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--last", type=_positive, help="how many of the newest checkpoints (default: the config's)")
    which.add_argument("--steps", type=_positive, nargs="+", help="the checkpoints of these steps")
    sub.add_argument("--no-scores", action="store_true", help="do not measure BLEU before and after")

    checkpoint_help = "average, best, latest, or a step (default: the average where there is one, else the best)"
    for run in (translate, evaluate):
        sub = verb(run)
        sub.add_argument("--workdir", required=run is translate, help="folder of the run")
        sub.add_argument("--checkpoint", help=checkpoint_help)
        sub.add_argument("--beam-size", type=_positive, help="hypotheses kept per sentence (default: 4; 1 is greedy)")
        sub.add_argument("--alpha", type=float, help="exponent of the length penalty (default: 0.6)")
        sub.add_argument("--json", action="store_true", help="print one JSON object")
        if run is translate:
            sub.add_argument("text", metavar="TEXT", nargs="*", help="sentences (default: read standard input)")
            sub.add_argument("--input", metavar="FILE", help="read lines from a file")
            sub.add_argument("--output", metavar="FILE", help="write to a file, whole or not at all")
            sub.add_argument("--n-best", type=_positive, default=1, help="hypotheses a line: number, score, text")
        else:
            sub.add_argument("--split", choices=("dev", "test"), default="test", help="(default: %(default)s)")
            sub.add_argument("--hypotheses", metavar="FILE", help="score this file …")
            sub.add_argument("--references", metavar="FILE", help="… against this one")
            sub.add_argument("--language", default="en", help="of the two files, for the tokenised score (default: en)")

    parsed, rest = parser.parse_known_args(arguments)
    if rest and (parsed.run not in (quickstart, prepare, train) or not rest[0].startswith("--")):
        parser.error(f"unrecognised arguments: {' '.join(rest)}")
    return parsed, rest


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    main()
