"""How the command line is parsed: verbs, options and overrides; every mistake is a UserError."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from typing import NoReturn, Protocol, runtime_checkable

from wmt_transformer import __version__
from wmt_transformer.cli.streams import mounted
from wmt_transformer.config import Config, UserError
from wmt_transformer.experiment import load

CHECKPOINT = "average, best, latest, or a step (default: the average where there is one, else the best)"
"""The help of --checkpoint."""


@runtime_checkable
class AddVerb(Protocol):
    """Adds the verb that `run(options, overrides)` carries out and returns its parser, for its options.

    The verb is the function's name, and the help its docstring's first line. Arguments that no option takes are
    the overrides of a config (`--model.dropout 0.3`) where the verb is `overridable`, a mistake elsewhere.
    """

    def __call__(
        self, run: Callable[..., int | None], epilog: str | None = None, overridable: bool = False
    ) -> argparse.ArgumentParser: ...


def make_parser(add_verbs: list[Callable[[AddVerb], None]]) -> Parser:
    """Returns the parser of the whole command line."""
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
        sub = verbs.add_parser(
            name, help=summary, description=summary, allow_abbrev=False, epilog=epilog, add_help=not overridable
        )
        if overridable:
            sub.add_argument("-h", "--help", action=HelpWithSettings, nargs=0, help="list options and settings")
        sub.set_defaults(run=run, overridable=overridable)
        return sub

    for add in add_verbs:
        add(verb)
    for sub in verbs.choices.values():
        for action in sub._actions:
            name = action.metavar or action.dest.upper()
            if isinstance(name, str) and action.nargs != 0 and action.type is None:
                action.type = TYPES.get(name)
    return parser


def parse(arguments: list[str], add_verbs: list[Callable[[AddVerb], None]]) -> tuple[argparse.Namespace, list[str]]:
    """Returns the options of the verb that was given (`options.run`), and the overrides after them."""
    parser = make_parser(add_verbs)
    words, overrides = _split(arguments)
    parsed, rest = parser.parse_known_args(words)
    # Where options come before it, argparse takes a CONFIG that may be left out for left out.
    if rest and getattr(parsed, "config", "") is None and not rest[0].startswith("-"):
        parsed.config = rest.pop(0)
    unknown = [*([] if parsed.overridable and rest and rest[0].startswith("--") else rest)]
    if unknown or (overrides and not parsed.overridable):
        parser.error(f"unrecognised arguments: {' '.join([*unknown, *overrides])}")
    return parsed, [*rest, *overrides]


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Returns the words for argparse, and the overrides with their values, which it would take for positional ones."""
    words: list[str] = []
    overrides: list[str] = []
    goes_to = words
    for argument in arguments:
        if argument.startswith("--"):
            goes_to = overrides if re.match(r"--[a-z]+\.", argument) else words
        goes_to.append(argument)
    return words, overrides


class HelpWithSettings(argparse.Action):
    """Prints a verb's help and the settings of the config that is named before it, the defaults where none is."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: object) -> NoReturn:
        from wmt_transformer.cli import settings

        named = getattr(namespace, "config", None)
        shown = Config(name="a config that sets nothing") if named is None else load(named)
        print(f"{parser.format_help()}\n{settings.listing(shown)}")
        parser.exit()


class Parser(argparse.ArgumentParser):
    """Raises UserError where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def utf8(text: str) -> str:
    """Reads a text, which is UTF-8 whatever the locale took its bytes for."""
    try:
        return os.fsencode(text).decode()
    except UnicodeError:
        raise argparse.ArgumentTypeError("it is not UTF-8; convert it first, for instance with iconv") from None


def path(text: str) -> str:
    """Reads a path, which may be in a bucket. An empty one is a variable that is not set: no folder, not this one."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty; give a path")
    return mounted(text)


TYPES: dict[str, Callable[[str], str]] = {
    "CONFIG": path,
    "FILE": path,
    "FOLDER": path,
    "WORKDIR": path,
    "TEXT": utf8,
}
"""How an argument is read, by what its help calls it: paths may be in a bucket, texts mean nothing here."""


def positive(text: str) -> int:
    """Reads a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)
