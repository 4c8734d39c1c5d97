"""Parsing with the free sample of the Penn Treebank: 3,200 trees, to see everything run; too few for a good parser.

    python -m nltk.downloader treebank
    wmt-transformer train parsing_sample --workdir runs/parsing_sample --data.path ~/nltk_data/corpora/treebank

The last 518 trees (wsj_0160 to 0199) are the test set, the 200 before them dev.

Time: not yet run.
Score on the test set: not yet run.
"""

import dataclasses

from wmt_transformer import experiment
from wmt_transformer.config import Config


def get_config() -> Config:
    """Returns `parsing_craft` with fewer pieces, more dropout and fewer steps."""
    craft = experiment.load("parsing_craft")
    return dataclasses.replace(
        craft,
        model=dataclasses.replace(craft.model, dropout=0.3),
        data=dataclasses.replace(craft.data, corpus="penn_sample", vocabulary_size=3000),
        train=dataclasses.replace(craft.train, steps=4000),
    )
