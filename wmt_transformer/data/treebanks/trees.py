"""Constituency trees: Penn brackets in and out, the usual clean-up, and trees as sequences of tokens (§6.3).

A tree becomes the tokens that Vinyals et al. 2014 (Grammar as a Foreign Language) trained on: depth first, a label on
the closing bracket too, every word with its part of speech as XX: `(S (NP XX XX )NP (VP XX )VP )S`. A small model
takes long to learn which word it has come to. Where words are numbered in both, `X1 The X2 cat X3 sat` and `(S (NP X1
X2 )NP (VP X3 )VP )S`, it can read that. The words are not repeated, so the way back takes them from the input. What a
model writes need not be a tree: `restore` makes one over exactly these words from any tokens, and counts what it had to
mend.

Nothing here recurses: how deep a tree may be does not depend on Python's stack.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from wmt_transformer.config import UserError
from wmt_transformer.data.vocabulary import normalise
from wmt_transformer.reading import read_lines

LEAF = "XX"
"""What a word and its part of speech become."""
NUMBERS = 64
"""Words are numbered from 1 to this, and then again from 1."""
TOPS = ("TOP", "ROOT", "S1")
"""Labels of the bracket around a whole sentence, which is no constituent; some treebanks leave it without one."""

_TOKEN = re.compile(r"[()]|[^()\s]+", re.ASCII)
"""In a file of trees ASCII's white space parts words, as in treebank tools: a no-break space may be inside a word."""


def split(line: str) -> list[str]:
    """Returns the words of a tokenised sentence, which the white space of trees separates."""
    return re.findall(r"\S+", line, re.ASCII)


@dataclasses.dataclass(frozen=True)
class Tree:
    """A constituent with children, or a leaf: a word (not None) whose label is its part of speech."""

    label: str
    children: tuple[Tree, ...] = ()
    word: str | None = None

    def leaves(self) -> list[Tree]:
        """Returns the leaves in the order of the sentence."""
        return [node for node, opens in walk(self) if opens and node.word is not None]

    def words(self) -> list[str]:
        """Returns the words of the sentence."""
        return [leaf.word or "" for leaf in self.leaves()]

    def __str__(self) -> str:
        """Returns the tree as one line of Penn brackets: `(S (NP (DT The) (NN cat)) (VP (VBD sat)))`."""
        parts = []
        for node, opens in walk(self):
            if node.word is not None:
                parts.append(f" ({node.label} {node.word})" if opens else "")
            else:
                parts.append(f" ({node.label}" if opens else ")")
        return "".join(parts).removeprefix(" ")


def walk(tree: Tree) -> Iterator[tuple[Tree, bool]]:
    """Yields every node twice, depth first: (node, True) before its children and (node, False) after them."""
    waiting = [(tree, True)]
    while waiting:
        node, opens = waiting.pop()
        yield node, opens
        if opens:
            waiting.append((node, False))
            waiting += [(child, True) for child in reversed(node.children)]


# ---- Reading Penn brackets


def read_file(path: str | os.PathLike[str]) -> Iterator[Tree]:
    """Yields the trees of a UTF-8 file, plain or .gz, one a line or over several, as they are.

    Raises UserError for brackets that are no tree, with file, line and column.
    """
    return read(read_lines(path), str(path))


def read(lines: Iterable[str], name: str, first_line: int = 1) -> Iterator[Tree]:
    """Yields the trees in these lines; `name` and `first_line` tell in errors where they come from."""
    open_: list[_Open] = []
    place = ""
    for number, line in enumerate(lines, first_line):
        for match in _TOKEN.finditer(line):
            token, place = match[0], f"{name}, line {number}, column {match.start() + 1}"
            if token == "(":
                if open_ and len(open_[-1].texts) > 1:
                    raise UserError(f"{place}: a bracket after the word {open_[-1].texts[1]!r}; close the word first")
                open_.append(_Open(place, [], []))
            elif not open_:
                raise UserError(f"{place}: {token!r} is outside any tree; a tree begins with ( and ends with )")
            elif token == ")":
                tree = open_.pop().closed(place)
                if open_:
                    open_[-1].children.append(tree)
                else:
                    yield tree
            elif open_[-1].children or len(open_[-1].texts) > 1:
                raise UserError(f"{place}: unexpected {token!r}; a word is in brackets of its own: (NN {token})")
            else:
                open_[-1].texts.append(token)
    if open_:
        raise UserError(f"{open_[0].place}: this tree is never closed; {len(open_)} closing brackets are missing")


class _Open(NamedTuple):
    """A bracket that is not closed yet: its place, its label and word, its children."""

    place: str
    texts: list[str]
    children: list[Tree]

    def closed(self, place: str) -> Tree:
        if self.children:
            return Tree("".join(self.texts), tuple(self.children))
        if len(self.texts) < 2:
            raise UserError(f"{place}: an empty tree; a bracket holds a label and a word, or a label and trees")
        return Tree(self.texts[0], (), self.texts[1])


