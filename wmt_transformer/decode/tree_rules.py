"""What makes an output a tree over its sentence's words (§6.3): brackets match, and there is a leaf for each word.

With this rule search and sampling see nothing else, so no output needs repair; there is always room left for what
must still come, so none is cut. As with `rules.Rules`, what is allowed keeps the model's own log-probability.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from wmt_transformer.decode.lines import Part


class TreeRules(NamedTuple):
    """Arrays that travel into a compiled search, as `Rules` do.

    A tree is one constituent, and a constituent holds at least one leaf. `limits` leave room for it: at least
    leaves + 3.
    """

    leaves: Int[Array, "batch"]
    """Words of each sentence, for each of which a tree has one leaf."""
    limits: Int[Array, "batch"]
    """Most tokens of each output, EOS included: the search's own limits."""
    closing: Int[Array, "vocabulary"]
    """The bracket that closes each opening bracket; -1 for every other token."""
    names: Int[Array, "names"]
    """The token that stands for the first word, for the second and so on, and then again from the first."""

    def allow(
        self,
        log_probs: Float[Array, "batch hypotheses vocabulary"],
        tokens: Int[Array, "batch hypotheses length"],
        index: Int[Array, ""],
        eos: int,
        pad: int,
    ) -> Float[Array, "batch hypotheses vocabulary"]:
        """Returns the log-probabilities of position `index` with -inf for what makes no tree behind `tokens`."""
        opens = self.closing >= 0
        closes = jnp.zeros_like(opens).at[jnp.where(opens, self.closing, opens.size)].set(True, mode="drop")
        levels = opens.astype(jnp.int32) - closes
        level = levels[tokens]
        depths = jnp.cumsum(level, axis=-1)
        depth = depths[..., -1]  # padding behind `index` opens and closes nothing
        # The innermost open bracket is the last that led to the depth we are at.
        places = jnp.where((level > 0) & (depths == depth[..., None]), jnp.arange(tokens.shape[-1]), -1)
        innermost = jnp.take_along_axis(tokens, places.max(axis=-1, keepdims=True), axis=-1)
        used = jnp.zeros_like(opens).at[self.names].set(True)[tokens].sum(axis=-1)
        left = self.leaves[:, None] - used
        inside, begins = depth > 0, index == 0
        has_child = levels[tokens[:, :, jnp.maximum(index - 1, 0)]] <= 0
        spare = self.limits[:, None] - index - (left + depth + 1)  # beyond the leaves, brackets and EOS still to come

        may_open = (left > 0) & (inside | begins) & (spare >= 2)
        may_close = inside & has_child & ((depth > 1) | (left == 0))
        may_end = ~inside & ~begins
        token = jnp.arange(opens.size)
        allowed = opens & may_open[..., None]
        allowed |= (token == self.closing[innermost]) & may_close[..., None]
        allowed |= (token == self.names[used % self.names.size][..., None]) & (inside & (left > 0))[..., None]
        allowed |= (token == eos) & may_end[..., None]
        return jnp.where(allowed, log_probs, -jnp.inf)


def for_vocabulary(
    pieces: dict[str, int], names: Sequence[str], count: Callable[[str], int]
) -> Callable[[Sequence[Part], np.ndarray], TreeRules]:
    """Returns what makes the rule of a batch.

    Args:
      pieces: a vocabulary's pieces and their ids.
      names: what stands for the first word, the second and so on (see `data/trees.py`).
      count: tells how many words a source has.
    """
    words = {piece[1:]: token for piece, token in pieces.items() if piece.startswith("\u2581")}
    closing = np.full(len(pieces), -1, np.int32)
    for word, token in words.items():
        if word.startswith("("):
            closing[token] = words.get(f"){word[1:]}", -1)
    known = np.array([words[name] for name in names if name in words], np.int32)

    def rule(parts: Sequence[Part], limits: np.ndarray) -> TreeRules:
        leaves = np.zeros_like(limits)
        leaves[: len(parts)] = [count(part.text) for part in parts]
        return TreeRules(*map(jnp.asarray, (leaves, limits, closing, known)))

    return rule
