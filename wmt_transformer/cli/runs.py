"""What several verbs need of a work folder: its config, its data, and the scores of a split."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from wmt_transformer import config
from wmt_transformer.cli.files import say
from wmt_transformer.config import Config, UserError


def run_config(workdir: Path) -> Config:
    """Returns the config that the work folder's run was made with."""
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(f"{workdir} holds no run; make one with: wmt-transformer train CONFIG --workdir {workdir}")
    use_compilation_cache()
    return config.from_json(path.read_text())


def prepared_data(workdir: Path) -> Any:
    """Returns the corpus that `prepare` wrote for the run."""
    from wmt_transformer.data.prepare import open_prepared

    return open_prepared(workdir / "data")


def split_scores(
    workdir: Path,
    which: str | int | None,
    split: str,
    beam_size: int | None = None,
    alpha: float | None = None,
) -> tuple[Any, list[str]]:
    """Translates a split with one of the run's checkpoints; returns its scores and the translations."""
    from wmt_transformer.decode.generate import Translator
    from wmt_transformer.evaluate import bleu

    prepared, settings = prepared_data(workdir), run_config(workdir)
    pairs = {"dev": prepared.dev_text, "test": prepared.test_text}[split]
    if not pairs:
        raise UserError(f"the corpus of {workdir} has no {split} split")
    translator = Translator.load(workdir, which)
    hypotheses = translator.translate([source for source, _ in pairs], beam_size, alpha, warn=say)
    return bleu.score(hypotheses, [reference for _, reference in pairs], language=settings.data.target), hypotheses


def table(scores: Any) -> str:
    """Returns the scores for people, one a line with its signature."""
    return "\n".join(
        (
            f"sacreBLEU                  {scores.sacrebleu:6.2f}  {scores.signature}",
            f"chrF2                      {scores.chrf:6.2f}",
            f"tokenised lower-cased BLEU {scores.tokenized_lowercase_bleu:6.2f}  Moses tokeniser, multi-bleu",
        )
    )


def use_compilation_cache() -> None:
    """Keeps compiled programs between runs: a second start is spared the first one's compilation."""
    import jax

    cache = Path(os.environ.get("WMT_TRANSFORMER_CACHE", Path.home() / ".cache" / "wmt_transformer"))
    jax.config.update("jax_compilation_cache_dir", str(cache / "compiled"))
