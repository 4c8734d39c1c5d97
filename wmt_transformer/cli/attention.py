"""The verb `attention`: pictures of the attention weights of a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from wmt_transformer.cli.parser import CHECKPOINT, AddVerb, positive
from wmt_transformer.cli.streams import save_picture, say
from wmt_transformer.config import UserError
from wmt_transformer.files import whole_bytes

KINDS = ("encoder", "decoder", "cross", "alignment", "positions")


def add(verb: AddVerb) -> None:
    """Adds the verb to the command line."""
    sub = verb(attention)
    sub.add_argument("--workdir", required=True, help="folder of the run")
    sub.add_argument("--checkpoint", help=CHECKPOINT)
    sub.add_argument("--source", metavar="TEXT", help="a sentence in the source language")
    sub.add_argument("--target", metavar="TEXT", help="its translation (default: the run's own)")
    sub.add_argument(
        "--output", metavar="FILE", required=True, help=".png or .svg: heat maps; .html: a page to explore all weights"
    )
    sub.add_argument(
        "--kind",
        choices=KINDS,
        default="cross",
        help="which weights to draw, or show first; or the table of positions, without a text (default: %(default)s)",
    )
    sub.add_argument("--layer", metavar="N", type=positive, help="counted from 1 (default: the last)")
    sub.add_argument("--head", metavar="H", type=positive, help="counted from 1 (default: all)")


def attention(options: argparse.Namespace, overrides: list[str]) -> None:
    """Draws the attention weights of a translation run, as heat maps or as a page to explore."""
    suffix = Path(options.output).suffix
    if suffix not in (".png", ".svg", ".html"):
        raise UserError(f"--output {options.output}: write a .png or .svg picture, or an .html page")
    if options.kind == "positions" and suffix == ".html":
        raise UserError("--kind positions is a picture, not a page; write it to a .png or .svg")
    if options.kind != "positions" and options.source is None:
        raise UserError(f"--kind {options.kind} needs a sentence: give --source TEXT")
    from wmt_transformer.decode.generate import Translator
    from wmt_transformer.visualize import attention, page, positions

    with whole_bytes(options.output) as out:
        translator = Translator.load(options.workdir, options.checkpoint, warn=say)
        if options.kind == "positions":
            save_picture(positions.picture(positions.table(translator)), out, suffix[1:])
        else:
            look = attention.look(translator, options.source, options.target)
            layers, heads = look.maps[options.kind].weights.shape[:2]
            layer = _index("layer", options.layer or layers, layers, options.kind)
            head = options.head and _index("head", options.head, heads, options.kind)
            if suffix == ".html":
                out.write(page.html(look, options.kind, layer, head).encode())
            else:
                save_picture(attention.picture(look, options.kind, layer, head), out, suffix[1:])
    say(f"wrote {options.output}")


def _index(name: str, number: int, count: int, kind: str) -> int:
    """Returns the place of what is counted from 1."""
    if number > count:
        raise UserError(f"--{name} {number}: {kind} has {count}, counted from 1")
    return number - 1
