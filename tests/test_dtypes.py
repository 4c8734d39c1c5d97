"""Every program of ours in both dtypes, at one, two and many rows, tokens and slices of the loss: bfloat16 against
float32 of the same weights. On a CPU, XLA has not every product of bfloat16 with float32 sums."""

import dataclasses
import sys
from typing import Any

import fakes
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wmt_transformer.config import DecodeConfig
from wmt_transformer.data.batches import Batch
from wmt_transformer.decode import batched, sampling, scoring
from wmt_transformer.decode.lines import Part
from wmt_transformer.model.build import build
from wmt_transformer.train.loss import cross_entropy
from wmt_transformer.train.step import loss_sums

SHAPES = [(1, 1), (2, 8), (8, 8)]
"""Rows and tokens of a row: all of them one slice of the loss."""


@pytest.mark.parametrize("slices", [1, 2, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_loss_and_its_gradient_in_bfloat16_are_those_of_float32(shape, slices):
    rows, length = shape
    random = np.random.default_rng(0)
    states, table = (jnp.asarray(random.normal(size=size), jnp.float32) for size in ((rows, length, 16), (23, 16)))
    target = fakes.random_tokens(0, rows, length)

    def loss(states: jax.Array, table: jax.Array) -> jax.Array:
        return cross_entropy(states, table, target, 0.1, slice_tokens=max(1, rows * length // slices)).loss

    compute = jax.jit(jax.value_and_grad(loss, (0, 1)))
    exact = compute(states.astype(jnp.bfloat16).astype(jnp.float32), table.astype(jnp.bfloat16).astype(jnp.float32))
    rounded = compute(states.astype(jnp.bfloat16), table)
    close = lambda a, b: np.testing.assert_allclose(np.asarray(a, np.float32), b, rtol=0.02, atol=0.05)  # noqa: E731
    jax.tree.map(close, rounded, exact)


@pytest.mark.parametrize("shape", SHAPES[:2])
@pytest.mark.parametrize("architecture", ["encoder_decoder", "decoder_only"])
def test_a_models_loss_and_gradient_in_bfloat16_are_those_of_float32(architecture, shape):
    rows, length = shape
    source = fakes.random_tokens(1, rows, 1 if architecture == "decoder_only" else length)
    batch: Any = Batch(source, fakes.random_tokens(2, rows, length))  # type: ignore[arg-type]
    _, params = fakes.tiny_model(architecture=architecture, num_layers=1)
    results = []
    for dtype in ("float32", "bfloat16"):
        model = build(dataclasses.replace(fakes.TINY, architecture=architecture, num_layers=1, compute_dtype=dtype))

        def both(params: Any, model: Any = model) -> tuple[Any, Any, Any]:
            trained = jax.value_and_grad(lambda params: loss_sums(model, params, batch, 0.1, jax.random.key(0)).loss)
            return *trained(params), loss_sums(model, params, batch, 0.0).loss

        loss, gradient, measured = jax.jit(both)(params)
        results.append((float(loss), float(optax.tree.norm(gradient)), float(measured)))
    np.testing.assert_allclose(results[1], results[0], rtol=0.05)


@pytest.mark.parametrize(("rows", "beam_size"), [(1, 1), (9, 2)])
def test_decoding_in_bfloat16_scores_its_output_as_float32_does(rows, beam_size):
    _, params = fakes.tiny_model(num_layers=1)
    sources = [[*fakes.random_tokens(row, 1, 5)[0].tolist(), 2] for row in range(rows)]
    parts = [Part(line, 0, "", source, [], 0) for line, source in enumerate(sources, 1)]
    settings = DecodeConfig(beam_size=beam_size, alpha=0.0, extra_length=2)
    search: Any = dict(count=1, sampler=sampling.Greedy(), seed=1, alignments=False)
    rounded, exact = (
        (dataclasses.replace(fakes.TINY, num_layers=1, compute_dtype=dtype),) for dtype in ("bfloat16", "float32")
    )
    found = [best for [best] in batched.decode(rounded, (params,), parts, settings, sys.maxsize, **search)]
    for models in (rounded, exact):
        scores = scoring.score(models, (params,), sources, [one.ids for one in found], 512, 64)
        expected = [score.log_probability for score in scores]
        np.testing.assert_allclose([one.score for one in found], expected, rtol=0.05)


def test_a_language_model_answers_in_both_dtypes():
    _, params = fakes.tiny_model(num_layers=1, architecture="decoder_only")
    start, ids = jnp.full((2, 1), 1), fakes.random_tokens(0, 2, 7)
    logits: list[Any] = [
        build(dataclasses.replace(fakes.TINY, architecture="decoder_only", num_layers=1, compute_dtype=dtype)).apply(
            {"params": params}, start, ids
        )
        for dtype in ("float32", "bfloat16")
    ]
    np.testing.assert_allclose(np.asarray(logits[1], np.float32), logits[0], atol=0.1)
