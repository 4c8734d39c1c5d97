"""Verbs for translations: translate, and score, which says how probable given ones are."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, get_args

from wmt_transformer.cli.parser import CHECKPOINT, AddVerb, positive
from wmt_transformer.cli.streams import open_input, say
from wmt_transformer.config import DecodeDtype, UserError
from wmt_transformer.files import whole_file
from wmt_transformer.messages import number_of
from wmt_transformer.reading import available_lines, read_lines

if TYPE_CHECKING:  # they bring JAX, which `--help` should not wait for
    from wmt_transformer.decode.lines import Translation
    from wmt_transformer.decode.sampling import Sample

SEVERAL = "; give it more than once for an ensemble"
SCORED_AT_ONCE = 4096
"""Pairs that `score` reads before it prints."""


def add(verb: AddVerb) -> None:
    """Adds the verbs to the command line."""
    sub = verb(translate)
    sub.add_argument("text", metavar="TEXT", nargs="*", help="sentences (default: read standard input)")
    sub.add_argument("--workdir", required=True, action="append", help=f"folder of the run{SEVERAL}")
    sub.add_argument("--checkpoint", action="append", help=CHECKPOINT + SEVERAL)
    sub.add_argument("--input", metavar="FILE", help="read lines from a file")
    sub.add_argument("--output", metavar="FILE", help="write to a file, whole or not at all")
    sub.add_argument("--json", action="store_true", help="print one JSON object")
    add_search(sub)
    sub.add_argument(
        "--n-best", type=positive, default=1, help="hypotheses or samples of each line: number, score, text"
    )
    sub.add_argument("--beta", type=float, help="factor of the coverage penalty of Wu et al. 2016 (default: 0)")
    sub.add_argument("--min-length", metavar="N", type=int, help="fewest pieces of an output (default: 0)")
    sub.add_argument("--max-length", metavar="N", type=int, help="most pieces of an output; extra_length holds too")
    sub.add_argument("--prefix", metavar="FILE", help="what each output begins with, one line for each sentence")
    sub.add_argument(
        "--glossary",
        metavar="FILE",
        help="terms that must be translated so: in each line a term, a tab, its translation",
    )
    sub.add_argument("--alignments", action="store_true", help="add ||| and source-output pairs of words")
    sampling = sub.add_argument_group("sampling")
    sampling.add_argument("--sample", action="store_true", help="draw the output at random instead of searching")
    sampling.add_argument("--temperature", metavar="T", type=float, help="below 1 more certain, above 1 less")
    sampling.add_argument("--top-k", metavar="K", type=int, help="sample from the K most probable pieces")
    sampling.add_argument("--top-p", metavar="P", type=float, help="sample from the likeliest pieces of total P")
    sampling.add_argument("--seed", metavar="N", type=int, help="(default: 1)")

    sub = verb(score)
    sub.add_argument("--workdir", required=True, action="append", help=f"folder of the run{SEVERAL}")
    sub.add_argument("--checkpoint", action="append", help=CHECKPOINT + SEVERAL)
    sub.add_argument("--source", metavar="FILE", required=True, help="what was translated, one sentence a line")
    sub.add_argument("--target", metavar="FILE", required=True, help="the translations, in the same order")
    sub.add_argument("--json", action="store_true", help="print one JSON object")


def add_search(sub: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Adds the options that change how a run's sentences are decoded."""
    sub.add_argument("--beam-size", type=positive, help="hypotheses kept for each sentence (default: 4; 1 is greedy)")
    sub.add_argument("--alpha", type=float, help="exponent of the length penalty (default: 0.6)")
    sub.add_argument(
        "--compute-dtype",
        choices=get_args(DecodeDtype),
        help="of matrix products (default: the run's own). On a CPU: bfloat16 is faster where it multiplies that; int8 "
        "keeps the weights in a quarter of the memory, and with VNNI is fastest for one sentence at a time",
    )


