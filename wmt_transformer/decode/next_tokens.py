"""The compiled steps of a continuation: what follows a prompt, and one more token of every row."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from wmt_transformer.config import ModelConfig
from wmt_transformer.decode import sampling
from wmt_transformer.decode.beam import Cache
from wmt_transformer.decode.rules import Rules
from wmt_transformer.decode.runs import Params
from wmt_transformer.decode.token_scores import token_log_probabilities
from wmt_transformer.model.build import build
from wmt_transformer.special_tokens import BOS, EOS, PAD


def padded_left(sequences: Sequence[Sequence[int]], length: int, rows: int | None = None) -> np.ndarray:
    """Returns ids `[rows, length]` with padding before every sequence and below the last."""
    ids = np.full((rows or len(sequences), length), PAD, np.int32)
    for row, sequence in enumerate(sequences):
        ids[row, length - len(sequence) :] = sequence
    return ids


@partial(jax.jit, static_argnames="model")
def following(
    params: Params, source: jax.Array, target: jax.Array, place: jax.Array, *, model: ModelConfig
) -> jax.Array:
    """Returns the log-probability of every token at one place of the only target."""
    logits: Any = build(model).apply({"params": params}, source, target)
    return token_log_probabilities(logits[:, place, None], forbidden=(BOS, PAD))[0, 0]


@partial(jax.jit, static_argnames=("model", "max_length"))
def begin(
    params: Params, source: jax.Array, max_lengths: jax.Array, *, model: ModelConfig, max_length: int
) -> tuple[sampling.State, Any]:
    """Returns the state of generation before the first token, and what it needs of the source."""
    cache, memory = build(model).apply({"params": params}, source, 1, max_length, method="start_cache")  # pyright: ignore
    return sampling.begin(cache, max_lengths, max_length=max_length, bos=BOS), memory


@partial(jax.jit, static_argnames=("model", "sampler"), donate_argnames="state")
def extend(
    params: Params,
    memory: Any,
    state: sampling.State,
    max_lengths: jax.Array,
    keys: jax.Array,
    rules: Rules | None,
    before: jax.Array,
    *,
    model: ModelConfig,
    sampler: sampling.Sampler,
) -> sampling.State:
    """Returns the state with one more token in every row that is open."""

    def step(tokens: jax.Array, cache: Cache, index: jax.Array) -> tuple[jax.Array, Cache]:
        return build(model).apply({"params": params}, tokens, index, cache, memory, method="step")  # pyright: ignore

    return sampling.extend(
        step, state, max_lengths, bos=BOS, eos=EOS, sampler=sampler, keys=keys, rules=rules, before=before
    )
