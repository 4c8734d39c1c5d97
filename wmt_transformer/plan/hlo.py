"""Reads a compiled program's HLO text: what it moves through memory and between devices, loops by their trips.

`cost_analysis` counts the body of a loop once however often it runs, and says nothing of transfers between devices.
The loss is a loop over slices of the batch (loss.py) and gradient accumulation is another, so both would be far off.
Only what is needed for that is read: computations, their instructions, types with layouts, and trip counts.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator

ELEMENT_BITS = {"pred": 8, "token": 0} | {
    f"{kind}{bits}": bits for kind in ("s", "u", "f", "bf", "c") for bits in (2, 4, 8, 16, 32, 64, 128)
}
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
FREE = {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "while",
    "call",
    "after-all",
    "iota",
    "partition-id",
}
"""Opcodes that touch no memory themselves."""
CUTS = ("slice", "dynamic-slice", "gather")
"""Opcodes that read only what they take of an array."""


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    name: str
    type: str
    """With layout, as in `bf16[8,128]{1,0:T(8,128)(2,1)S(1)}`, or several in parentheses."""
    opcode: str
    operands: tuple[str, ...]
    attributes: str
    root: bool


Computation = dict[str, Instruction]


@dataclasses.dataclass(frozen=True)
class Program:
    """The computations of a module by name, and which of them is entered."""

    computations: dict[str, Computation]
    entry: str

    def running(self, name: str | None = None, times: int = 1) -> Iterator[tuple[Computation, int]]:
        """Yields every computation that the device steps through, with how often it does; not those inside fusions."""
        body = self.computations[name or self.entry]
        yield body, times
        for one in body.values():
            if one.opcode == "while":
                yield from self.running(called(one, "body"), times * self.trips(one))
            elif one.opcode in ("call", "async-start"):
                yield from self.running(called(one, "to_apply|calls|called_computation"), times)

    def trips(self, loop: Instruction) -> int:
        """Returns how often a `while` runs; raises ValueError where it does not say (all of JAX's scans do)."""
        known = re.search(r'known_trip_count"?:\{"n":"(\d+)"\}', loop.attributes)
        if known:
            return int(known[1])
        condition = self.computations[called(loop, "condition")]
        limits = [re.match(r"\d+$", one.operands[0]) for one in condition.values() if one.opcode == "constant"]
        if len(limits) != 1 or limits[0] is None:
            raise ValueError(f"the loop {loop.name} does not say how often it runs")
        return int(limits[0][0])


def parse(text: str) -> Program:
    """Returns the program that `compiled.as_text()` prints."""
    computations: dict[str, Computation] = {}
    entry, current = "", None
    for line in text.splitlines():
        header = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line)
        if header:
            current = computations[header[2]] = {}
            entry = header[2] if header[1] else entry
        elif line == "}":
            current = None
        elif current is not None and (one := _instruction(line)):
            current[one.name] = one
    return Program(computations, entry)


def collectives(program: Program) -> dict[str, dict[str, int]]:
    """Returns for each kind of transfer between devices how many a step makes and their bytes on one device.

    Bytes are the larger of what goes in and what comes out, without padding: for an all-gather the gathered array,
    for a reduce-scatter the one that is reduced.
    """
    found: dict[str, dict[str, int]] = {}
    for running, times in program.running():
        for body in (running, *_starts(program, running)):
            for one in body.values():
                kind = one.opcode.removesuffix("-start")
                if kind in COLLECTIVES:
                    inputs = sum(size(body[name].type) for name in one.operands if name in body)
                    # The result of a -start holds its operands as well.
                    holds = one.opcode in ("all-gather-start", "reduce-scatter-start")
                    output = size(one.type) - inputs if holds else size(one.type)
                    output = inputs if one.opcode == "collective-permute-start" else output
                    entry = found.setdefault(kind, {"count": 0, "bytes": 0})
                    entry["count"] += times
                    entry["bytes"] += times * max(inputs, output)
    return found


def _starts(program: Program, body: Computation) -> Iterator[Computation]:
    """Yields the fusions of a computation in which a TPU starts a transfer that goes on in later ones, beside their
    products: each of them names it once more."""
    for one in body.values():
        if one.opcode == "fusion":
            inside = program.computations[called(one, "calls")]
            if any('"AsyncCollectiveStart"' in other.attributes for other in inside.values()):
                yield inside


def memory_traffic(program: Program) -> int:
    """Returns the bytes that a step reads from the device's main memory and writes to it, as `operations` counts."""
    return sum(times * moved for _, _, times, moved in operations(program))


