"""Terms that outputs must contain: against all outputs enumerated, against a slow twin, and whatever the model wants.

The model is a random table, as in test_beam.py; what an output contains is counted place by place.
"""

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_beam import Scored, assert_equal, every_hypothesis, log_softmax, penalty, random_table, trim
from test_beam import search as unconstrained

from wmt_transformer.decode import beam, constraints
from wmt_transformer.decode.constraints import Constraints
from wmt_transformer.special_tokens import BOS, EOS, PAD

Terms = list[tuple[int, ...]]


@partial(jax.jit, static_argnames=("beam_size",))
def compiled_search(
    table: jax.Array, limits: jax.Array, alpha: jax.Array, terms: Constraints, beam_size: int
) -> beam.Hypotheses:
    def step(tokens: jax.Array, cache: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        return table[jnp.arange(len(table))[:, None], index, cache[:, :, 0], tokens], tokens[:, :, None]

    cache = jnp.zeros((len(table), beam_size, 1), jnp.int32)
    options: Any = {"max_length": table.shape[1], "bos": BOS, "eos": EOS, "pad": PAD, "constraints": terms}
    return beam.search(step, cache, limits, beam_size=beam_size, alpha=alpha, **options)


def search(table: np.ndarray, limits: list[int], terms: list[Terms], beam_size: int, alpha: float) -> list[Scored]:
    made = constraints.of_rows(terms, len(terms), 8)
    found = compiled_search(jnp.asarray(table), jnp.asarray(limits), jnp.float32(alpha), made, beam_size)
    return [
        [(trim(ids), float(score)) for ids, score in zip(*rows, strict=True) if np.isfinite(score)]
        for rows in zip(*map(np.asarray, found), strict=True)
    ]


def times(term: tuple[int, ...], tokens: tuple[int, ...]) -> int:
    return sum(tokens[place : place + len(term)] == term for place in range(len(tokens)))


def contains(tokens: tuple[int, ...], terms: Terms) -> bool:
    return all(times(term, tokens) >= terms.count(term) for term in terms)


def bank(tokens: tuple[int, ...], terms: Terms) -> int:
    """Returns how many pieces a hypothesis has: of whole terms, and of the longest one that its end begins."""
    done = sum(min(times(term, tokens), terms.count(term)) * len(term) for term in set(terms))
    open_ = [term for term in terms if times(term, tokens) < terms.count(term)]
    return done + max([n for term in open_ for n in range(1, len(term)) if tokens[-n:] == term[:n]], default=0)


def needed(tokens: tuple[int, ...], terms: Terms) -> set[int]:
    """Returns the next piece of each term that must still come."""
    open_ = [term for term in terms if times(term, tokens) < terms.count(term)]
    return {term[max([n for n in range(1, len(term)) if tokens[-n:] == term[:n]], default=0)] for term in open_}


def twin(table: np.ndarray, limit: int, terms: Terms, beam_size: int, alpha: float) -> Scored:
    """Returns what the same search finds one hypothesis at a time; it never stops early."""
    running: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    finished: Scored = []
    for position in range(limit):
        candidates = []
        for ids, total in running:
            before = [PAD, BOS, *ids]
            scores = log_softmax(table[position, before[-2], before[-1]])
            for token in range(len(scores)):
                if token not in (PAD, BOS) and (token != EOS or contains(ids, terms)):
                    candidates.append(((*ids, token), total + scores[token]))
        banks: dict[int, list[Any]] = {}
        for one in sorted(candidates, key=lambda one: -one[1]):
            banks.setdefault(bank(one[0], terms), []).append(one)
        turns = [(rank, -number, one) for number, of_bank in banks.items() for rank, one in enumerate(of_bank)]
        chosen = [one for *_, one in sorted(turns, key=lambda turn: turn[:2])]
        finished += [(ids, total / penalty(len(ids), alpha)) for ids, total in chosen[:beam_size] if ids[-1] == EOS]
        running = sorted([one for one in chosen if one[0][-1] != EOS][:beam_size], key=lambda one: -one[1])
    cut = [(ids, total / penalty(limit, alpha)) for ids, total in running if contains(ids, terms)]
    return (sorted(finished, key=lambda one: -one[1]) + cut)[:beam_size]


TERMS: list[Terms] = [
    [(3,)],
    [(3, 4)],
    [(4, 4, 3)],
    [(5,), (3, 4)],
    [(3,), (3,)],
    [(3, 3), (3, 3)],
    [(4, 3), (3, 5)],
    [],
]
"""A piece, a term, one that begins as it goes on, two terms, the same twice, overlapping, ends as another begins."""


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_a_beam_wide_enough_finds_the_best_of_all_outputs_that_contain_the_terms(alpha: float):
    table, limits = random_table(seed=11, batch=len(TERMS), vocabulary=6, length=4), [4, 4, 4, 4, 3, 3, 4, 2]
    found = search(table, limits, TERMS, beam_size=130, alpha=alpha)
    for hypotheses, one, limit, terms in zip(found, table, limits, TERMS, strict=True):
        every = [(ids, total / penalty(len(ids), alpha)) for ids, total in every_hypothesis(one, limit)]
        expected = sorted(
            [one for one in every if contains(one[0], terms)], key=lambda one: (one[0][-1] != EOS, -one[1])
        )
        assert expected
        assert_equal([hypotheses], [expected[:130]])


@pytest.mark.parametrize("beam_size", [9, 12])
@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_a_narrow_beam_equals_its_slow_twin(beam_size: int, alpha: float):
    terms: list[Terms] = [*TERMS, [(6, 7, 8), (8,), (3, 4)], [(6,), (7, 8), (7, 8), (7, 3)]]
    table, limits = random_table(seed=12, batch=len(terms), vocabulary=9, length=12), [12, 11, 9, 8, 7, 7, 6, 5, 12, 11]
    found = search(table, limits, terms, beam_size, alpha)
    expected = [twin(*one, beam_size, alpha) for one in zip(table, limits, terms, strict=True)]
    assert_equal(found, expected)


@pytest.mark.parametrize("seed", range(6))
def test_every_output_contains_its_terms_whatever_the_model_wants(seed: int):
    random = np.random.default_rng(seed)
    terms = []
    for _ in range(12):
        pieces = int(random.integers(1, 9))  # of one row
        cuts = np.unique([0, *random.integers(0, pieces, 3), pieces])
        letters = tuple(random.integers(3, 10, pieces).tolist())
        terms.append([letters[start:end] for start, end in itertools.pairwise(cuts)])
    table = random_table(seed, batch=12, vocabulary=10, length=9)
    table[..., [EOS, 3, 9, 4, 5, EOS][seed]] += 20.0  # would rather end at once, or say one thing for ever
    for hypotheses, of_row in zip(search(table, [9] * 12, terms, 9, 0.6), terms, strict=True):
        assert hypotheses and all(contains(ids, of_row) for ids, _ in hypotheses), (of_row, hypotheses)


def test_without_terms_it_is_the_search_that_knows_of_none():
    table, limits = random_table(seed=13, batch=6, vocabulary=8, length=10), [10, 2, 7, 0, 5, 10]
    found = search(table, limits, [[]] * 6, 4, 0.6)
    assert_equal(found, unconstrained(table, limits, 4, 0.6))


def test_a_sentence_is_searched_alike_alone_and_in_a_batch():
    table = random_table(seed=14, batch=len(TERMS), vocabulary=6, length=8)
    together = search(table, [8] * len(TERMS), TERMS, 9, 0.6)
    for row, terms in enumerate(TERMS):
        assert_equal(search(table[row : row + 1], [8], [terms], 9, 0.6), [together[row]])
