"""Measures the way from text to batches, on one core: reading, cutting, the share of real tokens, batches a second.

    WMT_TRANSFORMER_DATA=FOLDER python benchmarks/input.py [--corpora multi30k,news,debian] [--no-model] [--json]

FOLDER holds multi30k/, newstest/opennmt/ (10,000 pairs of WMT's training set) and debian/. Rates are per second of
processor time on one core, which other work on the machine changes little:

    read        pairs read, decompressed, normalised, hashed and written again (what `prepare` does first)
    cut         pairs cut into pieces, filtered and counted (what its processes do then), from an empty memory of words
    pieces      the same pairs through SentencePiece's own `encode`, one thread, and nothing else
    batches     batches of an epoch made, and how many times as fast that is as the tiny model's training steps
    real        share of the slots of an epoch that hold a real token, by the most shapes allowed, and what 12 shapes
                reach where every pair has a row of its own
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core, before anything starts threads
os.environ.setdefault("JAX_PLATFORMS", "cpu")


from wmt_transformer.config import DataConfig  # noqa: E402
from wmt_transformer.data import prepare, shapes, tokens  # noqa: E402
from wmt_transformer.data.batches import Batches  # noqa: E402
from wmt_transformer.data.prepare import Prepared  # noqa: E402
from wmt_transformer.data.text_digest import TextDigest  # noqa: E402
from wmt_transformer.data.vocabulary import Vocabulary  # noqa: E402

SHAPES = (1, 4, 8, 12)
CORPORA: dict[str, tuple[DataConfig, int]] = {
    # Settings, and tokens a side of a batch.
    "multi30k": (DataConfig(corpus="multi30k", path="multi30k", vocabulary_size=6000, max_length=128), 4096),
    "news": (
        DataConfig(
            corpus="files",
            path="newstest/opennmt",
            train_files=("src-train.txt.gz", "tgt-train.txt.gz"),
            dev_files=("src-val.txt.gz", "tgt-val.txt.gz"),
            test_files=("src-val.txt.gz", "tgt-val.txt.gz"),
            vocabulary_size=16000,
        ),
        25_000,
    ),
    "debian": (
        DataConfig(
            corpus="files",
            path="debian",
            train_files=("debian.en-de.tsv.gz",),
            dev_files=("../tatoeba/dev.en-de.tsv.gz",),
            test_files=("../tatoeba/test.en-de.tsv.gz",),
            vocabulary_size=32000,
        ),
        25_000,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", default=",".join(CORPORA), help="with commas between (default: all)")
    parser.add_argument("--no-model", action="store_true", help="leave out the training step of the tiny model")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args()
    if "WMT_TRANSFORMER_DATA" not in os.environ:
        sys.exit("set WMT_TRANSFORMER_DATA to the folder that holds multi30k/, newstest/opennmt/ and debian/")
    root = Path(os.environ["WMT_TRANSFORMER_DATA"])
    report: dict[str, Any] = {}
    for name in options.corpora.split(","):
        data, budget = CORPORA[name]
        data = dataclasses.replace(data, path=str(root / cast(str, data.path)))
        with tempfile.TemporaryDirectory() as folder:
            report[name] = text_rates(data, Path(folder)) | batch_rates(
                prepare.open_prepared(Path(folder) / "data"), budget, name == "multi30k" and not options.no_model
            )
    from rich.console import Console

    Console(stderr=True).print(table(report))
    if options.json:
        print(json.dumps(report))


def text_rates(data: DataConfig, folder: Path) -> dict[str, float]:
    """Prepares the corpus in `folder`; returns pairs a second of reading, of cutting and of SentencePiece alone."""
    prepare.prepare(data, folder / "data", report=lambda line: None, processes=1)
    text, model = folder / "train.tsv", folder / "data" / "vocabulary.model"
    read, (counts, chunks) = seconds(lambda: prepare._normalise_train(data, text, lambda line: None, TextDigest()))
    job = tokens.Job(str(model.parent), str(text), data.max_length, data.max_length_ratio, "uint16")
    cut, parts = seconds(lambda: list(tokens.encode(job, chunks, 1, lambda line: None)))
    sides = [side for chunk in chunks for pair in tokens.read_chunk(text, chunk) for side in pair]
    processor = Vocabulary.load(model)._processor
    alone, pieces = seconds(lambda: processor.encode(sides, num_threads=1))
    assert sum(map(len, pieces)) + len(sides) >= sum(len(part.tokens) for part in parts)
    pairs = len(sides) / 2
    words = sum(side.count(" ") + 1 for side in sides) / len(sides)
    return {
        "pairs": counts[0]["read"],
        "words_per_side": words,
        "read_pairs_per_second": counts[0]["read"] / read,
        "cut_pairs_per_second": pairs / cut,
        "sentencepiece_pairs_per_second": pairs / alone,
    }


def batch_rates(prepared: Prepared, budget: int, with_model: bool) -> dict[str, Any]:
    """Returns the shares of real tokens and, of batches of `budget` tokens a side, how many are made a second."""
    shares = {most: Batches(prepared.train, budget, budget, num_shapes=most).real_token_share for most in SHAPES}
    made = Batches(prepared.train, budget, budget)
    made[0]  # the first one of an epoch brings its order
    spent, _ = seconds(lambda: [made[step] for step in range(made.batches_per_epoch)])
    result: dict[str, Any] = {
        "real_token_share": shares,
        "real_token_share_one_pair_a_row": one_pair_a_row(prepared, budget),
        "batches_per_second": made.batches_per_epoch / spent,
        "tokens_per_second": int(prepared.train.source_lengths.sum() + prepared.train.target_lengths.sum()) / spent,
    }
    if with_model:
        step = step_seconds(made, len(prepared.vocabulary))
        result |= {"steps_per_second": 1 / step, "batches_per_step": step * result["batches_per_second"]}
    return result


def one_pair_a_row(prepared: Prepared, budget: int) -> float:
    """Returns the share of real tokens in the best twelve nested shapes without sharing rows."""
    lengths = prepared.train.source_lengths, prepared.train.target_lengths
    sides, counts = shapes.nested_sides(*lengths, 12)[-1]
    return float(sum(side.sum() for side in lengths) / (sides.sum(axis=1) * counts).sum())


def step_seconds(made: Batches, vocabulary_size: int) -> float:
    """Returns the processor time of a training step of `multi30k_en_de` on batches of the commonest shape."""
    from wmt_transformer.experiment import load
    from wmt_transformer.model.transformer import Transformer
    from wmt_transformer.train.memory import keep_freed_memory
    from wmt_transformer.train.optimizer import optimizer
    from wmt_transformer.train.sharding import make_mesh, place_batch
    from wmt_transformer.train.state import initial_state
    from wmt_transformer.train.step import make_train_step

    keep_freed_memory()
    config = load("multi30k_en_de")
    model = Transformer(dataclasses.replace(config.model, vocabulary_size=vocabulary_size))
    update, mesh = optimizer(config.train, config.model.d_model), make_mesh(config.mesh)
    step, state = make_train_step(model, update, config.train, mesh), initial_state(model, update, mesh, seed=1)
    batch = place_batch(made[0], mesh)
    state, _ = step(state, batch)
    float(state.step)

    def five() -> None:
        nonlocal state
        for _ in range(5):
            state, _ = step(state, batch)
        float(state.step)

    return seconds(five)[0] / 5


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Returns the processor time that `work` takes, over all its threads, and what it returns."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def table(report: dict[str, Any]) -> Any:
    """Returns the report as a rich table, one corpus a column."""
    from rich.table import Table

    shown = Table("one core", title="from text to batches")
    for name in report:
        shown.add_column(name, justify="right")

    def row(label: str, value: Callable[[dict[str, Any]], str]) -> None:
        shown.add_row(label, *(value(result) for result in report.values()))

    row("pairs, words a side", lambda r: f"{r['pairs']:,}, {r['words_per_side']:.1f}")
    row("read, pairs/s", lambda r: f"{r['read_pairs_per_second']:,.0f}")
    row("cut, pairs/s", lambda r: f"{r['cut_pairs_per_second']:,.0f}")
    row("SentencePiece alone, pairs/s", lambda r: f"{r['sentencepiece_pairs_per_second']:,.0f}")
    for most in SHAPES:
        row(f"real tokens, {most} shapes", lambda r, most=most: f"{r['real_token_share'][most]:.1%}")
    row("one pair a row, 12 shapes", lambda r: f"{r['real_token_share_one_pair_a_row']:.1%}")
    row("batches/s", lambda r: f"{r['batches_per_second']:,.0f}")
    row("tokens/s", lambda r: f"{r['tokens_per_second']:,.0f}")
    row("times the tiny model's steps", lambda r: f"{r['batches_per_step']:.0f}" if "batches_per_step" in r else "")
    return shown


if __name__ == "__main__":
    main()
