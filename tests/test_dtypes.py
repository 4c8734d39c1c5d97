"""Every program of ours in both dtypes, at one, two and many rows, tokens and slices of the loss: bfloat16 against
float32 of the same weights. On a CPU, XLA has not every product of bfloat16 with float32 sums."""

import dataclasses
import sys
from typing import Any

import fakes
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmt_transformer.config import DecodeConfig, MeshConfig, TrainConfig
from wmt_transformer.data.batches import Batch
from wmt_transformer.decode import batched, sampling, scoring
from wmt_transformer.decode.lines import Part
from wmt_transformer.model.build import build
from wmt_transformer.train.loss import cross_entropy
from wmt_transformer.train.optimizer import optimizer
from wmt_transformer.train.sharding import make_mesh, place_batch
from wmt_transformer.train.state import initial_state
from wmt_transformer.train.step import make_eval_step, make_train_step

ARCHITECTURES = ["encoder_decoder", "decoder_only"]
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


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_training_and_measuring_run_in_both_dtypes(architecture, shape):
    rows, length = shape
    source = fakes.random_tokens(1, rows, 1 if architecture == "decoder_only" else length)
    batch = Batch(np.asarray(source), np.asarray(fakes.random_tokens(2, rows, length)))
    losses = {}
    for dtype in ("float32", "bfloat16"):
        model = build(dataclasses.replace(fakes.TINY, architecture=architecture, num_layers=1, compute_dtype=dtype))
        mesh, settings = make_mesh(MeshConfig()), TrainConfig()
        update = optimizer(settings, fakes.TINY.d_model)
        state, place = initial_state(model, update, mesh, seed=1), place_batch(batch, mesh)
        measured = make_eval_step(model, mesh)(state.params, place)
        state, trained = make_train_step(model, update, settings, mesh)(state, place)
        assert np.isfinite(trained.gradient_norm) and int(state.skipped) == 0
        losses[dtype] = float(measured.loss), float(trained.sums.loss)
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=0.05)


@pytest.mark.parametrize(("rows", "beam_size"), [(1, 1), (2, 3), (9, 3)])
def test_decoding_in_bfloat16_scores_its_output_as_float32_does(rows, beam_size):
    _, params = fakes.tiny_model(num_layers=1)
    sources = [[*fakes.random_tokens(row, 1, 5)[0].tolist(), 2] for row in range(rows)]
    parts = [Part(line, 0, "", source, [], 0) for line, source in enumerate(sources, 1)]
    settings = DecodeConfig(beam_size=beam_size, alpha=0.0, extra_length=2)
    search: Any = dict(count=1, sampler=sampling.Greedy(), seed=1, alignments=False)
    for dtype in ("float32", "bfloat16"):
        models = (dataclasses.replace(fakes.TINY, num_layers=1, compute_dtype=dtype),)
        found = [best for [best] in batched.decode(models, (params,), parts, settings, sys.maxsize, **search)]
        exact = (dataclasses.replace(fakes.TINY, num_layers=1, compute_dtype="float32"),)
        for scored in (models, exact):
            scores = scoring.score(scored, (params,), sources, [one.ids for one in found], 512, 64)
            expected = [score.log_probability for score in scores]
            np.testing.assert_allclose([one.score for one in found], expected, rtol=0.05)


def test_a_language_model_answers_in_both_dtypes():
    _, params = fakes.tiny_model(num_layers=1, architecture="decoder_only")
    start, ids = jnp.full((2, 1), 1), fakes.random_tokens(0, 2, 7)
    logits = [
        build(dataclasses.replace(fakes.TINY, architecture="decoder_only", num_layers=1, compute_dtype=dtype)).apply(
            {"params": params}, start, ids
        )
        for dtype in ("float32", "bfloat16")
    ]
    np.testing.assert_allclose(np.asarray(logits[1], np.float32), logits[0], atol=0.1)
