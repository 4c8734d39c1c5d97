"""Programs compiled ahead: the same step, one program a shape, in the order in which batches come."""

import threading

import fakes
import jax
import numpy as np
import pytest

from wmt_transformer import platform
from wmt_transformer.config import MeshConfig, TrainConfig
from wmt_transformer.data.batches import Batch
from wmt_transformer.data.shapes import Shape
from wmt_transformer.train.optimizer import optimizer
from wmt_transformer.train.programs import Programs
from wmt_transformer.train.sharding import make_mesh, place_batch
from wmt_transformer.train.state import initial_state
from wmt_transformer.train.step import make_train_step

MODEL, _ = fakes.tiny_model()
SHAPES = [Shape(2, 4, 5), Shape(4, 3, 2)]
SETTINGS = TrainConfig(warmup_steps=4)
UPDATE, MESH = optimizer(SETTINGS, MODEL.config.d_model), make_mesh(MeshConfig(), jax.devices()[:1])


def batch(shape: Shape, seed: int) -> Batch:
    sides = (fakes.random_tokens(seed, shape.rows, length) for length in shape[1:])
    return place_batch(Batch(*map(np.asarray, sides)), MESH)


def after(step) -> tuple:
    """Returns the leaves of the state after a batch of each shape, and one of the first again."""
    with jax.set_mesh(MESH):
        state = initial_state(MODEL, UPDATE, MESH, 1)
        for seed, shape in enumerate([*SHAPES, SHAPES[0]]):
            state, _ = step(state, batch(shape, seed))
    return tuple(map(np.asarray, jax.tree.leaves(state)))


@pytest.mark.parametrize("cores", [2, pytest.param(16, marks=pytest.mark.slow)])
def test_programs_compute_what_the_step_does_bit_for_bit(cores, monkeypatch):
    monkeypatch.setattr(platform, "usable_cores", lambda: cores)
    with jax.set_mesh(MESH):
        step, state = make_train_step(MODEL, UPDATE, SETTINGS, MESH), initial_state(MODEL, UPDATE, MESH, 1)
    programs = Programs(step, state, SHAPES, MESH)
    ours, told = after(programs), programs.so_far()
    programs.close()
    for one, other in zip(ours, after(step), strict=True):
        np.testing.assert_array_equal(one, other)
    assert told.programs == len(SHAPES) and told.seconds > 0 and told.waited > 0


def test_with_few_cores_a_program_is_compiled_when_a_step_needs_it(monkeypatch):
    monkeypatch.setattr(platform, "usable_cores", lambda: 2)
    with jax.set_mesh(MESH):
        step, state = make_train_step(MODEL, UPDATE, SETTINGS, MESH), initial_state(MODEL, UPDATE, MESH, 1)
    programs = Programs(step, state, SHAPES, MESH)
    assert programs.so_far().programs == 0
    programs(state, batch(SHAPES[1], 0))
    programs.close()
    assert programs.so_far().programs == 1


@pytest.mark.slow
def test_programs_that_the_cache_has_are_counted():
    with jax.set_mesh(MESH):
        step, state = make_train_step(MODEL, UPDATE, SETTINGS, MESH), initial_state(MODEL, UPDATE, MESH, 1)
    found = []
    for _ in range(2):
        programs = Programs(step, state, [], MESH)
        with jax.set_mesh(MESH):
            programs(initial_state(MODEL, UPDATE, MESH, 1), batch(Shape(2, 7, 11), 0))
        programs.close()
        found.append(programs.so_far().found)
        jax.clear_caches()
    assert found[1] == 1


@pytest.mark.slow
def test_what_is_not_compiled_when_a_run_ends_is_left_out(monkeypatch):
    monkeypatch.setattr(platform, "usable_cores", lambda: 8)
    many = [Shape(2, 4, length) for length in range(2, 40)]
    with jax.set_mesh(MESH):
        step, state = make_train_step(MODEL, UPDATE, SETTINGS, MESH), initial_state(MODEL, UPDATE, MESH, 1)
    programs = Programs(step, state, many, MESH)
    programs(state, batch(many[0], 0))
    programs.close()
    for thread in threading.enumerate():  # what was begun is ended: other tests find no thread at work
        if thread.name.startswith("compile"):
            thread.join()
    assert 1 <= programs.so_far().programs < len(many)
