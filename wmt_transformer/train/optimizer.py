"""Adam and the learning-rate schedule of §5.3, and the choices beside them."""

import functools
from collections.abc import Callable, Hashable

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from wmt_transformer.config import TrainConfig
from wmt_transformer.train.parameters import decayed, frozen

Step = int | Int[Array, ""]


def learning_rate(step: Step, d_model: int, warmup_steps: int, factor: float = 1.0) -> Float[Array, ""]:
    """Returns factor · d_model^-0.5 · min(step^-0.5, step · warmup_steps^-1.5), steps from 1 (equation 3)."""
    step = jnp.asarray(step, jnp.float32)
    return factor * d_model**-0.5 * jnp.minimum(step**-0.5, step * warmup_steps**-1.5)


def schedule(train: TrainConfig, d_model: int) -> Callable[[Step], Float[Array, ""]]:
    """Returns the function that gives the learning rate of a step, counted from 1: equation 3, or another choice.

    The others are learning_rate · min(1, step / warmup_steps) · f(x), where x goes from 0 at the end of warm-up to 1 at
    the last step: f is 1 (constant), 1 - x (linear) or (1 + cos πx) / 2 (cosine).
    """
    if train.schedule == "inverse_square_root":
        return lambda step: learning_rate(step, d_model, train.warmup_steps, train.learning_rate)

    def rate(step: Step) -> Float[Array, ""]:
        step = jnp.asarray(step, jnp.float32)
        warm = jnp.minimum(step / train.warmup_steps, 1.0)
        done = jnp.clip((step - train.warmup_steps) / max(train.steps - train.warmup_steps, 1), 0.0, 1.0)
        falls = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + jnp.cos(jnp.pi * done)) / 2}
        return train.learning_rate * warm * falls[train.schedule]

    return rate


def optimizer(train: TrainConfig, d_model: int) -> optax.GradientTransformation:
    """Returns Adam with β1 = 0.9, β2 = 0.98, ε = 1e-9 (the paper's, from the config) on the config's schedule.

    With weight decay it is AdamW (Loshchilov and Hutter 2019). Frozen parameters have no moments. optax counts updates
    from 0 and the paper from 1.
    """
    rate = schedule(train, d_model)
    adam = (
        functools.partial(optax.adamw, weight_decay=train.weight_decay, mask=decayed)
        if train.weight_decay
        else optax.adam
    )
    update = adam(
        lambda count: rate(jnp.asarray(count) + 1), b1=train.adam_b1, b2=train.adam_b2, eps=train.adam_epsilon
    )
    if not train.freeze:
        return update
    kinds: dict[Hashable, optax.GradientTransformation] = {False: update, True: optax.set_to_zero()}
    return optax.multi_transform(kinds, lambda params: frozen(params, train.freeze))