# ---- Clean-up


def clean(tree: Tree) -> Tree | None:
    """Returns the tree as parsers are trained and scored on, None where nothing is left of it.

    Traces (-NONE-) go, and the constituents that they leave empty; their labels lose functions and indices (NP-SBJ-1,
    NP=2); PRT becomes ADVP, no label TOP; the TOP bracket around a single constituent goes. EVALB does the same, so it
    scores a cleaned tree as it does the tree itself (but for ROOT, S1 and brackets without a label, which it counts).
    """
    above: list[list[Tree]] = [[]]
    for node, opens in walk(tree):
        if opens:
            above.append([])
            continue
        children = tuple(above.pop())
        if node.word is None and children:
            above[-1].append(Tree(_bare(node.label), children))
        elif node.word is not None and node.label != "-NONE-":
            above[-1].append(Tree(node.label, (), node.word))
    if not above[0]:
        return None
    (top,) = above[0]
    while top.label in TOPS and len(top.children) == 1 and top.children[0].word is None:
        (top,) = top.children
    if top.word is not None:
        return Tree("TOP", (top,))
    return Tree("TOP", top.children) if top.label in TOPS else top


def _bare(label: str) -> str:
    label = re.split("[-=]", normalise(label).replace(" ", "_"), maxsplit=1)[0]  # one word to the vocabulary, too
    return "ADVP" if label == "PRT" else label or "TOP"


# ---- Trees as tokens, and back


def names(numbered: bool) -> list[str]:
    """Returns the leaf of the first word, of the second and so on, and then again from the first."""
    return [f"X{number}" for number in range(1, NUMBERS + 1)] if numbered else [LEAF]


def linearise(tree: Tree, numbered: bool = False) -> list[str]:
    """Returns the tokens of a cleaned tree: `(S`, `(NP`, `XX`, `)NP`, …; numbered, X1 for the first word and so on."""
    leaves = itertools.cycle(names(numbered))
    return [
        ("(" if opens else ")") + node.label if node.word is None else next(leaves)
        for node, opens in walk(tree)
        if opens or node.word is None
    ]


def number(words: Iterable[str]) -> list[str]:
    """Returns the words, each after the leaf that it has in a numbered tree: `X1`, `The`, `X2`, `cat` and so on."""
    leaves = itertools.cycle(names(numbered=True))
    return [token for word in words for token in (next(leaves), word)]


def is_leaf(token: str) -> bool:
    """Tells whether a token is that of a word."""
    return token == LEAF or (token.startswith("X") and token[1:].isdigit())


class Repairs(NamedTuple):
    """What `restore` had to mend; all 0 for the tokens of a tree."""

    closed: int = 0
    """Brackets that were not closed."""
    dropped: int = 0
    """Closing brackets that nothing opened, constituents without a word, tokens that are none of ours."""
    leaves: int = 0
    """Words that the tokens left out, or leaves for which there was no word."""
    tops: int = 0
    """Whether there was not exactly one tree: its parts are now under TOP."""


def restore(tokens: Iterable[str], leaves: Sequence[Tree]) -> tuple[Tree, Repairs]:
    """Returns a tree over exactly these leaves from any tokens, and what had to be mended.

    A closing bracket closes what was opened inside it and is still open; one that matches nothing open is dropped,
    and so are surplus leaves. Words that have no leaf go to the end of the outermost constituent. There has
    to be at least one leaf; `restore(linearise(tree), tree.leaves())` is the cleaned tree itself.
    """
    top: list[Tree] = []
    open_: list[tuple[str, list[Tree]]] = []
    used = closed = dropped = surplus = 0

    def close() -> int:
        """Closes the innermost bracket; returns 1 where it was empty and is dropped."""
        label, children = open_.pop()
        (open_[-1][1] if open_ else top).extend([Tree(label, tuple(children))] if children else [])
        return not children

    for token in tokens:
        if is_leaf(token) and used < len(leaves):
            (open_[-1][1] if open_ else top).append(leaves[used])
            used += 1
        elif is_leaf(token):
            surplus += 1
        elif token.startswith("(") and len(token) > 1:
            open_.append((token[1:], []))
        elif token.startswith(")") and any(label == token[1:] for label, _ in open_):
            while open_[-1][0] != token[1:]:
                closed += 1
                dropped += close()
            dropped += close()
        else:
            dropped += 1
    closed += len(open_)
    while len(open_) > 1:
        dropped += close()
    missing = list(leaves[used:])
    if open_:
        open_[0][1].extend(missing)
        dropped += close()
    elif missing and len(top) == 1 and top[0].word is None:
        top = [Tree(top[0].label, (*top[0].children, *missing))]
    else:
        top += missing
    single = len(top) == 1 and top[0].word is None
    tree = top[0] if single else Tree("TOP", tuple(top))
    return tree, Repairs(closed, dropped, surplus + len(missing), int(not single))
