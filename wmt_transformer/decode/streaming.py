"""From tokens to text that can be shown while it grows.

A token may be a single byte of a letter, and the text so far may end with the beginning of a stop string. Such an end
is held back until the next tokens decide: text that was shown is never taken back.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from wmt_transformer.config import UserError
from wmt_transformer.special_tokens import EOS


@dataclasses.dataclass(frozen=True)
class StopStrings:
    """Texts that end generation where the first of them appears; they are not part of the result."""

    strings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if "" in self.strings:
            raise UserError("a stop string is empty; give at least one character")

    def shown(self, text: str) -> tuple[str, bool]:
        """Returns what may be shown of an unfinished text, and whether it has reached a stop string."""
        found = [place for stop in self.strings if (place := text.find(stop)) >= 0]
        if found:
            return text[: min(found)], True
        held = (n for stop in self.strings for n in range(len(stop) - 1, 0, -1) if text.endswith(stop[:n]))
        return text[: len(text) - max(held, default=0)], False


class GrowingText:
    """The text of one row: `add` takes its next token and returns the new text to show, in the same time for each.

    `ended` says that a stop string was reached.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], prompt: Sequence[int], stops: StopStrings) -> None:
        # Decoded together with what is before it: alone, the first piece would lose its space.
        self._decode, self._ids, self._stops = decode, list(prompt), stops
        self._before = len(decode(prompt))
        self._shown, self.ended = 0, False

    def add(self, token: int) -> str:
        """Returns the characters that are final with this token, often none."""
        self._ids.append(token)
        text = self._text()
        whole = text.rstrip(_HALF)
        shown, self.ended = self._stops.shown(whole)
        new, self._shown = shown[self._shown :], len(shown)
        if shown == text and (alone := self._decode([token])).strip():
            # What comes is decoded alike after this token as after all of the text.
            self._ids, self._before, self._shown = [token], len(alone), 0
        return new

    def finish(self) -> str:
        """Returns what was held back, when no more tokens come."""
        return "" if self.ended else self._text()[self._shown :]

    def _text(self) -> str:
        return self._decode(self._ids)[self._before :]


_HALF = "\N{REPLACEMENT CHARACTER}"
"""What the first bytes of a letter are decoded to."""


class Continuation:
    """A prompt's ids, and how it goes on."""

    def __init__(self, ids: list[int], left: int, text: GrowingText) -> None:
        self.ids, self.left, self.text = ids, left, text

    def add(self, token: int) -> str:
        """Takes the next token; returns the new text."""
        if not self.left:
            return ""
        self.ids.append(token)
        new = "" if token == EOS else self.text.add(token)
        self.left = 0 if token == EOS or self.text.ended else self.left - 1
        return new


def windows(length: int, left: int, context: int) -> Iterator[tuple[int, int]]:
    """Yields the tokens that each window of a continuation begins with, and those that are left to write then.

    Args:
      length: of the prompt.
      left: tokens to write.
      context: that a window holds; of one that is full, the last half begins the next.
    """
    while left:
        length = length if length <= context else max(context // 2, 1)
        yield length, left
        written = min(left, context - length + 1)
        length, left = length + written, left - written
