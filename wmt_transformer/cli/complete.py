"""Verbs that continue a text: generate, predict-next."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from wmt_transformer.cli.parser import CHECKPOINT, AddVerb, positive
from wmt_transformer.cli.streams import say
from wmt_transformer.letters import visible

if TYPE_CHECKING:  # it brings JAX, which `--help` should not wait for
    from wmt_transformer.decode.completion import LanguageModel

BAR = 40
"""Characters of the bar of probability 1."""


def add(verb: AddVerb) -> None:
    """Adds the verbs to the command line."""
    for run in (generate, predict_next):
        sub = verb(run)
        sub.add_argument("--workdir", required=True, help="folder of the run")
        sub.add_argument("--checkpoint", help=CHECKPOINT)
        sub.add_argument("--prompt", metavar="TEXT", default="", help="the text to continue")
        sub.add_argument("--source", metavar="TEXT", help="the sentence to translate, for a translation run")
        sub.add_argument(
            "--keep-last", action="store_true", help="use the last tokens of a prompt that is longer than the context"
        )
        sub.add_argument("--json", action="store_true", help="print one JSON object")
        if run is predict_next:
            sub.add_argument("--top", metavar="N", type=positive, default=10, help="how many (default: %(default)s)")
        else:
            sub.add_argument(
                "--num-tokens",
                metavar="N",
                type=positive,
                default=200,
                help="most tokens to write (default: %(default)s)",
            )
            sub.add_argument(
                "--temperature",
                metavar="T",
                type=float,
                default=1.0,
                help="below 1 more certain, above 1 less; 0 is greedy",
            )
            sub.add_argument("--top-k", metavar="K", type=int, help="draw from the K most probable tokens")
            sub.add_argument("--top-p", metavar="P", type=float, help="draw from the most probable tokens of total P")
            sub.add_argument(
                "--repetition-penalty", metavar="X", type=float, help="p ** X for tokens that are in the text already"
            )
            sub.add_argument("--stop", metavar="TEXT", action="append", default=[], help="end where this text appears")
            sub.add_argument(
                "--seed", metavar="N", type=int, default=1, help="of the random draws (default: %(default)s)"
            )


def generate(options: argparse.Namespace, overrides: list[str]) -> None:
    """Continues a prompt, token by token."""
    model = _load(options)
    pieces = model.stream(
        options.prompt,
        options.num_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        repetition_penalty=options.repetition_penalty,
        stop=options.stop,
        seed=options.seed,
        keep_last=options.keep_last,
    )
    if options.json:
        print(json.dumps({"prompt": options.prompt, "text": "".join(pieces)}, ensure_ascii=False))
        return
    print(options.prompt, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def predict_next(options: argparse.Namespace, overrides: list[str]) -> None:
    """Shows the tokens that are most likely to follow a prompt, with their probabilities as bars."""
    found = _load(options).predict_next(options.prompt, options.top, options.keep_last)
    if options.json:
        print(json.dumps({"prompt": options.prompt, "next": [one._asdict() for one in found]}, ensure_ascii=False))
        return
    from rich.cells import cell_len

    shown = [visible(json.dumps(one.text, ensure_ascii=False)) for one in found]  # in quotes: spaces
    width = max(map(cell_len, shown))
    for text, one in zip(shown, found, strict=True):
        bar = "█" * round(BAR * one.probability) or "▏"
        print(f"{text}{' ' * (width - cell_len(text))}  {one.probability:6.1%}  {bar}")


def _load(options: argparse.Namespace) -> LanguageModel:
    from wmt_transformer.decode.completion import LanguageModel

    return LanguageModel.load(options.workdir, options.checkpoint, options.source, say)
