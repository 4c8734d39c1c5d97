"""What an output must be: how long, and how it begins.

The rules act on log-probabilities, position by position: what is not allowed there gets -inf, what is allowed keeps
the model's own log-probability. So a forced piece costs what the model thinks of it (as in fairseq), the score of an
output is its log-probability whatever was forced, and search and sampling obey the same rules in one line each.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@runtime_checkable
class Rule(Protocol):
    """What search and sampling ask at every position; a pytree of arrays, so that it travels into what is compiled."""

    def allow(
        self,
        log_probs: Float[Array, "batch hypotheses vocabulary"],
        tokens: Int[Array, "batch hypotheses length"],
        index: Int[Array, ""],
        eos: int,
        pad: int,
    ) -> Float[Array, "batch hypotheses vocabulary"]:
        """Returns the log-probabilities of position `index`, behind `tokens`, with -inf where a token may not stand."""
        ...


class Rules(NamedTuple):
    """One row a sentence; a prefix is at most `maximum` long, and `minimum` is not above `maximum`."""

    minimum: Int[Array, "batch"]
    """Pieces that come before EOS may."""
    maximum: Int[Array, "batch"]
    """Pieces behind which EOS must come, where the search's own limit leaves room for it."""
    prefix: Int[Array, "batch prefix"]
    """Ids that the output begins with; padding behind its end."""

    def allow(
        self,
        log_probs: Float[Array, "batch hypotheses vocabulary"],
        tokens: Int[Array, "batch hypotheses length"],
        index: Int[Array, ""],
        eos: int,
        pad: int,
    ) -> Float[Array, "batch hypotheses vocabulary"]:
        """Returns the log-probabilities of position `index` with -inf where a token may not stand."""
        tokens = jnp.arange(log_probs.shape[-1])
        forced = jnp.where(index == self.maximum, eos, pad)
        if length := self.prefix.shape[1]:
            begun = self.prefix[:, jnp.minimum(index, length - 1)]
            forced = jnp.where((index < length) & (begun != pad), begun, forced)
        forced = forced[:, None]
        allowed = (forced == pad) | (tokens == forced)
        allowed &= (tokens != eos) | (index >= self.minimum)[:, None]
        return jnp.where(allowed[:, None], log_probs, -jnp.inf)
