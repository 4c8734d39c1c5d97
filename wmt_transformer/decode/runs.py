"""What decoding needs of a trained run: its config, parameters and vocabulary."""

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from wmt_transformer.config import ComputeDtype, Config, ModelConfig, UserError
from wmt_transformer.data.vocabulary import Vocabulary
from wmt_transformer.data.vocabulary_files import load_vocabulary
from wmt_transformer.experiment import run_config
from wmt_transformer.model import dense

Params = Mapping[str, Any]
"""A model's parameters: nested dicts of arrays."""


def load(
    folder: Path,
    checkpoint: str | int | None = None,
    compute_dtype: ComputeDtype | None = None,
    warn: Callable[[str], None] = warnings.warn,
) -> tuple[Config, Params, Vocabulary]:
    """Reads a run: `checkpoint` is average, best, latest or a step; None is the average, or else the best.

    `compute_dtype` takes the place of the run's own (see `ModelConfig`), and the weights are rounded to it. `warn` is
    told which checkpoint is used where it is not the newest.

    Raises UserError when the folder holds no run or no such checkpoint.
    """
    from wmt_transformer.checkpoint import load_params  # brings Orbax

    config = run_config(folder)
    if used := older_than_newest(folder, checkpoint):
        warn(used)
    params, vocabulary = load_params(folder, checkpoint), load_vocabulary(folder / "data")
    if compute_dtype is None:
        return config, params, vocabulary
    model = dataclasses.replace(config.model, compute_dtype=compute_dtype)
    return dataclasses.replace(config, model=model), rounded(params, compute_dtype), vocabulary


def older_than_newest(folder: Path, which: str | int | None) -> str | None:
    """Returns which checkpoint of a run is used, in words, where training went on after it; None for a named step.

    Raises UserError where there is no such checkpoint.
    """
    from wmt_transformer.checkpoint import resolve, steps

    root, step = resolve(folder, which)
    saved = steps(folder)
    if not saved or step >= saved[-1] or which == step or which == str(step):
        return None
    kind, more = "the best checkpoint by its development score", ""
    if root.name == "average":
        kind, more = "the averaged checkpoint", f"; `average --workdir {folder}` makes a new one"
    return f"{folder}: {kind}, step {step}, is used; the newest is step {saved[-1]} (--checkpoint latest){more}"


def rounded(params: Params, name: ComputeDtype) -> Params:
    """Returns parameters whose matrices have the type of the products, which otherwise every call converts anew."""
    dtype = dense.compute_dtype(name)

    def one(path: Any, leaf: jax.Array) -> jax.Array:
        return leaf.astype(dtype) if path[-1].key in ("kernel", "table", "output_table") else leaf

    return jax.tree_util.tree_map_with_path(one, params)


def sized(model: ModelConfig, params: Params, vocabulary: Vocabulary) -> ModelConfig:
    """Returns the model's config with the size of its vocabulary. Raises UserError where that is another one's."""
    rows = params["target_embedding"]["table"].shape[0]
    if rows != len(vocabulary):
        raise UserError(
            f"the vocabulary has {len(vocabulary)} pieces and the checkpoint's embedding {rows} rows; "
            "use the vocabulary that the model was trained with"
        )
    return dataclasses.replace(model, vocabulary_size=rows)
