"""The paper's base model on WMT14 English to French: base with another corpus and its vocabulary.

    wmt-transformer train wmt14_en_fr_base --workdir runs/wmt14_en_fr_base

Time: not yet run.
Score on newstest2014: not yet run (the paper: 38.1 tokenised BLEU, 5 checkpoints averaged).
"""

from wmt_transformer.config import Config, DataConfig


def get_config() -> Config:
    """Returns base with French as the target and a vocabulary of 32,000 pieces (§5.1)."""
    return Config(data=DataConfig(target="fr", vocabulary_size=32_000))
