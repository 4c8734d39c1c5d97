"""What an output must be: how long, and how it begins.

The rules act on log-probabilities, position by position: what is not allowed there gets -inf, what is allowed keeps
the model's own log-probability. So a forced piece costs what the model thinks of it (as in fairseq), the score of an
output is its log-probability whatever was forced, and search and sampling obey the same rules in one line each.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Position(NamedTuple):
    """Where an output has come to."""

    tokens: Int[Array, "batch hypotheses length"]
    """What was written so far, padding after it."""
    position: Int[Array, ""]
    """The position that is written now."""
    eos: int
    pad: int


@runtime_checkable
class Rule(Protocol):
    """What search and sampling ask at every position; a pytree of arrays, so that it can be an argument of a compiled
    function."""

    def allow(
        self, log_probs: Float[Array, "batch hypotheses vocabulary"], at: Position
    ) -> Float[Array, "batch hypotheses vocabulary"]:
        """Returns the log-probabilities of the tokens at a position, with -inf for those that are not allowed there."""
        ...


class Rules(NamedTuple):
    """One row for each sentence; a prefix is at most `maximum` long, and `minimum` is not above `maximum`."""

    minimum: Int[Array, "batch"]
    """Pieces that come before EOS may."""
    maximum: Int[Array, "batch"]
    """Pieces after which EOS must come, where the search's own limit leaves room for it."""
    prefix: Int[Array, "batch prefix"]
    """Ids that the output begins with; padding after them."""

    def allow(
        self, log_probs: Float[Array, "batch hypotheses vocabulary"], at: Position
    ) -> Float[Array, "batch hypotheses vocabulary"]:
        """Returns the log-probabilities with -inf for what breaks a length or the prefix."""
        token = jnp.arange(log_probs.shape[-1])
        forced = jnp.where(at.position == self.maximum, at.eos, at.pad)
        if length := self.prefix.shape[1]:
            begun = self.prefix[:, jnp.minimum(at.position, length - 1)]
            forced = jnp.where((at.position < length) & (begun != at.pad), begun, forced)
        forced = forced[:, None]
        allowed = (forced == at.pad) | (token == forced)
        allowed &= (token != at.eos) | (at.position >= self.minimum)[:, None]
        return jnp.where(allowed[:, None], log_probs, -jnp.inf)
