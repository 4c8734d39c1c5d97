"""Peak figures of known chips, and the work of a training step: the two halves of every utilisation.

Figures are the vendors' own, for one chip: dense bfloat16 FLOP/s, bytes of memory and its bytes/s, and bytes/s that
go out to other chips, all links together, one way. There is no guess for a chip that is not in the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from wmt_transformer.config import ModelConfig

GIB = 2**30


class Peak(NamedTuple):
    """Upper limits of one chip; its memory is in bytes, the others in units per second."""

    flops: float
    memory: int
    bandwidth: float
    interconnect: float


PEAKS: dict[str, Peak] = {
    # device_kind: FLOP/s, memory, bytes/s, bytes/s to other chips
    # Jouppi et al., "A domain-specific supercomputer for training deep neural networks", CACM 63(7), 2020, tables 1, 3:
    "TPU v2": Peak(46e12, 16 * GIB, 700e9, 4 * 496e9 / 8),
    "TPU v3": Peak(123e12, 32 * GIB, 900e9, 4 * 656e9 / 8),
    # docs.cloud.google.com/tpu/docs/v4, /v5e (400 GB/s both ways), /v5p (4,800 Gbit/s), /v6e (800 GB/s both ways):
    "TPU v4": Peak(275e12, 32 * GIB, 1228e9, 2400e9 / 8),
    "TPU v5 lite": Peak(197e12, 16 * GIB, 819e9, 400e9 / 2),
    "TPU v5": Peak(459e12, 95 * GIB, 2765e9, 4800e9 / 8),
    "TPU v6 lite": Peak(918e12, 32 * GIB, 1638e9, 800e9 / 2),
    # NVIDIA's data sheets, SXM versions, without sparsity; NVLink's figures are both ways:
    "NVIDIA A100-SXM4-40GB": Peak(312e12, 40 * GIB, 1555e9, 600e9 / 2),
    "NVIDIA A100-SXM4-80GB": Peak(312e12, 80 * GIB, 2039e9, 600e9 / 2),
    "NVIDIA H100 80GB HBM3": Peak(989e12, 80 * GIB, 3350e9, 900e9 / 2),
    "NVIDIA H200": Peak(989e12, 141 * GIB, 4800e9, 900e9 / 2),
}


def count(devices: Sequence[Any]) -> int:
    """Returns how many chips the devices are; v2, v3 and, ahead of time, v4 show two devices for a chip."""
    return len({(getattr(one, "slice_index", 0), tuple(getattr(one, "coords", (one.id,)))) for one in devices})


def peak(device_kind: str) -> Peak | None:
    """Returns the figures of a chip by what JAX calls it, None where they are not known."""
    return PEAKS.get(device_kind)


def model_flops(config: ModelConfig, rows: int, source: int, target: int) -> int:
    """Returns the floating-point operations of a step's matrix products, padding included. A language model has the
    decoder's alone, without attention to a source.

    A product costs two a multiply-add, and as much again for each of its two gradients. Table lookups, norms,
    softmax and dropout are not counted, as is the custom for model-FLOPs utilisation (Chowdhery et al. 2022, B).
    """
    keys, values = config.num_heads * config.d_k, config.num_heads * config.d_v
    memory = config.d_model * (keys + values)  # keys and values, or queries and output, of one token
    feed_forward = 2 * config.d_model * config.d_ff
    logits = target * config.d_model * config.vocabulary_size
    if config.architecture == "decoder_only":
        decoder = target * (2 * memory + feed_forward) + target * target * (keys + values)
        return 6 * rows * (config.decoder_layers * decoder + logits)
    encoder = source * (2 * memory + feed_forward) + source * source * (keys + values)
    decoder = target * (3 * memory + feed_forward) + source * memory + target * (target + source) * (keys + values)
    return 6 * rows * (config.num_layers * encoder + config.decoder_layers * decoder + logits)
