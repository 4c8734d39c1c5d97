"""The least time that a step can take on a chip, by the chip's peak figures, and a likely time on a card."""

from __future__ import annotations

from collections.abc import Sequence

from wmt_transformer.plan import kernels
from wmt_transformer.train import chips

Transfers = dict[str, dict[str, int]]


def roofline(
    flops: float, moved: float, transfers: Transfers, limit: chips.Peak, cores: int = 1, cards: int = 0
) -> dict[str, float]:
    """Returns the seconds that arithmetic, memory and transfers of a step take on one chip at its peak figures.

    `transfers` are those of one of the chip's `cores` (`hlo.collectives`). `cards` are those in each machine, where
    there are several machines: every transfer is taken to span them all.
    """
    sent = cores * _sent(transfers)
    # What passes through a ring leaves each machine once, over the links to the network of all of its cards.
    network = sent / (limit.network.bandwidth * cards) if limit.network and cards else 0.0
    return {
        "compute": flops / limit.flops,
        "memory": moved / limit.bandwidth,
        "interconnect": 0.0 if cards == 1 else sent / limit.link.bandwidth,
        "network": network,
    }


def likely(found: Sequence[kernels.Kernel], parts: dict[str, float], limit: chips.Peak, real: chips.Achieved) -> float:
    """Returns the seconds of a step on a real card: its kernels one after another, and then the transfers.

    `parts` are those of `roofline`. Transfers are not taken to hide behind arithmetic: gradients are added up over the
    cards when the last of them is there.
    """
    transfers = max(parts["interconnect"], parts["network"]) / real.bandwidth
    return kernels.seconds(found, *real.rates(limit), real.launch) + transfers


def _sent(transfers: Transfers) -> int:
    """In a ring of many chips every byte of an all-reduce goes out twice (to be added, and added up), others' once."""
    return sum((2 if kind == "all-reduce" else 1) * one["bytes"] for kind, one in transfers.items())
