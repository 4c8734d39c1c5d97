"""The kernels that a compiled step launches on a GPU, with the bytes and floating-point operations of each.

A GPU runs a step as one kernel after another, so its least time is the sum of theirs, each as slow as its memory
traffic or its arithmetic. XLA's `cost_analysis` knows nothing of a card that is not there: all is read off the program.
Operations are those of products of matrices alone: in XLA's own kernels, in cuBLAS's and in cuDNN's attention.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from wmt_transformer.plan import hlo


class Kernel(NamedTuple):
    """One launch, or as many as its loop has trips."""

    name: str
    """The instruction's, as in `loop_add_fusion.3`."""
    kind: str
    """Its opcode, or the library's function that it calls."""
    times: int
    bytes: int
    """Read from and written to main memory by one launch."""
    flops: int
    """Of the matrix products in one launch."""


def kernels(program: hlo.Program) -> list[Kernel]:
    """Returns the kernels of a step that was compiled for a GPU, in the order in which they are launched."""
    return [
        Kernel(one.name, _target(one) or one.opcode, times, moved, _flops(program, one, body))
        for one, body, times, moved in hlo.operations(program)
    ]


def launches(found: Sequence[Kernel]) -> int:
    """Returns how many kernels a step launches."""
    return sum(one.times for one in found)


def seconds(found: Sequence[Kernel], flops: float, bandwidth: float, launch: float = 0.0) -> float:
    """Returns the time of all kernels one after another, each the slower of memory and arithmetic, and its launch."""
    return sum(one.times * (max(one.bytes / bandwidth, one.flops / flops) + launch) for one in found)


def _flops(program: hlo.Program, one: hlo.Instruction, body: hlo.Computation) -> int:
    """Returns the operations of the matrix products in an instruction, those inside a fusion included."""
    if one.opcode == "fusion":
        inside = program.computations[hlo.called(one, "calls")]
        return sum(_flops(program, inner, inside) for inner in inside.values())
    if one.opcode == "dot":
        return _product(one, body, r"lhs_contracting_dims=\{([\d,]*)\}")
    target = _target(one)
    if target.startswith(("__cublas$", "__cutlass$")):
        return _product(one, body, r'"lhs_contracting_dimensions":\s*\[([\d,"\s]*)\]')
    if target.startswith("__cudnn$fmha"):
        return _attention(one, body, backward="Backward" in target)
    return 0


def _product(one: hlo.Instruction, body: hlo.Computation, contracted: str) -> int:
    """Two operations a multiply-add: of every element of the result, as many as the summed axes are long."""
    _, sides, _ = hlo.arrays(body[one.operands[0]].type)[0]
    axes = re.search(contracted, one.attributes)
    summed = [int(axis) for axis in re.findall(r"\d+", axes[1])] if axes else []
    return 2 * math.prod(hlo.arrays(one.type)[0][1]) * math.prod(sides[axis] for axis in summed)


def _attention(one: hlo.Instruction, body: hlo.Computation, backward: bool) -> int:
    """Two products forwards; backwards five, as the scores are computed again. Each is B x N x T x S x H."""
    scores = re.search(r'"intermediate_tensor_shape":\s*\{.*?"dimensions":\s*\[([^\]]*)\]', one.attributes)
    assert scores, one
    batch, heads, target, source = (int(side) for side in re.findall(r"\d+", scores[1]))
    width = math.prod(hlo.arrays(body[one.operands[0]].type)[0][1]) // (batch * heads * target)
    return 2 * (5 if backward else 2) * batch * heads * target * source * width


def _target(one: hlo.Instruction) -> str:
    found = re.search(r'custom_call_target="([^"]+)"', one.attributes)
    return found[1] if found else ""
