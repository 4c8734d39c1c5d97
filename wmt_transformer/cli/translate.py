"""Verbs that use a run: translate, evaluate."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from wmt_transformer.cli.files import available_lines, open_input, say, whole_file
from wmt_transformer.cli.parser import AddVerb, positive
from wmt_transformer.cli.runs import split_scores, table, use_compilation_cache
from wmt_transformer.config import UserError


def add(verb: AddVerb) -> None:
    """Adds the verbs to the command line."""
    checkpoint_help = "average, best, latest, or a step (default: the average where there is one, else the best)"
    for run in (translate, evaluate):
        sub = verb(run)
        sub.add_argument("--workdir", required=run is translate, help="folder of the run")
        sub.add_argument("--checkpoint", help=checkpoint_help)
        sub.add_argument("--beam-size", type=positive, help="hypotheses kept per sentence (default: 4; 1 is greedy)")
        sub.add_argument("--alpha", type=float, help="exponent of the length penalty (default: 0.6)")
        sub.add_argument("--json", action="store_true", help="print one JSON object")
        if run is translate:
            sub.add_argument("text", metavar="TEXT", nargs="*", help="sentences (default: read standard input)")
            sub.add_argument("--input", metavar="FILE", help="read lines from a file")
            sub.add_argument("--output", metavar="FILE", help="write to a file, whole or not at all")
            sub.add_argument("--n-best", type=positive, default=1, help="hypotheses a line: number, score, text")
        else:
            sub.add_argument("--split", choices=("dev", "test"), default="test", help="(default: %(default)s)")
            sub.add_argument("--hypotheses", metavar="FILE", help="score this file …")
            sub.add_argument("--references", metavar="FILE", help="… against this one")
            sub.add_argument("--language", default="en", help="of the two files, for the tokenised score (default: en)")


def translate(options: argparse.Namespace, overrides: list[str]) -> None:
    """Translates the texts given, a file, or standard input, one line out for every line in."""
    from wmt_transformer.decode.generate import Translator

    if options.text and options.input:
        raise UserError("give either TEXT or --input FILE, not both")
    use_compilation_cache()
    translator = Translator.load(options.workdir, options.checkpoint)
    count, results = 1, []
    with open_input(options.input) as stream, whole_file(options.output) as out:
        lines = iter([list(options.text)]) if options.text else available_lines(stream, options.input)
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
        scores, hypotheses = split_scores(workdir, options.checkpoint, options.split, options.beam_size, options.alpha)
        output = workdir / f"{options.split}.hypotheses.txt"
        with whole_file(str(output)) as out:
            out.writelines(f"{line}\n" for line in hypotheses)
        say(f"translations are in {output}")
    elif options.hypotheses and options.references:
        lines = [bleu.read_lines(path) for path in (options.hypotheses, options.references)]
        scores = bleu.score(*lines, language=options.language)
    else:
        raise UserError("give --workdir W, or --hypotheses FILE and --references FILE")
    print(json.dumps(dataclasses.asdict(scores)) if options.json else table(scores))
