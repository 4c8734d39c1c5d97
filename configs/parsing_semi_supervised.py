"""The paper's semi-supervised parser (§6.3, Table 4): the Wall Street Journal and about 17 million parsed sentences.

    wmt-transformer train parsing_semi_supervised --workdir runs/parsing_semi_supervised --data.path TREES
    wmt-transformer evaluate --workdir runs/parsing_semi_supervised --split test

TREES holds the sections 02 to 23 of LDC99T42's parsed/mrg/wsj and, a tree a line, the two corpora of Vinyals et al.
2014 that the paper names and that are not public: high_confidence.trees.gz and berkeley_parser.trees.gz. Any text that
a parser has parsed serves: --data.train-files, and --data.train-weights for how often an epoch has the treebank and
each file.

Time: not yet run.
Score on section 23: not yet run (the paper: 92.7 F1).
"""

import dataclasses

from wmt_transformer import experiment
from wmt_transformer.config import Config


def get_config() -> Config:
    """Returns `parsing_wsj` with 32,000 pieces, more trees and more steps, and with the base model's dropout."""
    supervised = experiment.load("parsing_wsj")
    return dataclasses.replace(
        supervised,
        model=dataclasses.replace(supervised.model, dropout=0.1, attention_dropout=0.1),
        data=dataclasses.replace(
            supervised.data,
            vocabulary_size=32_000,
            train_files=("high_confidence.trees.gz", "berkeley_parser.trees.gz"),
        ),
        train=dataclasses.replace(supervised.train, steps=300_000),
    )
