"""Parts of lines in, hypotheses out: the batches, and the one program that each of their shapes is compiled to.

Encoding, search or sampling, and the second look that coverage and alignments need are one program. Parameters, the
length penalty, lengths, prefixes and seed are its arguments. Only what changes the computation makes another program:
the beam, the sampler, whether there are rules, coverage or alignments.

The rows of a batch are split over the devices: those of the mesh in use (training's), or else all that this process
has. Every device decodes its own rows with its own copy of the parameters, or with the parts that the mesh gives it.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from wmt_transformer.config import DecodeConfig, ModelConfig
from wmt_transformer.data.vocabulary import BOS, EOS, PAD
from wmt_transformer.decode import alignment, beam, coverage, ensemble, sampling
from wmt_transformer.decode.lines import Part, most_tokens, padded, round_up
from wmt_transformer.decode.rules import Rule, Rules
from wmt_transformer.model.dense import compute_dtype

MakeRule = Callable[[Sequence[Part], np.ndarray], Rule]
"""Makes the rule of a batch from its parts and the most tokens of each row; behind the parts there are empty rows."""


class Output(NamedTuple):
    """One hypothesis: its ids up to EOS, its score, and where it looked, `[target, source]`, if that was asked for."""

    ids: list[int]
    score: float
    weights: np.ndarray | None


def decode(
    models: tuple[ModelConfig, ...],
    params: tuple[Any, ...],
    parts: Sequence[Part],
    settings: DecodeConfig,
    positions: int,
    *,
    count: int,
    sampler: sampling.Sampler,
    seed: int,
    alignments: bool,
    rule: MakeRule | None = None,
) -> list[list[Output]]:
    """Returns up to `count` hypotheses of each part, at least one, best first.

    Args:
      positions: what no sequence is longer than.
      sampler: is used where the beam is 1.
      seed: with a part's line and number, decides what is drawn for it.
      rule: makes the rule of each batch, in place of the lengths and prefixes of `settings` and the parts.
    """
    by_rows, shards = rows_over_devices()
    if by_rows is not None and jax.sharding.get_mesh().empty:
        params = jax.device_put(params, NamedSharding(by_rows.mesh, P()))
    longest_prefix = max((len(part.prefix) for part in parts), default=0)
    ruled = bool(longest_prefix or settings.min_length or settings.max_length)
    at_once = batches_at_once(models) if by_rows is None else 1

    batches, longest_first = [], sorted(range(len(parts)), key=lambda i: -len(parts[i].source))
    while longest_first:
        length = min(round_up(len(parts[longest_first[0]].source)), positions)
        rows = max(1, settings.batch_tokens // (settings.beam_size * length * at_once))
        rows = min(rows // 8 * 8 or rows, 1 << (len(longest_first) - 1).bit_length())
        rows = -(-rows // shards) * shards
        chosen, longest_first = longest_first[:rows], longest_first[rows:]
        batches.append((chosen, rows, length))

    def found(batch: tuple[list[int], int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        chosen, rows, length = batch
        some = [parts[i] for i in chosen]
        max_lengths, places = np.zeros(rows, np.int32), np.zeros((rows, 2), np.int32)
        for row, part in enumerate(some):
            max_lengths[row] = most_tokens(len(part.source), settings, positions)
            places[row] = part.line, part.number
        hypotheses, weights = _decode(
            params,
            padded([part.source for part in some], rows, length),
            max_lengths,
            rule(some, max_lengths) if rule else _rules(some, rows, settings, longest_prefix) if ruled else None,
            np.float32(settings.alpha),
            np.float32(settings.beta),
            np.uint32(seed),
            places,
            models=models,
            sampler=sampler,
            beam_size=settings.beam_size,
            num_results=count,
            rooms=rooms_up_to(most_tokens(length, settings, positions), rows // shards * settings.beam_size),
            covered=settings.beta > 0,
            alignments=alignments,
            by_rows=by_rows,
        )
        looked = None if weights is None else np.asarray(weights)
        return np.asarray(hypotheses.tokens), np.asarray(hypotheses.scores), looked

    results: list[list[Output]] = [[] for _ in parts]
    with ThreadPoolExecutor(at_once) as pool:
        # In this thread where it can be: a mesh in use is a thread's own.
        in_turn = map(found, batches) if at_once == 1 else pool.map(found, batches)
        for (chosen, _, _), (tokens, scores, looked) in zip(batches, in_turn, strict=True):
            for row, i in enumerate(chosen):
                for rank in range(count):
                    if rank == 0 or np.isfinite(scores[row, rank]):
                        ids = tokens[row, rank]
                        look = None if looked is None else looked[row, rank]
                        results[i].append(Output(ids[ids != PAD].tolist(), float(scores[row, rank]), look))
    return results


def batches_at_once(models: Sequence[ModelConfig]) -> int:
    """Returns how many batches are decoded side by side, each of so much less: 2 on a CPU that multiplies bfloat16.

    There most operations of a step are too short to be worth sharing between cores, so each core is given a batch.
    In float32 the products are long enough, and larger batches better.
    """
    rounded = all(compute_dtype(model.compute_dtype) == jnp.bfloat16 for model in models)
    return 2 if rounded and jax.default_backend() == "cpu" and (os.cpu_count() or 1) > 1 else 1


def rows_over_devices() -> tuple[NamedSharding | None, int]:
    """Returns how rows are split and over how many devices; None and 1 where there is only one."""
    mesh = jax.sharding.get_mesh()
    if mesh.empty:
        mesh = jax.make_mesh((jax.local_device_count(),), ("data",), (AxisType.Auto,), devices=jax.local_devices())
    axes = tuple(name for name in mesh.axis_names if name != "tensor")  # whose devices share the same rows
    shards = math.prod(mesh.shape[name] for name in axes)
    return (None, 1) if mesh.size == 1 else (NamedSharding(mesh, P(axes)), shards)


def rooms_up_to(longest: int, hypotheses: int) -> tuple[int, ...]:
    """Returns the positions that a device's cache has room for, one after the other, doubling up to `longest`.

    Every room is one more loop to compile. Few hypotheses start with a large one, which costs them little beside
    reading the weights.
    """
    first = 1 << max(4, (_CHEAP_SLOTS // hypotheses).bit_length() - 1)
    rooms = [first]
    while 3 * rooms[-1] < longest:
        rooms.append(2 * rooms[-1])
    return (longest,) if 2 * longest < 3 * first else (*rooms, longest)


_CHEAP_SLOTS = 2048


def _rules(batch: Sequence[Part], rows: int, settings: DecodeConfig, longest_prefix: int) -> Rules:
    maximum = sys.maxsize if settings.max_length is None else settings.max_length
    return Rules(
        jnp.full(rows, settings.min_length, jnp.int32),
        jnp.full(rows, min(maximum, np.iinfo(np.int32).max), jnp.int32),
        jnp.asarray(padded([part.prefix for part in batch], rows, round_up(longest_prefix) if longest_prefix else 0)),
    )


@partial(
    jax.jit,
    static_argnames=("models", "sampler", "beam_size", "num_results", "rooms", "covered", "alignments", "by_rows"),
)
def _decode(
    params: tuple[Any, ...],
    source: jax.Array,
    max_lengths: jax.Array,
    rules: Rule | None,
    alpha: jax.Array,
    beta: jax.Array,
    seed: jax.Array,
    places: jax.Array,
    *,
    models: tuple[ModelConfig, ...],
    sampler: sampling.Sampler,
    beam_size: int,
    num_results: int,
    rooms: tuple[int, ...],
    covered: bool,
    alignments: bool,
    by_rows: NamedSharding | None = None,
) -> tuple[beam.Hypotheses, jax.Array | None]:
    """Returns the hypotheses for a batch of source ids, and with `alignments` where each looked, `[B, W, T, S]`.

    Compiled once for each shape. `sampler` is used where the beam is 1; a row draws by the seed and its place, the
    line and the part that it is.
    """
    if by_rows is not None:
        source = jax.lax.with_sharding_constraint(source, by_rows)
    max_length = rooms[-1]
    step, cache, reorder, grow = ensemble.start(models, params, source, beam_size, rooms[0])
    settings: Any = dict(max_length=max_length, alpha=alpha, bos=BOS, eos=EOS, pad=PAD, rules=rules)
    settings |= dict(rooms=rooms, grow=grow)
    if beam_size == 1:
        fold = jax.vmap(jax.random.fold_in)
        keys = fold(fold(jnp.broadcast_to(jax.random.key(seed), places.shape[:1]), places[:, 0]), places[:, 1])
        found = sampling.generate(step, cache, max_lengths, sampler=sampler, keys=keys, **settings)
    else:
        results = beam_size if covered else num_results
        settings |= dict(beam_size=beam_size, num_results=results, reorder=reorder)
        found = beam.search(step, cache, max_lengths, **settings)
    result: tuple[beam.Hypotheses, jax.Array | None] = found, None
    if covered or alignments:
        weights = alignment.mean_attention(models, params, source, found.tokens)
        if covered:
            scores = found.scores + coverage.penalty(weights, source, found.tokens, beta)
            found, weights = coverage.ranked(found, scores, weights, num_results)
        result = found, weights if alignments else None
    # Every process reads all results.
    return result if by_rows is None else jax.lax.with_sharding_constraint(result, NamedSharding(by_rows.mesh, P()))
