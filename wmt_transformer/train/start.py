"""The state that a run starts from: that of its newest checkpoint that can be read, or freshly drawn parameters."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import optax

from wmt_transformer.checkpoint import Broken, Checkpoints
from wmt_transformer.config import Config
from wmt_transformer.data import embeddings
from wmt_transformer.data.vocabulary import Vocabulary
from wmt_transformer.model.build import Model
from wmt_transformer.train.state import TrainState, abstract_state, initial_state, with_embeddings


def starting_state(
    config: Config,
    checkpoints: Checkpoints,
    model: Model,
    update: optax.GradientTransformation,
    mesh: jax.sharding.Mesh,
    vocabulary: Vocabulary,
) -> tuple[TrainState, list[str]]:
    """Returns the state to go on from, and lines that say where it comes from.

    Raises Broken when there are checkpoints and none of them can be read.
    """
    if checkpoints.steps():
        return _restored(checkpoints, abstract_state(model, update, mesh))
    state = initial_state(model, update, mesh, config.train.seed)
    return _with_pretrained(state, config, vocabulary) if config.model.pretrained_embeddings else (state, [])


def _restored(checkpoints: Checkpoints, shapes: TrainState) -> tuple[TrainState, list[str]]:
    """Returns the state of the newest checkpoint that can be read, and what is wrong with newer ones."""
    said: list[str] = []
    saved = checkpoints.steps()
    for newest in reversed(saved):
        try:
            params, moments = checkpoints.restore(newest, shapes.params, shapes.optimizer)
        except Broken as error:
            said.append(f"{error}; trying the one before")
            continue
        step, none = (jax.device_put(jnp.int32(n), shapes.step.sharding) for n in (newest, 0))
        return TrainState(step, params, moments, none), [*said, f"resuming at step {newest}"]
    raise Broken(f"none of the {len(saved)} checkpoints can be read; the newest: {said[0]}")


def _with_pretrained(state: TrainState, config: Config, vocabulary: Vocabulary) -> tuple[TrainState, list[str]]:
    """Returns the state with embeddings from the config's file, and how many pieces have one."""
    path = Path(config.model.pretrained_embeddings or "")
    ids, vectors = embeddings.rows(path, vocabulary.ids(), config.model.d_model)
    found = f"{path} has vectors for {len(ids):,} of {len(vocabulary):,} pieces; the others start at random"
    return with_embeddings(state, ids, vectors), [found]
