"""How the command line is parsed: verbs, options and overrides; every mistake is a UserError."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn, Protocol, runtime_checkable

from wmt_transformer import __version__
from wmt_transformer.config import UserError


@runtime_checkable
class AddVerb(Protocol):
    """Adds the verb that `run(options, overrides)` carries out and returns its parser, for its options.

    The verb is the function's name, and the help its docstring's first line. Arguments that no option takes are
    the overrides of a config (`--model.dropout 0.3`) where the verb is `overridable`, a mistake elsewhere.
    """

    def __call__(
        self, run: Callable[..., int | None], epilog: str | None = None, overridable: bool = False
    ) -> argparse.ArgumentParser: ...


def parse(arguments: list[str], add_verbs: list[Callable[[AddVerb], None]]) -> tuple[argparse.Namespace, list[str]]:
    """Returns the options of the verb that was given (`options.run`), and the overrides after them."""
    parser = Parser(
        prog="wmt-transformer",
        allow_abbrev=False,
        description='The Transformer of "Attention Is All You Need": prepare, train, average, translate, evaluate.',
    )
    parser.add_argument("--version", action="version", version=f"wmt-transformer {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Parser)

    def verb(
        run: Callable[..., int | None], epilog: str | None = None, overridable: bool = False
    ) -> argparse.ArgumentParser:
        name, summary = run.__name__.replace("_", "-"), (run.__doc__ or "").partition("\n")[0]
        sub = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False, epilog=epilog)
        sub.set_defaults(run=run, overridable=overridable)
        return sub

    for add in add_verbs:
        add(verb)
    parsed, rest = parser.parse_known_args(arguments)
    if rest and (not parsed.overridable or not rest[0].startswith("--")):
        parser.error(f"unrecognised arguments: {' '.join(rest)}")
    return parsed, rest


class Parser(argparse.ArgumentParser):
    """Raises UserError where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def positive(text: str) -> int:
    """Reads a whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)
