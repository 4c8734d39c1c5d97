"""The verb that scores one file of trees against another."""

from __future__ import annotations

import argparse
import dataclasses
import json

from wmt_transformer.cli.parser import AddVerb, positive
from wmt_transformer.cli.streams import say


def add(verb: AddVerb) -> None:
    """Adds the verb to the command line."""
    sub = verb(evaluate_parses)
    sub.add_argument("--gold", metavar="FILE", required=True, help="the right trees")
    sub.add_argument("--predicted", metavar="FILE", required=True, help="their parses; a blank line is none")
    sub.add_argument(
        "--max-length",
        metavar="N",
        type=positive,
        help="score sentences of at most N words too (default: 40); with --json, they alone are what its keys say",
    )
    sub.add_argument("--sentences", action="store_true", help="print a line for each sentence first")
    sub.add_argument("--json", action="store_true", help="print one JSON object")


def evaluate_parses(options: argparse.Namespace, overrides: list[str]) -> None:
    """Scores parse trees as EVALB does with COLLINS.prm: recall, precision, F1, exact match, crossing, tagging."""
    from wmt_transformer.evaluate import parsing

    pairs = parsing.read_pairs(options.gold, options.predicted)
    sentences = [parsing.compare(gold, predicted) for gold, predicted in pairs]
    errors = [number for number, one in enumerate(sentences, 1) if one.status == parsing.ERROR]
    if errors:
        say(
            f"{len(errors)} sentences are not scored, the first is number {errors[0]}: by their tags, other words are "
            "punctuation in the predicted tree than in the gold one"
        )
    short = options.max_length or 40
    if options.json:
        parts = [
            {"max_length": limit, **dataclasses.asdict(parsing.total(sentences, limit))} for limit in (None, short)
        ]
        print(json.dumps({**parts[options.max_length is not None], "lengths": parts}))
        return
    if options.sentences:
        print(parsing.table(sentences))
    print(parsing.summary(sentences, short))
