"""COMET (Rei et al. 2020): what a trained model makes of translations, their sources and references beside them.

It is computed by its own package, unbabel-comet, which is not among our extras: it brings torch and downloads models of
two gigabytes.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from wmt_transformer.config import UserError
from wmt_transformer.evaluate.bleu import Scores
from wmt_transformer.messages import number_of

ROWS = 16
"""Translations that it reads together."""


def check_installed() -> None:
    """Raises UserError where the package is not there."""
    if importlib.util.find_spec("comet") is None:
        raise UserError("--comet needs COMET: pip install unbabel-comet (about 2 GB with torch, and a model as large)")


def with_comet(
    scores: Scores, sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str], model: str
) -> Scores:
    """Returns the scores with COMET's, the mean over all sentences, among them.

    Args:
      model: a model's name on the Hugging Face Hub, which is downloaded, or the path of a checkpoint.

    Raises UserError where the package is not there or the numbers of lines differ.
    """
    check_installed()
    torch, comet = importlib.import_module("torch"), importlib.import_module("comet")

    if len(sources) != len(hypotheses):
        raise UserError(
            f"there are {number_of(len(sources), 'source')} for {number_of(len(hypotheses), 'translation')}; line n of "
            "one must belong to line n of the other"
        )
    judge = comet.load_from_checkpoint(model if Path(model).is_file() else comet.download_model(model))
    triples = zip(sources, hypotheses, references, strict=True)
    rows = [{"src": source, "mt": hypothesis, "ref": reference} for source, hypothesis, reference in triples]
    found = judge.predict(rows, batch_size=ROWS, gpus=int(torch.cuda.is_available()))
    signature = f"model:{model}|version:{importlib.metadata.version('unbabel-comet')}"
    return dataclasses.replace(scores, comet=float(found.system_score), comet_signature=signature)
