"""The verb `parse`: sentences in, trees out."""

from __future__ import annotations

import argparse
import contextlib
import json
from typing import TYPE_CHECKING, Any

from wmt_transformer.cli.parser import CHECKPOINT, AddVerb, positive
from wmt_transformer.cli.streams import open_input, say
from wmt_transformer.config import UserError
from wmt_transformer.files import whole_file
from wmt_transformer.messages import number_of
from wmt_transformer.reading import available_lines

if TYPE_CHECKING:
    from wmt_transformer.decode.parse import Parse


def add(verb: AddVerb) -> None:
    """Adds the verb to the command line."""
    sub = verb(parse)
    sub.add_argument("text", metavar="TEXT", nargs="*", help="sentences (default: read standard input)")
    sub.add_argument("--workdir", required=True, help="folder of a run that was trained on a treebank")
    sub.add_argument("--checkpoint", help=CHECKPOINT)
    sub.add_argument("--tokenized", action="store_true", help="words are separated by spaces already, as in treebanks")
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
    from wmt_transformer.decode.parse import Parser
    from wmt_transformer.visualize import trees

    if options.text and options.input:
        raise UserError("give either TEXT or --input FILE, not both")
    count, mended, results = 0, 0, []
    with contextlib.ExitStack() as opened:
        stream, name = opened.enter_context(open_input(options.input))
        out = opened.enter_context(whole_file(options.output))
        picture = opened.enter_context(whole_file(options.svg)) if options.svg else None
        parser = Parser.load(options.workdir, options.checkpoint, say)
        for lines in iter([list(options.text)]) if options.text else available_lines(stream, name):
            if picture and count + len(lines) != 1:
                raise UserError(f"--svg draws one sentence, and there are at least {count + len(lines)}")
            found = parser.parse(
                lines,
                options.beam_size,
                options.alpha,
                tokenized=options.tokenized,
                constrained=options.constrained,
                first_line=count + 1,
            )
            for one in found:
                if options.json:
                    results.append(_as_json(one))
                else:
                    print(trees.outline(one.tree) + "\n" if options.pretty else one.tree, file=out)
                if picture:
                    picture.write(trees.svg(one.tree))
            count, mended = count + len(lines), mended + sum(any(one.repairs) for one in found)
            out.flush()
        if options.json:
            print(json.dumps({"parses": results}, ensure_ascii=False), file=out)
    if mended:
        say(f"{number_of(mended, 'output')} of {count:,} needed repair to be a tree over its words")


def _as_json(one: Parse) -> dict[str, Any]:
    return {
        "words": one.tree.words(),
        "tree": str(one.tree),
        "score": one.score,
        "repairs": one.repairs._asdict(),
    }
