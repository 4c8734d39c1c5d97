"""Parts of lines in, hypotheses out: the batches, and the one program that each of their shapes is compiled to.

Encoding, search or sampling, and the second pass that coverage and alignments need are one program. What differs from
batch to batch, `Batch`, is its argument, as the parameters are; what makes another program, `Program`, is compiled in:
the models, the beam, the sampler, the cache's lengths, whether there is coverage or alignments.

The rows of a batch are split over the devices: those of the mesh in use (training's), or else all that this process
has. Every device decodes its own rows with its own copy of the parameters, or with the parts that the mesh gives it.
"""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int, UInt

from wmt_transformer.config import DecodeConfig, ModelConfig
from wmt_transformer.decode import alignment, beam, coverage, ensemble
from wmt_transformer.decode.lines import Part, most_tokens, padded, round_up
from wmt_transformer.decode.rules import Rule, Rules
from wmt_transformer.decode.runs import Params, rounded
from wmt_transformer.decode.sampling import GREEDY, Sampler, generate
from wmt_transformer.model.dense import compute_dtype
from wmt_transformer.platform import backend
from wmt_transformer.special_tokens import BOS, EOS, PAD

Arrays = TypeVar("Arrays")
"""What a compiled program returns, on the device or read."""

MakeRule = Callable[[Sequence[Part], np.ndarray], Rule]
"""Makes the rule of a batch from its parts and the most tokens of each row; the rows after the parts are empty."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked for every part alike."""

    settings: DecodeConfig
    count: int = 1
    """Hypotheses of each part, at most the beam's size."""
    sampler: Sampler = GREEDY
    """Is used where the beam is 1."""
    seed: int = 1
    """With a part's line and number, decides what is drawn for it."""
    alignments: bool = False
    """Whether each hypothesis comes with its attention."""
    rule: MakeRule | None = None
    """Makes the rule of each batch, in place of the lengths and prefixes of the settings and the parts."""
    positions: int = sys.maxsize
    """No sequence is longer: a learned table of positions ends there."""


class Output(NamedTuple):
    """One hypothesis: its ids up to EOS, its score, and its attention `[target, source]` where alignments are asked."""

    ids: list[int]
    score: float
    weights: np.ndarray | None


class Batch(NamedTuple):
    """The arguments of a compiled program: one batch, and the numbers that do not change the program."""

    source: Int[Array, "batch source"]
    max_lengths: Int[Array, " batch"]
    """Most tokens of each row's output, EOS included; 0 for empty rows."""
    rules: Rule | None
    alpha: Float[Array, ""]
    beta: Float[Array, ""]
    seed: UInt[Array, ""]
    places: Int[Array, "batch 2"]
    """The line and the number of each row's part, by which it draws."""


@dataclasses.dataclass(frozen=True)
class Program:
    """What is compiled in; `Batch` and the parameters are the program's arguments."""

    models: tuple[ModelConfig, ...]
    sampler: Sampler
    beam_size: int
    count: int
    cache_lengths: tuple[int, ...]
    covered: bool
    """Whether the coverage penalty ranks the hypotheses."""
    alignments: bool
    by_rows: NamedSharding | None = None


class _Shape(NamedTuple):
    """Which parts make a batch, by their places in the list of all, and its shape `[rows, length]`."""

    chosen: list[int]
    rows: int
    length: int


def decode(
    models: tuple[ModelConfig, ...], params: tuple[Params, ...], parts: Sequence[Part], request: Request
) -> list[list[Output]]:
    """Returns up to `request.count` hypotheses of each part, at least one, best first.

    Args:
      params: each model's parameters.
    """
    by_rows, shards = rows_over_devices()
    if by_rows is not None and jax.sharding.get_mesh().empty:
        params = jax.device_put(params, NamedSharding(by_rows.mesh, P()))
    at_once = batches_at_once(models) if by_rows is None else 1
    settings = request.settings
    make_rule = request.rule or _make_rules(settings, max((len(part.prefix) for part in parts), default=0))

    def dispatched(shape: _Shape) -> tuple[Array, Array, Array | None]:
        hypotheses_of_a_device = shape.rows // shards * settings.beam_size
        longest = most_tokens(shape.length, settings, request.positions)
        program = Program(
            models=models,
            sampler=request.sampler,
            beam_size=settings.beam_size,
            count=request.count,
            cache_lengths=cache_lengths(longest, hypotheses_of_a_device),
            covered=settings.beta > 0,
            alignments=request.alignments,
            by_rows=by_rows,
        )
        batch = _batch([parts[place] for place in shape.chosen], shape, request, make_rule)
        hypotheses, weights = _decode(params, batch, program=program)
        return hypotheses.tokens, hypotheses.scores, weights

    shapes = _shapes([len(part.source) for part in parts], request, shards, at_once)
    results: list[list[Output]] = [[] for _ in parts]
    with ThreadPoolExecutor(at_once) as pool:
        # In this thread where it can be: a mesh in use is a thread's own.
        if at_once == 1:
            arrays = read_in_order(map(dispatched, shapes), ahead=0 if backend() == "cpu" else 1)
        else:
            arrays = pool.map(lambda shape: jax.device_get(dispatched(shape)), shapes)
        for shape, found in zip(shapes, arrays, strict=True):
            for row, place in enumerate(shape.chosen):
                results[place] = _outputs(row, request.count, *found)
    return results


