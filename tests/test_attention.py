"""Attention against loops over its definition, masks by their effect, dropout's bits by their statistics."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmt_transformer.config import ModelConfig
from wmt_transformer.model.attention import (
    attention,
    causal_mask,
    cudnn_attention,
    kernels_for,
    padding_mask,
    same_sentence,
    sentences,
)
from wmt_transformer.model.dropout import dropout, random_bits
from wmt_transformer.platform import tracing_for


def loop_attention(query, key, value, allowed):
    """Equation 1, one query at a time, in float64: the slow twin."""
    batch, targets, heads, width = query.shape
    out = np.zeros((batch, targets, heads, value.shape[-1]))
    for b in range(batch):
        for h in range(heads):
            for t in range(targets):
                scores = np.array([query[b, t, h] @ key[b, s, h] / np.sqrt(width) for s in range(key.shape[1])])
                exponents = np.where(allowed[b, t], np.exp(scores - scores.max()), 0.0)
                out[b, t, h] = sum(e * value[b, s, h] for s, e in enumerate(exponents / exponents.sum()))
    return out


@pytest.fixture
def inputs():
    random = np.random.default_rng(0)
    query, key = random.normal(size=(2, 3, 4, 2, 8)).astype(np.float32)[:, :2]
    return query, key, random.normal(size=(2, 4, 2, 5)).astype(np.float32)


def test_attention_equals_a_loop_over_its_definition(inputs):
    allowed = np.array([[[True, True, False, False]] * 4, np.tril(np.ones((4, 4), bool))])
    query, key, value = map(jnp.asarray, inputs)
    expected = loop_attention(query, key, value, allowed)
    got, weights = attention(query, key, value, jnp.asarray(allowed[:, None]))
    np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-6)
    assert (np.asarray(weights)[0, :, :, 2:] == 0).all()


def plain_attention(query, key, value, mask, rate, dropout_key):
    """Equation 1 by `jax.nn.softmax`, whose gradient JAX derives: the twin of the gradient written by hand."""
    scores = jnp.einsum("bthk,bshk->bhts", query, key) / jnp.sqrt(query.shape[-1])
    weights = jax.nn.softmax(jnp.where(mask, scores, -1e30))
    weights = weights if dropout_key is None else dropout(weights, rate, dropout_key)
    return jnp.einsum("bhts,bshk->bthk", weights, value)


@pytest.mark.parametrize("dropout_key", [None, jax.random.key(5)], ids=["no dropout", "dropout"])
def test_the_gradient_of_attention_is_the_one_that_jax_derives(inputs, dropout_key):
    arrays = tuple(map(jnp.asarray, inputs))
    mask = causal_mask(4) & padding_mask(jnp.array([[5, 6, 7, 8], [5, 6, 0, 0]]))
    towards = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4, 2, 5)), jnp.float32)

    def gradient(function):
        return jax.grad(lambda arrays: (function(*arrays, mask, 0.3, dropout_key) * towards).sum())(arrays)

    got = gradient(lambda *arguments: attention(*arguments)[0])
    for ours, derived in zip(got, gradient(plain_attention), strict=True):
        np.testing.assert_allclose(ours, derived, atol=2e-6)


def test_a_row_of_padding_alone_sends_no_gradient_to_queries_and_keys(inputs):
    query, key, value = map(jnp.asarray, inputs)
    mask = jnp.ones((2, 1, 1, 4), bool).at[1].set(False)
    d_query, d_key = jax.grad(lambda q, k: (attention(q, k, value, mask)[0] ** 2).sum(), argnums=(0, 1))(query, key)
    assert (np.asarray(d_query[1]) == 0).all() and (np.asarray(d_key[1]) == 0).all()
    assert (np.asarray(d_query[0]) != 0).any() and (np.asarray(d_key[0]) != 0).any()


def test_attention_takes_any_number_of_leading_axes(inputs):
    query, key, value = (jnp.stack([jnp.asarray(x)] * 3, axis=1) for x in inputs)
    got, _ = attention(query, key, value, jnp.ones((1, 1, 1, 1, 4), bool))
    query, key, value = map(jnp.asarray, inputs)
    expected, _ = attention(query, key, value, jnp.ones((1, 1, 1, 4), bool))
    np.testing.assert_allclose(got[:, 2], expected, atol=1e-6)


def test_a_row_of_padding_alone_gives_finite_numbers(inputs):
    query, key, value = map(jnp.asarray, inputs)
    got, _ = attention(query, key, value, jnp.zeros((2, 1, 1, 4), bool))
    assert np.isfinite(got).all()


def test_attention_dropout_drops_weights_and_keeps_their_expectation(inputs):
    query, key, value = map(jnp.asarray, inputs)
    mask = causal_mask(4)
    draw = jax.jit(jax.vmap(lambda k: attention(query, key, value, mask, 0.4, k)[0]))
    mean = draw(jax.random.split(jax.random.key(0), 4000)).mean(0)
    np.testing.assert_allclose(mean, attention(query, key, value, mask)[0], atol=0.12)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_zeroes_its_share_and_scales_the_rest(rate):
    x = jnp.ones((400, 500))
    y = np.asarray(dropout(x, rate, jax.random.key(3)))
    assert set(np.unique(y)) == {0.0, np.float32(1 / (1 - rate))}
    # 200,000 draws: five standard deviations of a binomial.
    assert abs((y == 0).mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / x.size)
    rows, columns = (y == 0).mean(1), (y == 0).mean(0)
    assert abs(rows.std() / np.sqrt(rate * (1 - rate) / 500) - 1) < 0.2
    assert abs(columns.std() / np.sqrt(rate * (1 - rate) / 400) - 1) < 0.2


def test_dropout_bits_are_uniform_and_independent_of_neighbours_and_keys():
    # Keys as `make_rng` gives them: folded, so that their words are hashes already.
    first, second = (np.asarray(random_bits(k, (512, 512))) for k in jax.random.split(jax.random.key(0)))
    bits = (first[..., None] >> np.arange(32, dtype=np.uint32)) & 1
    assert np.abs(bits.mean((0, 1)) - 0.5).max() < 5 * 0.5 / 512
    unit = first / 2.0**32 - 0.5
    other = second / 2.0**32 - 0.5
    for a, b in ((unit, other), (unit[:, 1:], unit[:, :-1]), (unit[1:], unit[:-1])):
        assert abs((a * b).mean() * 12) < 5 / 512


TWO_SENTENCES = jnp.array([[5, 3, 6, 7, 3, 0], [5, 6, 7, 8, 9, 3], [3, 5, 3, 0, 0, 0]])


@pytest.mark.parametrize(
    "mask",
    [
        padding_mask(TWO_SENTENCES),
        causal_mask(6),
        causal_mask(6) & same_sentence(sentences(TWO_SENTENCES), sentences(TWO_SENTENCES)),
        padding_mask(TWO_SENTENCES) & same_sentence(sentences(TWO_SENTENCES), sentences(TWO_SENTENCES)),
    ],
    ids=["padding", "causal", "two sentences", "two sentences and padding"],
)
def test_what_cudnn_is_asked_for_is_attention_in_value_and_gradient(mask):
    # By XLA's form of the same function: cuDNN's kernels run on a card alone.
    random = np.random.default_rng(0)
    query, key, value, towards = (jnp.asarray(random.normal(size=(3, 6, 2, 8)), jnp.float32) for _ in range(4))
    # In training no gradient comes to a position that may attend to nothing, which is padding.
    towards = towards * jnp.broadcast_to(mask, (3, 1, 6, 6)).any(axis=3)[:, 0, :, None, None]

    def results(function):
        def loss(arrays):
            out = function(*arrays, mask)
            return (out * towards).sum(), out

        (_, out), gradients = jax.value_and_grad(loss, has_aux=True)((query, key, value))
        return out, gradients

    got = results(lambda *arguments: cudnn_attention(*arguments, implementation="xla"))
    expected = results(lambda *arguments: attention(*arguments)[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, expected)


def test_cudnn_gets_arrays_as_they_lie_and_a_mask_for_every_row(monkeypatch):
    # Lowered for a card, without the plugin that would know cuDNN's version.
    monkeypatch.setattr("jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version", lambda: 91000)
    x = jax.ShapeDtypeStruct((3, 6, 2, 8), jnp.bfloat16)

    def gradients(query, key, value):
        def loss(query, key, value):
            return cudnn_attention(query, key, value, causal_mask(6)).sum(dtype=jnp.float32)

        return jax.grad(loss, (0, 1, 2))(query, key, value)

    text = jax.jit(gradients).trace(x, x, x).lower(lowering_platforms=("cuda",)).as_text()
    assert "__cudnn$fmhaScaleBiasSoftmax" in text and "__cudnn$fmhaScaleBiasSoftmaxBackward" in text
    assert "tensor<3x1x6x6xbf16>" in text and "stablehlo.dot" not in text


def test_training_attends_by_the_kernels_that_there_are():
    def chosen(platform: str, target: int = 64, source: int = 64, **changes: Any) -> str:
        with tracing_for(platform):
            return kernels_for(ModelConfig(**changes), target, source)

    assert [chosen(platform) for platform in ("cpu", "tpu", "gpu")] == ["explicit", "fused", "cudnn"]
    assert chosen("gpu", 16, 16) == "explicit" and chosen("gpu", 16, 32) == "cudnn"
    assert chosen("gpu", 16, 16, attention="cudnn") == "cudnn"
    without: list[dict[str, Any]] = [{"compute_dtype": "float32"}, {"attention_dropout": 0.1}, {"d_v": 32}]
    for changes in [*without, {"d_k": 60, "d_v": 60}]:
        assert chosen("gpu", **changes) == chosen("gpu", attention="cudnn", **changes) == "explicit"
    assert chosen("gpu", 63, 64) == chosen("gpu", 64, 63) == "explicit"  # its kernels with a mask want even rows
    assert chosen("gpu", attention="explicit") == "explicit" and chosen("cpu", attention="fused") == "fused"
    assert chosen("tpu", 512, 512) == "fused" and chosen("tpu", 512, 520) == "explicit"
