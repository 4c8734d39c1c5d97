"""The verb `tokens`: how a text is cut into pieces, in the terminal or as a page, by one vocabulary or several."""

from __future__ import annotations

import argparse
import json

from wmt_transformer.cli.parser import AddVerb
from wmt_transformer.cli.streams import open_input, say
from wmt_transformer.files import whole_file
from wmt_transformer.reading import available_lines


def add(verb: AddVerb) -> None:
    """Adds the verb to the command line."""
    sub = verb(tokens)
    sub.add_argument("text", metavar="TEXT", nargs="?", help="what to cut (default: read standard input)")
    sub.add_argument(
        "--vocabulary",
        metavar="FILE",
        nargs="+",
        action="extend",
        help="SentencePiece models or work folders, side by side (default: one trained on the phrasebook)",
    )
    sub.add_argument("--html", metavar="FILE", help="write a page instead")
    sub.add_argument("--json", action="store_true", help="print one JSON object")


def tokens(options: argparse.Namespace, overrides: list[str]) -> None:
    """Shows the tokens of a text: pieces, their bytes, and their ids, which are all that a model sees."""
    from wmt_transformer.visualize import tokens

    with whole_file(options.html) as out:
        text = _standard_input() if options.text is None else options.text
        views = tokens.views(text, options.vocabulary or [])
        if options.html:
            out.write(tokens.page(text, views))
    if options.html:
        say(f"wrote {options.html}")
    if options.json:
        print(json.dumps(tokens.report(text, views), ensure_ascii=False))
    elif not options.html:
        from rich.console import Console

        Console(highlight=False, markup=False).print(tokens.terminal(views))


def _standard_input() -> str:
    """Returns all of standard input, without the line break at its end."""
    with open_input(None) as (stream, name):
        return "\n".join(line for lines in available_lines(stream, name) for line in lines)