def read_in_order(dispatched: Iterable[Arrays], ahead: int) -> Iterator[Arrays]:
    """Yields each batch's arrays as NumPy's, read when the `ahead` batches after it are dispatched as well.

    A device then never waits for the host between two batches. A CPU would compute both at once, each more slowly.
    """
    waiting: deque[Arrays] = deque()
    for arrays in dispatched:
        waiting.append(arrays)
        if len(waiting) > ahead:
            yield jax.device_get(waiting.popleft())
    yield from map(jax.device_get, waiting)


def _shapes(lengths: Sequence[int], request: Request, shards: int, at_once: int) -> list[_Shape]:
    """Returns the batches of sources of these lengths, the longest sources first; few shapes, so few programs."""
    settings, most, shapes = request.settings, batch_tokens(request.settings), []
    longest_first = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    while longest_first:
        length = min(round_up(lengths[longest_first[0]]), request.positions)
        rows = max(1, most // (settings.beam_size * length * at_once))
        rows = min(rows // 8 * 8 or rows, 1 << (len(longest_first) - 1).bit_length())
        rows = -(-rows // shards) * shards
        shapes.append(_Shape(longest_first[:rows], rows, length))
        longest_first = longest_first[rows:]
    return shapes


def _batch(parts: Sequence[Part], shape: _Shape, request: Request, make_rule: MakeRule | None) -> Batch:
    settings = request.settings
    max_lengths, places = np.zeros(shape.rows, np.int32), np.zeros((shape.rows, 2), np.int32)
    for row, part in enumerate(parts):
        max_lengths[row] = most_tokens(len(part.source), settings, request.positions)
        places[row] = part.line, part.number
    arrays: Any = dict(  # NumPy's: the compiled program puts them where it runs
        source=padded([part.source for part in parts], shape.rows, shape.length),
        max_lengths=max_lengths,
        rules=make_rule and make_rule(parts, max_lengths),
        alpha=np.float32(settings.alpha),
        beta=np.float32(settings.beta),
        seed=np.uint32(request.seed),
        places=places,
    )
    return Batch(**arrays)


def _make_rules(settings: DecodeConfig, longest_prefix: int) -> MakeRule | None:
    """Returns what makes the rules of the settings' lengths and the parts' prefixes; None where there are none."""
    if not (longest_prefix or settings.min_length or settings.max_length):
        return None
    no_limit = np.iinfo(np.int32).max
    maximum = no_limit if settings.max_length is None else min(settings.max_length, no_limit)
    prefix_length = round_up(longest_prefix) if longest_prefix else 0

    def make(parts: Sequence[Part], max_lengths: np.ndarray) -> Rules:
        rows = len(max_lengths)
        return Rules(
            jnp.full(rows, settings.min_length, jnp.int32),
            jnp.full(rows, maximum, jnp.int32),
            jnp.asarray(padded([part.prefix for part in parts], rows, prefix_length)),
        )

    return make


def _outputs(row: int, count: int, tokens: np.ndarray, scores: np.ndarray, weights: np.ndarray | None) -> list[Output]:
    """Returns a row's hypotheses: the first, and those of the others that there are."""
    return [
        Output(ids[ids != PAD].tolist(), float(scores[row, rank]), None if weights is None else weights[row, rank])
        for rank, ids in enumerate(tokens[row, :count])
        if rank == 0 or np.isfinite(scores[row, rank])
    ]


def batch_tokens(settings: DecodeConfig) -> int:
    """Returns how many slots of hypotheses a batch has at most.

    A GPU's step is about 210 kernels, however many rows there are, and 32 rows leave it waiting for their launches.
    """
    return settings.batch_tokens or (32_768 if backend() == "gpu" else 4_096)


def batches_at_once(models: Sequence[ModelConfig]) -> int:
    """Returns how many batches are decoded side by side, each of them that much smaller: 2 on a CPU that multiplies
    bfloat16.

    There most operations of a step are too short to be shared between cores, so each core gets a batch. In float32 the
    products are long enough, and larger batches are better.
    """
    rounded = all(compute_dtype(model.compute_dtype) == jnp.bfloat16 for model in models)
    return 2 if rounded and backend() == "cpu" and (os.cpu_count() or 1) > 1 else 1


def rows_over_devices() -> tuple[NamedSharding | None, int]:
    """Returns how rows are split and over how many devices; None and 1 where there is only one."""
    mesh = jax.sharding.get_mesh()
    if mesh.empty:
        mesh = Mesh(np.asarray(jax.local_devices()), ("data",), axis_types=(AxisType.Auto,))
    axes = tuple(name for name in mesh.axis_names if name != "tensor")  # whose devices share the same rows
    shards = math.prod(mesh.shape[name] for name in axes)
    return (None, 1) if mesh.size == 1 else (NamedSharding(mesh, P(axes)), shards)


def cache_lengths(longest: int, hypotheses: int) -> tuple[int, ...]:
    """Returns the lengths that a device's cache has one after the other, doubling up to `longest`.

    Every length is one more loop to compile. Where there are few hypotheses the first is large: it costs them little
    compared with reading the weights.
    """
    first = 1 << max(4, (_CHEAP_SLOTS // hypotheses).bit_length() - 1)
    lengths = [first]
    while 3 * lengths[-1] < longest:
        lengths.append(2 * lengths[-1])
    return (longest,) if 2 * longest < 3 * first else (*lengths, longest)


_CHEAP_SLOTS = 2048
"""Positions of the cache, of all hypotheses together, that cost little compared with reading the weights."""


@partial(jax.jit, static_argnames="program")
def _decode(params: tuple[Params, ...], batch: Batch, *, program: Program) -> tuple[beam.Hypotheses, Array | None]:
    """Returns the hypotheses of a batch and, with alignments, the attention of each, `[B, W, T, S]`.

    Compiled once for each program and shape.
    """
    models, source = program.models, batch.source
    if program.by_rows is not None:
        source = jax.lax.with_sharding_constraint(source, program.by_rows)
    # Once: in the loop, XLA would read the float32 matrices and round them at every step.
    params = tuple(rounded(each, model.compute_dtype) for model, each in zip(models, params, strict=True))
    step, cache, reorder, grow = ensemble.start(models, params, source, program.beam_size, program.cache_lengths[0])
    common: Any = {
        "max_length": program.cache_lengths[-1],
        "alpha": batch.alpha,
        "bos": BOS,
        "eos": EOS,
        "pad": PAD,
        "rules": batch.rules,
        "cache_lengths": program.cache_lengths,
        "grow": grow,
    }
    if program.beam_size == 1:
        keys = _keys(batch.seed, batch.places)
        found = generate(step, cache, batch.max_lengths, sampler=program.sampler, keys=keys, **common)
    else:
        common |= {"beam_size": program.beam_size, "reorder": reorder}
        count = program.beam_size if program.covered else program.count
        found = beam.search(step, cache, batch.max_lengths, num_results=count, **common)
    result: tuple[beam.Hypotheses, Array | None] = found, None
    if program.covered or program.alignments:
        weights = alignment.mean_attention(models, params, source, found.tokens)
        if program.covered:
            scores = found.scores + coverage.penalty(weights, source, found.tokens, batch.beta)
            found, weights = coverage.ranked(found, scores, weights, program.count)
        result = found, weights if program.alignments else None
    if program.by_rows is None:
        return result
    # Every process reads all results.
    return jax.lax.with_sharding_constraint(result, NamedSharding(program.by_rows.mesh, P()))


def _keys(seed: Array, places: Array) -> Array:
    """Returns a key for each row, which depends on the seed and on the row's place and on nothing else."""
    fold = jax.vmap(jax.random.fold_in)
    return fold(fold(jnp.broadcast_to(jax.random.key(seed), places.shape[:1]), places[:, 0]), places[:, 1])
