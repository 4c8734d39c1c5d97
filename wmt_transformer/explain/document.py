"""The page as one file: markup, style and scripts of `page/`, and a run's weights, pieces and settings.

The scripts are ES modules that import each other; in the page they stand one after the other in one scope, without
their `import` and `export`. `THINKING` runs in a worker, so that typing never waits for the model; `SHOWING` is the
page itself.
"""

from __future__ import annotations

import base64
import dataclasses
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from wmt_transformer.config import Config, UserError
from wmt_transformer.data import prepare
from wmt_transformer.data.documents import prepare as prepare_text
from wmt_transformer.decode import runs
from wmt_transformer.experiment import is_language_model
from wmt_transformer.explain import vocabulary, weights
from wmt_transformer.explain.rounding import Cost

FOLDER = Path(__file__).with_name("page")
THINKING = ("pieces", "weights", "model", "beam", "sampling", "markov", "seen", "worker")
SHOWING = (
    "model",
    "beam",
    "sampling",
    "text_en",
    "text_zh",
    "dom",
    "formulas",
    "draw",
    "map",
    "whatif",
    "walk",
    "beam_view",
    "page",
)
SAMPLE = 60_000
"""Tokens of the training text that the page counts its Markov chain from, 160 kB of text."""


def html(
    run: runs.Run,
    folder: Path | None,
    language: str = "en",
    precision: weights.Precision = "float16",
    cost: Cost | None = None,
    sample: int = SAMPLE,
) -> str:
    """Returns the page of a run, which opens in `language`, en or zh, and says what rounding its weights costs.

    Its examples, and the text of its Markov chain, are of the run's data in `folder`; None: it has none.

    Raises UserError for a run that is too large for a page, or that the page's JavaScript cannot compute.
    """
    tensors, numbers = weights.packed(run.params, precision)
    examples, tokens = ([], []) if folder is None else _text(run.config, folder, sample)
    model = runs.sized(run.config.model, run.params, run.vocabulary)
    described = {
        "origin": run.origin,
        "precision": precision,
        "cost": None if cost is None else dataclasses.asdict(cost),
        "language": language,
        "languages": [run.config.data.source, run.config.data.target],
        "model": dataclasses.asdict(model) | {"decoder_layers": model.decoder_layers},
        "decode": {name: getattr(run.config.decode, name) for name in ("beam_size", "alpha", "extra_length")},
        "longest": _longest(run.config),
        "vocabulary": vocabulary.described(run.vocabulary),
        "tensors": tensors,
        "examples": examples,
    }
    return _filled(
        {
            "style": (FOLDER / "page.css").read_text("utf-8"),
            "run": json.dumps(described, ensure_ascii=False).replace("<", "\\u003c"),  # only "<" could end a script
            "weights": base64.b64encode(numbers).decode(),
            "sample": base64.b64encode(np.asarray(tokens, "<u2").tobytes()).decode(),
            "thinking": scripts(THINKING),
            "showing": scripts(SHOWING),
        }
    )


def scripts(names: tuple[str, ...]) -> str:
    """Returns modules of the page one after the other, in one scope."""
    text = "\n".join((FOLDER / f"{name}.js").read_text("utf-8") for name in names)
    return re.sub(r"^export ", "", re.sub(r"^import .*\n", "", text, flags=re.M), flags=re.M)


def _filled(parts: dict[str, str]) -> str:
    """Returns the markup with each part in its place, `{{name}}`."""
    markup = (FOLDER / "page.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], markup)


def _longest(config: Config) -> int:
    """Returns the most pieces that training saw at once: of a source with its EOS, or of a window."""
    seen = config.data.context if is_language_model(config) else config.data.max_length
    return min(seen, config.model.max_positions) if config.model.positions == "learned" else seen


def _text(config: Config, folder: Path, most: int) -> tuple[list[str], list[int]]:
    """Returns a few texts to try, and the first `most` tokens of the training text (of pairs, the target side)."""
    try:
        prepared: Any = (prepare_text if is_language_model(config) else prepare).open_prepared(folder)
    except UserError:  # an imported run has none
        return [], []
    if is_language_model(config):
        lines = itertools.chain.from_iterable(map(str.splitlines, prepared.dev_text))  # a document may be all there is
        openings = (" ".join(line.split()[:4]) for line in lines)
        return _examples(openings, 2, 4), np.asarray(prepared.train.tokens[:most]).tolist()
    pairs = (prepared.train.pair(number)[1].tolist() for number in range(len(prepared.train)))
    sources = (source for source, _ in prepared.dev_text)
    return _examples(sources, 6, 12), list(itertools.islice(itertools.chain.from_iterable(pairs), most))


def _examples(texts: Iterator[str], least: int, most: int) -> list[str]:
    """Returns the first four different texts of so many words."""
    fitting = (text for text in texts if least <= len(text.split()) <= most)
    return list(itertools.islice(dict.fromkeys(itertools.islice(fitting, 50)), 4))
