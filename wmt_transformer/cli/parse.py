"""The verb `parse`: sentences in, trees out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from wmt_transformer.cli.parser import AddVerb, positive
from wmt_transformer.cli.streams import open_input, say
from wmt_transformer.compilation import use_compilation_cache
from wmt_transformer.config import UserError
from wmt_transformer.experiment import run_config
from wmt_transformer.files import available_lines, whole_file


def add(verb: AddVerb) -> None:
    """Adds the verb to the command line."""
    sub = verb(parse)
    sub.add_argument("text", metavar="TEXT", nargs="*", help="sentences (default: read standard input)")
    sub.add_argument("--workdir", required=True, help="folder of a run that was trained on a treebank")
    sub.add_argument(
        "--checkpoint", help="average, best, latest, or a step (default: the average where there is one, else the best)"
    )
    sub.add_argument("--tokenized", action="store_true", help="words stand between spaces already, as in treebanks")
    sub.add_argument("--beam-size", type=positive, help="hypotheses kept (default: the config's; 1 is greedy)")
    sub.add_argument("--alpha", type=float, help="exponent of the length penalty (default: the config's)")
    sub.add_argument("--constrained", action="store_true", help="let the model write nothing but trees over the words")
    sub.add_argument("--input", metavar="FILE", help="read lines from a file")
    sub.add_argument("--output", metavar="FILE", help="write to a file, whole or not at all")
    form = sub.add_mutually_exclusive_group()
    form.add_argument("--pretty", action="store_true", help="trees for people, a word a line")
    form.add_argument("--json", action="store_true", help="print one JSON object")
    sub.add_argument("--svg", metavar="FILE", help="draw the tree of the one sentence given")


def parse(options: argparse.Namespace, overrides: list[str]) -> None:
    """Parses the sentences given, a file, or standard input: one bracketed tree out for every line in."""
    from wmt_transformer.data.treebanks import corpora as treebanks
    from wmt_transformer.data.treebanks import words as treebank_words
    from wmt_transformer.decode import parse as parser
    from wmt_transformer.decode.generate import Translator
    from wmt_transformer.visualize import trees

    if options.text and options.input:
        raise UserError("give either TEXT or --input FILE, not both")
    settings = run_config(Path(options.workdir))
    if settings.data.corpus not in treebanks.CORPORA:
        raise UserError(f"{options.workdir} holds a run of {settings.data.corpus}, which is no treebank; use translate")
    use_compilation_cache()
    translator = Translator.load(options.workdir, options.checkpoint)
    count, mended, results = 0, 0, []
    with open_input(options.input) as (stream, name), whole_file(options.output) as out:
        for lines in iter([list(options.text)]) if options.text else available_lines(stream, name):
            if options.svg and count + len(lines) != 1:
                raise UserError(f"--svg draws one sentence, and there are at least {count + len(lines)}")
            sentences = [
                treebank_words.leaves(
                    line.split() if options.tokenized else treebank_words.tokenize(line, settings.data.corpus)
                )
                for line in lines
            ]
            parser.check_lengths(translator, sentences, count + 1)
            found = parser.parse(
                translator, sentences, options.beam_size, options.alpha, constrained=options.constrained
            )
            for one in found:
                if options.json:
                    results.append(_as_json(one))
                else:
                    print(trees.outline(one.tree) + "\n" if options.pretty else one.tree, file=out)
                if options.svg:
                    with whole_file(options.svg) as picture:
                        picture.write(trees.svg(one.tree))
            count, mended = count + len(lines), mended + sum(any(one.repairs) for one in found)
            out.flush()
        if options.json:
            print(json.dumps({"parses": results}, ensure_ascii=False), file=out)
    if mended:
        say(f"{mended} of {count} outputs were no tree over their words as they came, and were mended")


def _as_json(one: Any) -> dict[str, Any]:
    return {
        "words": one.tree.words(),
        "tree": str(one.tree),
        "score": one.score,
        "repairs": one.repairs._asdict(),
    }
