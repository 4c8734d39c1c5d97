"""Parameters as the page holds them: float16 numbers, one array after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from wmt_transformer.config import UserError
from wmt_transformer.messages import number_of

MOST_PARAMETERS = 6_000_000
"""12 MB of float16, 16 MB as the page's text."""


def rounded(params: Mapping[str, Any]) -> Any:
    """Returns the parameters with the values that the page computes with, in float32.

    Raises UserError for more parameters than a page holds, and for values beyond float16's range.
    """
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
    if (count := sum(leaf.size for leaf in leaves)) > MOST_PARAMETERS:
        raise UserError(
            f"the model has {number_of(count, 'parameter')}, and a page holds at most {MOST_PARAMETERS:,} (16 MB); "
            "train a smaller one, or look at this one with `attention`"
        )
    if any(np.abs(leaf).max() > np.finfo(np.float16).max or not np.isfinite(leaf).all() for leaf in leaves):
        raise UserError(
            "some of the model's parameters are beyond 65,504, the greatest float16; the page cannot hold them"
        )
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float16).astype(np.float32), params)


def packed(params: Mapping[str, Any]) -> tuple[list[tuple[str, int]], bytes]:
    """Returns the name and size of every array, such as `encoder_0/self_attention/query/kernel`, and their bytes."""
    arrays = {
        "/".join(str(step.key) for step in path): np.asarray(leaf, "<f2")
        for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]
    }
    return [(name, array.size) for name, array in arrays.items()], b"".join(map(np.ndarray.tobytes, arrays.values()))
