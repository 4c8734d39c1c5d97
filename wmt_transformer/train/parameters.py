"""Parameters by name: which ones a run leaves as they are, and which ones weight decay makes smaller.

A name is the path in the tree with the layers of a stack as a folder: `encoder/0/self_attention/query/kernel`,
`decoder/norm/scale`, `target_embedding/table`.
"""

import re
from collections.abc import Sequence
from typing import Any

import jax

from wmt_transformer.config import ModelConfig, UserError
from wmt_transformer.model.build import build


def name_of(path: Any) -> str:
    """Returns the name of the parameter at a path of the tree."""
    return re.sub("^(encoder|decoder)_", r"\1/", jax.tree_util.keystr(path, simple=True, separator="/"))


def frozen(params: Any, patterns: Sequence[str]) -> Any:
    """Returns a tree that says of every parameter whether one of the patterns matches its whole name.

    Raises UserError for a pattern that matches none, and where all are frozen.
    """
    names = jax.tree_util.tree_map_with_path(lambda path, _: name_of(path), params)
    for pattern in patterns:
        if not any(re.fullmatch(pattern, name) for name in jax.tree.leaves(names)):
            alike = dict.fromkeys(re.sub(r"/\d+/", "/0/", name) for name in jax.tree.leaves(names))
            raise UserError(f"train.freeze: no parameter is named {pattern!r}; names are {', '.join(alike)}")
    held = jax.tree.map(lambda name: any(re.fullmatch(pattern, name) for pattern in patterns), names)
    if all(jax.tree.leaves(held)):
        raise UserError(f"train.freeze: {' '.join(patterns)} freezes all parameters; nothing is left to train")
    return held


def check_frozen(model: ModelConfig, patterns: Sequence[str]) -> None:
    """Raises UserError as `frozen` does, from the parameters' names alone: before any of them is there."""
    if patterns:
        some = jax.ShapeDtypeStruct((1, 1), "int32")
        shapes: Any = jax.eval_shape(build(model).init, jax.random.key(0), some, some)
        frozen(shapes["params"], patterns)


def without_frozen(params: Any, patterns: Sequence[str]) -> Any:
    """Returns the parameters such that no gradient flows to the frozen ones."""
    if not patterns:
        return params
    held = frozen(params, patterns)
    return jax.tree.map(lambda x, is_frozen: jax.lax.stop_gradient(x) if is_frozen else x, params, held)


def count(params: Any, patterns: Sequence[str] = ()) -> tuple[int, int]:
    """Returns how many numbers the parameters are that are trained, and all."""
    sizes, held = (jax.tree.leaves(tree) for tree in (jax.tree.map(lambda x: x.size, params), frozen(params, patterns)))
    return sum(size for size, is_frozen in zip(sizes, held, strict=True) if not is_frozen), sum(sizes)


def decayed(params: Any) -> Any:
    """Returns a tree that says of every parameter whether weight decay acts on it: all but biases and norms' scales."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].key not in ("bias", "output_bias", "scale"), params
    )
