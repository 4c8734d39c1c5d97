"""Which of this machine's fonts have the letters of a text: matplotlib draws an empty box where none has."""

from __future__ import annotations

import warnings
from typing import Any


def families(text: str) -> list[str]:
    """Returns names of fonts that together have every letter of the text, those of matplotlib's settings first.

    Warns of letters that no font of this machine has.
    """
    from matplotlib import font_manager, rcParams

    chosen = ["DejaVu Sans" if name == "sans-serif" else name for name in rcParams["font.family"]]
    missing = {letter for letter in text if letter.isprintable() and letter != " "}
    for name in chosen:
        missing -= _letters(font_manager.get_font(font_manager.findfont(name)))
    if missing:
        fonts = filter(None, map(_opened, font_manager.findSystemFonts()))
        for font in sorted(fonts, key=lambda font: ("Sans" not in font.family_name, font.family_name)):
            if missing and (found := missing & _letters(font)):
                font_manager.fontManager.addfont(font.fname)  # which may be newer than matplotlib's list of fonts
                chosen.append(font.family_name)
                missing -= found
    if missing:
        warnings.warn(
            f"no font on this machine has {''.join(sorted(missing))[:20]}, a box is drawn; install one (Debian: "
            "apt install fonts-noto-cjk), or write an .html page, for which the browser finds fonts",
            stacklevel=2,
        )
    return chosen


def _opened(path: str) -> Any:
    """Returns an upright font of usual weight whose letters are outlines, which coloured emoji are not."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
    except RuntimeError:
        return None
    upright = font.scalable and font.style_name in ("Regular", "Book")
    return font if upright and "Resort" not in font.family_name else None  # "last resort" fonts have only boxes


def _letters(font: Any) -> set[str]:
    return set(map(chr, font.get_charmap()))
