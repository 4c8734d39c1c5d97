"""The loss against its definition, in slices against whole, and its gradient against automatic differentiation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmt_transformer.platform import tracing_for
from wmt_transformer.train.loss import cross_entropy, highest_and_total, highest_and_total_in_one_walk, slice_tokens

VOCABULARY = 11
RANDOM = np.random.default_rng(0)
STATES = RANDOM.normal(size=(6, 4, 5)).astype(np.float32)
TABLE = RANDOM.normal(size=(VOCABULARY, 5)).astype(np.float32)
TARGET = RANDOM.integers(1, VOCABULARY, (6, 4)).astype(np.int32)
TARGET[0, 2:] = TARGET[3, 1:] = TARGET[5] = 0


def plain_loss(states, table, target, smoothing):
    """-Σ q(k) log p(k) with q = (1 - ε) onehot + ε / V (Szegedy et al. 2016, §7), all logits at once."""
    log_p = jax.nn.log_softmax(states @ table.T)
    q = (1 - smoothing) * jax.nn.one_hot(target, VOCABULARY) + smoothing / VOCABULARY
    return (-(q * log_p).sum(-1) * (target != 0)).sum()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothed_loss_equals_its_definition(smoothing):
    sums = cross_entropy(jnp.asarray(STATES), jnp.asarray(TABLE), jnp.asarray(TARGET), smoothing)
    np.testing.assert_allclose(sums.loss, plain_loss(STATES, TABLE, TARGET, smoothing), rtol=1e-5)
    np.testing.assert_allclose(sums.nll, plain_loss(STATES, TABLE, TARGET, 0.0), rtol=1e-5)
    real = TARGET != 0
    assert sums.tokens == real.sum()
    assert sums.correct == (((STATES @ TABLE.T).argmax(-1) == TARGET) & real).sum()


def test_a_hand_computed_smoothed_loss():
    # Two pieces, logits 0 and 0: p = 1/2 each, so any target distribution costs ln 2.
    sums = cross_entropy(jnp.zeros((1, 1, 1)), jnp.ones((2, 1)), jnp.ones((1, 1), jnp.int32), 0.1)
    assert sums.loss == pytest.approx(np.log(2), abs=1e-6)
    # Logits 0 and ln 3: p = 1/4, 3/4; target 1, ε = 0.1: q = 0.05, 0.95.
    sums = cross_entropy(jnp.ones((1, 1, 1)), jnp.array([[0.0], [np.log(3)]]), jnp.ones((1, 1), jnp.int32), 0.1)
    assert sums.loss == pytest.approx(-0.05 * np.log(0.25) - 0.95 * np.log(0.75), abs=1e-6)


@pytest.mark.parametrize(
    ("most", "row_shards"), [(1, 1), (4, 1), (5, 1), (7, 1), (23, 1), (100, 1), (1, 2), (5, 2), (5, 3), (7, 6), (5, 4)]
)
def test_any_slicing_gives_the_loss_and_the_gradient_of_the_whole(most, row_shards):
    # 24 tokens: slices of 5 and 7 do not divide them, and 4 devices do not divide the 6 rows.
    def sliced(states, table):
        return 3 * cross_entropy(states, table, jnp.asarray(TARGET), 0.1, most, row_shards).loss

    def whole(states, table):
        return 3 * plain_loss(states, table, jnp.asarray(TARGET), 0.1)

    got = jax.value_and_grad(sliced, (0, 1))(jnp.asarray(STATES), jnp.asarray(TABLE))
    expected = jax.value_and_grad(whole, (0, 1))(jnp.asarray(STATES), jnp.asarray(TABLE))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, expected)


def test_the_walk_that_reads_logits_once_gives_the_same_two_numbers():
    logits = jnp.asarray(RANDOM.normal(size=(5, 300)) * 30, jnp.float32).at[0, 7].set(-jnp.inf).at[1].set(-1e38)
    once, twice = highest_and_total_in_one_walk(logits), highest_and_total(logits)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), once, twice)
    np.testing.assert_allclose(once[0] + jnp.log(once[1]), jax.nn.logsumexp(logits, axis=1), rtol=1e-6)
    assert not np.isfinite(highest_and_total_in_one_walk(logits.at[2, 3].set(jnp.nan))[1][2])


def test_a_gpu_takes_slices_by_their_bytes_and_others_by_their_tokens():
    assert slice_tokens(37_000) == slice_tokens(1_000) == 512
    with tracing_for("gpu"):
        assert 4 * 37_000 * 4_096 <= 4 * 37_000 * slice_tokens(37_000) <= 640e6
        assert slice_tokens(1_000_000) == 512


def test_padding_has_no_loss_and_no_gradient():
    gradient = jax.grad(lambda s: cross_entropy(s, jnp.asarray(TABLE), jnp.asarray(TARGET), 0.1).loss)(
        jnp.asarray(STATES)
    )
    assert (np.asarray(gradient)[TARGET == 0] == 0).all()
    assert (np.abs(np.asarray(gradient)[TARGET != 0]).max(-1) > 0).all()


def test_logits_of_the_whole_batch_never_exist_at_once():
    states, table = jnp.zeros((64, 32, 8)), jnp.zeros((5000, 8))
    target = jnp.ones((64, 32), jnp.int32)
    compiled = (
        jax.jit(jax.grad(lambda s, e: cross_entropy(s, e, target, 0.1, 256).loss, (0, 1)))
        .lower(states, table)
        .compile()
    )
    memory = compiled.memory_analysis()
    assert memory is not None
    # All logits would be 64 x 32 x 5000 x 4 = 41 MB; a slice of 256 tokens is 5 MB, alive a few times over.
    assert memory.temp_size_in_bytes < 64 * 32 * 5000 * 4 * 0.7
