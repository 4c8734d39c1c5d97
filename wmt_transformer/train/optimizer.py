"""Adam and the learning-rate schedule of §5.3."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from wmt_transformer.config import TrainConfig


def learning_rate(step: int | Int[Array, ""], d_model: int, warmup_steps: int, factor: float = 1.0) -> Float[Array, ""]:
    """Returns factor · d_model^-0.5 · min(step^-0.5, step · warmup_steps^-1.5), steps from 1 (equation 3)."""
    step = jnp.asarray(step, jnp.float32)
    return factor * d_model**-0.5 * jnp.minimum(step**-0.5, step * warmup_steps**-1.5)


def optimizer(train: TrainConfig, d_model: int) -> optax.GradientTransformation:
    """Returns Adam with β1 = 0.9, β2 = 0.98, ε = 1e-9 (the paper's, from the config) on that schedule.

    optax counts updates from 0 and the paper from 1.
    """
    return optax.adam(
        lambda count: learning_rate(jnp.asarray(count) + 1, d_model, train.warmup_steps, train.learning_rate),
        b1=train.adam_b1,
        b2=train.adam_b2,
        eps=train.adam_epsilon,
    )
