"""Words as treebanks write them, for text that is not tokenised, and the tags of those that are punctuation.

The Penn Treebank's rules: punctuation is a word of its own, a full stop where the sentence ends; clitics are words
(`do n't`, `John 's`), and so are the parts of `cannot`; double quotes become `` and '', brackets -LRB- and -RRB-. CRAFT
differs in two: the hyphens and slashes of most words are words too, and square brackets stay.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from wmt_transformer.data.treebanks.trees import LEAF, Tree

BRACKETS = {"(": "-LRB-", ")": "-RRB-", "[": "-LSB-", "]": "-RSB-", "{": "-LCB-", "}": "-RCB-"}
PUNCTUATION = {
    **dict.fromkeys([".", "?", "!"], "."),
    ",": ",",
    **dict.fromkeys([":", ";", "--", "...", "\u2014", "\u2026"], ":"),
    **dict.fromkeys(["``", "`", "\u201c", "\u2018"], "``"),
    **dict.fromkeys(["''", "\u201d"], "''"),
    "$": "$",
    "#": "#",
    "-LRB-": "-LRB-",
    "-RRB-": "-RRB-",
}
"""The tags of words that have one for themselves."""

_RULES = [
    (r"^\"|(?<=[ (\[{<])\"|(?<=[ (\[{<])''(?=\S)|^''", " `` "),  # opening quotes: at the beginning, after a space
    (r"\"|''|\u201d", " '' "),
    (r"\u201c", " `` "),
    (r"\.\.\.|\u2026", " ... "),
    (r"--+|[\u2014]", " -- "),
    (r"([,:])(?!\d|//)|(?<!\d)([,:])(?!//)", r" \1\2 "),  # 1,000 and 3:45 stay, and http://
    (r"[;@#$%&?!()\[\]{}<>]", r" \g<0> "),
    (r"(\.\w)\.(?=[\])}>\"' ]*$)", r"\1. . "),  # "U.S." has a stop of its own
    (r"(?<![. ])\.(?=[\])}>\"' ]*$)", " . "),
    (r"(?<=[^' ])'(?= |$)", " ' "),
    (r"(?<=[^' ])('s|'m|'d|'ll|'re|'ve|n't)(?=[ ']|$)", r" \1"),
    (r"\b(can)(not)\b|\b(gon|wan)(na)\b|\b(got)(ta)\b|\b(gim|lem)(me)\b", r"\1\3\5\7 \2\4\6\8"),
]
_PATTERNS = [(re.compile(pattern, re.IGNORECASE), replacement) for pattern, replacement in _RULES]
_HYPHENS = re.compile(r"[-/\u2013]|[^-/\u2013]+")
_WHOLE = re.compile(
    r"--|-[A-Z]{3}-|.*://.*|(anti|co|inter|multi|non|over|post|pre|semi|sub)-\w+|\d+-fold", re.IGNORECASE
)
"""What CRAFT does not split: addresses, and what an affix makes."""


def tokenize(text: str, corpus: str = "penn_treebank") -> list[str]:
    """Returns the words of one sentence as the treebank of this name writes them: the Penn Treebank, or CRAFT.

    The Penn Treebank writes a slash or an asterisk in a word with a backslash before it: `1\\/2`.
    """
    text = text.replace("\u2019", "'").replace("\u2018", " ` ")
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    words = text.split()
    if corpus.startswith("penn"):
        words = [re.sub(r"(?<!\\)[/*]", r"\\\g<0>", word) for word in words]
    if corpus != "craft":
        return [BRACKETS.get(word, word) for word in words]
    parts = [part for word in words for part in ([word] if _WHOLE.fullmatch(word) else _HYPHENS.findall(word))]
    return [part if part in "[]" else BRACKETS.get(part, part) for part in parts]


def leaves(words: Sequence[str]) -> list[Tree]:
    """Returns the words as leaves of a tree: punctuation with its tag, all others with XX.

    A round bracket inside a word, which a tree in brackets cannot hold, is written -LRB- or -RRB-.
    """
    escaped = [word.replace("(", "-LRB-").replace(")", "-RRB-") for word in words]
    return [Tree(PUNCTUATION.get(word, LEAF), (), word) for word in escaped]
