"""Peak figures of known chips, and the work of a training step: the two halves of every utilisation.

Figures are the vendors' own, for one chip: dense bfloat16 FLOP/s, bytes of memory and its bytes/s, and bytes/s that
go out to other chips, all links together, one way. There is no guess for a chip that is not in the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from wmt_transformer.config import ModelConfig

GIB = 2**30


class Link(NamedTuple):
    """What joins chips."""

    name: str
    bandwidth: float
    """Bytes a second that go out of one chip, all links together, one way."""
    source: str


class Peak(NamedTuple):
    """Upper limits of one chip; its memory is in bytes, the others in units per second."""

    flops: float
    memory: int
    bandwidth: float
    link: Link
    """To the other chips of a slice, or of a machine."""
    network: Link | None = None
    """Between machines: a chip's share of what goes out of its machine. None where no figure is known."""


class Achieved(NamedTuple):
    """What a real step is taken to reach of a card's peak."""

    bandwidth: float
    """Share of the memory's and the links' bandwidth."""
    flops: float
    """Share of the arithmetic of matrix products."""
    launch: float
    """Seconds between one kernel and the next."""
    source: str

    def rates(self, limit: Peak) -> tuple[float, float]:
        """Returns FLOP/s and bytes/s of memory."""
        return self.flops * limit.flops, self.bandwidth * limit.bandwidth


def _ici(bandwidth: float, source: str) -> Link:
    return Link("inter-chip interconnect", bandwidth, source)


_TPU_DOCS = "docs.cloud.google.com/tpu/docs/"
_CACM = "Jouppi et al., CACM 63(7), 2020, table 1"
_NVLINK_3 = Link("NVLink 3 and NVSwitch", 600e9 / 2, "NVIDIA A100 data sheet: 600 GB/s both ways")
_NVLINK_4 = Link("NVLink 4 and NVSwitch", 900e9 / 2, "NVIDIA H100 and H200 data sheets: 900 GB/s both ways")
_NVLINK_5 = Link("NVLink 5 and NVSwitch", 1800e9 / 2, "NVIDIA DGX B200 data sheet: 14.4 TB/s both ways for 8 cards")
_PCIE_4 = Link("PCIe 4.0 x16", 64e9 / 2, "NVIDIA L4 data sheet: 64 GB/s both ways")
_DGX_A100 = Link("InfiniBand, 200 Gbit/s a card", 200e9 / 8, "NVIDIA DGX A100 data sheet: 8 x 200 Gbit/s ConnectX-6")
_DGX_H100 = Link("InfiniBand, 400 Gbit/s a card", 400e9 / 8, "NVIDIA DGX H100, H200, B200 data sheets: 8 x 400 Gbit/s")
_G2 = Link("Ethernet, 100 Gbit/s for 8 cards", 100e9 / 8 / 8, "Google Cloud's g2-standard-96: 8 L4 and 100 Gbit/s")

PEAKS: dict[str, Peak] = {
    # device_kind: FLOP/s, memory, bytes/s, links
    # Jouppi et al., "A domain-specific supercomputer for training deep neural networks", CACM 63(7), 2020, tables 1, 3:
    "TPU v2": Peak(46e12, 16 * GIB, 700e9, _ici(4 * 496e9 / 8, _CACM)),
    "TPU v3": Peak(123e12, 32 * GIB, 900e9, _ici(4 * 656e9 / 8, _CACM)),
    # docs.cloud.google.com/tpu/docs/v4, /v5e, /v5p, /v6e, /tpu7x; those that give both ways are halved:
    "TPU v4": Peak(275e12, 32 * GIB, 1228e9, _ici(2400e9 / 8, _TPU_DOCS + "v4: 2,400 Gbit/s")),
    "TPU v5 lite": Peak(197e12, 16 * GIB, 819e9, _ici(400e9 / 2, _TPU_DOCS + "v5e: 400 GB/s both ways")),
    "TPU v5": Peak(459e12, 95 * GIB, 2765e9, _ici(4800e9 / 8, _TPU_DOCS + "v5p: 4,800 Gbit/s")),
    "TPU v6 lite": Peak(918e12, 32 * GIB, 1638e9, _ici(800e9 / 2, _TPU_DOCS + "v6e: 800 GB/s both ways")),
    "TPU7x": Peak(2307e12, 192 * GIB, 7380e9, _ici(1200e9 / 2, _TPU_DOCS + "tpu7x: 1,200 GB/s both ways")),
    # NVIDIA's data sheets, SXM versions, without sparsity; memory is what the driver shows (plan/cards):
    "NVIDIA A100-SXM4-40GB": Peak(312e12, 42331013120, 1555e9, _NVLINK_3, _DGX_A100),
    "NVIDIA A100-SXM4-80GB": Peak(312e12, 85100068864, 2039e9, _NVLINK_3, _DGX_A100),
    "NVIDIA H100 80GB HBM3": Peak(989e12, 84942979072, 3350e9, _NVLINK_4, _DGX_H100),
    "NVIDIA H200": Peak(989e12, 151397597184, 4800e9, _NVLINK_4, _DGX_H100),
    # HGX B200 at 1,000 W: 2.25 PFLOP/s without sparsity; bytes/s as the driver shows them, the data sheet says 8 TB/s:
    "NVIDIA B200": Peak(2250e12, 191514411008, 7672e9, _NVLINK_5, _DGX_H100),
    # L4 data sheet: 242 TFLOP/s with sparsity, 300 GB/s:
    "NVIDIA L4": Peak(121e12, 24152899584, 300e9, _PCIE_4, _G2),
    # Ada GPU architecture whitepaper, appendix A: bfloat16 with float32 accumulation, without sparsity:
    "NVIDIA GeForce RTX 4090": Peak(165.2e12, 25757220864, 1008e9, _PCIE_4),
}

ASSUMED = Achieved(
    bandwidth=0.8,  # two H100 reached 83 % of NVLink's peak (NVIDIA/nccl#1264); memory is taken to do as well
    flops=0.6,  # the best published training steps, of models with larger products, reach 47 to 60 % as a whole
    launch=2e-6,  # from the end of one kernel to the start of the next, in a queue that never runs dry
    source="assumed: no such card was measured",
)
MEASURED: dict[str, Achieved] = {}
"""By device_kind, where benchmarks/gpu.py was run: rates and launch of that card in place of what is assumed."""


def achieved(device_kind: str) -> Achieved:
    """Returns what a real step reaches on a card: as measured, or else as assumed of all."""
    return MEASURED.get(device_kind, ASSUMED)


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
