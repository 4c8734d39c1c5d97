"""What callers give as texts: one string or many, with line breaks in them or without.

A string is a sequence of strings to Python, its letters. Methods that take a list of texts become, by `one_or_all`,
methods that take one text and return one result, or any iterable of texts and return a list; anything else is a
TypeError that says where it is.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload, runtime_checkable

Options = ParamSpec("Options")
Result = TypeVar("Result")


@runtime_checkable
class OneOrAll(Protocol[Options, Result]):
    """A method of one text, whose result it returns, or of many, whose results it returns as a list."""

    @overload
    def __call__(self, texts: str, /, *args: Options.args, **options: Options.kwargs) -> Result: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __call__(self, texts: Iterable[str], /, *args: Options.args, **options: Options.kwargs) -> list[Result]: ...


@runtime_checkable
class Method(Protocol[Options, Result]):
    """What `one_or_all` makes: a method, which is `OneOrAll` once it is looked up."""

    def __get__(self, instance: Any, owner: Any = None) -> OneOrAll[Options, Result]: ...


def one_or_all(method: Callable[Concatenate[Any, list[str], Options], list[Result]]) -> Method[Options, Result]:
    """Lets a method of a list of texts take one text too, or any iterable of them (see `OneOrAll`)."""
    signature = inspect.signature(method)
    name = list(signature.parameters)[1]

    @functools.wraps(method)
    def called(*args: Any, **options: Any) -> Any:
        given = signature.bind(*args, **options)
        texts = given.arguments[name]
        given.arguments[name] = as_list(texts, name)
        found = method(*given.args, **given.kwargs)
        return found[0] if isinstance(texts, str) else found

    return called  # pyright: ignore[reportReturnType]


def as_list(texts: object, name: str = "texts") -> list[str]:
    """Returns one text, or each of an iterable, as a list. Raises TypeError, with the place, for what is no text."""
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, bytes) or not isinstance(texts, Iterable):
        raise TypeError(f"{name}: {_shown(texts)}; give a string, or an iterable of strings")
    found = list(texts)
    for place, text in enumerate(found):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{place}]: {_shown(text)}; each must be a string")
    return found


def _shown(value: object) -> str:
    return f"{value!r:.40} is of type {type(value).__name__}"


def lines_and_breaks(text: str) -> tuple[list[str], list[str]]:
    r"""Returns the lines of a text, at least one, and the line breaks between them: `\n` or `\r\n`."""
    found = re.split(r"(\r?\n)", text)
    return found[::2], found[1::2]
