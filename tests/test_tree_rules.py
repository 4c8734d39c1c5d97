"""Outputs that must be trees: exactly the trees are found, against all of them enumerated."""

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmt_transformer.decode import beam, sampling
from wmt_transformer.decode.lines import Part
from wmt_transformer.decode.tree_rules import TreeRules, for_vocabulary
from wmt_transformer.special_tokens import BOS, EOS, PAD

FIRST, S, S_END, NP, NP_END, SECOND, OTHER = 3, 4, 5, 6, 7, 8, 9
NAMES = [FIRST, SECOND]  # stand for words by turns
CLOSING = np.array([-1, -1, -1, -1, S_END, -1, NP_END, -1, -1, -1])
VOCABULARY = len(CLOSING)


def constituents(leaves: int, room: int) -> Iterator[list[int]]:
    """Yields the tokens of every constituent over so many leaves that takes at most `room` tokens."""
    for opening in (S, NP):
        for inside in children(leaves, room - 2):
            yield [opening, *inside, CLOSING[opening]]


def children(leaves: int, room: int) -> Iterator[list[int]]:
    """Yields the tokens of every row of one or more leaves and constituents over so many leaves."""
    if leaves > room or leaves < 1:
        return
    for first_leaves in range(1, leaves + 1):
        firsts = [[FIRST]] if first_leaves == 1 else []
        for first in [*firsts, *constituents(first_leaves, room - (leaves - first_leaves))]:
            if first_leaves == leaves:
                yield first
            else:
                for others in children(leaves - first_leaves, room - len(first)):
                    yield [*first, *others]


def trees(leaves: int, limit: int) -> set[tuple[int, ...]]:
    found = set()
    for tokens in constituents(leaves, limit - 1):
        names = itertools.cycle(NAMES)
        found.add((*(next(names) if token == FIRST else token for token in tokens), EOS))
    return found


@partial(jax.jit, static_argnames=("beam_size", "greedy"))
def compiled_search(table: jax.Array, rules: TreeRules, beam_size: int, greedy: bool) -> beam.Hypotheses:
    def step(tokens: jax.Array, cache: None, index: jax.Array) -> tuple[jax.Array, None]:
        return table[index, tokens], cache

    options: Any = {"max_length": len(table), "bos": BOS, "eos": EOS, "pad": PAD, "alpha": 0.0, "rules": rules}
    if greedy:
        return sampling.generate(step, None, rules.limits, **options)
    return beam.search(step, None, rules.limits, beam_size=beam_size, **options)


def search(table: np.ndarray, leaves: list[int], limits: list[int], beam_size: int, greedy: bool = False) -> Any:
    """Returns the outputs of each sentence and their scores, where these depend on position and last token."""
    rules = TreeRules(jnp.array(leaves), jnp.array(limits), jnp.asarray(CLOSING), jnp.array(NAMES))
    found = compiled_search(jnp.asarray(table), rules, beam_size, greedy)
    return [
        [(tuple(row[row != PAD].tolist()), float(score)) for row, score in zip(*of, strict=True) if np.isfinite(score)]
        for of in zip(*map(np.asarray, found), strict=True)
    ]


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    return np.random.default_rng(3).normal(0.0, 2.0, (10, VOCABULARY, VOCABULARY)).astype(np.float32)


def log_probability(table: np.ndarray, tokens: tuple[int, ...]) -> float:
    logits = table.astype(np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return sum(
        log_probs[i, before, after] for i, (before, after) in enumerate(zip((BOS, *tokens), tokens, strict=False))
    )


def test_the_oracle_counts_small_cases_as_a_hand_does():
    # One word: (S XX )S and (NP XX )NP take 4 with EOS; 6 leave room for a second bracket around: 2 x 2 more.
    assert [len(trees(1, limit)) for limit in (3, 4, 5, 6)] == [0, 2, 2, 6]
    # Two words in 5: one bracket around both. In 7: besides, an inner one around both, the first, or the second.
    assert [len(trees(2, limit)) for limit in (5, 7)] == [2, 2 + 3 * 4]


def test_a_wide_beam_finds_exactly_the_trees_with_the_models_own_log_probabilities(table: np.ndarray):
    leaves, limits = [1, 2, 3, 2], [9, 10, 8, 5]
    for found, count, limit in zip(search(table, leaves, limits, beam_size=250), leaves, limits, strict=True):
        expected = trees(count, limit)
        assert {tokens for tokens, _ in found} == expected and len(found) == len(expected)
        for tokens, score in found:
            assert score == pytest.approx(log_probability(table, tokens), abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_narrow_beams_and_greedy_search_give_trees_whatever_the_model_wants(seed: int):
    # A model that would rather end, never end, close or open brackets: the rules leave it room to finish.
    table = np.random.default_rng(seed).normal(0.0, 2.0, (10, VOCABULARY, VOCABULARY)).astype(np.float32)
    table[..., [EOS, S, S_END, OTHER, SECOND][seed]] += 20.0
    leaves, limits = [1, 2, 3, 4, 5], [4, 10, 10, 9, 8]
    for greedy, width in ((False, 1), (False, 2), (False, 3), (True, 1)):
        for found, count, limit in zip(search(table, leaves, limits, width, greedy), leaves, limits, strict=True):
            assert found and all(tokens in trees(count, limit) for tokens, _ in found)


def test_a_vocabularys_brackets_and_leaves_are_found_among_its_pieces():
    words = ["(S", "X1", ")S", "(NP", ")NP", "X2", "/", "(X", "cat", "("]
    pieces = {
        "<pad>": PAD,
        "<s>": BOS,
        "</s>": EOS,
        **{f"\u2581{word}": i for i, word in enumerate(words, 3)},
        "(S": 13,
    }
    parts = [Part(line=1, number=0, text="X1 The X2 cat X1 sat", source=[], prefix=[], first_word=0)]
    make = for_vocabulary(pieces, ["X1", "X2"], lambda part: len(part.text.split()) // 2)
    rules = make(parts, np.array([9, 0], np.int32))
    assert (rules.leaves.tolist(), rules.limits.tolist()) == ([3, 0], [9, 0])
    assert rules.closing.tolist() == [-1, -1, -1, 5, -1, -1, 7, *[-1] * 7]  # nothing closes (X
    assert rules.names.tolist() == [4, 8]
