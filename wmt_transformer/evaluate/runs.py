"""The scores of a run: what one of its checkpoints makes of a split of its corpus, and how that is reported.

Translations have `bleu.Scores`, parses `TreeScores`, a language model's text `Perplexity`; `headline` names the one
number of each that stands for the others.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wmt_transformer import checkpoint as checkpoints
from wmt_transformer import experiment, parent
from wmt_transformer.config import Config, DecodeDtype, UserError
from wmt_transformer.data import prepare
from wmt_transformer.data.documents import prepare as prepare_text
from wmt_transformer.data.treebanks import corpora as treebanks
from wmt_transformer.data.treebanks.trees import Tree
from wmt_transformer.decode.completion import LanguageModel
from wmt_transformer.decode.generate import Translator
from wmt_transformer.decode.parse import parse
from wmt_transformer.evaluate import bleu, parsing, perplexity
from wmt_transformer.evaluate.parsing import Sentence
from wmt_transformer.evaluate.perplexity import Perplexity
from wmt_transformer.experiment import is_language_model, run_config
from wmt_transformer.files import whole_file
from wmt_transformer.messages import number_of
from wmt_transformer.special_tokens import EOS

Warn = Callable[[str], None]
"""Is given lines for people, such as that a sentence was too long."""


def ignore(line: str) -> None:
    """Takes a warning and says nothing."""


# ---- Scores


@dataclasses.dataclass(frozen=True)
class TreeScores:
    """Scores of parses by EVALB's rules."""

    compared: list[Sentence]
    """EVALB's counts of each sentence."""
    repaired: int
    """Outputs that were no tree over their words and were mended."""
    constrained: bool
    """Whether the model could write nothing but trees."""

    def report(self) -> dict[str, Any]:
        """Returns the scores of all sentences by name, and under `lengths` these and those of at most 40 words.

        There is no `tagging`: the parser predicts no tags.
        """
        parts = [
            {"max_length": limit, **dataclasses.asdict(parsing.total(self.compared, limit))} for limit in (None, 40)
        ]
        for part in parts:
            del part["tagging"]
        return {**parts[0], "lengths": parts, "repaired": self.repaired, "constrained": self.constrained}


def headline(scores: bleu.Scores | TreeScores | Perplexity) -> tuple[str, float]:
    """Returns the name and value of the score that stands for all: F1 of parses, sacreBLEU of translations, bits per
    byte of text."""
    if isinstance(scores, Perplexity):
        return "bits per byte", scores.bits_per_byte
    return ("F1", scores.report()["f1"]) if isinstance(scores, TreeScores) else ("BLEU", scores.sacrebleu)


def table(scores: bleu.Scores | TreeScores, paper: str | None = None) -> str:
    """Returns the scores for people, one a line with its signature.

    `paper` says which of them the paper's are, where they can be compared with these (see `papers_scores`).
    """
    if isinstance(scores, TreeScores):
        mended = f"{number_of(len(scores.compared), 'output')}, {scores.repaired} of them mended to be trees"
        return "\n".join([parsing.summary(scores.compared, 40), "", mended])
    lines = [
        ("sacreBLEU", scores.sacrebleu, scores.signature),
        ("chrF2", scores.chrf, scores.chrf_signature),
        ("chrF2++", scores.chrf_plus_plus, scores.chrf_plus_plus_signature),
        ("TER (lower is better)", scores.ter, scores.ter_signature),
        ("tokenised BLEU", scores.tokenized_bleu, scores.tokenized_bleu_signature),
        ("tokenised, compounds split", scores.compound_split_bleu, scores.compound_split_bleu_signature),
        ("tokenised lower-cased BLEU", scores.tokenized_lowercase_bleu, scores.tokenized_lowercase_bleu_signature),
    ]
    shown = [f"{name:26} {value:6.2f}  {signature}" for name, value, signature in lines if value is not None]
    if scores.comet is not None:
        shown.append(f"{'COMET':26} {scores.comet:6.4f}  {scores.comet_signature}")
    shown += [line for line in (scores.note, paper) if line]
    return "\n".join([*shown, "Between papers compare sacreBLEU."])


def papers_scores(settings: Config, split: str) -> str | None:
    """Returns which of a run's scores are the paper's, None where its corpus or split is not."""
    data = settings.data
    if data.corpus not in ("wmt14", "wmt16") or (data.source, split) != ("en", "test"):
        return None
    return {
        "de": "The paper's 27.3 and 28.4 (newstest2014) are tokenised BLEU with compounds split.",
        "fr": "The paper's 38.1 and 41.8 (newstest2014) are tokenised BLEU.",
    }.get(data.target)


