"""Measures our decoding against Hugging Face's and CTranslate2's, on the same weights, in one run.

    [WMT_TRANSFORMER_DATA=FOLDER] python benchmarks/decode.py [--cases beam,one,…] [--sides ours,…] [--json]

The model is the base one (512/2048/8, 6 + 6 layers) with a vocabulary of 32,000; beams are 4 wide with alpha 0.6.
Every side has a process of its own, set up as its users run it, with as many threads as there are cores, and they take
turns. A token is one of the output, its end included; decoding is measured from ids to ids.

    beam       32 sentences of 24 tokens, each giving 32 tokens: random weights never end by themselves
    greedy     the same with a beam of 1
    one        three of these sentences, one after another: the time that somebody waits
    one-greedy the same with a beam of 1
    real       1,000 sentences as long as Multi30k's test sentences, 6 to 34 tokens, in one call, with weights that
               copy: every output is its source and ends where that does, so all sides do the same work.

`ours-bfloat16` is `translate --compute-dtype bfloat16`: faster where the processor multiplies bfloat16 (AMX,
AVX512-BF16). `ours-int8` is `--compute-dtype int8`: weights and products in 8 bits.

Each side sorts and batches the real sentences its own way: Hugging Face is given 32 of one length at a time.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import multiprocessing
import os
import re
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # all on the same processor

import numpy as np

from wmt_transformer.config import DecodeConfig, DecodeDtype, ModelConfig
from wmt_transformer.special_tokens import BOS, EOS, PAD

MODEL = ModelConfig(vocabulary_size=32_000, compute_dtype="float32")
ALPHA = 0.6
Ids = list[list[int]]


@dataclasses.dataclass(frozen=True)
class Case:
    """What is decoded: sources with EOS; `length` is that of every output, None where it ends by itself."""

    sources: Ids
    beam_size: int
    length: int | None
    together: bool = True

    @property
    def copies(self) -> bool:
        """Whether the weights are those that copy."""
        return self.length is None

    @property
    def longest(self) -> int:
        """The most tokens of an output."""
        return self.length or max(map(len, self.sources)) + DecodeConfig().extra_length


def cases(names: Sequence[str], sentences: int) -> dict[str, Case]:
    """Returns the cases of these names that can be run here."""
    random = np.random.default_rng(0)
    sources = [[*random.integers(4, MODEL.vocabulary_size, 23).tolist(), EOS] for _ in range(32)]
    all_cases = {
        "beam": Case(sources, 4, 32),
        "greedy": Case(sources, 1, 32),
        "one": Case(sources[:3], 4, 32, together=False),
        "one-greedy": Case(sources[:3], 1, 32, together=False),
    }
    if "WMT_TRANSFORMER_DATA" in os.environ:
        all_cases["real"] = Case(real_sentences(Path(os.environ["WMT_TRANSFORMER_DATA"]), sentences), 4, None)
    return {name: all_cases[name] for name in names if name in all_cases}


def real_sentences(folder: Path, count: int) -> Ids:
    """Returns sources as long as Multi30k's English test sentences, in words and marks; the ids stand for words."""
    with gzip.open(folder / "multi30k" / "test_2016_flickr.en.gz", "rt", encoding="utf-8") as file:
        words = [re.findall(r"\w+|[^\w\s]", line) for line in file]
    sources = [[*(4 + zlib.crc32(word.encode()) % (MODEL.vocabulary_size - 4) for word in line), EOS] for line in words]
    return sources[:: len(sources) // count][:count]


# ------------------------------------------------------------------------------------------------------- weights


def weights(copies: bool) -> Any:
    """Returns parameters of MODEL: random ones of their shapes, the same in every process, or those that copy."""
    import jax
    import jax.numpy as jnp

    from wmt_transformer.model.transformer import Transformer

    tokens, random = jnp.ones((1, 1), jnp.int32), np.random.default_rng(1)
    shapes = jax.eval_shape(Transformer(MODEL).init, jax.random.key(0), tokens, tokens)["params"]

    def drawn(path: Any, shape: Any) -> np.ndarray:
        if path[-1].key in ("scale", "bias"):
            return np.full(shape.shape, float(path[-1].key == "scale"), np.float32)
        return random.standard_normal(shape.shape, np.float32) * np.float32(MODEL.d_model**-0.5)

    params = jax.tree_util.tree_map_with_path(drawn, shapes)
    return copying(params) if copies else jax.tree.map(jnp.asarray, params)


def copying(params: Any) -> Any:
    """Makes random parameters copy: the last layer's cross-attention looks at the source position of the same number
    and adds its embedding to the output, in which all other sub-layers are a murmur.

    Positions are recognised by the sines and cosines of the 32 highest frequencies, less the sine of the lowest one,
    which is next to 0 before layer norm takes the mean away. On all these the embeddings keep silent.
    """
    zero = MODEL.d_model - 2
    params["target_embedding"]["table"][:, [*range(MODEL.d_k), zero]] = 0
    for name, layer in params.items():
        for part in layer if name.startswith(("encoder", "decoder")) else ():
            if "output" in layer[part]:
                layer[part]["output"]["kernel"] *= 0.03
    cross = params[f"decoder_{MODEL.num_layers - 1}"]["cross_attention"]
    for name in ("query", "key"):
        cross[name]["kernel"][:] = 0
        cross[name]["kernel"][np.arange(MODEL.d_k), :, np.arange(MODEL.d_k)] = 10
        cross[name]["kernel"][zero] = -10
    identity = np.eye(MODEL.d_model, dtype=np.float32)
    cross["value"]["kernel"] = identity.reshape(MODEL.d_model, MODEL.num_heads, -1)
    cross["output"]["kernel"] = 2 * identity.reshape(MODEL.num_heads, -1, MODEL.d_model)
    return params


# --------------------------------------------------------------------------------------------------------- sides


class Side(Protocol):
    """One of those that are compared."""

    def decode(self, sources: Ids, case: Case) -> Ids:
        """Returns the best output of each source, EOS included."""
        ...


class Ours:
    """This project, as `translate` runs it."""

    def __init__(self, copies: bool, compute_dtype: DecodeDtype = "float32") -> None:
        from wmt_transformer.decode import runs

        self._model, self._params = runs.converted(MODEL, weights(copies), compute_dtype)

    def decode(self, sources: Ids, case: Case) -> Ids:
        from wmt_transformer.decode import batched
        from wmt_transformer.decode.lines import Part

        extra = DecodeConfig().extra_length if case.length is None else case.length - len(sources[0])
        settings = DecodeConfig(beam_size=case.beam_size, alpha=ALPHA, extra_length=extra)
        parts = [Part(line, 0, "", source, [], 0) for line, source in enumerate(sources, 1)]
        outputs = batched.decode((self._model,), (self._params,), parts, batched.Request(settings))
        return [output.ids for [output] in outputs]


class HuggingFace:
    """`MarianMTModel.generate`."""

    def __init__(self, copies: bool) -> None:
        import torch
        from transformers import MarianConfig, MarianMTModel

        from wmt_transformer.interop import marian_export, marian_table

        arrays = marian_table.to_theirs(weights(copies), MODEL)
        model = MarianMTModel(MarianConfig(**marian_export.their_config(MODEL, positions=512)))
        model.load_state_dict({name: torch.from_numpy(x) for name, x in arrays.items()}, strict=False)
        model.generation_config.update(bad_words_ids=[[PAD], [BOS]], forced_eos_token_id=None, max_length=None)
        self._model: Any = model.eval()  # `generate` is not in its declared type

    def decode(self, sources: Ids, case: Case) -> Ids:
        import torch

        order = sorted(range(len(sources)), key=lambda i: -len(sources[i]))
        outputs: Ids = [[] for _ in sources]
        for start in range(0, len(order), 32):
            some = order[start : start + 32]
            rows = torch.full((len(some), len(sources[some[0]])), PAD)
            for row, i in enumerate(some):
                rows[row, : len(sources[i])] = torch.tensor(sources[i])
            # A length is forced on random weights; what ends by itself has as much room as with us.
            room = rows.shape[1] + DecodeConfig().extra_length
            lengths = {"max_new_tokens": case.length or room, "min_new_tokens": case.length}
            search: Any = dict(num_beams=case.beam_size, length_penalty=ALPHA, **lengths)
            found = self._model.generate(rows, attention_mask=(rows != PAD).long(), **search)
            for i, ids in zip(some, found[:, 1:].tolist(), strict=True):
                outputs[i] = ids[: ids.index(EOS) + 1] if EOS in ids else ids
        return outputs


class CTranslate2:
    """`ctranslate2.Translator.translate_batch`, with weights and products of one type."""

    def __init__(self, copies: bool, compute_type: str) -> None:
        import ctranslate2

        from wmt_transformer.interop.ctranslate2 import specification

        self._pieces = ["<pad>", "<s>", "</s>", "<unk>", *(f"piece{i}" for i in range(4, MODEL.vocabulary_size))]
        self._ids = {piece: i for i, piece in enumerate(self._pieces)}
        spec = specification(MODEL, weights(copies), self._pieces, self._pieces)
        spec.validate()
        spec.optimize(compute_type)
        with tempfile.TemporaryDirectory() as folder:
            spec.save(folder)
            threads = {"inter_threads": 1, "intra_threads": os.cpu_count()}
            self._translator = ctranslate2.Translator(folder, compute_type=compute_type, **threads)

    def decode(self, sources: Ids, case: Case) -> Ids:
        found = self._translator.translate_batch(
            [[self._pieces[i] for i in source[:-1]] for source in sources],
            beam_size=case.beam_size,
            length_penalty=ALPHA,
            max_decoding_length=case.longest,
            min_decoding_length=case.length or 1,
            max_batch_size=32,
            return_end_token=True,
        )
        return [[self._ids[piece] for piece in result.hypotheses[0]] for result in found]


SIDES: dict[str, Callable[[bool], Side]] = {
    "ours": Ours,
    "ours-bfloat16": lambda copies: Ours(copies, "bfloat16"),
    "ours-int8": lambda copies: Ours(copies, "int8"),
    "huggingface": HuggingFace,
    "ctranslate2": lambda copies: CTranslate2(copies, "float32"),
    "ctranslate2-int8": lambda copies: CTranslate2(copies, "int8"),
}


# --------------------------------------------------------------------------------------------------- measurement


def serve(orders: Connection, name: str, case: Case) -> None:
    """Runs one side in this process: sends its outputs, then a time in seconds for every order but None."""
    side = SIDES[name](case.copies)
    batches = [case.sources] if case.together else [[source] for source in case.sources]

    def decode() -> Ids:
        return [output for batch in batches for output in side.decode(batch, case)]

    orders.send(decode())
    while orders.recv() is not None:
        start = time.perf_counter()
        decode()
        orders.send(time.perf_counter() - start)


def measure(case: Case, names: Sequence[str], rounds: int) -> dict[str, Any]:
    """Returns the figures of one case for each side, and the ratios of our tokens a second to theirs."""
    spawn = multiprocessing.get_context("spawn")
    sides: dict[str, Connection] = {}
    outputs: dict[str, Ids] = {}
    for name in names:
        sides[name], theirs = spawn.Pipe()
        spawn.Process(target=serve, args=(theirs, name, case), daemon=True).start()
        theirs.close()
        outputs[name] = sides[name].recv()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, side in sides.items():
            side.send(True)
            seconds[name].append(side.recv())
    for side in sides.values():
        side.send(None)
    result: dict[str, Any] = {"sentences": len(case.sources), "beam_size": case.beam_size}
    for name in names:
        tokens = sum(map(len, outputs[name]))
        result[name] = {
            "tokens": tokens,
            "seconds_of_each_round": seconds[name],
            "tokens_per_second": tokens / statistics.median(seconds[name]),
            "best_tokens_per_second": tokens / min(seconds[name]),
            "milliseconds_per_sentence": 1000 * statistics.median(seconds[name]) / len(case.sources),
        }
        if name != "ours" and "ours" in names:
            same = sum(one == other for one, other in zip(outputs["ours"], outputs[name], strict=True))
            speed = result["ours"]["tokens_per_second"] / result[name]["tokens_per_second"]
            result[name] |= {"same_outputs": same, "ours_is_faster": speed}
    return result


def table(report: dict[str, Any]) -> Any:
    """Returns the report as a rich table: milliseconds are a sentence's, `same` counts outputs that are ours, and the
    ratio is our tokens a second to theirs."""
    from rich.table import Table

    shown = Table(title=f"{report['cores']} cores, float32 matrix products {report['peak_gflops']:.0f} GFLOP/s")
    for column in ("case", "side"):
        shown.add_column(column, no_wrap=True)
    for column in ("tokens/s", "best", "ms each", "same", "ratio"):
        shown.add_column(column, justify="right")
    for case, result in report["cases"].items():
        for name in (name for name in SIDES if name in result):
            side = result[name]
            ratio = f"{side['ours_is_faster']:.2f}" if "ours_is_faster" in side else ""
            shown.add_row(
                case,
                name,
                f"{side['tokens_per_second']:,.0f}",
                f"{side['best_tokens_per_second']:,.0f}",
                f"{side['milliseconds_per_sentence']:,.1f}",
                f"{side['same_outputs']}/{result['sentences']}" if "same_outputs" in side else "",
                ratio,
            )
    return shown


def peak_flops() -> float:
    """Returns the floating-point operations a second of a jitted float32 matrix product."""
    import jax
    import jax.numpy as jnp

    product, x = jax.jit(jnp.matmul), jnp.ones((2048, 2048), jnp.float32)
    times = []
    for _ in range(10):
        start = time.perf_counter()
        product(x, x).block_until_ready()
        times.append(time.perf_counter() - start)
    return 2.0 * 2048**3 / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("beam", "greedy", "one", "one-greedy", "real")
    parser.add_argument("--cases", default=",".join(names), help="with commas between (default: all)")
    parser.add_argument("--sides", default=",".join(SIDES), help="with commas between (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (default: 5)")
    parser.add_argument("--sentences", type=int, default=1000, help="of the real ones, evenly spread (default: all)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args()
    wanted, sides = options.cases.split(","), options.sides.split(",")
    for given, known in ((wanted, names), (sides, SIDES)):
        if unknown := sorted(set(given) - set(known)):
            parser.error(f"there is no {unknown[0]!r}; there are {', '.join(known)}")

    from rich.console import Console

    console, measured = Console(stderr=True), {}
    for name, case in cases(wanted, options.sentences).items():
        with console.status(f"measuring {name}"):
            measured[name] = measure(case, sides, options.rounds)
    report = {"cores": os.cpu_count(), "peak_gflops": peak_flops() / 1e9, "cases": measured}
    console.print(table(report))
    if "real" in wanted and "real" not in measured:
        console.print("the real sentences were left out: WMT_TRANSFORMER_DATA is not set")
    if options.json:
        json.dump(report, sys.stdout)
        print()


if __name__ == "__main__":
    main()
