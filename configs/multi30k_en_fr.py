"""Multi30k English to French: the model and the schedule of `multi30k_en_de`, another target language.

    wmt-transformer train multi30k_en_fr --workdir runs/multi30k_en_fr

Time: not yet run.
Score on test_2016_flickr: not yet run.
"""

import dataclasses

from wmt_transformer import config
from wmt_transformer.config import Config


def get_config() -> Config:
    """Returns `multi30k_en_de` with French as the target."""
    german = config.load("multi30k_en_de")
    return dataclasses.replace(german, data=dataclasses.replace(german.data, target="fr"))
