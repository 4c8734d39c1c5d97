"""Which language a text is in, of those that are translated: py3langid, a model of 5 MB that knows 140 languages.

The choice is among the languages served, the confidence among all: French typed into a server that reads English and
German is found to be neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from py3langid.langid import MODEL_FILE, LanguageIdentifier


class Detected(NamedTuple):
    """A language, and how sure we are of it, 0 to 100."""

    language: str
    confidence: float


class Detector:
    """Knows the languages that a server reads."""

    def __init__(self, languages: Sequence[str]):
        self._identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        self._served = {code.partition("-")[0]: code for code in reversed(languages)}

    def languages(self, text: str) -> list[Detected]:
        """Returns up to three languages, likeliest first; a text without letters has none."""
        if not has_letters(text):
            return []
        found = ((self._served.get(label), float(share)) for label, share in self._identifier.rank(text))
        return [Detected(code, round(100 * share, 1)) for code, share in found if code][:3]


def has_letters(text: str) -> bool:
    """Tells whether there is anything to translate."""
    return any(letter.isalpha() for letter in text)
