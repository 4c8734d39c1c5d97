"""What makes an output a tree over its sentence's words (§6.3): brackets match, and there is a leaf for each word.

Under this rule search and sampling can write nothing else, so no output needs repair. Room is always left for the
leaves and brackets that must still come, so none is cut. As with `rules.Rules`, what is allowed keeps the model's own
log-probability.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from wmt_transformer.decode.lines import Part
from wmt_transformer.decode.rules import Position


class TreeRules(NamedTuple):
    """Arrays that are arguments of a compiled search, as `Rules` are.

    A tree is one constituent, and a constituent holds at least one leaf. `limits` have room for a tree: they are at
    least leaves + 3.
    """

    leaves: Int[Array, "batch"]
    """Words of each sentence, for each of which a tree has one leaf."""
    limits: Int[Array, "batch"]
    """Most tokens of each output, EOS included: the search's own limits."""
    closing: Int[Array, "vocabulary"]
    """The bracket that closes each opening bracket; -1 for every other token."""
    names: Int[Array, "names"]
    """The tokens that stand for the first word, the second and so on; after the last one they begin again."""

    def allow(
        self, log_probs: Float[Array, "batch hypotheses vocabulary"], at: Position
    ) -> Float[Array, "batch hypotheses vocabulary"]:
        """Returns the log-probabilities with -inf for what leads to no tree."""
        opens = self.closing >= 0
        closes = jnp.zeros_like(opens).at[jnp.where(opens, self.closing, opens.size)].set(True, mode="drop")
        levels = opens.astype(jnp.int32) - closes
        level = levels[at.tokens]
        depths = jnp.cumsum(level, axis=-1)
        depth = depths[..., -1]  # padding opens and closes nothing
        # The innermost open bracket is the last one that led to the present depth.
        places = jnp.where((level > 0) & (depths == depth[..., None]), jnp.arange(at.tokens.shape[-1]), -1)
        innermost = jnp.take_along_axis(at.tokens, places.max(axis=-1, keepdims=True), axis=-1)
        used = jnp.zeros_like(opens).at[self.names].set(True)[at.tokens].sum(axis=-1)
        left = self.leaves[:, None] - used
        inside, begins = depth > 0, at.position == 0
        has_child = levels[at.tokens[:, :, jnp.maximum(at.position - 1, 0)]] <= 0
        still_to_come = left + depth + 1  # leaves, closing brackets and EOS
        spare = self.limits[:, None] - at.position - still_to_come

        may_open = (left > 0) & (inside | begins) & (spare >= 2)
        may_close = inside & has_child & ((depth > 1) | (left == 0))
        may_end = ~inside & ~begins
        token = jnp.arange(opens.size)
        allowed = opens & may_open[..., None]
        allowed |= (token == self.closing[innermost]) & may_close[..., None]
        allowed |= (token == self.names[used % self.names.size][..., None]) & (inside & (left > 0))[..., None]
        allowed |= (token == at.eos) & may_end[..., None]
        return jnp.where(allowed, log_probs, -jnp.inf)


def for_vocabulary(
    pieces: dict[str, int], names: Sequence[str], count: Callable[[Part], int]
) -> Callable[[Sequence[Part], np.ndarray], TreeRules]:
    """Returns a function that makes the rule of a batch from its parts and the most tokens of each row.

    Args:
      pieces: a vocabulary's pieces and their ids.
      names: what stands for the first word, the second and so on (see `data/treebanks/trees.py`).
      count: tells how many words a part has.
    """
    words = {piece[1:]: token for piece, token in pieces.items() if piece.startswith("\u2581")}
    closing = np.full(len(pieces), -1, np.int32)
    for word, token in words.items():
        if word.startswith("("):
            closing[token] = words.get(f"){word[1:]}", -1)
    known = np.array([words[name] for name in names if name in words], np.int32)

    def rule(parts: Sequence[Part], limits: np.ndarray) -> TreeRules:
        leaves = np.zeros_like(limits)
        leaves[: len(parts)] = [count(part) for part in parts]
        return TreeRules(*map(jnp.asarray, (leaves, limits, closing, known)))

    return rule
