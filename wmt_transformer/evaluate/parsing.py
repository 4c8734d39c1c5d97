"""Scores of parse trees by the rules of EVALB with its COLLINS.prm, as in Table 4 and all the work it cites (§6.3).

A constituent is right when the gold tree has one of the same label over the same words. Before that, EVALB deletes the
top label, traces and punctuation, and what is then empty; removes functions and indices from labels (NP-SBJ-1, NP=2);
and counts PRT as ADVP. Tags, right or wrong, decide which words are punctuation: where gold and predicted tree differ
in that, they have other words left, and EVALB counts the sentence as an error, which is in no score but the number of
sentences. `table` and `summary` print what EVALB prints, digit for digit.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from wmt_transformer.config import UserError
from wmt_transformer.data.treebanks.trees import Tree, read, walk
from wmt_transformer.messages import number_of
from wmt_transformer.reading import read_lines

TRACE = "-NONE-"
DELETED = frozenset({"TOP", TRACE, ",", ":", "``", "''", "."})
"""Tags that are deleted with their words, and labels that are deleted alone."""
EQUIVALENT = {"PRT": "ADVP"}
VALID, ERROR, SKIPPED = 0, 1, 2
"""EVALB's status of a sentence: scored; the words left after deletion differ; no words are left of the parse."""


class Sentence(NamedTuple):
    """EVALB's counts of one sentence; where it is not valid, all but its length are 0."""

    length: int
    """Words of the gold tree, punctuation included, traces not."""
    status: int
    """VALID, ERROR or SKIPPED."""
    matched: int = 0
    """Constituents that both trees have."""
    gold: int = 0
    """Constituents of the gold tree."""
    predicted: int = 0
    """Constituents of the predicted tree."""
    crossing: int = 0
    """Predicted constituents that overlap with one of the gold tree, neither within the other."""
    words: int = 0
    """Words that were not deleted."""
    tags: int = 0
    """Words with the right tag."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores of many sentences, in percent except the mean `crossing`; 0 instead of a division by 0."""

    recall: float
    precision: float
    f1: float
    exact_match: float
    """Sentences all of whose constituents are right."""
    crossing: float
    """Crossing constituents per sentence."""
    no_crossing: float
    two_or_less_crossing: float
    tagging: float
    sentences: int
    errors: int
    skipped: int

    @property
    def valid(self) -> int:
        """Sentences that the scores are of."""
        return self.sentences - self.errors - self.skipped


def compare(gold: Tree, predicted: Tree | None) -> Sentence:
    """Returns EVALB's counts of a predicted tree; None is a sentence without one."""
    length = sum(leaf.label != TRACE for leaf in gold.leaves())
    ours, theirs = _flatten(gold), _flatten(predicted)
    if not theirs.words:
        return Sentence(length, SKIPPED)
    if ours.words != theirs.words:
        return Sentence(length, ERROR)
    spans = {(start, end) for start, end, _ in ours.constituents}
    return Sentence(
        length,
        VALID,
        # Several with the same label and words are found one by one.
        matched=(Counter(ours.constituents) & Counter(theirs.constituents)).total(),
        gold=len(ours.constituents),
        predicted=len(theirs.constituents),
        crossing=sum(
            any(a < start < b < end or start < a < end < b for a, b in spans) for start, end, _ in theirs.constituents
        ),
        words=len(ours.words),
        tags=sum(one == other for one, other in zip(ours.tags, theirs.tags, strict=True)),
    )


def total(sentences: Iterable[Sentence], max_length: int | None = None) -> Scores:
    """Returns the scores of all sentences, or of those of at most `max_length` words."""
    counted = [one for one in sentences if max_length is None or one.length <= max_length]
    valid = [one for one in counted if one.status == VALID]
    sums = _sums(valid)

    def percent(part: int, whole: int) -> float:
        return 100.0 * part / whole if whole else 0.0

    recall, precision = percent(sums.matched, sums.gold), percent(sums.matched, sums.predicted)
    return Scores(
        recall,
        precision,
        f1=2 * precision * recall / (precision + recall) if sums.matched else 0.0,
        exact_match=percent(sum(one.matched == one.gold == one.predicted for one in valid), len(valid)),
        crossing=sums.crossing / len(valid) if valid else 0.0,
        no_crossing=percent(sum(one.crossing == 0 for one in valid), len(valid)),
        two_or_less_crossing=percent(sum(one.crossing <= 2 for one in valid), len(valid)),
        tagging=percent(sums.tags, sums.words),
        sentences=len(counted),
        errors=sum(one.status == ERROR for one in counted),
        skipped=sum(one.status == SKIPPED for one in counted),
    )


def summary(sentences: Sequence[Sentence], max_length: int) -> str:
    """Returns EVALB's summary: the scores of all sentences, then of those of at most `max_length` words."""
    lines = ["=== Summary ==="]
    for title, limit in (("All", None), (f"len<={max_length}", max_length)):
        scores = total(sentences, limit)
        counts = {
            "Number of sentence": scores.sentences,
            "Number of Error sentence": scores.errors,
            "Number of Skip  sentence": scores.skipped,
            "Number of Valid sentence": scores.valid,
        }
        figures = {
            "Bracketing Recall": scores.recall,
            "Bracketing Precision": scores.precision,
            "Bracketing FMeasure": scores.f1,
            "Complete match": scores.exact_match,
            "Average crossing": scores.crossing,
            "No crossing": scores.no_crossing,
            "2 or less crossing": scores.two_or_less_crossing,
            "Tagging accuracy": scores.tagging,
        }
        lines += ["", f"-- {title} --"]
        lines += [f"{name:25} = {count:6d}" for name, count in counts.items()]
        lines += [f"{name:25} = {figure:6.2f}" for name, figure in figures.items()]
    return "\n".join(lines)


