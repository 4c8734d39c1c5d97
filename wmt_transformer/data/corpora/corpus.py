"""What a corpus of pairs is to the rest of the package: its directions, its reader, its local files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from wmt_transformer.config import DataConfig
from wmt_transformer.data.text_digest import Split

Pair = tuple[str, str]


def no_files(data: DataConfig) -> list[str]:
    """Returns the names of a corpus that is made or downloaded: none."""
    return []


def no_credits(data: DataConfig) -> list[str]:
    """Returns what is known of a corpus whose source does not say in what form to credit it: nothing."""
    return []


class Corpus(NamedTuple):
    """One entry of the table of corpora."""

    load: Callable[[DataConfig, Split], Iterator[Pair]]
    """Yields the (source, target) strings of a split, in the corpus's order."""
    directions: tuple[str, ...] = ()
    """What it translates, such as en-de; () is whatever its files hold."""
    files: Callable[[DataConfig], list[str]] = no_files
    """Returns the names, below `data.path`, of the files that its splits may be read from."""
    credits: Callable[[DataConfig], list[str]] = no_credits
    """Returns lines for people: the licence and what to cite, where the corpus's source says them."""


def kind(corpus: str) -> str:
    """Returns which entry of the table a corpus is: its name, or the collection before the colon, as in hf:NAME."""
    return corpus.partition(":")[0]


def between(*languages: str) -> tuple[str, ...]:
    """Returns the directions between any two of the languages."""
    return tuple(f"{source}-{target}" for source in languages for target in languages if source != target)


def to_and_from_english(*languages: str) -> tuple[str, ...]:
    """Returns the directions between English and each of the languages."""
    return (*(f"en-{language}" for language in languages), *(f"{language}-en" for language in languages))


def foreign(data: DataConfig) -> str:
    """Returns the language of a pair that is not English."""
    return data.target if data.source == "en" else data.source


def folder(data: DataConfig) -> Path:
    """Returns the folder that files are named in: `data.path`, or the current one."""
    return Path(data.path or ".").expanduser()
