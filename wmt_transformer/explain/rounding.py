"""What rounding the weights costs: the score of a run's split, by the run's own weights and by those of its page."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax

from wmt_transformer.decode.completion import LanguageModel
from wmt_transformer.decode.generate import Translator
from wmt_transformer.decode.runs import Run
from wmt_transformer.evaluate import runs
from wmt_transformer.experiment import is_language_model
from wmt_transformer.explain import weights


@dataclasses.dataclass(frozen=True)
class Cost:
    """A score before and after."""

    split: str
    name: str
    """BLEU, F1 of parses, or bits per byte of a language model, of which fewer are better."""
    own: float
    rounded: float

    def __str__(self) -> str:
        return f"{self.split}: {self.name} {self.rounded:#.4g}, {self.own:#.4g} before rounding"


def cost(run: Run, workdir: Path, split: str, precision: weights.Precision, warn: runs.Warn = runs.ignore) -> Cost:
    """Scores a split of a run's corpus by our own search, with its weights and with the rounded ones.

    Raises UserError where the corpus does not have the split.
    """
    rounded = jax.device_put(weights.rounded(run.params, precision))
    (name, own), (_, after) = (_score(run._replace(params=one), workdir, split, warn) for one in (run.params, rounded))
    return Cost(split, name, own, after)


def _score(run: Run, workdir: Path, split: str, warn: runs.Warn) -> tuple[str, float]:
    config, params, vocabulary, _ = run
    if is_language_model(config):
        texts = runs.texts_of(workdir, split)
        return runs.headline(runs.text_scored(LanguageModel(config, params, vocabulary), texts))
    pairs = runs.pairs_of(workdir, split)
    return runs.headline_of(Translator(config, params, vocabulary), pairs, config, runs.Decoding(), warn)[0]
