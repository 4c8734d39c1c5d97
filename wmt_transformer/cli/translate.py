"""Verbs that use a run: translate, score, evaluate."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

from wmt_transformer.cli.files import available_lines, open_input, say, whole_file
from wmt_transformer.cli.parser import AddVerb, positive
from wmt_transformer.cli.runs import (
    TreeScores,
    description,
    is_language_model,
    run_config,
    split_scores,
    start_jax,
    table,
    text_scores,
)
from wmt_transformer.config import ComputeDtype, UserError


def add(verb: AddVerb) -> None:
    """Adds the verbs to the command line."""
    checkpoint_help = "average, best, latest, or a step (default: the average where there is one, else the best)"
    several = "; give it more than once for an ensemble"
    for run in (translate, evaluate):
        sub = verb(run)
        action, more = ("append", several) if run is translate else ("store", "")
        sub.add_argument("--workdir", required=run is translate, action=action, help=f"folder of the run{more}")
        sub.add_argument("--checkpoint", action=action, help=checkpoint_help + more)
        sub.add_argument("--beam-size", type=positive, help="hypotheses kept per sentence (default: 4; 1 is greedy)")
        sub.add_argument("--alpha", type=float, help="exponent of the length penalty (default: 0.6)")
        sub.add_argument(
            "--compute-dtype",
            choices=get_args(ComputeDtype),
            help="of matrix products (default: the run's own; bfloat16 is faster on a CPU that multiplies it)",
        )
        sub.add_argument("--json", action="store_true", help="print one JSON object")
        if run is translate:
            sub.add_argument("text", metavar="TEXT", nargs="*", help="sentences (default: read standard input)")
            sub.add_argument("--input", metavar="FILE", help="read lines from a file")
            sub.add_argument("--output", metavar="FILE", help="write to a file, whole or not at all")
            sub.add_argument("--n-best", type=positive, default=1, help="hypotheses a line: number, score, text")
            sub.add_argument("--beta", type=float, help="factor of the coverage penalty of Wu et al. 2016 (default: 0)")
            sub.add_argument("--min-length", metavar="N", type=int, help="fewest pieces of an output (default: 0)")
            sub.add_argument(
                "--max-length", metavar="N", type=int, help="most pieces of an output, beside extra_length"
            )
            sub.add_argument("--prefix", metavar="FILE", help="what each output begins with, a line a sentence")
            sub.add_argument("--alignments", action="store_true", help="add ||| and source-output pairs of words")
            sub.add_argument("--sample", action="store_true", help="draw the output at random instead of searching")
            sub.add_argument("--temperature", metavar="T", type=float, help="of sampling: below 1 surer, above 1 less")
            sub.add_argument("--top-k", metavar="K", type=int, help="sample from the K most probable pieces")
            sub.add_argument("--top-p", metavar="P", type=float, help="sample from the likeliest pieces of total P")
            sub.add_argument("--seed", metavar="N", type=int, help="of sampling (default: 1)")
        else:
            sub.add_argument("--split", choices=("dev", "test"), default="test", help="(default: %(default)s)")
            sub.add_argument(
                "--stride", metavar="N", type=positive, help="language model: tokens between two windows that are read"
            )
            sub.add_argument("--hypotheses", metavar="FILE", help="score this file …")
            sub.add_argument("--references", metavar="FILE", help="… against this one")
            sub.add_argument("--language", default="en", help="of the two files, for the tokenised score (default: en)")
            sub.add_argument("--compound-split", action="store_true", help="insist on that score: German only")
            sub.add_argument("--constrained", action="store_true", help="parsing: let it write nothing but trees")

    sub = verb(score)
    sub.add_argument("--workdir", required=True, action="append", help="folder of the run" + several)
    sub.add_argument("--checkpoint", action="append", help=checkpoint_help + several)
    sub.add_argument("--source", metavar="FILE", required=True, help="what was translated, a sentence a line")
    sub.add_argument("--target", metavar="FILE", required=True, help="the translations, in the same order")
    sub.add_argument("--json", action="store_true", help="print one JSON object")


def translate(options: argparse.Namespace, overrides: list[str]) -> None:
    """Translates the texts given, a file, or standard input, one line out for every line in."""
    from wmt_transformer.decode.alignment import pharaoh
    from wmt_transformer.decode.generate import Translator
    from wmt_transformer.evaluate import bleu

    if options.text and options.input:
        raise UserError("give either TEXT or --input FILE, not both")
    sampler, seed = _sampler(options), 1 if options.seed is None else options.seed
    prefixes = None if options.prefix is None else bleu.read_lines(options.prefix)
    start_jax()
    translator = Translator.load(options.workdir, options.checkpoint, options.compute_dtype)
    count, results = 1, []
    with open_input(options.input) as stream, whole_file(options.output) as out:
        lines = iter([list(options.text)]) if options.text else available_lines(stream, options.input)
        for some in lines:
            end = count + len(some)
            if prefixes is not None and len(prefixes) < end - 1:
                raise UserError(
                    f"{options.prefix} has {len(prefixes)} lines and there are more sentences; an empty "
                    "line forces nothing"
                )
            found = translator.n_best(
                some,
                options.n_best,
                options.beam_size,
                options.alpha,
                say,
                count,
                beta=options.beta,
                min_length=options.min_length,
                max_length=options.max_length,
                prefixes=None if prefixes is None else prefixes[count - 1 : end - 1],
                sampler=sampler,
                seed=seed,
                alignments=options.alignments,
            )
            for number, (text, translations) in enumerate(zip(some, found, strict=True), count):
                if options.json:
                    results.append(
                        {"source": text, "translations": [_as_json(t, options.alignments) for t in translations]}
                    )
                for t in [] if options.json else translations:
                    columns = [str(number), f"{t.score:.4f}"] if options.n_best > 1 else []
                    links = [pharaoh(t.alignment or ())] if options.alignments else []
                    print(*columns, " ||| ".join([t.text, *links]), sep="\t", file=out)
            count = end
            out.flush()
        if prefixes is not None and len(prefixes) != count - 1:
            raise UserError(f"{options.prefix} has {len(prefixes)} lines and there are {count - 1} sentences")
        if options.json:
            print(json.dumps({"translations": results}, ensure_ascii=False), file=out)


def _sampler(options: argparse.Namespace) -> Any:
    """Returns what `--sample` asks for, None without it."""
    from wmt_transformer.decode import sampling

    kinds = {"temperature": sampling.Temperature, "top_k": sampling.TopK, "top_p": sampling.TopP}
    given = {name: value for name in (*kinds, "seed") if (value := getattr(options, name)) is not None}
    if given and not options.sample:
        raise UserError(f"--{next(iter(given)).replace('_', '-')} is of sampling; add --sample, or leave it out")
    return (
        sampling.Sample(tuple(kinds[name](given[name]) for name in kinds if name in given)) if options.sample else None
    )


def _as_json(translation: Any, alignments: bool) -> dict[str, Any]:
    from wmt_transformer.decode.alignment import pharaoh

    found = {"text": translation.text, "score": translation.score}
    if not alignments:
        return found
    attention = [
        {**vars(one), "weights": [[round(float(weight), 6) for weight in row] for row in one.weights]}
        for one in translation.attention
    ]
    return {**found, "alignment": pharaoh(translation.alignment or ()), "attention": attention}


def score(options: argparse.Namespace, overrides: list[str]) -> None:
    """Says how probable given translations are: natural log-probability and tokens, a line for every pair."""
    from wmt_transformer.decode.generate import Translator
    from wmt_transformer.evaluate import bleu

    sources, targets = bleu.read_lines(options.source), bleu.read_lines(options.target)
    if len(sources) != len(targets):
        raise UserError(
            f"{options.source} has {len(sources)} lines and {options.target} {len(targets)}; "
            "line k of the one must translate line k of the other"
        )
    start_jax()
    translator = Translator.load(options.workdir, options.checkpoint)
    scores = []
    for start in range(0, len(sources), 4096):
        some = slice(start, start + 4096)
        scores += translator.score(sources[some], targets[some], start + 1)
        if not options.json:
            for one in scores[some]:
                print(f"{one.log_probability:.4f}\t{one.tokens}")
    if options.json:
        total = {"log_probability": sum(one.log_probability for one in scores), "tokens": sum(s.tokens for s in scores)}
        print(json.dumps({**total, "scores": [dataclasses.asdict(one) for one in scores]}))


def evaluate(options: argparse.Namespace, overrides: list[str]) -> None:
    """Scores a split translated, parsed or told by a run, or one file of translations against another."""
    from wmt_transformer.evaluate import bleu

    about: dict[str, Any] = {}
    if options.workdir and is_language_model(run_config(Path(options.workdir))):
        _evaluate_text(options)
        return
    if options.stride:
        raise UserError("--stride is of a language model's run; leave it out")
    if options.workdir:
        if options.hypotheses or options.references:
            raise UserError("give either --workdir or --hypotheses and --references, not both")
        workdir = Path(options.workdir)
        about = description(
            workdir, options.checkpoint, options.split, options.beam_size, options.alpha, options.compute_dtype
        )
        if options.compound_split:
            bleu.check_compound_split(about["target"])
        scores, hypotheses = split_scores(
            workdir,
            options.checkpoint,
            options.split,
            options.beam_size,
            options.alpha,
            options.constrained,
            options.compute_dtype,
        )
        output = workdir / f"{options.split}.{'trees' if isinstance(scores, TreeScores) else 'hypotheses.txt'}"
        with whole_file(str(output)) as out:
            out.writelines(f"{line}\n" for line in hypotheses)
        say(f"{'trees' if isinstance(scores, TreeScores) else 'translations'} are in {output}")
        say("{config}, family {family}: {split}, {checkpoint} at step {step}".format(**about))
    elif options.hypotheses and options.references:
        if options.compound_split:
            bleu.check_compound_split(options.language)
        lines = [bleu.read_lines(path) for path in (options.hypotheses, options.references)]
        scores = bleu.score(*lines, language=options.language)
        if bleu.looks_tokenized(lines[0]):
            say(f"{options.hypotheses} looks tokenised: detokenise it first, or all but sacreBLEU come out too low")
    else:
        raise UserError("give --workdir W, or --hypotheses FILE and --references FILE")
    print(json.dumps({**about, **scores.report()}) if options.json else table(scores))


def _evaluate_text(options: argparse.Namespace) -> None:
    for name in ("beam_size", "alpha", "compute_dtype", "hypotheses", "references", "compound_split"):
        if getattr(options, name):
            raise UserError(f"{options.workdir} is a language model's run: leave --{name.replace('_', '-')} out")
    scores = text_scores(Path(options.workdir), options.checkpoint, options.split, options.stride)
    if options.json:
        print(json.dumps({"split": options.split, **scores.report()}))
        return
    print(f"perplexity a token  {scores.per_token:10.3f}  {scores.tokens:,} tokens, ends of documents included")
    print(f"perplexity a word   {scores.per_word:10.2f}  {scores.words:,} words between white space")
    print(f"bits per byte       {scores.bits_per_byte:10.4f}  {scores.bytes:,} bytes of UTF-8")
