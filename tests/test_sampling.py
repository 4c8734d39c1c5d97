"""Greedy decoding against its definition and against a beam of one; sampling that leaves one choice is greedy."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wmt_transformer.config import UserError
from wmt_transformer.decode import beam, sampling
from wmt_transformer.special_tokens import BOS, EOS, PAD

BATCH, LENGTH, VOCABULARY = 8, 12, 9
LIMITS = [12, 12, 12, 12, 5, 3, 1, 0]
SETTINGS: Any = {"max_length": LENGTH, "bos": BOS, "eos": EOS, "pad": PAD}
# Logits by sentence, position, the token before the last (kept in the cache) and the last.
TABLE = np.random.default_rng(0).normal(0.0, 2.0, (BATCH, LENGTH, *[VOCABULARY] * 3)).astype(np.float32)


def step(tokens: jax.Array, cache: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
    rows = jnp.arange(BATCH)[:, None]
    return jnp.asarray(TABLE)[rows, index, cache[:, :, 0], tokens], tokens[:, :, None]


def start() -> jax.Array:
    return jnp.zeros((BATCH, 1, 1), jnp.int32)


def test_greedy_takes_the_most_probable_token_at_every_position():
    tokens, scores = sampling.generate(step, start(), jnp.asarray(LIMITS), **SETTINGS)
    assert tokens.shape == (BATCH, 1, LENGTH)
    ended = 0
    for row, limit in enumerate(LIMITS):
        ids, total = [PAD, BOS], 0.0
        for position in range(limit):
            logits = TABLE[row, position, ids[-2], ids[-1]].astype(np.float64)
            logits -= np.log(np.exp(logits).sum())
            best = max(range(2, VOCABULARY), key=lambda token: logits[token])
            ids.append(best)
            total += logits[best]
            if best == EOS:
                ended += 1
                break
        expected = (ids[2:] + [PAD] * LENGTH)[:LENGTH]
        assert tokens[row, 0].tolist() == expected
        np.testing.assert_allclose(scores[row, 0], total, rtol=1e-5)
    assert 0 < ended < BATCH  # both ways of stopping were seen


def test_greedy_equals_a_beam_of_one_without_length_penalty():
    greedy = sampling.generate(step, start(), jnp.asarray(LIMITS), **SETTINGS)
    found = beam.search(step, start(), jnp.asarray(LIMITS), beam_size=1, alpha=0.0, **SETTINGS)
    np.testing.assert_array_equal(greedy.tokens, found.tokens)
    np.testing.assert_allclose(greedy.scores, found.scores, rtol=1e-6)


def test_alpha_changes_the_scores_and_not_the_tokens():
    plain = sampling.generate(step, start(), jnp.asarray(LIMITS), **SETTINGS)
    normalised = sampling.generate(step, start(), jnp.asarray(LIMITS), **SETTINGS, alpha=0.6)
    np.testing.assert_array_equal(plain.tokens, normalised.tokens)
    lengths = (np.asarray(plain.tokens) != PAD).sum(axis=2)  # EOS counts
    np.testing.assert_allclose(normalised.scores, plain.scores / ((5 + lengths) / 6) ** 0.6, rtol=1e-6)


def test_greedy_stops_when_every_sentence_has_ended():
    steps = []

    def ends_third(tokens: jax.Array, cache: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        jax.debug.callback(lambda index: steps.append(int(index)), index)
        best = jnp.where(index == 2, EOS, 3)
        return jnp.broadcast_to(jax.nn.one_hot(best, VOCABULARY), (BATCH, 1, VOCABULARY)), cache

    tokens, _ = sampling.generate(ends_third, start(), jnp.full(BATCH, LENGTH), **SETTINGS)
    jax.effects_barrier()
    assert sorted(steps) == [0, 1, 2]
    assert tokens[:, 0, :4].tolist() == [[3, 3, EOS, PAD]] * BATCH


def test_top_k_of_one_and_temperatures_of_zero_and_towards_it_equal_greedy():
    keys = jax.random.split(jax.random.key(3), BATCH)
    greedy = sampling.generate(step, start(), jnp.asarray(LIMITS), **SETTINGS)
    for only in (sampling.TopK(1), sampling.Temperature(1e-6), sampling.Temperature(0.0)):
        drawn = sampling.generate(
            step, start(), jnp.asarray(LIMITS), **SETTINGS, sampler=sampling.Sample((only,)), keys=keys
        )
        np.testing.assert_array_equal(drawn.tokens, greedy.tokens)
        np.testing.assert_allclose(drawn.scores, greedy.scores, rtol=1e-6)


@pytest.mark.parametrize(
    "filtering",
    [
        (sampling.Temperature, -0.5),
        (sampling.TopK, 0),
        (sampling.TopP, 0.0),
        (sampling.TopP, 1.5),
        (sampling.RepetitionPenalty, 0.0),
    ],
)
def test_settings_out_of_range_are_refused(filtering: Any):
    kind, value = filtering
    with pytest.raises(UserError, match="must be"):
        kind(value)


NOTHING = jnp.zeros((1, 1), jnp.int32)
# Few different values, so that ties are common; shuffled, so that they stand anywhere.
WEIGHTS = st.lists(st.integers(1, 6), min_size=VOCABULARY, max_size=VOCABULARY)


@functools.cache
def applied(one: sampling.Filter) -> Any:
    return jax.jit(lambda log_probs: one.apply(log_probs, NOTHING))


def kept(one: sampling.Filter, weights: list[int]) -> set[int]:
    """Returns the tokens that a filter leaves of a distribution; the log-probabilities left have to be the model's."""
    log_probs = np.log(np.asarray([weights], np.float32) / sum(weights))
    left = np.asarray(applied(one)(log_probs))
    finite = np.isfinite(left)
    np.testing.assert_array_equal(left[finite], log_probs[finite])
    return set(np.flatnonzero(finite).tolist())


