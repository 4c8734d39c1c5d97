"""Verbs that score: evaluate (a run or files of translations), and evaluate-parses (a file of trees)."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wmt_transformer.cli.parser import CHECKPOINT, AddVerb, positive
from wmt_transformer.cli.streams import say
from wmt_transformer.cli.translate import add_search
from wmt_transformer.config import UserError
from wmt_transformer.experiment import is_language_model, run_config
from wmt_transformer.files import may_write, whole_file
from wmt_transformer.messages import number_of
from wmt_transformer.reading import read_lines

if TYPE_CHECKING:  # it brings JAX, which `--help` should not wait for
    from wmt_transformer.evaluate.runs import Decoding

COMET = "Unbabel/wmt22-comet-da"
"""The model that WMT's evaluations report."""
SHORT = 40
"""Words of a short sentence, whose parses are scored apart: the limit that EVALB and most papers use."""


def add(verb: AddVerb) -> None:
    """Adds the verbs to the command line."""
    sub = verb(evaluate)
    run = sub.add_argument_group("a run")
    run.add_argument("--workdir", help="folder of the run")
    run.add_argument("--checkpoint", help=CHECKPOINT)
    run.add_argument("--split", choices=("dev", "test"), help="(default: test where the corpus has it, else dev)")
    add_search(run)
    run.add_argument("--constrained", action="store_true", help="parsing: let the model write nothing but trees")
    run.add_argument("--stride", metavar="N", type=positive, help="language model: tokens from one window to the next")
    files = sub.add_argument_group("files")
    files.add_argument("--hypotheses", metavar="FILE", nargs="+", help="score this file; several are compared …")
    files.add_argument("--references", metavar="FILE", help="… against this one")
    files.add_argument("--sources", metavar="FILE", help="with --comet: what was translated")
    files.add_argument("--language", default="en", help="of both, by which they are tokenised (default: en)")
    sub.add_argument("--compound-split", action="store_true", help="insist on that score: German only")
    sub.add_argument(
        "--comet",
        metavar="MODEL",
        nargs="?",
        const=COMET,
        help=f"COMET too, where its package is installed (default: {COMET}; or the path of a checkpoint)",
    )
    sub.add_argument("--json", action="store_true", help="print one JSON object")

    sub = verb(evaluate_parses)
    sub.add_argument("--gold", metavar="FILE", required=True, help="the right trees")
    sub.add_argument("--predicted", metavar="FILE", required=True, help="their parses; a blank line is none")
    sub.add_argument(
        "--max-length",
        metavar="N",
        type=positive,
        help=f"also score the sentences of at most N words (default: {SHORT}); with --json, the keys are theirs alone",
    )
    sub.add_argument("--sentences", action="store_true", help="print a line for each sentence first")
    sub.add_argument("--json", action="store_true", help="print one JSON object")


def evaluate(options: argparse.Namespace, overrides: list[str]) -> None:
    """Scores a split translated, parsed or predicted by a run, or files of translations, which are then compared."""
    files = options.hypotheses, options.references
    if options.sources and not (options.comet and options.hypotheses):
        raise UserError("--sources is for --comet with --hypotheses; leave it out")
    if options.workdir and any(files):
        raise UserError("give either --workdir or --hypotheses and --references, not both")
    if options.workdir and is_language_model(run_config(Path(options.workdir))):
        _evaluate_text(options)
        return
    if options.stride:
        raise UserError("--stride is for a language model's run; leave it out")
    if options.workdir:
        _evaluate_run(options)
    elif all(files):
        _evaluate_files(options)
    else:
        raise UserError("give --workdir W, or --hypotheses FILE and --references FILE")


def _evaluate_run(options: argparse.Namespace) -> None:
    from wmt_transformer.evaluate import bleu, comet
    from wmt_transformer.evaluate.runs import (
        TreeScores,
        description,
        keep_report,
        pairs_of,
        papers_scores,
        split_of,
        split_scores,
        table,
    )

    workdir = Path(options.workdir)
    split, decoding = split_of(workdir, options.split), _decoding(options)
    about = description(workdir, options.checkpoint, split, decoding)
    if options.compound_split:
        bleu.check_compound_split(about["target"])
    if options.comet and about["target"] == "tree":
        raise UserError(f"--comet is for translations, and {workdir} parses; leave it out")
    judge = comet.Judge.load(options.comet) if options.comet else None
    scores, lines = split_scores(workdir, options.checkpoint, split, decoding, say)
    if judge and not isinstance(scores, TreeScores):
        sources, references = zip(*pairs_of(workdir, split), strict=True)
        scores = judge.added(scores, sources, lines, references)
    say("{config}, family {family}: {split}, {checkpoint} at step {step}".format(**about))
    paper = papers_scores(run_config(workdir), split)
    report = {**about, **scores.report()}
    print(json.dumps(report) if options.json else table(scores, paper), flush=True)
    # After the scores, which a full disk must not cost.
    kind, suffix = ("trees", "trees") if isinstance(scores, TreeScores) else ("translations", "hypotheses.txt")
    output = workdir / f"{split}.{suffix}"
    if may_write(output):
        with whole_file(output) as out:
            out.writelines(f"{line}\n" for line in lines)
        keep_report(workdir, report)
        say(f"{kind} are in {output}")
    else:
        say(f"{workdir} may not be written: {kind} are not kept")


