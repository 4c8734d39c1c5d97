"""The state that a run starts from: that of its newest checkpoint that can be read, or freshly drawn parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from wmt_transformer.checkpoint import Checkpoints
from wmt_transformer.checkpoint_records import Broken
from wmt_transformer.config import Config
from wmt_transformer.data import embeddings
from wmt_transformer.data.vocabulary import Vocabulary
from wmt_transformer.model.build import Model
from wmt_transformer.train.hosts import is_main, largest
from wmt_transformer.train.state import TrainState, abstract_state, initial_state, with_embeddings


def starting_state(
    config: Config,
    checkpoints: Checkpoints,
    model: Model,
    update: optax.GradientTransformation,
    mesh: jax.sharding.Mesh,
    vocabulary: Vocabulary,
) -> tuple[TrainState, list[str]]:
    """Returns the state to go on from, the same in all processes, and lines that say where it comes from.

    Raises Broken when there are checkpoints and none of them can be read, UserError when the newest that can was
    trained on other data.
    """
    ema = config.train.ema_decay > 0
    restored, said = _restored(checkpoints, update, abstract_state(model, update, mesh, ema))
    if restored is not None:
        return restored, said
    state = initial_state(model, update, mesh, config.train.seed, ema)
    return _with_pretrained(state, config, vocabulary) if config.model.pretrained_embeddings else (state, said)


def _restored(
    checkpoints: Checkpoints, update: optax.GradientTransformation, shapes: TrainState
) -> tuple[TrainState | None, list[str]]:
    """Returns the state of the newest checkpoint that all processes can read, and what is wrong with newer ones."""
    said: list[str] = []
    for newest in _newest_first(checkpoints):
        loaded, damage = None, _tried(checkpoints.verify, newest)[1]
        if damage is None:  # all processes load, or none: they load together
            loaded, damage = _tried(lambda step: checkpoints.restore(step, shapes.items()), newest)
        if loaded is None:
            said.append(f"{damage}; trying the one before")
            continue
        if newest:  # step 0 is the parent's checkpoint, of which `parent.begin` speaks
            said.append(f"resuming at step {newest}{'' if 'optimizer' in loaded else ', the optimiser anew'}")
        return _as_state(newest, loaded, update, shapes), said
    if said:
        raise Broken(f"none of the {len(said)} checkpoints can be read; the newest: {said[0]}")
    return None, said


def _as_state(
    step: int, loaded: dict[str, Any], update: optax.GradientTransformation, shapes: TrainState
) -> TrainState:
    """Returns the state that goes on from the items of a checkpoint; moments start at zero where it has none."""
    places = jax.tree.map(lambda x: x.sharding, shapes)
    now, none = (jax.device_put(jnp.int32(n), places.step) for n in (step, 0))
    used, trained = loaded["params"], loaded.get("trained", loaded["params"])
    moments = loaded.get("optimizer")
    if moments is None:
        moments = jax.jit(update.init, out_shardings=places.optimizer)(trained)
    if shapes.ema is not None and "trained" not in loaded:
        used = jax.tree.map(jnp.copy, used)  # one buffer cannot be donated twice
    return TrainState(now, trained, moments, none, None if shapes.ema is None else used)


def _tried(action: Callable[[int], Any], step: int) -> tuple[Any, str | None]:
    """Returns what an action on a checkpoint returns, or what is broken where it is so in any of the processes."""
    result, damage = None, None
    try:
        result = action(step)
    except Broken as error:
        damage = str(error)
    if largest(damage is not None):
        return None, damage or f"another process cannot read the checkpoint of step {step}"
    return result, None


def _newest_first(checkpoints: Checkpoints) -> Iterator[int]:
    """Yields the steps of the checkpoints that process 0 finds, the same in all processes."""
    found = checkpoints.steps()[::-1] if is_main() else []
    for index in range(largest(len(found))):
        yield largest(found[index] if found else 0)


def _with_pretrained(state: TrainState, config: Config, vocabulary: Vocabulary) -> tuple[TrainState, list[str]]:
    """Returns the state with embeddings from the config's file, and how many pieces have one."""
    path = Path(config.model.pretrained_embeddings or "")
    ids, vectors = embeddings.rows(path, vocabulary.ids(), config.model.d_model)
    found = f"{path} has vectors for {len(ids):,} of {len(vocabulary):,} pieces; the others start at random"
    return with_embeddings(state, ids, vectors), [found]
