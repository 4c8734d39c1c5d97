"""The model: positions by formula, parameter counts by hand, masks by perturbation, decoding by teacher forcing."""

import dataclasses
import math

import fakes
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmt_transformer.config import ModelConfig
from wmt_transformer.model.layers import relu, sinusoids
from wmt_transformer.model.transformer import Transformer
from wmt_transformer.special_tokens import EOS

VARIANTS = [
    {},
    {"norm_position": "pre"},
    {"positions": "learned", "max_positions": 16},
    {"tied_embeddings": "none", "attention_bias": True},
    {"tied_embeddings": "target", "sinusoid_layout": "concatenated"},
]
SOURCE = fakes.random_tokens(0, 3, 7, [7, 5, 2])
TARGET = fakes.random_tokens(1, 3, 6, [6, 4, 6])


def count(config: ModelConfig) -> int:
    tokens = jnp.ones((1, 2), jnp.int32)
    params = jax.eval_shape(lambda: Transformer(config).init(jax.random.key(0), tokens, tokens)["params"])
    return sum(math.prod(x.shape) for x in jax.tree.leaves(params))


def test_sinusoids_follow_the_formula_of_section_3_5():
    table = sinusoids(50, 8)
    for position in (0, 1, 17, 49):
        for i in range(4):
            angle = position / 10000 ** (2 * i / 8)
            assert table[position, 2 * i] == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[position, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-6)
    halves = sinusoids(50, 8, "concatenated")
    np.testing.assert_array_equal(np.concatenate([table[:, ::2], table[:, 1::2]], 1), halves)


def test_parameter_counts_equal_a_hand_count():
    # base, vocabulary 37,000, no attention biases, tied embeddings:
    # attention 4 x 512 x 512 = 1,048,576; feed-forward 2 x 512 x 2048 + 2048 + 512 = 2,099,712; norm 2 x 512 = 1,024
    # encoder layer 1,048,576 + 2,099,712 + 2 x 1,024 = 3,150,336
    # decoder layer 2 x 1,048,576 + 2,099,712 + 3 x 1,024 = 4,199,936
    # embeddings 37,000 x 512 = 18,944,000; total 6 x (3,150,336 + 4,199,936) + 18,944,000 = 63,045,632
    assert count(ModelConfig()) == 63_045_632
    # d_k = 16 (row B1) takes 48 x 8 columns from two of the four matrices of 18 attentions: 18 x 2 x 512 x 384.
    assert count(ModelConfig(d_k=16)) == 63_045_632 - 18 * 2 * 512 * 384
    # pre-norm has one more norm on each stack; learned positions a table on each side.
    assert count(ModelConfig(norm_position="pre")) == 63_045_632 + 2 * 1024
    assert count(ModelConfig(positions="learned", max_positions=1024)) == 63_045_632 + 2 * 1024 * 512
    assert count(ModelConfig(tied_embeddings="none")) == 63_045_632 + 2 * 18_944_000


@pytest.mark.parametrize("changes", VARIANTS)
def test_cached_decoding_equals_teacher_forcing(changes):
    model, params = fakes.tiny_model(**changes)
    full = fakes.apply(model, params, SOURCE, TARGET)
    cache, memory = fakes.apply(model, params, SOURCE, 2, 6, method="start_cache")
    step = jax.jit(
        lambda tokens, index, cache: model.apply({"params": params}, tokens, index, cache, memory, method="step")
    )
    inputs = jnp.pad(TARGET, ((0, 0), (1, 0)), constant_values=1)
    for index in range(6):
        # The second hypothesis reads other tokens: it must not disturb the first.
        tokens = jnp.stack([inputs[:, index], jnp.full(3, 9, jnp.int32)], 1)
        logits, cache = step(tokens, jnp.int32(index), cache)
        np.testing.assert_allclose(logits[:, 0], full[:, index], atol=1e-5)


def test_a_cache_that_grows_gives_what_a_large_one_gives():
    model, params = fakes.tiny_model()
    tokens = np.random.default_rng(4).integers(4, 23, (6, 3, 2)).astype(np.int32)
    step = jax.jit(lambda *arguments: model.apply({"params": params}, *arguments, method="step"))
    large, memory = fakes.apply(model, params, SOURCE, 2, 6, method="start_cache")
    growing, _ = fakes.apply(model, params, SOURCE, 2, 1, method="start_cache")
    for index, room in enumerate((1, 2, 3, 4, 6, 6)):
        growing = growing.grown(room)
        expected, large = step(tokens[index], jnp.int32(index), large, memory)
        logits, growing = step(tokens[index], jnp.int32(index), growing, memory)
        np.testing.assert_allclose(logits, expected, atol=1e-6)
        origin = jnp.asarray([[1, 0], [0, 0], [1, 1]])
        large, growing = large.reordered(origin), growing.reordered(origin)


