"""Parts of lines in, hypotheses out: the batches, and the one program that each of their shapes is compiled to.

Encoding, search or sampling, and the second pass that coverage and alignments need are one program. What differs from
batch to batch, `Batch`, is its argument, as the parameters are; what makes another program, `Program`, is compiled in:
the models, the beam, the sampler, the cache's lengths, whether there is coverage or alignments.

The rows of a batch are split over the devices: those of the mesh in use (training's), or else all that this process
has. Every device decodes its own rows with its own copy of the parameters, or with the parts that the mesh gives it.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int, UInt

from wmt_transformer.config import DecodeConfig, ModelConfig
from wmt_transformer.decode import alignment, beam, constraints, coverage, ensemble
from wmt_transformer.decode.constraints import Constraints
from wmt_transformer.decode.glossary import Glossary
from wmt_transformer.decode.lines import Part, most_tokens, padded, round_up
from wmt_transformer.decode.rules import Rule, Rules
from wmt_transformer.decode.runs import Params, rounded
from wmt_transformer.decode.sampling import GREEDY, Sampler, generate
from wmt_transformer.decode.shapes import Devices, Shape, all_shapes, cache_lengths, shapes_of
from wmt_transformer.executables import Keeping
from wmt_transformer.platform import backend
from wmt_transformer.special_tokens import BOS, EOS, PAD

MakeRule = Callable[[Sequence[Part], np.ndarray], Rule]
"""Makes the rule of a batch from its parts and the most tokens of each row; the rows after the parts are empty."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked for every part alike."""

    settings: DecodeConfig
    count: int = 1
    """Hypotheses of each part, at most the beam's size; with a beam of 1, samples."""
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
    sizes: tuple[int, ...] = ()
    """How many rows batches may have; powers of 2 where there are none (see `all_shapes`)."""
    glossary: Glossary | None = None
    """From where the parts have their terms."""
    terms: int = 0
    """For how many pieces of terms batches have room (see `constraints.SIZES`); `decode` finds it for each part."""

    def with_terms(self, size: int) -> Request:
        """Returns the request for parts whose terms have `size` pieces at most: the beam is as much wider."""
        wider = dataclasses.replace(self.settings, beam_size=self.settings.beam_size + size)
        return dataclasses.replace(self, settings=wider, terms=size)


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
    places: Int[Array, "batch 3"]
    """The line and the number of each row's part, and which of its samples it is, by which it draws."""
    constraints: Constraints | None = None
    """The terms that each row's output must contain."""


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
    halved: bool
    """Whether a batch is halved when half of its sentences are done."""
    by_rows: NamedSharding | None = None


def decode(
    models: tuple[ModelConfig, ...], params: tuple[Params, ...], parts: Sequence[Part], request: Request
) -> list[list[Output]]:
    """Returns up to `request.count` hypotheses of each part, at least one, best first; samples in their order.

    Args:
      params: each model's parameters.
    """
    count = request.count
    if count > request.settings.beam_size:
        drawn = [dataclasses.replace(part, draw=draw) for part in parts for draw in range(count)]
        found = decode(models, params, drawn, dataclasses.replace(request, count=1))
        return [[one for (one,) in found[first : first + count]] for first in range(0, len(drawn), count)]
    if not request.terms and any(part.required for part in parts):
        return _with_terms(models, params, parts, request)
    devices = Devices.of(models, params)
    longest_prefix = max((len(part.prefix) for part in parts), default=0)
    make_rule = request.rule or _make_rules(request.settings, longest_prefix)
    halved = _pays_to_halve(devices, len(parts))

    def dispatched(shape: Shape) -> tuple[Array, Array, Array | None]:
        batch = _batch([parts[place] for place in shape.chosen], shape, request, make_rule)
        return _dispatched(devices, batch, _program(models, devices, shape, request, halved))

    shapes = shapes_of(
        [len(part.source) for part in parts], request.settings, request.positions, devices, request.sizes
    )
    results: list[list[Output]] = [[] for _ in parts]
    with ThreadPoolExecutor(devices.at_once) as pool:
        # In this thread where it can be: a mesh in use is a thread's own.
        if devices.at_once == 1:
            arrays = read_in_order(map(dispatched, shapes), ahead=0 if backend() == "cpu" else 1)
        else:
            arrays = pool.map(lambda shape: jax.device_get(dispatched(shape)), shapes)
        for shape, found in zip(shapes, arrays, strict=True):
            for row, place in enumerate(shape.chosen):
                results[place] = _outputs(row, count, *found)
    return results


def _with_terms(
    models: tuple[ModelConfig, ...], params: tuple[Params, ...], parts: Sequence[Part], request: Request
) -> list[list[Output]]:
    """Returns what `decode` does, where some parts have terms: each by the program that its own terms need."""
    results: list[list[Output]] = [[] for _ in parts]
    sizes = [constraints.size_of(part.required) for part in parts]
    for size in sorted(set(sizes)):
        places = [place for place, one in enumerate(sizes) if one == size]
        asked = request.with_terms(size) if size else request
        found = decode(models, params, [parts[place] for place in places], asked)
        for place, outputs in zip(places, found, strict=True):
            results[place] = outputs
    return results


