"""A user's text made visible: every character is shown, and none is an instruction.

Control characters would move a terminal's cursor or end an SVG's XML, and marks of direction would reverse what
comes after them.
"""

from __future__ import annotations

import unicodedata

_DIRECTIONS = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C}
"""Unicode's embeddings, overrides, isolates and marks of direction (UAX #9)."""


def visible(text: str) -> str:
    """Returns the text with the code of each control character and each mark of direction in its place.

    A combining mark without a letter before it is set on a dotted circle; a lone surrogate becomes U+FFFD.
    """
    shown = "".join(map(_symbol, text))
    return f"\u25cc{shown}" if shown and unicodedata.combining(shown[0]) else shown


def visible_lines(text: str) -> str:
    """Returns lines of text, each of them made visible."""
    return "\n".join(map(visible, text.split("\n")))


def _symbol(character: str) -> str:
    code = ord(character)
    if unicodedata.category(character) in ("Cc", "Zl", "Zp") or code in _DIRECTIONS or code in (0xFFFE, 0xFFFF):
        return f"<U+{code:04X}>"
    return "\ufffd" if 0xD800 <= code < 0xE000 else character
