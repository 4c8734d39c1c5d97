"""Parsing trained on the Wall Street Journal only, as tensor2tensor's preset of 2017 has it (transformer_parsing_base).

    wmt-transformer train parsing_wsj_t2t --workdir runs/parsing_wsj_t2t --data.path LDC99T42/parsed/mrg/wsj

Time: not yet run.
Score on section 23: not yet run (the paper, with other settings: 91.3 F1).
"""

import dataclasses

from wmt_transformer import experiment
from wmt_transformer.config import Config


def get_config() -> Config:
    """Returns `parsing_wsj` with 6 layers, post-norm, a longer warm-up to five times the rate, and embeddings apart."""
    paper = experiment.load("parsing_wsj")
    return dataclasses.replace(
        paper,
        family="t2t",
        model=dataclasses.replace(paper.model, num_layers=6, tied_embeddings="none", sinusoid_layout="concatenated"),
        train=dataclasses.replace(paper.train, learning_rate=5.0, warmup_steps=16_000),
    )
