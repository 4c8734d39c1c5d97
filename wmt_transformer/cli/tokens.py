"""The verb `tokens`: how a text is cut into pieces, in the terminal or as a page, by one vocabulary or several."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from wmt_transformer.cli.parser import AddVerb
from wmt_transformer.cli.streams import say
from wmt_transformer.config import UserError
from wmt_transformer.files import whole_file


def add(verb: AddVerb) -> None:
    """Adds the verb to the command line."""
    sub = verb(tokens)
    sub.add_argument("text", metavar="TEXT", help="what to cut")
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
    """Shows the tokens of a text: pieces, ids, bytes, and what of it a model sees."""
    from wmt_transformer.data import phrasebook, vocabulary
    from wmt_transformer.data.runs import load_vocabulary
    from wmt_transformer.visualize import tokens

    try:
        options.text.encode()
    except UnicodeEncodeError:
        raise UserError("TEXT is not UTF-8; convert it first") from None
    if not vocabulary.normalise(options.text):
        raise UserError("there is nothing to cut: TEXT is empty")
    views = []
    for path in options.vocabulary or []:
        folder = Path(path) / "data" if (Path(path) / "data").is_dir() else Path(path)
        one = load_vocabulary(folder) if folder.is_dir() else vocabulary.Vocabulary.load(folder)
        views.append(tokens.view(one, options.text, f"{path} ({len(one):,} pieces)"))
    if not views:
        one = phrasebook.vocabulary()
        views.append(tokens.view(one, options.text, f"phrasebook ({len(one):,} pieces)"))
    if options.html:
        with whole_file(options.html) as out:
            out.write(tokens.page(options.text, views))
        say(f"wrote {options.html}")
    if options.json:
        print(json.dumps(tokens.report(options.text, views), ensure_ascii=False))
    elif not options.html:
        from rich.console import Console

        Console(highlight=False, markup=False).print(tokens.terminal(views))