def test_hypotheses_that_go_on_from_one_another_decode_as_if_each_had_been_read_alone():
    # Teacher forcing on what each hypothesis has become is the slow twin of a cache in which only lineages move.
    model, params = fakes.tiny_model()
    random, width, length = np.random.default_rng(3), 3, 6
    cache, memory = fakes.apply(model, params, SOURCE, width, length, method="start_cache")
    step = jax.jit(lambda *arguments: model.apply({"params": params}, *arguments, memory, method="step"))
    at_once = jax.jit(lambda target: model.apply({"params": params}, SOURCE, target))
    read = np.zeros((3, width, 0), np.int32)
    for index in range(length):
        tokens = np.full((3, width), 1) if index == 0 else random.integers(4, 23, (3, width))
        logits, cache = step(jnp.asarray(tokens, jnp.int32), jnp.int32(index), cache)
        read = np.concatenate([read, tokens[..., None]], axis=2)
        for w in range(width):
            target = jnp.asarray(np.pad(read[:, w, 1:], ((0, 0), (0, 1))))
            np.testing.assert_allclose(logits[:, w], at_once(target)[:, index], atol=1e-5)
        origin = random.integers(0, width, (3, width))
        cache, read = cache.reordered(jnp.asarray(origin)), np.take_along_axis(read, origin[..., None], axis=1)


def test_fused_and_explicit_attention_give_the_same_model():
    model, params = fakes.tiny_model(d_v=8)
    fused = Transformer(dataclasses.replace(model.config, attention="fused"))
    options = {"train": True, "rngs": {"dropout": jax.random.key(0)}}
    expected = fakes.apply(model, params, SOURCE, TARGET, **options)
    np.testing.assert_allclose(fakes.apply(fused, params, SOURCE, TARGET, **options), expected, atol=1e-5)


def test_the_relu_that_forgets_its_input_has_the_value_and_gradient_of_another():
    x = jnp.array([-2.0, -0.0, 0.0, 1e-30, 3.0])
    for value, gradient in zip(
        *(jax.vmap(jax.value_and_grad(function))(x) for function in (relu, jax.nn.relu)), strict=True
    ):
        np.testing.assert_array_equal(value, gradient)


def test_a_changed_future_token_changes_no_earlier_prediction():
    model, params = fakes.tiny_model()
    before = fakes.apply(model, params, SOURCE, TARGET)
    changed = TARGET.at[:, 3].set((TARGET[:, 3] + 1) % 19 + 4)
    after = fakes.apply(model, params, SOURCE, changed)
    # Position 3's own prediction is made from positions before it.
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert np.abs(before[:, 4:] - after[:, 4:]).max() > 1e-3


def test_padding_of_the_source_changes_nothing():
    model, params = fakes.tiny_model()
    before = fakes.apply(model, params, SOURCE[1:2, :5], TARGET[1:2])
    after = fakes.apply(model, params, SOURCE[1:2], TARGET[1:2])
    np.testing.assert_allclose(before, after, atol=1e-5)
    longer = fakes.apply(model, params, SOURCE[1:2], jnp.pad(TARGET[1:2], ((0, 0), (0, 3))))
    np.testing.assert_allclose(longer[:, :6], after, atol=1e-5)


@pytest.mark.parametrize("changes", VARIANTS)
def test_two_sentences_in_a_row_are_each_scored_as_if_alone(changes):
    model, params = fakes.tiny_model(**changes)
    random = np.random.default_rng(3)
    first, second = ([[*random.integers(4, 23, length), EOS] for length in lengths] for lengths in ((3, 4), (5, 2)))

    def scored(*rows):
        source, target = (jnp.asarray([(row[side] + [0] * 12)[:12] for row in rows], jnp.int32) for side in (0, 1))
        return fakes.apply(model, params, source, target)

    alone = scored(first, second)
    together = scored([first[side] + second[side] for side in (0, 1)], second)
    np.testing.assert_allclose(together[0, :5], alone[0, :5], atol=1e-5)
    np.testing.assert_allclose(together[0, 5:8], alone[1, :3], atol=1e-5)
    np.testing.assert_allclose(together[1, :3], alone[1, :3], atol=1e-5)


def test_every_kind_of_dropout_acts_in_training_only():
    for field in ("dropout", "relu_dropout", "attention_dropout"):
        rates = {"dropout": 0.0, field: 0.5}
        model, params = fakes.tiny_model(**rates)
        still = fakes.apply(model, params, SOURCE, TARGET)
        draws = [
            fakes.apply(model, params, SOURCE, TARGET, True, rngs={"dropout": jax.random.key(k)}) for k in (0, 0, 1)
        ]
        np.testing.assert_array_equal(draws[0], draws[1])
        assert np.abs(draws[0] - draws[2]).max() > 1e-3, field
        assert np.abs(draws[0] - still).max() > 1e-3, field


def test_bfloat16_computes_close_to_float32_and_keeps_float32_parameters_and_logits():
    model, params = fakes.tiny_model()
    half = Transformer(dataclasses.replace(model.config, compute_dtype="bfloat16"))
    logits = fakes.apply(half, params, SOURCE, TARGET)
    assert logits.dtype == jnp.float32
    expected = fakes.apply(model, params, SOURCE, TARGET)
    np.testing.assert_allclose(logits, expected, atol=0.15)
    tokens = jnp.ones((1, 2), jnp.int32)
    drawn = jax.eval_shape(lambda: half.init(jax.random.key(0), tokens, tokens)["params"])
    assert {x.dtype for x in jax.tree.leaves(drawn)} == {jnp.dtype("float32")}
