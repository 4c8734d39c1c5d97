"""The language model: parameters by hand, packed documents against each alone, decoding against teacher forcing."""

import dataclasses
import math

import fakes
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmt_transformer import experiment
from wmt_transformer.model.build import build
from wmt_transformer.special_tokens import BOS, EOS, PAD
from wmt_transformer.train.sharding import shardings

VARIANTS = [
    {"norm_position": "pre", "activation": "gelu"},
    {"positions": "learned", "max_positions": 24, "tied_embeddings": "none", "output_bias": True},
    {"attention": "fused", "d_v": 8, "sinusoid_layout": "concatenated"},
]
FIRST, SECOND, THIRD = [5, 9, 7, 20, 11], [8, 4], [17, 6, 6, 12]


def tiny(**changes):
    return fakes.tiny_model(architecture="decoder_only", num_layers=2, **changes)


def alone(model, params, ids: list[int]) -> np.ndarray:
    """Returns the logits `[len(ids) + 1, V]` of a document and its end, read by itself from BOS on."""
    return fakes.apply(model, params, jnp.asarray([[BOS]]), jnp.asarray([[*ids, EOS]]))[0]


def test_gpt2_small_has_its_number_of_parameters():
    # Radford et al. 2019 with 50,257 pieces and 1,024 positions; the released model has 124,439,808 parameters:
    # embeddings 50,257 x 768 + 1,024 x 768 = 39,383,808
    # attention 4 x (768 x 768 + 768) = 2,362,368; feed-forward 768 x 3,072 + 3,072 + 3,072 x 768 + 768 = 4,722,432
    # a layer has two norms of 2 x 768 besides: 7,087,872; 12 layers and the last norm: 85,054,464 + 1,536
    settings = experiment.load("language_model_gpt2_small")
    model = build(dataclasses.replace(settings.model, vocabulary_size=settings.data.vocabulary_size))
    tokens = jnp.ones((1, 2), jnp.int32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), tokens, tokens)
    assert sum(math.prod(x.shape) for x in jax.tree.leaves(shapes)) == 39_383_808 + 85_054_464 + 1_536 == 124_439_808
    assert settings.data.context == settings.model.max_positions == 1024


def test_the_rules_split_every_matrix_of_a_language_model_over_fsdp_and_tensor():
    mesh = jax.sharding.AbstractMesh((1, 2, 2), ("data", "fsdp", "tensor"))
    _, params = tiny(vocabulary_size=24, positions="learned", max_positions=24)
    places = dict(jax.tree_util.tree_leaves_with_path(shardings(params, mesh)))
    matrices = {path: x for path, x in jax.tree_util.tree_leaves_with_path(params) if x.ndim > 1}
    assert len(matrices) == 2 + 2 * 6  # embeddings and positions; four of attention and two behind it in each layer
    for path, x in matrices.items():
        parts = 2 if "target_positions" in str(path) else 4
        assert math.prod(places[path].shard_shape(x.shape)) * parts == x.size, path


@pytest.mark.parametrize("changes", VARIANTS)
def test_documents_packed_into_a_window_are_scored_as_if_each_were_alone(changes):
    model, params = tiny(**changes)
    window = [*FIRST, EOS, *SECOND, EOS, *THIRD, EOS]
    packed = fakes.apply(model, params, jnp.asarray([[BOS]]), jnp.asarray([[*window, PAD, PAD]]))[0]
    expected = np.concatenate([alone(model, params, ids) for ids in (FIRST, SECOND, THIRD)])
    np.testing.assert_allclose(packed[: len(window)], expected, atol=1e-5)


def test_a_window_that_begins_inside_a_document_sees_the_token_before_it_and_nothing_else():
    model, params = tiny()
    begun = fakes.apply(model, params, jnp.asarray([[FIRST[1]]]), jnp.asarray([[*FIRST[2:], EOS, *SECOND]]))[0]
    assert not np.allclose(begun[0], alone(model, params, FIRST)[2], atol=1e-3)  # BOS and the first token are not seen
    np.testing.assert_allclose(begun[len(FIRST) - 1 :], alone(model, params, SECOND)[:-1], atol=1e-5)


def test_a_token_changes_no_logits_up_to_its_own_and_all_behind_it():
    model, params = tiny()
    changed = [*FIRST[:2], 21, *FIRST[3:]]
    difference = np.abs(alone(model, params, FIRST) - alone(model, params, changed)).max(axis=1)
    assert (difference[:3] == 0).all() and (difference[3:] > 1e-4).all()


@pytest.mark.parametrize("changes", VARIANTS)
def test_cached_decoding_behind_prompts_of_different_length_equals_teacher_forcing(changes):
    model, params = tiny(**changes)
    prompts, behind = [[BOS, *FIRST], [BOS], [9, 4, 3]], [[6, 13, 22, 4], [10, 10, 5, 21], [7, 19, 8, 18]]
    padded = jnp.asarray([[PAD] * (6 - len(prompt)) + prompt for prompt in prompts])
    full = [
        fakes.apply(model, params, jnp.asarray([prompt]), jnp.asarray([tokens]))[0]
        for prompt, tokens in zip(prompts, behind, strict=True)
    ]
    np.testing.assert_allclose(fakes.apply(model, params, padded, jnp.asarray(behind)), np.stack(full), atol=1e-5)
    cache, memory = fakes.apply(model, params, padded, 2, 4, method="start_cache")
    step = jax.jit(lambda tokens, index, cache: fakes.apply(model, params, tokens, index, cache, memory, method="step"))
    for index in range(4):
        # What goes in first is the prompt's last token, whatever is given; the second hypothesis reads other tokens.
        last = [tokens[index - 1] if index else BOS for tokens in behind]
        logits, cache = step(jnp.asarray([[token, 9] for token in last]), jnp.int32(index), cache)
        np.testing.assert_allclose(logits[:, 0], np.stack(full)[:, index], atol=1e-5)
