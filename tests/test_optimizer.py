"""The schedule against hand-computed values, Adam against its update rule."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wmt_transformer.config import TrainConfig
from wmt_transformer.train.optimizer import learning_rate, optimizer


def test_the_schedule_at_hand_computed_steps():
    # d_model 512: 512^-0.5 = 0.0441942; step 1: x 1 x 4000^-1.5 (3.95285e-6); step 4,000: x 4000^-0.5 (0.0158114);
    # step 100,000: x 100000^-0.5 (0.00316228).
    for step, expected in ((1, 1.746928e-7), (4000, 6.987712e-4), (100_000, 1.397542e-4)):
        assert float(learning_rate(step, 512, 4000)) == pytest.approx(expected, rel=1e-5)
    # big: 1024^-0.5 = 1/32; the peak is 0.0158114 / 32.
    assert float(learning_rate(4000, 1024, 4000)) == pytest.approx(4.941059e-4, rel=1e-5)
    assert float(learning_rate(4000, 512, 4000, factor=2.0)) == pytest.approx(2 * 6.987712e-4, rel=1e-5)


def test_the_optimizer_is_adam_with_the_papers_numbers_counting_steps_from_one():
    update = optimizer(TrainConfig(warmup_steps=10), 512)
    params, gradients = jnp.zeros(2), [np.array([0.5, -1.0]), np.array([0.1, 3.0])]
    state = update.init(params)
    expected, mean, square = np.zeros(2), np.zeros(2), np.zeros(2)
    for step, gradient in enumerate(gradients, 1):
        change, state = update.update(jnp.asarray(gradient, jnp.float32), state, params)
        params = optax.apply_updates(params, change)
        mean, square = 0.9 * mean + 0.1 * gradient, 0.98 * square + 0.02 * gradient**2
        rate = 512**-0.5 * step * 10**-1.5
        expected = expected - rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.98**step)) + 1e-9)
    np.testing.assert_allclose(np.asarray(params), expected, rtol=1e-5)