def _decoding(options: argparse.Namespace) -> Decoding:
    from wmt_transformer.evaluate.runs import Decoding

    return Decoding(options.beam_size, options.alpha, options.constrained, options.compute_dtype)


def _evaluate_files(options: argparse.Namespace) -> None:
    from wmt_transformer.evaluate import bleu, comet
    from wmt_transformer.evaluate.runs import table

    if options.comet and (options.sources is None or len(options.hypotheses) > 1):
        raise UserError("--comet reads sources, and scores one file: give --sources FILE and one FILE of --hypotheses")

    if options.compound_split:
        bleu.check_compound_split(options.language)
    systems = [(path, list(read_lines(path))) for path in options.hypotheses]
    references = list(read_lines(options.references))
    for path, hypotheses in systems:
        if bleu.looks_tokenized(hypotheses):
            say(f"{path} looks tokenised: detokenise it first, or all scores but sacreBLEU will be too low")
    if len(systems) > 1:
        _compare(systems, references, options)
        return
    scores = bleu.score(systems[0][1], references, language=options.language)
    if options.comet:
        judge = comet.Judge.load(options.comet)
        scores = judge.added(scores, list(read_lines(options.sources)), systems[0][1], references)
    print(json.dumps(scores.report()) if options.json else table(scores))


def _compare(systems: list[tuple[str, list[str]]], references: list[str], options: argparse.Namespace) -> None:
    from wmt_transformer.evaluate import comparison

    if options.compound_split:
        raise UserError("--compound-split is of one file; several are compared by sacreBLEU's own scores, leave it out")
    found = comparison.compare(systems, references, options.language)
    print(json.dumps(dataclasses.asdict(found)) if options.json else comparison.table(found))


def _evaluate_text(options: argparse.Namespace) -> None:
    from wmt_transformer.evaluate.runs import split_of, text_scores

    for name in ("beam_size", "alpha", "compute_dtype", "compound_split", "constrained", "comet"):
        value = getattr(options, name)
        if value is not None and value is not False:  # 0 equals False, and was given
            raise UserError(f"{options.workdir} is a language model's run: leave --{name.replace('_', '-')} out")
    workdir = Path(options.workdir)
    split = split_of(workdir, options.split)
    scores = text_scores(workdir, options.checkpoint, split, options.stride, say)
    if options.json:
        print(json.dumps({"split": split, **scores.report()}))
        return
    say(f"the {split} split of {workdir}")
    print(f"perplexity per token  {scores.per_token:10.3f}  {scores.tokens:,} tokens, ends of documents included")
    print(f"perplexity per word   {scores.per_word:10.2f}  {scores.words:,} words between white space")
    print(f"bits per byte         {scores.bits_per_byte:10.4f}  {scores.bytes:,} bytes of UTF-8")


def evaluate_parses(options: argparse.Namespace, overrides: list[str]) -> None:
    """Scores parse trees as EVALB does with COLLINS.prm: recall, precision, F1, exact match, crossing, tagging."""
    from wmt_transformer.evaluate import parsing

    pairs = parsing.read_pairs(options.gold, options.predicted)
    sentences = [parsing.compare(gold, predicted) for gold, predicted in pairs]
    errors = [number for number, one in enumerate(sentences, 1) if one.status == parsing.ERROR]
    if errors:
        say(
            f"{number_of(len(errors), 'sentence')} not scored, the first is number {errors[0]}: by the tags, the "
            "predicted tree has other words that are punctuation than the gold tree"
        )
    short = options.max_length or SHORT
    if options.json:
        parts: list[dict[str, Any]] = [
            {"max_length": limit, **dataclasses.asdict(parsing.total(sentences, limit))} for limit in (None, short)
        ]
        print(json.dumps({**parts[options.max_length is not None], "lengths": parts}))
        return
    if options.sentences:
        print(parsing.table(sentences))
    print(parsing.summary(sentences, short))