_RULE = "=" * 76
_HEAD = f"""\
  Sent.                        Matched  Bracket   Cross        Correct Tag
 ID  Len.  Stat. Recal  Prec.  Bracket gold test Bracket Words  Tags Accracy
{_RULE}"""


def table(sentences: Sequence[Sentence]) -> str:
    """Returns EVALB's line for each sentence and for all of them, under its heading."""
    lines = [_HEAD]
    for number, one in enumerate(sentences, 1):
        scores = total([one])
        lines.append(
            f"{number:4d}  {one.length:3d}    {one.status}  {scores.recall:6.2f} {scores.precision:6.2f}   "
            f"{one.matched:3d}    {one.gold:3d}  {one.predicted:3d}    {one.crossing:3d}   "
            f"{one.words:4d}  {one.tags:4d}   {scores.tagging:6.2f}"
        )
    scores, sums = total(sentences), _sums(sentences)
    brackets = (
        f"{'':16}{scores.recall:6.2f} {scores.precision:6.2f} {sums.matched:6d} {sums.gold:5d} {sums.predicted:5d}  "
        f"{sums.crossing:5d}"
    )
    words = f"  {sums.words:5d} {sums.tags:5d}   {scores.tagging:6.2f}"
    return "\n".join([*lines, _RULE, (brackets if sums.gold and sums.predicted else "") + words])


def _sums(sentences: Iterable[Sentence]) -> Sentence:
    return Sentence(*map(sum, zip(Sentence(0, VALID), *sentences, strict=True)))


# ---- Files of trees


def read_pairs(gold: str, predicted: str) -> list[tuple[Tree, Tree | None]]:
    """Returns each gold tree of a file with the predicted one of another file, None for a failed parse.

    Trees are one a line, or over several as in a treebank. A failed parse is a line without a word: blank, or brackets
    alone, such as the `(())` of Charniak's and Berkeley's parsers. As in EVALB, brackets without a word in a predicted
    tree do not count. Several trees in one predicted line become one, under TOP. Raises UserError when the files differ
    in their number of trees or in the words of one, and for what is no tree.
    """
    ours, theirs = numbered_trees(gold), numbered_trees(predicted, predicted=True)
    if len(ours) != len(theirs):
        raise UserError(
            f"{gold} has {number_of(len(ours), 'tree')} and {predicted} {len(theirs)}: number "
            f"{min(len(ours), len(theirs)) + 1} has no other; tree k of both must be of the same sentence, or the "
            "predicted one a blank line"
        )
    if not ours:
        raise UserError(f"{gold} is empty; give one tree for each sentence")
    pairs = []
    for (place, one), (other_place, other) in zip(ours, theirs, strict=True):
        if one is None:
            raise UserError(f"{place} is blank; every gold sentence needs its tree")
        for expected, found in itertools.zip_longest(_words(one), _words(other)) if other else ():
            if expected != found:
                found, expected = (repr(word) if word else "no more words" for word in (found, expected))
                raise UserError(f"{other_place}: {found} where {place} has {expected}; both must be of the same words")
        pairs.append((one, other))
    return pairs


_EMPTY = re.compile(r"\(\s*[^()\s]*\s*\)", re.ASCII)
"""A bracket without a word, with its label if it has one."""


def numbered_trees(path: str, predicted: bool = False) -> list[tuple[str, Tree | None]]:
    """Returns the trees of a file and the place of each; where there is one a line, None for a line without a word.

    Brackets without a word are left out of `predicted` trees; in others they are a mistake.
    """
    lines = list(read_lines(path))
    if predicted:
        lines = [_without_empty(line) for line in lines]
    if any(line.count("(") != line.count(")") for line in lines):
        return [(f"{path}, tree {number}", tree) for number, tree in enumerate(read(lines, path), 1)]
    trees = []
    for number, line in enumerate(lines, 1):
        found = list(read([line], path, number))
        tree = Tree("TOP", tuple(found)) if len(found) > 1 else found[0] if found else None
        trees.append((f"{path}, line {number}", tree))
    return trees


def _without_empty(line: str) -> str:
    """Returns the line with spaces in place of brackets without a word, so that columns stay the same."""
    while (blanked := _EMPTY.sub(lambda empty: " " * len(empty[0]), line)) != line:
        line = blanked
    return line


def _words(tree: Tree) -> list[str]:
    return [leaf.word or "" for leaf in tree.leaves() if leaf.label != TRACE]


# ---- What of a tree counts


class _Flat(NamedTuple):
    words: list[str]
    tags: list[str]
    constituents: list[tuple[int, int, str]]


def _flatten(tree: Tree | None) -> _Flat:
    """Returns words, tags and constituents (first word, the word after the last, label) without the deleted ones."""
    flat = _Flat([], [], [])
    starts: list[int] = []
    for node, opens in walk(tree) if tree else ():
        if opens:
            starts.append(len(flat.words))
            continue
        start = starts.pop()
        if node.word is not None:
            if node.label not in DELETED:
                flat.words.append(node.word)
                flat.tags.append(EQUIVALENT.get(node.label, node.label))
        elif start < len(flat.words):
            label = re.split("[-=]", node.label, maxsplit=1)[0]
            if label not in DELETED:
                flat.constituents.append((start, len(flat.words), EQUIVALENT.get(label, label)))
    return flat
