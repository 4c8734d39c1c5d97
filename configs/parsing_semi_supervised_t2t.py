"""Semi-supervised parsing as tensor2tensor's preset of 2017 has it (transformer_parsing_big).

    wmt-transformer train parsing_semi_supervised_t2t --workdir runs/parsing_semi_supervised_t2t --data.path TREES

Time: not yet run.
Score on section 23: not yet run (the paper, with other settings: 92.7 F1).
"""

import dataclasses

from wmt_transformer import experiment
from wmt_transformer.config import Config


def get_config() -> Config:
    """Returns `parsing_semi_supervised` with the big model of 6 layers, dropout 0.1, and batches of 2,048 on 8 GPUs."""
    paper = experiment.load("parsing_semi_supervised")
    return dataclasses.replace(
        paper,
        family="t2t",
        model=dataclasses.replace(
            paper.model,
            num_layers=6,
            d_ff=4096,
            num_heads=16,
            d_k=64,
            d_v=64,
            attention_dropout=0.0,
            sinusoid_layout="concatenated",
        ),
        data=dataclasses.replace(paper.data, source_tokens=8 * 2048, target_tokens=8 * 2048),
        train=dataclasses.replace(paper.train, learning_rate=5.0),
    )
