"""The schedules against hand-computed values and optax's, Adam and AdamW against their update rule and torch's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wmt_transformer.config import TrainConfig, UserError
from wmt_transformer.train.optimizer import learning_rate, optimizer, schedule


def test_the_schedule_at_hand_computed_steps():
    # d_model 512: 512^-0.5 = 0.0441942; step 1: x 1 x 4000^-1.5 (3.95285e-6); step 4,000: x 4000^-0.5 (0.0158114);
    # step 100,000: x 100000^-0.5 (0.00316228).
    for step, expected in ((1, 1.746928e-7), (4000, 6.987712e-4), (100_000, 1.397542e-4)):
        assert float(learning_rate(step, 512, 4000)) == pytest.approx(expected, rel=1e-5)
        assert float(schedule(TrainConfig(), 512)(step)) == float(learning_rate(step, 512, 4000))
    # big: 1024^-0.5 = 1/32; the peak is 0.0158114 / 32.
    assert float(learning_rate(4000, 1024, 4000)) == pytest.approx(4.941059e-4, rel=1e-5)
    assert float(learning_rate(4000, 512, 4000, factor=2.0)) == pytest.approx(2 * 6.987712e-4, rel=1e-5)


HALF = 2**-0.5
BY_HAND: dict[Any, dict[int, float]] = {
    "constant": {1: 0.25, 4: 1.0, 6: 1.0, 12: 1.0, 99: 1.0},
    "linear": {1: 0.25, 4: 1.0, 6: 0.75, 8: 0.5, 11: 0.125, 12: 0.0, 99: 0.0},
    "cosine": {1: 0.25, 4: 1.0, 6: (1 + HALF) / 2, 8: 0.5, 10: (1 - HALF) / 2, 12: 0.0, 99: 0.0},
}
"""Of 0.01: warm-up over 4 steps, then 8 steps more to the last one."""
OPTAX: dict[str, Any] = {
    "constant": optax.warmup_constant_schedule(0.0, 0.01, 4),
    "linear": optax.join_schedules(
        [optax.linear_schedule(0.0, 0.01, 4), optax.linear_schedule(0.01, 0.0, 8)], boundaries=[4]
    ),
    "cosine": optax.warmup_cosine_decay_schedule(0.0, 0.01, 4, 12),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_the_other_schedules_at_hand_computed_steps_and_as_optax_has_them(name: Any):
    rate = schedule(TrainConfig(schedule=name, learning_rate=0.01, warmup_steps=4, steps=12), 512)
    for step, share in BY_HAND[name].items():
        assert float(rate(step)) == pytest.approx(0.01 * share, abs=1e-9), step
    for step in range(15):
        assert float(rate(step)) == pytest.approx(float(OPTAX[name](step)), abs=1e-9), step
    assert float(schedule(TrainConfig(schedule=name, learning_rate=0.01, warmup_steps=9, steps=3), 8)(3)) > 0


def test_a_factor_that_is_taken_for_a_learning_rate_is_refused():
    with pytest.raises(UserError, match="the rate itself"):
        TrainConfig(schedule="linear")


GRADIENTS = [np.array([0.5, -1.0]), np.array([0.1, 3.0]), np.array([-2.0, 1.0])]


def after(train: TrainConfig, params: Any, gradients: list[Any], d_model: int = 512) -> Any:
    """Returns parameters after one update with each of the gradients."""
    update = optimizer(train, d_model)
    state = update.init(params)
    for gradient in gradients:
        change, state = update.update(gradient, state, params)
        params = optax.apply_updates(params, change)
    return params


def test_the_optimizer_is_adam_with_the_papers_numbers_counting_steps_from_one():
    found = after(TrainConfig(warmup_steps=10), jnp.zeros(2), [jnp.asarray(g, jnp.float32) for g in GRADIENTS])
    expected, mean, square = np.zeros(2), np.zeros(2), np.zeros(2)
    for step, gradient in enumerate(GRADIENTS, 1):
        mean, square = 0.9 * mean + 0.1 * gradient, 0.98 * square + 0.02 * gradient**2
        rate = 512**-0.5 * step * 10**-1.5
        expected = expected - rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.98**step)) + 1e-9)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-5)


def tree(values: Any) -> dict[str, Any]:
    """Returns a kernel, a bias and a norm's scale with these values each."""
    return {
        "hidden": {"kernel": jnp.asarray(values), "bias": jnp.asarray(values)},
        "norm": {"scale": jnp.asarray(values)},
    }


DECAYING = TrainConfig(schedule="constant", learning_rate=0.01, warmup_steps=1, weight_decay=0.3)


def test_weight_decay_is_adamws_and_leaves_biases_and_norms_alone():
    start = np.array([1.0, -2.0], np.float32)
    found = after(DECAYING, tree(start), [tree(g.astype(np.float32)) for g in GRADIENTS])
    ends = {}
    for decay in (0.0, 0.3):
        expected, mean, square = start.astype(np.float64), np.zeros(2), np.zeros(2)
        for step, gradient in enumerate(GRADIENTS, 1):
            mean, square = 0.9 * mean + 0.1 * gradient, 0.98 * square + 0.02 * gradient**2
            change = (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.98**step)) + 1e-9)
            expected = expected - 0.01 * (change + decay * expected)
        ends[decay] = expected
    np.testing.assert_allclose(found["hidden"]["kernel"], ends[0.3], rtol=1e-5)
    np.testing.assert_allclose(found["hidden"]["bias"], ends[0.0], rtol=1e-5)
    np.testing.assert_allclose(found["norm"]["scale"], ends[0.0], rtol=1e-5)


@pytest.mark.interop
def test_adamw_is_torchs():
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    theirs = torch.optim.AdamW([weight], lr=0.01, betas=(0.9, 0.98), eps=1e-9, weight_decay=0.3)
    for gradient in GRADIENTS:
        weight.grad = torch.tensor(gradient, dtype=torch.float32)
        theirs.step()
    found = after(DECAYING, {"kernel": jnp.array([1.0, -2.0])}, [{"kernel": jnp.asarray(g)} for g in GRADIENTS])
    np.testing.assert_allclose(found["kernel"], weight.detach().numpy(), rtol=1e-5)


def test_the_state_of_default_settings_is_plain_adams_so_that_old_checkpoints_restore():
    ours, plain = (
        make.init(tree(np.ones(2))) for make in (optimizer(TrainConfig(), 8), optax.adam(optax.constant_schedule(1.0)))
    )
    assert jax.tree.structure(ours) == jax.tree.structure(plain)
