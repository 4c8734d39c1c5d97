"""The least time that a step can take on a chip, by the chip's peak figures."""

from __future__ import annotations

from wmt_transformer.train import chips


def roofline(
    flops: float, moved: float, collectives: dict[str, dict[str, int]], limit: chips.Peak, cores: int = 1
) -> dict[str, float]:
    """Returns the seconds that arithmetic, memory and transfers of a step take on one chip at its peak figures.

    In a ring of many chips every byte of an all-reduce goes out twice (to be added, and added up), others' once.
    `collectives` are of one of the chip's `cores`.
    """
    sent = sum((2 if kind == "all-reduce" else 1) * one["bytes"] for kind, one in collectives.items())
    return {
        "compute": flops / limit.flops,
        "memory": moved / limit.bandwidth,
        "interconnect": sent * cores / limit.interconnect,
    }
