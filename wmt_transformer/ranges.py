"""What values a setting may have: types with ranges or forms, whether a value fits one, and how a range reads.

A range is a part of the field's type (`Annotated`), so that the schema in `config.py` says it beside the default.
"""

from __future__ import annotations

import functools
import math
import re
import types
import typing
from typing import Annotated, Any, Literal, Union

MOST = 2**31 - 1
"""The largest whole number that arrays of int32 hold."""


class Range(typing.NamedTuple):
    """The numbers that a setting may have: finite, at least `low` (or above it), at most or below `high`."""

    low: float = 0
    high: float = math.inf
    above_low: bool = False
    below_high: bool = True

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float) or not math.isfinite(value):
            return False
        enough = value > self.low if self.above_low else value >= self.low
        return enough and (value < self.high if self.below_high else value <= self.high)

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.above_low else f"{self.low:g} or more"
        if self.high >= MOST:
            return low
        return f"{low} and below {self.high:g}" if self.below_high else f"{self.low:g} to {self.high:g}"


class Form(typing.NamedTuple):
    """The texts that a setting may have: those that a regular expression matches as a whole."""

    pattern: str
    examples: str
    """How they read, for people."""

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and re.fullmatch(self.pattern, value) is not None

    def __str__(self) -> str:
        return self.examples


Count = Annotated[int, Range(1, MOST, below_high=False)]
CountOrZero = Annotated[int, Range(0, MOST, below_high=False)]
Share = Annotated[float, Range(0, 1)]
Positive = Annotated[float, Range(0, above_low=True)]
AtLeastZero = Annotated[float, Range(0)]
Beam = Annotated[int, Range(1, 1000, below_high=False)]
Exponent = Annotated[float, Range(0, 10, below_high=False)]
Weight = Annotated[float, Range(0, 10_000, below_high=False)]
AtLeastOne = Annotated[float, Range(1)]
Size = Annotated[int, Range(1, MOST, below_high=False)] | Literal[-1]


@functools.cache
def kinds(section: type) -> dict[str, Any]:
    """Returns the type of every field of a section, with its range."""
    return typing.get_type_hints(section, include_extras=True)


def mistake(value: object, kind: Any) -> str | None:
    """Returns what a value of this kind must be where it is something else, None where it is all right."""
    return None if _fits(value, kind) else expected(kind)


def expected(kind: Any) -> str:
    """Returns what values of a kind are, for people: `a number from 0 to 1`."""
    origin: Any = typing.get_origin(kind)
    inside: Any = typing.get_args(kind)
    if origin is Annotated:
        return str(inside[1]) if isinstance(inside[1], Form) else f"{expected(inside[0])}, {inside[1]}"
    if origin is Literal:
        return f"one of {', '.join(map(str, inside))}" if len(inside) > 1 else str(inside[0])
    if origin in (Union, types.UnionType):
        return ", or ".join(expected(one) for one in inside)
    if origin is tuple:
        return f"any number of values, each {expected(inside[0])}"
    names = {int: "a whole number", float: "a number", bool: "True or False", str: "text", type(None): "None"}
    return names.get(kind) or f"a {kind.__name__}"


def _fits(value: object, kind: Any) -> bool:
    origin: Any = typing.get_origin(kind)
    inside: Any = typing.get_args(kind)
    if origin is Annotated:
        return _fits(value, inside[0]) and value in inside[1]
    if origin is Literal:
        return value in inside
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inside)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(one, inside[0]) for one in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))
