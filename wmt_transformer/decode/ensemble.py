"""Several models as one: at every position, the arithmetic mean of their probabilities.

log p(token) = log(1/M · Σ_m p_m(token)), as in fairseq (`EnsembleModel`); Marian adds log-probabilities instead, which
is the geometric mean. The models may differ in everything but the vocabulary: an id must mean the same to all.
One model is an ensemble of one, at no cost.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from wmt_transformer.config import ModelConfig
from wmt_transformer.data.vocabulary import Vocabulary
from wmt_transformer.decode.beam import Cache, Fewer, Grow, Reorder, Step
from wmt_transformer.decode.runs import Params
from wmt_transformer.model.build import build


def start(
    models: Sequence[ModelConfig],
    params: Sequence[Params],
    source: Int[Array, "batch source"],
    beam_size: int,
    cache_length: int,
) -> tuple[Step, Cache, Reorder, Grow, Fewer]:
    """Reads the source with every model; returns what `beam.search` needs: step, a cache with room for `cache_length`
    positions, reorder, grow, and fewer."""
    members = [(build(model), {"params": own}) for model, own in zip(models, params, strict=True)]
    started: list[Any] = [
        model.apply(variables, source, beam_size, cache_length, method="start_cache") for model, variables in members
    ]

    def step(tokens: Array, caches: Cache, index: Array, memories: Any) -> tuple[Array, Cache]:
        stepped: list[Any] = [
            model.apply(variables, tokens, index, cache, memory, method="step")
            for (model, variables), cache, memory in zip(members, caches, memories, strict=True)
        ]
        return mean_logits([logits for logits, _ in stepped]), tuple(cache for _, cache in stepped)

    def fewer(chosen: Array) -> Step:
        return partial(step, memories=jax.tree.map(lambda leaf: leaf[chosen], memory))

    def reorder(caches: Cache, origin: Array) -> Cache:
        return tuple(cache.reordered(origin) for cache in caches)

    def grow(caches: Cache, length: int) -> Cache:
        return tuple(cache.grown(length) for cache in caches)

    memory = [one for _, one in started]
    return partial(step, memories=memory), tuple(cache for cache, _ in started), reorder, grow, fewer


def mean_logits(logits: Sequence[Float[Array, "*batch vocabulary"]]) -> Float[Array, "*batch vocabulary"]:
    """Returns the log of the mean probability over the models; the logits themselves, where there is one model."""
    if len(logits) == 1:
        return logits[0]
    log_probs = jnp.stack([jax.nn.log_softmax(one.astype(jnp.float32)) for one in logits])
    return jax.nn.logsumexp(log_probs, axis=0) - math.log(len(logits))


def difference(one: Vocabulary, other: Vocabulary) -> str | None:
    """Returns in words where two vocabularies differ, None where every id means the same in both."""
    if one is other:
        return None
    if len(one) != len(other):
        return f"{len(one)} pieces and {len(other)}"
    for token in range(len(one)):
        # Twice: only the second shows whether a piece begins a word.
        pieces = [vocabulary.decode([token, token]) for vocabulary in (one, other)]
        if pieces[0] != pieces[1]:
            return f"piece {token} twice is {pieces[0]!r} and {pieces[1]!r}"
    return None