# ---- A run's outputs, scored


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How the sentences of a split are decoded; None is the run's own setting."""

    beam_size: int | None = None
    alpha: float | None = None
    constrained: bool = False
    """Whether a parser may write nothing but trees."""
    compute_dtype: DecodeDtype | None = None


def evaluate(
    workdir: str | os.PathLike[str],
    split: str | None = None,
    checkpoint: str | int | None = None,
    *,
    beam_size: int | None = None,
    alpha: float | None = None,
    constrained: bool = False,
    compute_dtype: DecodeDtype | None = None,
    stride: int | None = None,
    say: Warn = ignore,
) -> bleu.Scores | TreeScores | Perplexity:
    """Returns the scores of a run on a split of its corpus: of translations, of parses, or a language model's.

    Args:
      split: dev or test; None is test where the corpus has it, else dev.
      checkpoint: average, best, latest or a step; None is the average, or else the best.
      beam_size, alpha, compute_dtype: of the search (default: the run's own).
      constrained: let a parser write nothing but trees.
      stride: tokens from one window of a language model to the next (default: its context).
      say: is given lines for people, such as that a sentence was too long.

    Raises UserError where the folder holds no run, no such checkpoint or no such split.

    >>> import wmt_transformer as wt
    >>> scores = wt.evaluate("runs/quickstart", "dev", beam_size=1)
    >>> 0 <= scores.sacrebleu <= 100, scores.signature
    (True, 'nrefs:1|case:mixed|...')
    """
    folder = Path(workdir)
    chosen = split_of(folder, split)
    if is_language_model(run_config(folder)):
        if constrained or (beam_size, alpha, compute_dtype) != (None, None, None):
            raise UserError(f"{folder} is a language model's run: beam_size, alpha, … are for translations and parses")
        return text_scores(folder, checkpoint, chosen, stride, say)
    if stride is not None:
        raise UserError(f"{folder} is no language model's run, and stride is for these; leave it out")
    return split_scores(folder, checkpoint, chosen, Decoding(beam_size, alpha, constrained, compute_dtype), say)[0]


def split_scores(
    workdir: Path, which: str | int | None, split: str, decoding: Decoding = Decoding(), warn: Warn = ignore
) -> tuple[bleu.Scores | TreeScores, list[str]]:
    """Translates or parses a split with one of the run's checkpoints; returns its scores and the output lines."""
    pairs, settings = pairs_of(workdir, split), run_config(workdir)
    translator = Translator.load(workdir, which, decoding.compute_dtype, warn)
    return scored(translator, pairs, settings, decoding, warn)


def pairs_of(workdir: Path, split: str) -> list[tuple[str, str]]:
    """Returns the sources and references of a split of a run's corpus."""
    return prepare.open_text(workdir / "data")[split_of(workdir, split)]


def split_of(workdir: Path, asked: str | None) -> str:
    """Returns the split that is asked for, or, for None, test where the corpus of a run has it and dev elsewhere.

    Raises UserError where the corpus does not have it, and says which it has.
    """
    stage = prepare_text if is_language_model(run_config(workdir)) else prepare
    texts = stage.open_text(workdir / "data")
    there = [name for name in ("test", "dev") if texts[name]]
    if there and asked in (None, *there):
        return asked or there[0]
    advice = f"it has {there[0]}: give --split {there[0]}" if there else "it has neither dev nor test"
    raise UserError(f"the corpus of {workdir} has no {asked or 'test'} split; {advice}")


def scored(
    translator: Translator, pairs: list[tuple[str, str]], settings: Config, decoding: Decoding, warn: Warn = ignore
) -> tuple[bleu.Scores | TreeScores, list[str]]:
    """Returns the scores of the sources translated, or parsed where the corpus is a treebank, and the output lines."""
    if settings.data.corpus in treebanks.CORPORA:
        return _parsed(translator, [treebanks.gold(tree) for _, tree in pairs], decoding, warn)
    if decoding.constrained:
        raise UserError(f"--constrained is for trees, and {settings.data.corpus} is no treebank; leave it out")
    hypotheses, references = _translated(translator, pairs, decoding, warn)
    return bleu.score(hypotheses, references, language=settings.data.target), hypotheses


