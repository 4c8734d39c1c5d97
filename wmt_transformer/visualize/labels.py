"""Words of figures in Chinese: those of this package's pictures, of the lessons and of the documentation.

matplotlib translates nothing, so that every text is looked up where it is set. `labels_zh.json` has the lines; # is a
number, whichever it is.
"""

from __future__ import annotations

import functools
import json
import re
import warnings
from pathlib import Path
from typing import Any

from wmt_transformer.visualize.fonts import families

WORDS: dict[str, str] = json.loads(Path(__file__).with_name("labels_zh.json").read_text("utf-8"))
"""A line of a figure in English, and in Chinese."""
_NUMBER = re.compile(r"\d[\d,.]*")


def use_chinese() -> None:
    """Lets the figures of this process speak Chinese from now on, where a font of this machine has the letters.

    Elsewhere they stay English, rather than become boxes.
    """
    from matplotlib import rcParams
    from matplotlib.text import Text

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # `families` warns of letters that no font has
        try:
            rcParams["font.family"] = families("".join(WORDS.values()))
        except UserWarning:
            return
    plain = getattr(Text.set_text, "__wrapped__", Text.set_text)  # whatever it was before a second call

    @functools.wraps(plain)
    def set_text(self: Any, s: Any) -> None:
        plain(self, chinese(s) if isinstance(s, str) else s)

    Text.set_text = set_text


def chinese(text: str) -> str:
    """Returns a figure's text with the lines in Chinese that `WORDS` has."""
    return "\n".join(map(_line, text.split("\n")))


def _line(line: str) -> str:
    numbers = iter(_NUMBER.findall(line))
    found = WORDS.get(_NUMBER.sub("#", line))
    return line if found is None else re.sub("#", lambda _: next(numbers), found)
