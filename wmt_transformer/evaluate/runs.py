"""The scores of a run: one of its checkpoints on a split of its corpus, and how these scores are reported."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wmt_transformer import checkpoint, experiment
from wmt_transformer.config import ComputeDtype, Config, UserError
from wmt_transformer.data import prepare
from wmt_transformer.data.documents import prepare as prepare_text
from wmt_transformer.data.treebanks import corpora as treebanks
from wmt_transformer.data.treebanks.trees import Tree
from wmt_transformer.decode.completion import LanguageModel
from wmt_transformer.decode.generate import Translator
from wmt_transformer.decode.parse import parse
from wmt_transformer.evaluate import bleu, parsing, perplexity
from wmt_transformer.evaluate.perplexity import Perplexity
from wmt_transformer.experiment import run_config
from wmt_transformer.special_tokens import EOS

Warn = Callable[[str], None]
"""Is given lines for people, such as that a sentence was too long."""


def ignore(line: str) -> None:
    """Takes a warning and says nothing."""


@dataclasses.dataclass(frozen=True)
class TreeScores:
    """Scores of parses by EVALB's rules."""

    compared: list[Any]
    """EVALB's counts of each sentence."""
    repaired: int
    """Outputs that were no tree over their words as they came."""
    constrained: bool
    """Whether the model could write nothing but trees."""

    def report(self) -> dict[str, Any]:
        """Returns the scores of all sentences by name, and under `lengths` these and those of at most 40 words.

        There is no `tagging`: the parser makes no tags.
        """
        parts = [
            {"max_length": limit, **dataclasses.asdict(parsing.total(self.compared, limit))} for limit in (None, 40)
        ]
        for part in parts:
            del part["tagging"]
        return {**parts[0], "lengths": parts, "repaired": self.repaired, "constrained": self.constrained}


def split_scores(
    workdir: Path,
    which: str | int | None,
    split: str,
    beam_size: int | None = None,
    alpha: float | None = None,
    constrained: bool = False,
    compute_dtype: ComputeDtype | None = None,
    warn: Warn = ignore,
) -> tuple[Any, list[str]]:
    """Translates or parses a split with one of the run's checkpoints; returns its scores and the output lines."""
    prepared, settings = prepare.open_prepared(workdir / "data"), run_config(workdir)
    pairs = {"dev": prepared.dev_text, "test": prepared.test_text}[split]
    if not pairs:
        raise UserError(f"the corpus of {workdir} has no {split} split")
    translator = Translator.load(workdir, which, compute_dtype)
    return scored(translator, pairs, settings, beam_size, alpha, constrained, warn)


def scored(
    translator: Translator,
    pairs: list[tuple[str, str]],
    settings: Config,
    beam_size: int | None,
    alpha: float | None = None,
    constrained: bool = False,
    warn: Warn = ignore,
) -> tuple[Any, list[str]]:
    """Returns the scores of the sources translated, or parsed where the corpus is a treebank, and the output lines."""
    if settings.data.corpus in treebanks.CORPORA:
        return _parsed(translator, [treebanks.gold(tree) for _, tree in pairs], beam_size, alpha, constrained, warn)
    if constrained:
        raise UserError(f"--constrained is for trees, and {settings.data.corpus} is no treebank; leave it out")
    hypotheses = translator.translate([source for source, _ in pairs], beam_size, alpha, warn=warn)
    return bleu.score(hypotheses, [reference for _, reference in pairs], language=settings.data.target), hypotheses


def _parsed(
    translator: Translator, gold: list[Tree], beam_size: int | None, alpha: float | None, constrained: bool, warn: Warn
) -> tuple[Any, list[str]]:
    """Parses the words of gold trees. Leaves keep the gold tags, by which EVALB tells what is punctuation."""
    found = parse(translator, [tree.leaves() for tree in gold], beam_size, alpha, warn, constrained)
    compared = [parsing.compare(tree, one.tree) for tree, one in zip(gold, found, strict=True)]
    repaired = sum(any(one.repairs) for one in found)
    return TreeScores(compared, repaired, constrained), [str(one.tree) for one in found]


def text_scores(workdir: Path, which: str | int | None, split: str, stride: int | None = None) -> Any:
    """Returns the perplexity of a split's texts to one of the checkpoints of a language model's run."""
    prepared = prepare_text.open_prepared(workdir / "data")
    texts = {"dev": prepared.dev_text, "test": prepared.test_text}[split]
    if not texts:
        raise UserError(f"the corpus of {workdir} has no {split} split")
    model = LanguageModel.load(workdir, which)
    return perplexity.score(
        texts, lambda text: [*model.vocabulary.encode(text), EOS], lambda ids: model.log_probabilities(ids, stride)
    )


def headline(scores: Any) -> tuple[str, float]:
    """Returns the score that stands for all, and what it is called: F1 of parses, sacreBLEU of translations, bits per
    byte of text."""
    if isinstance(scores, Perplexity):
        return "bits per byte", scores.bits_per_byte
    return ("F1", scores.report()["f1"]) if isinstance(scores, TreeScores) else ("BLEU", scores.sacrebleu)


def table(scores: Any) -> str:
    """Returns the scores for people, one a line with its signature, and which of them the paper's are."""
    if isinstance(scores, TreeScores):
        mended = f"{scores.repaired} of {len(scores.compared)} outputs were mended to be trees over their words"
        return "\n".join([parsing.summary(scores.compared, 40), "", mended])
    lines = [
        ("sacreBLEU", scores.sacrebleu, scores.signature),
        ("chrF2", scores.chrf, scores.chrf_signature),
        ("tokenised BLEU", scores.tokenized_bleu, scores.tokenized_bleu_signature),
        ("tokenised lower-cased BLEU", scores.tokenized_lowercase_bleu, scores.tokenized_lowercase_bleu_signature),
    ]
    paper = "The paper's 38.1 and 41.8 (English-French) are tokenised BLEU"
    if scores.compound_split_bleu is not None:
        split = scores.compound_split_bleu, scores.compound_split_bleu_signature
        lines.insert(3, ("tokenised, compounds split", *split))
        paper = "The paper's 27.3 and 28.4 (English-German) are tokenised BLEU with compounds split"
    shown = [f"{name:26} {value:6.2f}  {signature}" for name, value, signature in lines]
    return "\n".join([*shown, f"{paper}, on newstest2014; between papers compare sacreBLEU."])


def description(
    workdir: Path,
    which: str | None,
    split: str,
    beam_size: int | None,
    alpha: float | None,
    compute_dtype: ComputeDtype | None = None,
) -> dict[str, Any]:
    """Returns what a report has to say of the run that its scores belong to; `changed` are the settings in which it
    differs from the shipped config of its name and family."""
    settings = run_config(workdir)
    folder, step = checkpoint.resolve(workdir, which)
    changed: list[str] = []
    if settings.name in experiment.shipped_configs():
        shipped = experiment.load(settings.name)
        if settings.family in experiment.FAMILIES:
            shipped = experiment.with_family(shipped, settings.family)
        changed = experiment.differences(shipped, settings, experiment.MAY_CHANGE - {"train.steps"})
    return {
        "config": settings.name,
        "family": settings.family,
        "changed": changed,
        "source": settings.data.source,
        "target": settings.data.target,
        "split": split,
        "checkpoint": "average" if folder.name == "average" else "one",
        "step": step,
        "beam_size": settings.decode.beam_size if beam_size is None else beam_size,
        "alpha": settings.decode.alpha if alpha is None else alpha,
        "compute_dtype": settings.model.compute_dtype if compute_dtype is None else compute_dtype,
    }
