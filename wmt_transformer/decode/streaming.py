"""From tokens to text that can be shown while it grows.

A token may be a single byte of a letter, and the text so far may end with the beginning of a stop string. Such an end
is held back until the next tokens decide: text that was shown is never taken back.
"""

import dataclasses
from collections.abc import Callable, Sequence

from wmt_transformer.config import UserError


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
