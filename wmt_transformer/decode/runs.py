"""What decoding needs of a trained run: its config, parameters and vocabulary."""

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from wmt_transformer.compilation import use_compilation_cache
from wmt_transformer.config import ComputeDtype, Config, DecodeDtype, ModelConfig, UserError
from wmt_transformer.data.vocabulary import Vocabulary
from wmt_transformer.data.vocabulary_files import load_vocabulary
from wmt_transformer.experiment import run_config
from wmt_transformer.model import dense, int8
from wmt_transformer.platform import backend

Params = Mapping[str, Any]
"""A model's parameters: nested dicts of arrays."""


class Run(NamedTuple):
    """What a decoder is made from."""

    config: Config
    params: Params
    vocabulary: Vocabulary
    origin: str
    """The folder of the run, and the step of its checkpoint."""


def load(
    folder: Path,
    checkpoint: str | int | None = None,
    compute_dtype: DecodeDtype | None = None,
    warn: Callable[[str], None] = warnings.warn,
) -> Run:
    """Reads a run: `checkpoint` is average, best, latest or a step; None is the average, or else the best.

    From then on compiled programs are kept in the cache folder, also those of later processes.

    `compute_dtype` takes the place of the run's own (see `ModelConfig`), and the weights are rounded to it; int8 is for
    CPUs (see `model/int8.py`). `warn` is told which checkpoint is used where it is not the newest.

    Raises UserError when the folder holds no run or no such checkpoint, and for int8 on other devices.
    """
    from wmt_transformer.checkpoint import load_params, resolve  # brings Orbax

    use_compilation_cache()
    config = run_config(folder)
    if used := older_than_newest(folder, checkpoint):
        warn(used)
    params, vocabulary = load_params(folder, checkpoint), load_vocabulary(folder / "data")
    kind, step = resolve(folder, checkpoint)
    origin = f"{folder}, {'average at ' if kind.name == 'average' else ''}step {step}"
    if compute_dtype is None:
        return Run(config, params, vocabulary, origin)
    model, params = converted(config.model, params, compute_dtype)
    return Run(dataclasses.replace(config, model=model), params, vocabulary, origin)


def converted(model: ModelConfig, params: Params, compute_dtype: DecodeDtype) -> tuple[ModelConfig, Params]:
    """Returns a model whose products are in another dtype, and its parameters with matrices of that dtype.

    Raises UserError for int8 where the devices are no CPUs.
    """
    if compute_dtype != "int8":
        return dataclasses.replace(model, compute_dtype=compute_dtype), rounded(params, compute_dtype)
    if backend() != "cpu":
        raise UserError(f"int8 is for decoding on a CPU, and the devices here are {backend().upper()}s; use bfloat16")
    return dataclasses.replace(model, compute_dtype="float32"), int8.quantized(params)


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
        return leaf.astype(dtype) if path[-1].key in int8.MATRICES else leaf

    return jax.tree_util.tree_map_with_path(one, params)


def sized(model: ModelConfig, params: Params, vocabulary: Vocabulary) -> ModelConfig:
    """Returns the model's config with the size of its vocabulary. Raises UserError where that is another one's."""
    rows = jax.tree.leaves(params["target_embedding"]["table"])[0].shape[0]
    if rows != len(vocabulary):
        raise UserError(
            f"the vocabulary has {len(vocabulary)} pieces and the checkpoint's embedding {rows} rows; "
            "use the vocabulary that the model was trained with"
        )
    return dataclasses.replace(model, vocabulary_size=rows)


def shown(decoder: object, origin: str, params: Any) -> str:
    """Returns what `repr` says of a decoder: its run and step, the number of its parameters, where they are."""
    leaves = jax.tree.leaves(params)
    devices = {device for leaf in leaves if isinstance(leaf, jax.Array) for device in leaf.devices()}
    where = ", ".join(sorted(f"{device.platform}:{device.id}" for device in devices)) or "host"
    number = sum(leaf.size for leaf in leaves) - int8.number_of_scales(params)
    return f"{type(decoder).__name__}({origin}, {number:,} parameters, {where})"
