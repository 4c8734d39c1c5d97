"""From tokens to text that can be shown while it grows.

A token may be a single byte of a letter, and the text so far may end in the beginning of what generation shall stop
at. Such an end is kept back until the next tokens tell what it is: what was shown once is never taken back.
"""

import dataclasses
from collections.abc import Callable, Sequence

from wmt_transformer.config import UserError


@dataclasses.dataclass(frozen=True)
class StopStrings:
    """Texts that end generation where they appear first; they are no part of the result."""

    strings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if "" in self.strings:
            raise UserError("a stop string is empty; give one or more characters that generation shall stop at")

    def cut(self, text: str) -> tuple[str, bool]:
        """Returns what may be shown of a text that goes on, and whether it has come to a stop string."""
        found = [place for stop in self.strings if (place := text.find(stop)) >= 0]
        if found:
            return text[: min(found)], True
        held = (n for stop in self.strings for n in range(len(stop) - 1, 0, -1) if text.endswith(stop[:n]))
        return text[: len(text) - max(held, default=0)], False


class GrowingText:
    """The text of one row: `add` takes its next token and returns what there is to show more.

    `ended` tells that a stop string was met, `text` is all that was returned.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], prompt: Sequence[int], stops: StopStrings) -> None:
        # Behind the prompt, not by themselves: a first piece's space would be lost.
        self._decode, self._ids, self._stops = decode, list(prompt), stops
        self._before = len(decode(prompt))
        self.text, self.ended = "", False

    def add(self, token: int) -> str:
        """Returns the characters that this token settles, none where it settles nothing."""
        self._ids.append(token)
        text = self._decode(self._ids)[self._before :]
        whole = text.rstrip("\N{REPLACEMENT CHARACTER}")  # bytes of a letter whose others are still to come
        return self._show(*self._stops.cut(whole))

    def finish(self) -> str:
        """Returns what was kept back, when no more tokens come."""
        return "" if self.ended else self._show(self._decode(self._ids)[self._before :], False)

    def _show(self, text: str, ended: bool) -> str:
        new, self.text, self.ended = text[len(self.text) :], text, ended
        return new
