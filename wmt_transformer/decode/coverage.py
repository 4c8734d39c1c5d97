"""The coverage penalty of Wu et al. 2016 (equation 14), which ranks what beam search has finished.

    s(Y, X) = log P(Y|X) / ((5 + |Y|) / 6) ** alpha + cp(X; Y)
    cp(X; Y) = beta · Σ_i log(min(Σ_j p_ij, 1))

p_ij is the attention of output token j to source token i; both sums count EOS. A Transformer has many attentions: ours
is the mean over the heads of the decoder's last layer (over the models too, in an ensemble). The paper of this model
uses no such penalty, so beta is 0 by default. It does not steer the search: the beam_size hypotheses that the search
returns are read once more with teacher forcing, which gives p, and are sorted by s.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from wmt_transformer.decode.beam import Hypotheses
from wmt_transformer.special_tokens import EOS, PAD


def penalty(
    attention: Float[Array, "batch hypotheses target source"],
    source: Int[Array, "batch source"],
    tokens: Int[Array, "batch hypotheses target"],
    beta: Float[Array, ""],
) -> Float[Array, "batch hypotheses"]:
    """Returns cp(X; Y) of every hypothesis, at most 0. Padding on either side counts for nothing."""
    covered = jnp.where((tokens != PAD)[..., None], attention, 0.0).sum(axis=2)
    logs = jnp.log(jnp.clip(covered, 1e-9, 1.0))  # a token without any attention would give -inf
    return beta * jnp.where((source != PAD)[:, None], logs, 0.0).sum(axis=-1)


def ranked(
    found: Hypotheses, scores: Float[Array, "batch hypotheses"], attention: Array, count: int
) -> tuple[Hypotheses, Array]:
    """Returns the `count` best hypotheses by new scores, and their attention.

    As in the search, those that ended come before those that the limit cut; places without a hypothesis come last.
    """
    cut = 1 - (found.tokens == EOS).any(axis=-1) + 2 * jnp.isneginf(found.scores)
    order = jnp.lexsort((-scores, cut))[:, :count]
    tokens, attention = (
        jnp.take_along_axis(x, order[..., *[None] * (x.ndim - 2)], 1) for x in (found.tokens, attention)
    )
    return Hypotheses(tokens, jnp.take_along_axis(scores, order, 1)), attention