def operations(program: Program) -> Iterator[tuple[Instruction, Computation, int, int]]:
    """Yields every operation of a step, its computation, how often it runs and the bytes that it moves each time.

    Bytes are those read from the device's main memory and written to it, as laid out with padding. What lives in the
    memory on the chip (`S(1)` in a layout) costs nothing. Of an array that a fusion only slices, or writes a slice
    into, the slice counts; of a library's product, not its workspace. A transfer that runs beside others is one
    operation, when it is done.
    """
    for body, times in program.running():
        for one in body.values():
            if one.opcode in FREE or one.opcode.endswith(("-start", "-update")):
                continue
            if one.opcode.endswith("-done"):
                yield one, body, times, _laid_out(one.type.replace("S(1)", ""))
                continue
            read = [_laid_out(body[name].type) for name in one.operands if name in body]
            written = _laid_out(re.sub(r"s8\[\d+\]", "", one.type) if one.opcode == "custom-call" else one.type)
            if one.opcode == "fusion":
                read, written = _sliced(program.computations[called(one, "calls")], read, written)
            elif one.opcode in CUTS:
                read[0] = min(read[0], written)
            elif one.opcode == "dynamic-update-slice":
                read[0], written = 0, read[1]
            yield one, body, times, sum(read) + written


def _sliced(inside: Computation, read: list[int], written: int) -> tuple[list[int], int]:
    """Returns what a fusion reads of each operand, and writes, with slices in place of the arrays they are cut from."""
    read = list(read)
    for parameter in inside.values():
        if parameter.opcode != "parameter":
            continue
        users = [one for one in inside.values() if parameter.name in one.operands]
        index = int(parameter.operands[0])
        if users and index < len(read) and read[index]:
            if all(one.opcode in CUTS and one.operands[0] == parameter.name for one in users):
                read[index] = min(read[index], sum(size(one.type) for one in users))
            elif all(one.opcode == "dynamic-update-slice" and one.operands[0] == parameter.name for one in users):
                written -= min(written, read[index])
                written += sum(size(inside[one.operands[1]].type) for one in users)
                read[index] = 0
    return read, written


def size(type_: str) -> int:
    """Returns the bytes of an array or of all arrays of a tuple, without padding."""
    return sum(math.prod(dims) * ELEMENT_BITS[kind] // 8 for kind, dims, _ in arrays(type_))


def _laid_out(type_: str) -> int:
    """Returns the bytes in main memory of an array or a tuple, each rounded up to whole tiles of its layout."""
    total = 0
    for kind, dims, layout in arrays(type_):
        if re.search(r"S\([1-9]", layout):
            continue
        sides, tile = list(dims), re.search(r"T\(([\d,]+)\)", layout)
        if tile and dims:
            minor = [int(axis) for axis in layout.split(":")[0].split(",")]
            for axis, most in zip(minor, reversed([int(side) for side in tile[1].split(",")]), strict=False):
                sides[axis] = -(-sides[axis] // most) * most
        total += math.prod(sides) * ELEMENT_BITS[kind] // 8
    return total


def arrays(type_: str) -> list[tuple[str, tuple[int, ...], str]]:
    """Returns element type, dimensions and layout of each array in a type."""
    found = re.findall(r"(\w+)\[([\d,]*)\](?:\{([^}]*)\})?", type_)
    return [(kind, tuple(map(int, dims.split(","))) if dims else (), layout) for kind, dims, layout in found]


def _instruction(line: str) -> Instruction | None:
    match = re.match(r"\s+(ROOT )?%?([\w.\-]+) = (.*)", line)
    if not match:
        return None
    rest = match[3]
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    opcode, _, _ = rest[end:].strip().partition("(")
    start = rest.index("(", end)
    close = _closing(rest, start)
    inside = rest[start + 1 : close]
    operands = (inside,) if opcode in ("constant", "parameter") else tuple(re.findall(r"%([\w.\-]+)", inside))
    return Instruction(match[2], rest[:end], opcode, operands, rest[close + 1 :], bool(match[1]))


def _closing(text: str, start: int) -> int:
    """Returns where the parenthesis that opens at `start` closes."""
    depth = 0
    for index in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if not depth:
            return index
    raise ValueError(f"unbalanced parentheses: {text[:80]}")


def called(one: Instruction, attribute: str) -> str:
    """Returns which computation an instruction calls; `attribute` may be several, with | between them."""
    match = re.search(rf"(?:{attribute})=%?([\w.\-]+)", one.attributes)
    assert match, one
    return match[1]
