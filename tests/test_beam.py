"""Beam search against exhaustive search, against a slow and obvious twin, and against hand-made cases.

The model of these tests is a random table of logits by sentence, position and the last two tokens. The token
before the last comes through the cache, so a hypothesis continued with another's cache gets wrong scores.
"""

import itertools
import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmt_transformer.decode import beam, token_scores
from wmt_transformer.decode.rules import Rules
from wmt_transformer.special_tokens import BOS, EOS, PAD

Scored = list[tuple[tuple[int, ...], float]]  # hypotheses of one sentence and their scores, best first


def random_table(seed: int, batch: int, vocabulary: int, length: int) -> np.ndarray:
    """Returns logits by sentence, position, the token before the last, the last token, and the next."""
    shape = (batch, length, vocabulary, vocabulary, vocabulary)
    return np.random.default_rng(seed).normal(0.0, 2.0, shape).astype(np.float32)


def looked_up(table: jax.Array, tokens: jax.Array, cache: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Is a `beam.Step` for the sentences of a table."""
    return table[jnp.arange(len(table))[:, None], index, cache[:, :, 0], tokens], tokens[:, :, None]


@partial(jax.jit, static_argnames=("beam_size", "num_results", "stop_early", "halved"))
def compiled_search(
    table: jax.Array, limits: jax.Array, alpha: jax.Array, beam_size: int, halved: bool = False, **options: Any
) -> beam.Hypotheses:
    batch, length = table.shape[:2]
    settings: Any = {"beam_size": beam_size, "max_length": length, "alpha": alpha, "bos": BOS, "eos": EOS, "pad": PAD}
    if halved:
        settings["fewer"] = lambda chosen: partial(looked_up, table[chosen])
    step, cache = partial(looked_up, table), jnp.zeros((batch, beam_size, 1), jnp.int32)
    return beam.search(step, cache, limits, **settings, **options)


def search(table: np.ndarray, limits: list[int], beam_size: int, alpha: float, **options: Any) -> list[Scored]:
    """Returns what `beam.search` finds in the table, as plain lists."""
    arguments = jnp.asarray(table), jnp.asarray(limits), jnp.float32(alpha)
    tokens, scores = map(np.asarray, compiled_search(*arguments, beam_size, **options))
    assert tokens.shape[2] == table.shape[1]
    return [
        [(trim(ids), float(score)) for ids, score in zip(*rows, strict=True) if np.isfinite(score)]
        for rows in zip(tokens, scores, strict=True)
    ]


def trim(ids: np.ndarray) -> tuple[int, ...]:
    """Returns the tokens without the padding behind, where alone padding may stand."""
    length = int((ids != PAD).sum())
    assert (ids[length:] == PAD).all()
    return tuple(int(token) for token in ids[:length])


def log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits.astype(np.float64)
    return logits - np.log(np.exp(logits).sum())


def penalty(length: int, alpha: float) -> float:
    return ((5 + length) / 6) ** alpha


def every_hypothesis(table: np.ndarray, limit: int) -> Iterator[tuple[tuple[int, ...], float]]:
    """Yields every hypothesis of one sentence, ended or cut at the limit, with its log-probability."""
    words = [token for token in range(table.shape[-1]) if token not in (PAD, BOS, EOS)]
    for length in range(1, limit + 1):
        last = [EOS, *words] if length == limit else [EOS]
        for body in itertools.product(words, repeat=length - 1):
            for end in last:
                ids = (*body, end)
                before = [PAD, BOS, *ids]
                yield (
                    ids,
                    sum(log_softmax(table[t, before[t], before[t + 1]])[token] for t, token in enumerate(ids)),
                )


def exhaustive(table: np.ndarray, limit: int, count: int, alpha: float) -> Scored:
    """Returns the best of all hypotheses, those that end first: what a beam that drops nothing must find."""
    found = [(ids, total / penalty(len(ids), alpha)) for ids, total in every_hypothesis(table, limit)]
    return sorted(found, key=lambda one: (one[0][-1] != EOS, -one[1]))[:count]


def twin(table: np.ndarray, limit: int, beam_size: int, alpha: float) -> Scored:
    """Returns what the same search finds one hypothesis and one token at a time; it never stops early."""
    running: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    finished: Scored = []
    for position in range(limit):
        candidates = []
        for ids, total in running:
            before = [PAD, BOS, *ids]
            scores = log_softmax(table[position, before[-2], before[-1]])
            allowed = [token for token in range(len(scores)) if token not in (PAD, BOS)]
            candidates += [((*ids, token), total + scores[token]) for token in allowed]
        candidates.sort(key=lambda one: -one[1])
        finished += [(ids, total / penalty(len(ids), alpha)) for ids, total in candidates[:beam_size] if ids[-1] == EOS]
        running = [one for one in candidates[: 2 * beam_size] if one[0][-1] != EOS][:beam_size]
    finished.sort(key=lambda one: -one[1])
    cut = [(ids, total / penalty(limit, alpha)) for ids, total in running]
    return (finished + cut)[:beam_size]


def assert_equal(found: list[Scored], expected: list[Scored]) -> None:
    assert [[ids for ids, _ in one] for one in found] == [[ids for ids, _ in one] for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert [score for _, score in one] == pytest.approx([score for _, score in other], rel=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0, 2.0])
def test_a_beam_wide_enough_finds_what_exhaustive_search_finds(alpha: float):
    table, limits = random_table(seed=1, batch=4, vocabulary=6, length=4), [4, 3, 2, 1]
    found = search(table, limits, beam_size=130, alpha=alpha)  # 3 words: at most 27 run into the last step
    expected = [exhaustive(one, limit, 130, alpha) for one, limit in zip(table, limits, strict=True)]
    assert len(expected[0]) == 1 + 3 + 9 + 27 * 4
    assert_equal(found, expected)


@pytest.mark.parametrize("beam_size", [1, 2, 4, 7])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.5])
def test_a_narrow_beam_equals_its_slow_twin(beam_size: int, alpha: float):
    table, limits = random_table(seed=2, batch=8, vocabulary=9, length=12), [12, 11, 9, 7, 5, 3, 2, 1]
    found = search(table, limits, beam_size, alpha)
    assert_equal(found, [twin(*one, beam_size, alpha) for one in zip(table, limits, strict=True)])


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("num_results", [1, 3])
def test_stopping_early_changes_nothing(alpha: float, num_results: int):
    table, limits = random_table(seed=3, batch=16, vocabulary=7, length=14), [14, 13, 12, 11] * 4
    early = search(table, limits, 3, alpha, num_results=num_results)
    late = search(table, limits, 3, alpha, num_results=num_results, stop_early=False)
    assert early == late


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ruled", [False, True])
def test_halving_the_batch_whenever_half_of_it_is_done_changes_nothing(seed: int, ruled: bool):
    table = random_table(seed=seed, batch=36, vocabulary=7, length=14)
    table[..., EOS] += np.random.default_rng(seed).normal(0, 3, 36)[:, None, None, None]  # some end soon, some late
    limits = np.random.default_rng(seed + 9).integers(0, 15, 36).tolist()
    rules = Rules(jnp.arange(36) % 5, jnp.full(36, 20), jnp.zeros((36, 0), jnp.int32)) if ruled else None
    assert search(table, limits, 3, 0.6, rules=rules, halved=True) == search(table, limits, 3, 0.6, rules=rules)


def test_a_batch_is_halved_down_to_eight_sentences(monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []
    real = looked_up
    monkeypatch.setitem(globals(), "looked_up", lambda table, *rest: seen.append(len(table)) or real(table, *rest))
    search(random_table(seed=7, batch=35, vocabulary=6, length=5), [5] * 35, 2, 0.6, halved=True)
    assert sorted(set(seen), reverse=True) == [35, 17, 8]


def test_the_search_stops_when_nothing_can_win():
    # EOS is impossible but at position 3, where it is certain: after four steps both running hypotheses have
    # finished, and nothing longer can beat them.
    logits = jnp.zeros((40, 8)).at[:, EOS].set(-50.0).at[3, EOS].set(50.0)
    steps = []

    def step(tokens: jax.Array, cache: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        jax.debug.callback(lambda index: steps.append(int(index)), index)
        return jnp.broadcast_to(logits[index], (*tokens.shape, 8)), cache

    for stop_early, taken in ((True, 4), (False, 40)):
        steps.clear()
        settings: Any = {
            "beam_size": 2,
            "max_length": 40,
            "alpha": 0.0,
            "bos": BOS,
            "eos": EOS,
            "stop_early": stop_early,
        }
        beam.search(step, jnp.zeros((1, 2)), jnp.asarray([40]), **settings)
        jax.effects_barrier()
        assert sorted(steps) == list(range(taken))


def test_a_long_hypothesis_that_the_penalty_favours_is_waited_for():
    # By hand. Ending at once: log 0.5 / 1, which is -0.69. Going on: 0.5 · 1 · 1 · …, to the limit of 13
    # tokens, where the penalty of alpha 1 is 3: -0.23. Stopping at the first that finishes would miss it.
    table = np.full((1, 13, 4, 4, 4), -1e9, np.float32)
    table[0, 0, :, :, [EOS, 3]] = 0.0
    table[0, 1:12, :, :, 3] = 0.0
    table[0, 12, :, :, EOS] = 0.0
    [[(ids, score)]] = search(table, [13], 1, alpha=1.0)
    assert ids == (3,) * 12 + (EOS,)
    assert score == pytest.approx(math.log(0.5) / 3)


def test_a_hypothesis_that_the_limit_cuts_is_still_returned():
    table = np.full((1, 5, 6, 6, 6), -np.inf, np.float32)
    table[..., 3] = 0.0  # never ends
    [[(ids, score)]] = search(table, [4], 2, alpha=0.6)
    assert ids == (3, 3, 3, 3)
    assert score == pytest.approx(0.0)


def test_a_finished_hypothesis_goes_before_a_more_probable_one_that_was_cut():
    table = np.zeros((1, 3, 4, 4, 4), np.float32)
    table[..., EOS] = -3.0
    [found] = search(table, [3], 2, alpha=0.0)
    assert [ids[-1] == EOS for ids, _ in found] == [True, True]
    assert_equal([found], [twin(table[0], 3, 2, 0.0)])


def test_padding_and_start_are_never_generated():
    table = random_table(seed=4, batch=3, vocabulary=6, length=6)
    table[..., [PAD, BOS]] = 20.0  # by far the most probable
    for hypotheses in search(table, [6, 6, 6], 4, alpha=0.6):
        assert len(hypotheses) == 4
        assert not any({PAD, BOS} & set(ids) for ids, _ in hypotheses)


def test_ties_go_to_the_earlier_hypothesis_and_the_lower_token():
    table = np.zeros((1, 2, 6, 6, 6), np.float32)
    table[:, 0, :, :, EOS] = -np.inf
    [found] = search(table, [2], 4, alpha=0.0)
    # The first step keeps 3, 4, 5 (all words); of their equal continuations the first four are those of 3,
    # of which EOS alone is finished, and the limit cuts the rest.
    assert [ids for ids, _ in found] == [(3, EOS), (3, 3), (3, 4), (3, 5)]


def test_a_sentence_is_searched_alike_alone_and_in_a_batch():
    table, limits = random_table(seed=5, batch=6, vocabulary=8, length=10), [10, 2, 7, 0, 5, 10]
    together = search(table, limits, 4, alpha=0.6)
    for row, limit in enumerate(limits):
        assert_equal(search(table[row : row + 1], [limit], 4, alpha=0.6), [together[row]])


def test_a_row_of_limit_zero_stays_empty():
    table = random_table(seed=6, batch=2, vocabulary=6, length=4)
    found = search(table, [0, 4], 2, alpha=0.6)
    assert found[0] == [((), 0.0)]
    assert len(found[1]) == 2


def test_scores_are_the_published_length_penalty():
    # Wu et al. 2016, equation 14: lp(Y) = ((5 + |Y|) / (5 + 1))^alpha. By hand: lp(1) = 1, lp(7) = 2^alpha.
    assert float(beam.length_penalty(1, 0.6)) == pytest.approx(1.0)
    assert float(beam.length_penalty(7, 0.6)) == pytest.approx(2.0**0.6)
    assert float(beam.length_penalty(100, 0.0)) == 1.0


def test_more_results_than_the_beam_holds_are_refused():
    with pytest.raises(ValueError, match="num_results is 3"):
        search(random_table(seed=7, batch=1, vocabulary=5, length=2), [2], 2, alpha=0.0, num_results=3)


@pytest.mark.parametrize("size", [3, 300, 1024, 5000])
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("forbidden", [(), (0, 1), (1, 130, 299, 4999)])
def test_the_best_by_chunks_are_those_of_a_whole_sort(size: int, count: int, forbidden: tuple[int, ...]):
    random = np.random.default_rng(size)
    for values in (
        random.normal(size=(3, 2, size)),
        random.integers(0, 4, (3, 2, size)),
        np.full((3, 2, size), -np.inf),
    ):
        there = [place for place in forbidden if place < size]
        values[..., there] = 9.0  # they would be the best
        best, places = token_scores.top(jnp.asarray(values, jnp.float32), count, forbidden)
        values = values.astype(np.float32)
        values[..., there] = -np.inf
        order = np.argsort(-values, axis=-1, kind="stable")[..., :count]  # of equals, the first
        np.testing.assert_array_equal(places, order)
        np.testing.assert_allclose(best, np.take_along_axis(values, order, -1), rtol=1e-6)