def read_in_order(dispatched: Iterable[Any], ahead: int) -> Iterator[Any]:
    """Yields each batch's arrays as NumPy's, read when the `ahead` batches after it are dispatched as well.

    A device then never waits for the host between two batches. A CPU would compute both at once, each more slowly.
    """
    waiting: deque[Any] = deque()
    for arrays in dispatched:
        waiting.append(arrays)
        if len(waiting) > ahead:
            yield jax.device_get(waiting.popleft())
    yield from map(jax.device_get, waiting)


def warm_up(
    models: tuple[ModelConfig, ...], params: tuple[Params, ...], request: Request, longest: int, count: int | None
) -> int:
    """Compiles all programs that `decode` may need for `count` parts (None: any number); returns how many there are.

    Args:
      longest: the most tokens of a part, EOS included.
    """
    devices, make_rule = Devices.of(models, params), request.rule or _make_rules(request.settings, 0)
    most = None if count is None else count * request.count
    shapes = all_shapes(longest, most, request.settings, request.positions, devices, request.sizes)

    kinds = {_pays_to_halve(devices, parts) for parts in ((1, sys.maxsize) if most is None else (most,))}
    pairs = ((shape, _program(models, devices, shape, request, halved)) for halved in kinds for shape in shapes)
    programs = dict.fromkeys(pairs)
    calls = [((devices.params, _batch([], shape, request, make_rule)), {"program": one}) for shape, one in programs]
    if devices.by_rows is None:
        _decode.prepare(calls)
    else:
        for arguments, program in calls:
            jax.block_until_ready(_decode(*arguments, **program))
    return len(calls)


def _dispatched(devices: Devices, batch: Batch, program: Program) -> tuple[Array, Array, Array | None]:
    """Returns the tokens, scores and attention of a batch's hypotheses, on the device, maybe not computed yet."""
    hypotheses, weights = _decode(devices.params, batch, program=program)
    return hypotheses.tokens, hypotheses.scores, weights


def _program(
    models: tuple[ModelConfig, ...], devices: Devices, shape: Shape, request: Request, halved: bool
) -> Program:
    settings = request.settings
    hypotheses_of_a_device = shape.rows // devices.shards * settings.beam_size
    longest = most_tokens(shape.length, settings, request.positions)
    return Program(
        models=models,
        sampler=request.sampler,
        beam_size=settings.beam_size,
        count=min(request.count, settings.beam_size),
        cache_lengths=cache_lengths(longest, hypotheses_of_a_device),
        covered=settings.beta > 0,
        alignments=request.alignments,
        halved=halved and settings.beam_size > 1 and shape.rows >= 2 * beam.LEAST_ROWS,
        by_rows=devices.by_rows,
    )


def _pays_to_halve(devices: Devices, parts: int) -> bool:
    """Tells whether decoding batches of which half is done would take longer than compiling the loops that halve them.

    Elsewhere than on a CPU a step takes as long for half of the sentences, and they are not moved between devices.
    """
    weights = sum(leaf.size for leaf in jax.tree.leaves(devices.params))
    return backend() == "cpu" and devices.by_rows is None and weights * parts >= _HALVED_FROM


_HALVED_FROM = 5e10
"""Parameters times parts: a thousand sentences for the paper's base model. A small trained model takes a fifth less
time when it is halved; with outputs that all end together, which nobody can know before, base takes 5 % more."""


def _batch(parts: Sequence[Part], shape: Shape, request: Request, make_rule: MakeRule | None) -> Batch:
    settings = request.settings
    max_lengths, places = np.zeros(shape.rows, np.int32), np.zeros((shape.rows, 3), np.int32)
    for row, part in enumerate(parts):
        max_lengths[row] = most_tokens(len(part.source), settings, request.positions)
        places[row] = part.line, part.number, part.draw
    arrays: Any = dict(  # NumPy's: the compiled program puts them where it runs
        source=padded([part.source for part in parts], shape.rows, shape.length),
        max_lengths=max_lengths,
        rules=make_rule and make_rule(parts, max_lengths),
        constraints=constraints.of_rows([part.required for part in parts], shape.rows, request.terms)
        if request.terms
        else None,
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


@partial(Keeping, static=("program",))
def _decode(params: tuple[Params, ...], batch: Batch, *, program: Program) -> tuple[beam.Hypotheses, Array | None]:
    """Returns the hypotheses of a batch and, with alignments, the attention of each, `[B, W, T, S]`.

    Compiled once for each program and shape.
    """
    models, source = program.models, batch.source
    if program.by_rows is not None:
        source = jax.lax.with_sharding_constraint(source, program.by_rows)
    # Once: in the loop, XLA would read the float32 matrices and round them at every step.
    params = tuple(rounded(each, model.compute_dtype) for model, each in zip(models, params, strict=True))
    step, cache, reorder, grow, fewer = ensemble.start(
        models, params, source, program.beam_size, program.cache_lengths[0]
    )
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
        common |= {"beam_size": program.beam_size, "reorder": reorder, "constraints": batch.constraints}
        common["fewer"] = fewer if program.halved else None
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
    keys = fold(fold(jnp.broadcast_to(jax.random.key(seed), places.shape[:1]), places[:, 0]), places[:, 1])
    return jnp.where(places[:, 2] == 0, keys, fold(keys, places[:, 2]))
