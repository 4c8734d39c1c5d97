"""Words in, trees out: a translator whose translations are brackets, as a parser (§6.3).

The model writes the brackets of a sentence, with one XX for each word (see `data/treebanks/trees.py`). Whatever it
writes becomes a tree over exactly the words that went in. It predicts no parts of speech: leaves keep their tags.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from wmt_transformer.config import UserError
from wmt_transformer.data.treebanks import corpora, trees
from wmt_transformer.data.treebanks import words as treebank_words
from wmt_transformer.data.treebanks.trees import Repairs, Tree
from wmt_transformer.decode import tree_rules
from wmt_transformer.decode.batched import MakeRule
from wmt_transformer.decode.generate import Translator
from wmt_transformer.decode.texts import one_or_all
from wmt_transformer.experiment import run_config


class Parse(NamedTuple):
    """A sentence's tree."""

    tree: Tree
    repairs: Repairs
    """What the model's output needed to become this tree."""
    score: float
    """Log-probability of the output, divided by the length penalty."""


class Parser:
    """Parses sentences with a run that was trained on a treebank.

    >>> import wmt_transformer as wt
    >>> parser = wt.Parser.load("runs/parsing_craft")
    >>> parser
    Parser(runs/parsing_craft, step ..., ... parameters, ...)
    >>> parser.parse("The cat sees a dog.").tree.words()
    ['The', 'cat', 'sees', 'a', 'dog', '.']
    >>> [str(one.tree) for one in parser.parse(["The cat sat.", "It sleeps."], constrained=True)]
    ['(...)', '(...)']
    """

    def __init__(self, translator: Translator):
        self.translator = translator

    def __repr__(self) -> str:
        return f"Parser{repr(self.translator).removeprefix('Translator')}"

    @classmethod
    def load(
        cls,
        workdir: str | os.PathLike[str],
        checkpoint: str | int | None = None,
        warn: Callable[[str], None] = warnings.warn,
    ) -> Parser:
        """Reads a trained parser: `checkpoint` is average, best, latest or a step.

        None is the average where there is one, otherwise the best. `warn` is told of one that is not the newest.
        Raises UserError where the folder holds no run of a treebank, or no such checkpoint.
        """
        corpus = run_config(Path(workdir)).data.corpus
        if corpus not in corpora.CORPORA:
            raise UserError(f"{workdir} holds a run of {corpus}, which is no treebank; use translate")
        return cls(Translator.load(workdir, checkpoint, warn=warn))

    @one_or_all
    def parse(
        self,
        texts: list[str],
        beam_size: int | None = None,
        alpha: float | None = None,
        *,
        tokenized: bool = False,
        constrained: bool = False,
        first_line: int = 1,
    ) -> list[Parse]:
        """Returns the tree of a sentence, or a list of those of several.

        Args:
          texts: one sentence, or any iterable of them; they are split into words as the treebank's were.
          beam_size, alpha: of the search (default: the config's).
          tokenized: words are separated by white space already, as in trees.
          constrained: the model can write nothing but trees over the words.
          first_line: the number of the first sentence in errors.

        Raises TypeError for what is no text, UserError for a sentence without a word, and for one that is longer than
        any in training.
        """
        corpus = self.translator.data.corpus
        leaves = [
            treebank_words.leaves(trees.split(text) if tokenized else treebank_words.tokenize(text, corpus))
            for text in texts
        ]
        check_lengths(self.translator, leaves, first_line)
        return parse(self.translator, leaves, beam_size, alpha, constrained=constrained)

    def warm_up(self, texts: int | None = None, beam_size: int | None = None, *, constrained: bool = False) -> int:
        """Compiles every program that `parse` may need; returns how many there are (see `Translator.warm_up`)."""
        rule = _rule(self.translator, []) if constrained else None
        return self.translator.warm_up(texts, self.translator.request(beam_size=beam_size, rule=rule))


def parse(
    translator: Translator,
    sentences: Sequence[Sequence[Tree]],
    beam_size: int | None = None,
    alpha: float | None = None,
    warn: Callable[[str], None] | None = None,
    constrained: bool = False,
) -> list[Parse]:
    """Returns the tree of each sentence, which is given by its leaves: at least one, words with their tags.

    `beam_size` and `alpha` are the config's by default; `warn` is told of sentences longer than any in training.
    `constrained` lets the model write nothing but trees over the words.
    """
    lines = [_source(translator, leaves) for leaves in sentences]
    rule = _rule(translator, sentences) if constrained else None
    found = translator.n_best(lines, 1, beam_size, alpha, warn, rule=rule)
    return [
        Parse(*trees.restore(best.text.split(), leaves), best.score)
        for (best,), leaves in zip(found, sentences, strict=True)
    ]


def check_lengths(translator: Translator, sentences: Sequence[Sequence[Tree]], first_line: int = 1) -> None:
    """Raises UserError for a sentence without a word, and for one that is longer than any in training."""
    for number, leaves in enumerate(sentences, first_line):
        if not leaves:
            raise UserError(f"line {number} is empty; give one sentence a line")
        pieces = len(translator.vocabulary.encode(_source(translator, leaves)))
        if pieces >= translator.longest:
            raise UserError(
                f"line {number} has {pieces} pieces, training saw at most {translator.longest - 1} (data.max_length); "
                "a tree cannot be joined from parts: give shorter sentences, one a line"
            )


def _rule(translator: Translator, sentences: Sequence[Sequence[Tree]]) -> MakeRule:
    names = trees.names(translator.data.tree_leaves == "numbers")
    # Leaves are counted, not words between spaces: a treebank's word may have a no-break space in it.
    return tree_rules.for_vocabulary(translator.vocabulary.ids(), names, lambda part: len(sentences[part.line - 1]))


def _source(translator: Translator, leaves: Sequence[Tree]) -> str:
    words = [leaf.word or "" for leaf in leaves]
    return " ".join(trees.number(words) if translator.data.tree_leaves == "numbers" else words)
