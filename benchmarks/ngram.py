"""Bits per byte of Markov chains over characters, by order and smoothing: what a language model has to beat.

    python benchmarks/ngram.py --text tinyshakespeare.txt[.gz] [--orders 6] [--json]

The first 90 % of the characters are counted and the others measured, as one document each: the split of
`configs/language_model_shakespeare.py` and of nanoGPT. An end is predicted too.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from wmt_transformer.baselines.ngram import AddK, KneserNey, NGram
from wmt_transformer.baselines.units import Units
from wmt_transformer.evaluate import perplexity
from wmt_transformer.reading import read_lines
from wmt_transformer.special_tokens import EOS

SMOOTHINGS = {"add_k": AddK(0.01), "kneser_ney": KneserNey()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Bits per byte of Markov chains over characters.")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--orders", type=int, default=6, help="the longest context, in characters")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args()
    text = "\n".join([*read_lines(options.text), ""])
    border = int(len(text) * 0.9)
    rows = (measure(text[:border], text[border:], order) for order in range(1, options.orders + 1))
    if options.json:
        print(json.dumps({"train_bytes": len(text[:border].encode()), "rows": list(rows)}))
        return
    print("| characters of context | n-grams that occur | add 0.01 | Kneser-Ney | seconds |\n|---|---|---|---|---|")
    for row in rows:
        print("| {order} | {ngrams:,} | {add_k:.3f} | {kneser_ney:.3f} | {seconds:.0f} |".format(**row), flush=True)


def measure(train: str, dev: str, order: int) -> dict[str, Any]:
    """Returns bits per byte by smoothing, n-grams of all levels, and the seconds that all of it took."""
    units, start = Units([train], words=False), time.perf_counter()
    row: dict[str, Any] = {"order": order}
    for name, smoothing in SMOOTHINGS.items():
        model = NGram([units.encode(train)], order, len(units), smoothing)
        found = perplexity.score([dev], lambda text: [*units.encode(text), EOS], model.log_probabilities)
        row |= {name: found.bits_per_byte, "dev_bytes": found.bytes}
        row["ngrams"] = sum(len(level.keys) for level in model.levels)
    return {**row, "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    main()