def translate(options: argparse.Namespace, overrides: list[str]) -> None:
    """Translates the texts given, a file, or standard input: one line out for every line in."""
    from wmt_transformer.decode import glossary
    from wmt_transformer.decode.generate import Translator

    if options.text and options.input:
        raise UserError("give either TEXT or --input FILE, not both")
    search = {name: getattr(options, name) for name in ("beam_size", "alpha", "beta", "min_length", "max_length")}
    search |= {"sampler": _sampler(options), "seed": 1 if options.seed is None else options.seed}
    search["glossary"] = None if options.glossary is None else glossary.read(options.glossary).terms
    prefixes = None if options.prefix is None else list(read_lines(options.prefix))
    translator = Translator.load(options.workdir, options.checkpoint, options.compute_dtype, say)
    with open_input(options.input) as (stream, name), whole_file(options.output) as out:
        results: list[dict[str, Any]] = []
        blocks = ["\n".join(options.text).split("\n")] if options.text else available_lines(stream, name)
        for first, lines, some in _with_prefixes(blocks, prefixes, options.prefix):
            found = translator.n_best(
                lines,
                options.n_best,
                warn=say,
                first_line=first,
                prefixes=some,
                alignments=options.alignments,
                **search,
            )
            if options.json:
                results += [_as_json(*pair, options.alignments) for pair in zip(lines, found, strict=True)]
            else:
                out.writelines(f"{line}\n" for line in _as_text(found, first, options))
                out.flush()
        if options.json:
            print(json.dumps({"translations": results}, ensure_ascii=False), file=out)


def _with_prefixes(
    blocks: Iterable[list[str]], prefixes: list[str] | None, name: str | None
) -> Iterator[tuple[int, list[str], list[str] | None]]:
    """Yields the number of the first line of each block of lines, the lines, and their prefixes.

    Raises UserError where there are not as many prefixes as lines.
    """
    count = 0
    for lines in blocks:
        end = count + len(lines)
        if prefixes is not None and len(prefixes) < end:
            raise UserError(
                f"{name} has {number_of(len(prefixes), 'line')} and there are more sentences; give one line for each "
                "(an empty line forces nothing)"
            )
        yield count + 1, lines, None if prefixes is None else prefixes[count:end]
        count = end
    if prefixes is not None and len(prefixes) != count:
        raise UserError(
            f"{name} has {number_of(len(prefixes), 'line')} for {number_of(count, 'sentence')}; give one each"
        )


def _sampler(options: argparse.Namespace) -> Sample | None:
    """Returns what `--sample` asks for, None without it."""
    from wmt_transformer.decode import sampling

    kinds = {"temperature": sampling.Temperature, "top_k": sampling.TopK, "top_p": sampling.TopP}
    given = {name: value for name in (*kinds, "seed") if (value := getattr(options, name)) is not None}
    if given and not options.sample:
        raise UserError(f"--{next(iter(given)).replace('_', '-')} is for sampling; add --sample, or leave it out")
    if not options.sample:
        return None
    return sampling.Sample(tuple(kinds[name](given[name]) for name in kinds if name in given))


def _as_text(found: Sequence[list[Translation]], first: int, options: argparse.Namespace) -> Iterator[str]:
    """Yields a line for each translation; in n-best lists, the number of its sentence and its score come first."""
    from wmt_transformer.decode.alignment import pharaoh

    for number, hypotheses in enumerate(found, first):
        for one in hypotheses:
            columns = [str(number), f"{one.score:.4f}"] if options.n_best > 1 else []
            links = [pharaoh(one.alignment or ())] if options.alignments else []
            yield "\t".join([*columns, " ||| ".join([one.text, *links])])


def _as_json(source: str, translations: Sequence[Translation], alignments: bool) -> dict[str, Any]:
    from wmt_transformer.decode.alignment import pharaoh

    found = []
    for one in translations:
        entry: dict[str, Any] = {"text": one.text, "score": one.score}
        if one.missing:
            entry["missing"] = list(one.missing)
        if alignments:
            entry["alignment"] = pharaoh(one.alignment or ())
            entry["attention"] = [
                {**vars(part), "weights": [[round(float(weight), 6) for weight in row] for row in part.weights]}
                for part in one.attention
            ]
        found.append(entry)
    return {"source": source, "translations": found}


def score(options: argparse.Namespace, overrides: list[str]) -> None:
    """Says how probable given translations are: natural log-probability and tokens, one line for each pair."""
    from wmt_transformer.decode.generate import Translator

    sources, targets = list(read_lines(options.source)), list(read_lines(options.target))
    if len(sources) != len(targets):
        raise UserError(
            f"{options.source} has {number_of(len(sources), 'line')} and {options.target} {len(targets)}; "
            "line k of one must be the translation of line k of the other"
        )
    translator = Translator.load(options.workdir, options.checkpoint, warn=say)
    scores = []
    for start in range(0, len(sources), SCORED_AT_ONCE):
        some = slice(start, start + SCORED_AT_ONCE)
        scores += translator.score(sources[some], targets[some], start + 1)
        if not options.json:
            for one in scores[some]:
                print(f"{one.log_probability:.4f}\t{one.tokens}")
    if options.json:
        total = {
            "log_probability": sum(one.log_probability for one in scores),
            "tokens": sum(one.tokens for one in scores),
        }
        print(json.dumps({**total, "scores": [dataclasses.asdict(one) for one in scores]}))
