"""What several verbs need of a work folder: its config, its data, and the scores of a split."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wmt_transformer import config
from wmt_transformer.cli.cuda import check_driver
from wmt_transformer.cli.files import say
from wmt_transformer.config import ComputeDtype, Config, UserError


def run_config(workdir: Path) -> Config:
    """Returns the config that the work folder's run was made with."""
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(f"{workdir} holds no run; make one with: wmt-transformer train CONFIG --workdir {workdir}")
    start_jax()
    return config.from_json(path.read_text())


def is_language_model(settings: Config) -> bool:
    """Tells whether a run is a language model's, not a translation run. Raises UserError for data of the other kind."""
    language_model = settings.model.architecture == "decoder_only"
    if language_model != (settings.data.documents != "none"):
        raise UserError(
            f"model.architecture is {settings.model.architecture} and data.documents {settings.data.documents}: a "
            "language model (decoder_only) reads documents (file, paragraph or line), a translator none"
        )
    return language_model


def prepare_data(settings: Config, workdir: Path, report: Callable[[str], None] = say) -> Any:
    """Prepares a config's corpus, pairs or text, in the work folder, unless it is prepared."""
    from wmt_transformer.data import prepare, prepare_text

    stage = prepare_text if is_language_model(settings) else prepare
    return stage.prepare(settings.data, workdir / "data", report)


def prepared_data(workdir: Path) -> Any:
    """Returns the corpus that was prepared for the run."""
    from wmt_transformer.data import prepare, prepare_text

    return (prepare_text if is_language_model(run_config(workdir)) else prepare).open_prepared(workdir / "data")


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
    from wmt_transformer import checkpoint

    settings = run_config(workdir)
    folder, step = checkpoint.resolve(workdir, which)
    changed: list[str] = []
    if settings.name in config.shipped_configs():
        shipped = config.load(settings.name)
        if settings.family in config.FAMILIES:
            shipped = config.with_family(shipped, settings.family)
        watched = tuple(name for name in config.MAY_CHANGE if name != "train.steps")
        changed = [line for line in config.differences(shipped, settings) if not line.startswith(watched)]
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


def split_scores(
    workdir: Path,
    which: str | int | None,
    split: str,
    beam_size: int | None = None,
    alpha: float | None = None,
    constrained: bool = False,
    compute_dtype: ComputeDtype | None = None,
) -> tuple[Any, list[str]]:
    """Translates or parses a split with one of the run's checkpoints; returns its scores and the output lines."""
    from wmt_transformer.decode.generate import Translator

    prepared, settings = prepared_data(workdir), run_config(workdir)
    pairs = {"dev": prepared.dev_text, "test": prepared.test_text}[split]
    if not pairs:
        raise UserError(f"the corpus of {workdir} has no {split} split")
    translator = Translator.load(workdir, which, compute_dtype)
    return scored(translator, pairs, settings, beam_size, alpha, constrained)


def scored(
    translator: Any,
    pairs: list[tuple[str, str]],
    settings: Config,
    beam_size: int | None,
    alpha: float | None = None,
    constrained: bool = False,
) -> tuple[Any, list[str]]:
    """Returns the scores of the sources translated, or parsed where the corpus is a treebank, and the output lines."""
    from wmt_transformer.data import treebanks

    if settings.data.corpus in treebanks.CORPORA:
        return _parsed(translator, [treebanks.gold(tree) for _, tree in pairs], beam_size, alpha, constrained)
    if constrained:
        raise UserError(f"--constrained is for trees, and {settings.data.corpus} is no treebank; leave it out")
    from wmt_transformer.evaluate import bleu

    hypotheses = translator.translate([source for source, _ in pairs], beam_size, alpha, warn=say)
    return bleu.score(hypotheses, [reference for _, reference in pairs], language=settings.data.target), hypotheses


def _parsed(
    translator: Any, gold: list[Any], beam_size: int | None, alpha: float | None, constrained: bool
) -> tuple[Any, list[str]]:
    """Parses the words of gold trees. Leaves keep the gold tags, by which EVALB tells what is punctuation."""
    from wmt_transformer.decode.parse import parse
    from wmt_transformer.evaluate import parsing

    found = parse(translator, [tree.leaves() for tree in gold], beam_size, alpha, say, constrained)
    compared = [parsing.compare(tree, one.tree) for tree, one in zip(gold, found, strict=True)]
    repaired = sum(any(one.repairs) for one in found)
    return TreeScores(compared, repaired, constrained), [str(one.tree) for one in found]


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
        from wmt_transformer.evaluate import parsing

        parts = [
            {"max_length": limit, **dataclasses.asdict(parsing.total(self.compared, limit))} for limit in (None, 40)
        ]
        for part in parts:
            del part["tagging"]
        return {**parts[0], "lengths": parts, "repaired": self.repaired, "constrained": self.constrained}


def headline(scores: Any) -> tuple[str, float]:
    """Returns the score that stands for all, and what it is called: F1 of parses, sacreBLEU of translations, bits per
    byte of text."""
    from wmt_transformer.evaluate.perplexity import Perplexity

    if isinstance(scores, Perplexity):
        return "bits per byte", scores.bits_per_byte
    return ("F1", scores.report()["f1"]) if isinstance(scores, TreeScores) else ("BLEU", scores.sacrebleu)


def text_scores(workdir: Path, which: str | int | None, split: str, stride: int | None = None) -> Any:
    """Returns the perplexity of a split's texts to one of the checkpoints of a language model's run."""
    from wmt_transformer.data.vocabulary import EOS
    from wmt_transformer.decode.completion import LanguageModel
    from wmt_transformer.evaluate import perplexity

    prepared = prepared_data(workdir)
    texts = {"dev": prepared.dev_text, "test": prepared.test_text}[split]
    if not texts:
        raise UserError(f"the corpus of {workdir} has no {split} split")
    model = LanguageModel.load(workdir, which)
    return perplexity.score(
        texts, lambda text: [*model.vocabulary.encode(text), EOS], lambda ids: model.log_probabilities(ids, stride)
    )


def table(scores: Any) -> str:
    """Returns the scores for people, one a line with its signature, and which of them the paper's are."""
    if isinstance(scores, TreeScores):
        from wmt_transformer.evaluate import parsing

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


def start_jax() -> None:
    """What a command that computes does before it asks for devices. Raises UserError where the driver is too old.

    Keeps compiled programs between runs: a second start is spared the first one's compilation.
    """
    check_driver()
    import jax

    cache = Path(os.environ.get("WMT_TRANSFORMER_CACHE", Path.home() / ".cache" / "wmt_transformer"))
    jax.config.update("jax_compilation_cache_dir", str(cache / "compiled"))
