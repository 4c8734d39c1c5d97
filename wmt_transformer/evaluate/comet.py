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
from typing import Any

from wmt_transformer.config import UserError
from wmt_transformer.evaluate.bleu import Scores, check_lines

ROWS = 16
"""Translations that it reads together."""


@dataclasses.dataclass(frozen=True)
class Judge:
    """A model of COMET's: a name on the Hugging Face Hub, which is downloaded, or the path of a checkpoint."""

    name: str
    model: Any

    @classmethod
    def load(cls, name: str) -> Judge:
        """Reads a model. Raises UserError where COMET is not installed, and for a model that it cannot read."""
        if importlib.util.find_spec("comet") is None:
            raise UserError("--comet needs COMET: pip install unbabel-comet (2 GB with torch, and a model as large)")
        comet = importlib.import_module("comet")
        try:
            return cls(name, comet.load_from_checkpoint(name if Path(name).is_file() else comet.download_model(name)))
        except Exception as error:  # of the hub, of the network, of torch
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"COMET cannot read the model {name}: {reason}; give --comet another name, or a checkpoint's path"
            ) from error

    def added(
        self, scores: Scores, sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str]
    ) -> Scores:
        """Returns the scores with COMET's among them, the mean over all sentences. Raises UserError where the numbers
        of lines differ."""
        check_lines(sources, "source", hypotheses, "translation")
        triples = zip(sources, hypotheses, references, strict=True)
        rows = [{"src": source, "mt": hypothesis, "ref": reference} for source, hypothesis, reference in triples]
        gpus = int(importlib.import_module("torch").cuda.is_available())
        found = self.model.predict(rows, batch_size=ROWS, gpus=gpus)
        signature = f"model:{self.name}|version:{importlib.metadata.version('unbabel-comet')}"
        return dataclasses.replace(scores, comet=float(found.system_score), comet_signature=signature)
