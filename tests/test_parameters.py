"""Parameters by name: what a pattern freezes, what decays, and what is counted as trained."""

import fakes
import jax
import numpy as np
import pytest
from test_step import BATCH

from wmt_transformer.config import MeshConfig, TrainConfig, UserError
from wmt_transformer.train import parameters
from wmt_transformer.train.optimizer import optimizer
from wmt_transformer.train.sharding import make_mesh, place_batch
from wmt_transformer.train.state import initial_state
from wmt_transformer.train.step import make_train_step


def names(tree) -> set[str]:
    """Returns the names of the leaves that are True."""
    return {parameters.name_of(path) for path, leaf in jax.tree_util.tree_leaves_with_path(tree) if leaf}


def test_a_pattern_is_for_whole_names_in_which_the_layers_of_a_stack_are_a_folder():
    _, params = fakes.tiny_model(norm_position="pre", tied_embeddings="none")
    everything = names(parameters.decayed(params)) | names(jax.tree.map(lambda _: True, params))
    encoder = {name for name in everything if name.startswith("encoder/")}
    assert names(parameters.frozen(params, ["encoder/.*"])) == encoder
    assert {name.split("/")[1] for name in encoder} == {"0", "1", "norm"}
    tables = {"source_embedding/table", "target_embedding/table"}
    assert names(parameters.frozen(params, [".*embedding/table"])) == tables
    assert names(parameters.frozen(params, ["encoder/.*", ".*embedding/table"])) == encoder | tables
    assert names(parameters.frozen(params, ["decoder/1/cross_attention/query/kernel"])) == {
        "decoder/1/cross_attention/query/kernel"
    }


def test_a_pattern_that_matches_nothing_lists_the_names_and_freezing_all_is_refused():
    _, params = fakes.tiny_model()
    with pytest.raises(UserError, match="no parameter is named 'encoder'") as caught:
        parameters.frozen(params, [".*/bias", "encoder"])
    said = str(caught.value)
    assert "\n" not in said and "encoder/0/self_attention/query/kernel" in said and "encoder/1" not in said
    with pytest.raises(UserError, match="nothing is left to train"):
        parameters.frozen(params, [".*"])


def test_what_decays_has_many_inputs_whatever_its_shape():
    _, params = fakes.tiny_model(attention_bias=True, output_bias=True, positions="learned", tied_embeddings="none")
    decayed = names(parameters.decayed(params))
    assert {name.split("/")[-1] for name in decayed} == {
        "kernel", "table", "output_table", "source_positions", "target_positions",
    }  # fmt: skip
    assert {"target_embedding/table", "decoder/0/feed_forward/hidden/kernel"} <= decayed


def test_trained_parameters_are_counted_by_hand():
    _, params = fakes.tiny_model()
    total = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert parameters.count(params) == (total, total)
    assert parameters.count(params, ["target_embedding/table"]) == (total - 23 * 16, total)


@pytest.mark.parametrize("accumulation", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_frozen_parameters_stay_have_no_moments_and_do_not_count_in_the_norm(accumulation):
    model, _ = fakes.tiny_model(num_layers=1, dropout=0.0)
    mesh = make_mesh(MeshConfig())
    patterns, ends = ("encoder/.*", "target_embedding/table"), {}
    for freeze in ((), patterns):
        # Weight decay acts on a parameter whatever its gradient: also on one that is only not differentiated.
        train = TrainConfig(warmup_steps=4, weight_decay=0.1, freeze=freeze, accumulation=accumulation, ema_decay=0.5)
        update = optimizer(train, 16)
        step = make_train_step(model, update, train, mesh)
        state = initial_state(model, update, mesh, 1, ema=True)
        before = jax.tree.map(np.asarray, state.params)
        state, first = step(state, place_batch(BATCH, mesh))
        for _ in range(2):
            state, _ = step(state, place_batch(BATCH, mesh))
        ends[freeze] = before, state, float(first.gradient_norm)
    (before, state, norm), whole_norm = ends[patterns], ends[()][2]
    held = parameters.frozen(before, patterns)
    for after in (state.params, state.ema):
        jax.tree.map(
            lambda is_frozen, old, new: np.testing.assert_equal(np.array_equal(old, new), is_frozen),
            held, before, jax.tree.map(np.asarray, after),
        )  # fmt: skip
    trained = parameters.count(before, patterns)[0]
    assert sum(leaf.size for leaf in jax.tree.leaves(state.optimizer)) == 2 * trained + 2  # and two counters
    assert 0 < norm < whole_norm
