"""The verb `attention`: pictures of what a run's heads look at."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wmt_transformer.cli.files import save_picture, say, whole_file
from wmt_transformer.cli.parser import AddVerb, positive
from wmt_transformer.cli.runs import start_jax
from wmt_transformer.config import UserError

KINDS = ("encoder", "decoder", "cross", "alignment", "positions")


def add(verb: AddVerb) -> None:
    """Adds the verb to the command line."""
    sub = verb(attention)
    sub.add_argument("--workdir", required=True, help="folder of the run")
    sub.add_argument("--checkpoint", help="average, best, latest, or a step (default: the average, else the best)")
    sub.add_argument("--source", metavar="TEXT", help="a sentence in the source language")
    sub.add_argument("--target", metavar="TEXT", help="its translation (default: the run's own)")
    sub.add_argument(
        "--output", metavar="FILE", required=True, help=".png or .svg: heat maps; .html: a page to explore all weights"
    )
    sub.add_argument(
        "--kind",
        choices=KINDS,
        default="cross",
        help="whose weights, where a page opens; or the table of positions, which needs no text (default: %(default)s)",
    )
    sub.add_argument("--layer", metavar="N", type=positive, help="counted from 1 (default: the last)")
    sub.add_argument("--head", metavar="H", type=positive, help="counted from 1 (default: all)")


def attention(options: argparse.Namespace, overrides: list[str]) -> None:
    """Draws what the heads of a translation run look at, as heat maps or as a page to explore."""
    suffix = Path(options.output).suffix
    if suffix not in (".png", ".svg", ".html"):
        raise UserError(f"--output {options.output}: write a .png or .svg picture, or an .html page")
    if options.kind == "positions" and suffix == ".html":
        raise UserError("--kind positions is a picture, not a page; write it to a .png or .svg")
    if options.kind != "positions" and options.source is None:
        raise UserError(f"--kind {options.kind} needs a sentence: give --source TEXT")
    from wmt_transformer.decode.generate import Translator
    from wmt_transformer.visualize import attention, page, positions

    start_jax()
    translator = Translator.load(options.workdir, options.checkpoint)
    if options.kind == "positions":
        save_picture(positions.picture(positions.table(translator)), options.output)
    else:
        look = attention.look(translator, options.source, options.target)
        layers, heads = look.maps[options.kind].weights.shape[:2]
        chosen: dict[str, Any] = {
            "layer": _index("layer", options.layer or layers, layers, options.kind),
            "head": options.head and _index("head", options.head, heads, options.kind),
        }
        if suffix == ".html":
            with whole_file(options.output) as out:
                out.write(page.html(look, options.kind, **chosen))
        else:
            save_picture(attention.picture(look, options.kind, **chosen), options.output)
    say(f"wrote {options.output}")


def _index(name: str, number: int, count: int, kind: str) -> int:
    if number > count:
        raise UserError(f"--{name} {number}: {kind} has {count}, counted from 1")
    return number - 1
