"""The data of a run: pairs to translate or parse, or a language model's text, as its config says."""

from __future__ import annotations

from pathlib import Path

from wmt_transformer.config import Config
from wmt_transformer.data import prepare
from wmt_transformer.data.documents import prepare as prepare_text
from wmt_transformer.data.documents.prepare import PreparedText
from wmt_transformer.data.manifest import Report
from wmt_transformer.data.prepare import Prepared
from wmt_transformer.experiment import is_language_model


def prepare_data(settings: Config, workdir: Path, report: Report) -> Prepared | PreparedText:
    """Prepares a config's corpus, pairs or text, in the work folder, unless it is prepared.

    Raises UserError where it would have to be prepared anew after the run's first checkpoint.
    """
    stage = prepare_text if is_language_model(settings) else prepare
    return stage.prepare(settings.data, workdir / "data", report, trained=_is_trained(workdir))


def _is_trained(workdir: Path) -> bool:
    """Tells whether a run has checkpoints, without Orbax and JAX: data are prepared before devices are looked for."""
    return any(path.name.isdecimal() for name in ("checkpoints", "average") for path in (workdir / name).glob("*"))
