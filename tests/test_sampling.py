"""Greedy decoding against its definition and against a beam of one; sampling that leaves one choice is greedy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmt_transformer.config import UserError
from wmt_transformer.decode import beam, sampling

PAD, BOS, EOS = 0, 1, 2
BATCH, LENGTH, VOCABULARY = 8, 12, 9
LIMITS = [12, 12, 12, 12, 5, 3, 1, 0]
SETTINGS: Any = dict(max_length=LENGTH, bos=BOS, eos=EOS, pad=PAD)
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


def test_top_k_of_one_and_a_temperature_towards_zero_equal_greedy():
    keys = jax.random.split(jax.random.key(3), BATCH)
    greedy = sampling.generate(step, start(), jnp.asarray(LIMITS), **SETTINGS)
    for only in (sampling.TopK(1), sampling.Temperature(1e-6)):
        drawn = sampling.generate(
            step, start(), jnp.asarray(LIMITS), **SETTINGS, sampler=sampling.Sample((only,)), keys=keys
        )
        np.testing.assert_array_equal(drawn.tokens, greedy.tokens)
        np.testing.assert_allclose(drawn.scores, greedy.scores, rtol=1e-6)


@pytest.mark.parametrize("filtering", [(sampling.Temperature, 0.0), (sampling.TopK, 0), (sampling.TopP, 1.5)])
def test_settings_out_of_range_are_refused(filtering: Any):
    kind, value = filtering
    with pytest.raises(UserError, match="must be"):
        kind(value)