@settings(max_examples=50)
@given(WEIGHTS, st.sampled_from([1, 2, 5, VOCABULARY, 40]))
def test_top_k_keeps_the_k_likeliest_and_of_equals_the_lower_ids(weights: list[int], count: int):
    order = sorted(range(VOCABULARY), key=lambda token: (-weights[token], token))
    assert kept(sampling.TopK(count), weights) == set(order[:count])


@settings(max_examples=50)
@given(WEIGHTS, st.sampled_from([0.01, 0.33, 0.61, 0.97, 1.0]))
def test_top_p_keeps_the_fewest_likeliest_tokens_that_reach_the_share(weights: list[int], share: float):
    order = sorted(range(VOCABULARY), key=lambda token: (-weights[token], token))
    above = np.cumsum([0, *(weights[token] for token in order)])[:-1]  # in whole numbers: no share falls on an edge
    assert kept(sampling.TopP(share), weights) == {
        token for token, mass in zip(order, above, strict=True) if mass < share * sum(weights)
    }


def test_a_repetition_penalty_raises_the_probability_of_tokens_that_are_there_to_its_power():
    log_probs = np.log(np.asarray([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]], np.float32))
    tokens = jnp.asarray([[3, 1, 3], [2, 2, 0]])
    found = sampling.RepetitionPenalty(1.5).apply(jnp.asarray(log_probs), tokens)
    expected = np.log([[0.1, 0.2**1.5, 0.3, 0.4**1.5], [0.4**1.5, 0.3, 0.2**1.5, 0.1]])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_token_comes_back_only_where_the_penalty_allows_it():
    penalty = sampling.Sample((sampling.RepetitionPenalty(1e4), sampling.TopK(1)))
    keys = jax.random.split(jax.random.key(3), BATCH)
    before = jnp.tile(jnp.asarray([[3, 4]]), (BATCH, 1))
    tokens, _ = sampling.generate(
        step, start(), jnp.full(BATCH, 4), **SETTINGS, sampler=penalty, keys=keys, before=before
    )
    for row in np.asarray(tokens[:, 0]):
        row = row[row != PAD]
        assert len(set(row)) == len(row) and not {3, 4} & set(row.tolist())


@pytest.mark.parametrize("filters", [(), (sampling.Temperature(0.7), sampling.TopK(5), sampling.TopP(0.8))])
def test_samples_are_as_frequent_as_the_distribution_says(filters: tuple[Any, ...]):
    count, weights = 20_000, np.asarray([0, 0, 1, 2, 3, 4, 5, 6, 7], np.float32)
    log_probs = np.where(weights > 0, np.log(np.maximum(weights, 1) / weights.sum()), -np.inf)
    expected = weights.astype(np.float64)
    if filters:  # p ** (1 / 0.7); the five likeliest; of these, going down, those that have less than 0.8 above them
        expected = expected ** (1 / 0.7) * (np.arange(VOCABULARY) >= VOCABULARY - 5)
        share = expected[::-1].cumsum()[::-1] / expected.sum()
        expected = expected * (share - expected / expected.sum() < 0.8)
        assert 2 < (expected > 0).sum() < 5
    expected *= count / expected.sum()
    nothing = jnp.zeros((count, 1), jnp.int32)
    draw = jax.jit(lambda keys: sampling.Sample(filters).choose(jnp.tile(log_probs, (count, 1)), nothing, keys))
    drawn = np.bincount(draw(jax.random.split(jax.random.key(0), count)), minlength=VOCABULARY)
    possible = expected > 0
    assert drawn[~possible].sum() == 0
    statistic = ((drawn[possible] - expected[possible]) ** 2 / expected[possible]).sum()
    # A chi-square variable of so many degrees of freedom exceeds its mean by 5 standard deviations hardly ever.
    freedom = possible.sum() - 1
    assert statistic < freedom + 5 * np.sqrt(2 * freedom)
