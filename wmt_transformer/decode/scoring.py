"""The log-probability of given translations, for filters of back-translated text and for rerankers.

log P(target | source) = Σ_t log p(target_t | source, target_<t), natural logarithms, EOS included, the whole
vocabulary in the softmax, no label smoothing and no length penalty; in an ensemble, the mean probability. Beam search
adds up the same numbers, so a hypothesis has the same score here as there (with alpha 0).
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from wmt_transformer.config import ModelConfig
from wmt_transformer.decode.ensemble import mean_logits
from wmt_transformer.decode.lines import padded, round_up
from wmt_transformer.decode.runs import Params
from wmt_transformer.model.build import build
from wmt_transformer.special_tokens import PAD


@dataclasses.dataclass(frozen=True)
class Score:
    """Natural-log probability of a translation, and how many tokens it has, EOS included."""

    log_probability: float
    tokens: int


def score(
    models: tuple[ModelConfig, ...],
    params: tuple[Params, ...],
    sources: Sequence[list[int]],
    targets: Sequence[list[int]],
    batch_tokens: int,
    longest: int,
) -> list[Score]:
    """Returns the score of each target given its source, both ids with EOS, in their order.

    Args:
      batch_tokens: slots of tokens on either side that are scored together; both sides of a batch have one length.
      longest: the most tokens of a sentence; no batch is padded beyond it (a learned table of positions ends there).
    """
    results = [Score(0.0, 0)] * len(sources)
    lengths = [max(map(len, pair)) for pair in zip(sources, targets, strict=True)]
    longest_first = sorted(range(len(sources)), key=lambda i: -lengths[i])
    while longest_first:
        length = min(round_up(lengths[longest_first[0]]), longest)
        rows = max(1, batch_tokens // length)
        rows = 1 << min(rows.bit_length() - 1, (len(longest_first) - 1).bit_length())
        chosen, longest_first = longest_first[:rows], longest_first[rows:]
        source, target = (padded([side[i] for i in chosen], rows, length) for side in (sources, targets))
        totals = np.asarray(log_probabilities(params, source, target, models=models)).sum(axis=1)
        for i, total in zip(chosen, totals.tolist(), strict=False):
            results[i] = Score(total, len(targets[i]))
    return results


@partial(jax.jit, static_argnames="models")
def log_probabilities(
    params: tuple[Params, ...],
    source: Int[Array, "batch source"],
    target: Int[Array, "batch target"],
    *,
    models: tuple[ModelConfig, ...],
) -> Float[Array, "batch target"]:
    """Returns the log-probability of every token of every target; that of padding is 0."""
    logits: Any = [
        build(model).apply({"params": own}, source, target) for model, own in zip(models, params, strict=True)
    ]
    log_probs = jax.nn.log_softmax(mean_logits(logits).astype(jnp.float32))
    picked = jnp.take_along_axis(log_probs, target[..., None], axis=-1)[..., 0]
    return jnp.where(target != PAD, picked, 0.0)