def headline_of(
    translator: Translator, pairs: list[tuple[str, str]], settings: Config, decoding: Decoding, warn: Warn = ignore
) -> tuple[tuple[str, float], list[str]]:
    """Returns the headline (see `headline`) of what `scored` scores, and the output lines, without the other scores.

    These take longer: TER of a model that has learned little, ten seconds for a thousand sentences.
    """
    if settings.data.corpus in treebanks.CORPORA:
        scores, lines = scored(translator, pairs, settings, decoding, warn)
        return headline(scores), lines
    hypotheses, references = _translated(translator, pairs, decoding, warn)
    tokenizer, _ = bleu.tokenizer_of(settings.data.target)
    return ("BLEU", bleu.sacrebleu_score(hypotheses, references, tokenize=tokenizer)[0]), hypotheses


def _translated(
    translator: Translator, pairs: list[tuple[str, str]], decoding: Decoding, warn: Warn
) -> tuple[list[str], list[str]]:
    sources, references = map(list, zip(*pairs, strict=True))
    return translator.translate(sources, decoding.beam_size, decoding.alpha, warn=warn), references


def _parsed(translator: Translator, gold: list[Tree], decoding: Decoding, warn: Warn) -> tuple[TreeScores, list[str]]:
    """Parses the words of gold trees. Leaves keep the gold tags, by which EVALB tells what is punctuation."""
    sentences = [tree.leaves() for tree in gold]
    found = parse(translator, sentences, decoding.beam_size, decoding.alpha, warn, decoding.constrained)
    compared = [parsing.compare(tree, one.tree) for tree, one in zip(gold, found, strict=True)]
    repaired = sum(any(one.repairs) for one in found)
    return TreeScores(compared, repaired, decoding.constrained), [str(one.tree) for one in found]


def text_scores(
    workdir: Path, which: str | int | None, split: str, stride: int | None = None, warn: Warn = ignore
) -> Perplexity:
    """Returns the perplexity of a split's texts under one of the checkpoints of a language model's run."""
    texts = texts_of(workdir, split)
    return text_scored(LanguageModel.load(workdir, which, warn=warn), texts, stride)


def texts_of(workdir: Path, split: str) -> list[str]:
    """Returns the texts of a split of a language model's corpus."""
    return prepare_text.open_text(workdir / "data")[split_of(workdir, split)]


def text_scored(model: LanguageModel, texts: list[str], stride: int | None = None) -> Perplexity:
    """Returns the perplexity of texts under a language model."""
    return perplexity.score(
        texts, lambda text: [*model.vocabulary.encode(text), EOS], lambda ids: model.log_probabilities(ids, stride)
    )


# ---- What a report says of its run


def description(workdir: Path, which: str | int | None, split: str, decoding: Decoding = Decoding()) -> dict[str, Any]:
    """Returns what a report says of the run that its scores belong to.

    `changed` are the settings in which it differs from the shipped config of its name and family; `parent` is the run
    that it started from, if any.
    """
    settings = run_config(workdir)
    folder, step = checkpoints.resolve(workdir, which)
    own = {
        "beam_size": settings.decode.beam_size,
        "alpha": settings.decode.alpha,
        "compute_dtype": settings.model.compute_dtype,
    }
    given = {name: value for name in own if (value := getattr(decoding, name)) is not None}
    return {
        "config": settings.name,
        "family": settings.family,
        "changed": _changed(settings),
        **({"parent": str(found)} if (found := parent.of(workdir)) else {}),
        "source": settings.data.source,
        "target": settings.data.target,
        "split": split,
        "checkpoint": "average" if folder.name == "average" else "one",
        "step": step,
        **own,
        **given,
    }


def keep_report(workdir: Path, report: Mapping[str, Any]) -> None:
    """Keeps the description and the scores of a split in the folder of its run."""
    with whole_file(workdir / f"{report['split']}.scores.json") as out:
        out.write(json.dumps(report, indent=2) + "\n")


def kept_reports(workdir: Path) -> list[dict[str, Any]]:
    """Returns what `keep_report` kept, the newest of each split."""
    paths = [workdir / f"{split}.scores.json" for split in ("dev", "test")]
    return [experiment.json_object(path) for path in paths if path.is_file()]


def _changed(settings: Config) -> list[str]:
    """Returns the settings that differ from the shipped config, those left out that never change a score."""
    if settings.name not in experiment.shipped_configs():
        return []
    shipped = experiment.load(settings.name)
    if settings.family in experiment.FAMILIES:
        shipped = experiment.with_family(shipped, settings.family)
    return experiment.differences(shipped, settings, experiment.MAY_CHANGE - experiment.LENGTH)
