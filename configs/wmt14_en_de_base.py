"""The paper's base model on WMT14 English to German, with the paper's settings throughout.

    wmt-transformer train wmt14_en_de_base --workdir runs/wmt14_en_de_base

Time: the paper's run took 12 hours on 8 P100 GPUs; ours is not yet run.
Score on newstest2014: not yet run (the paper: 27.3 tokenised BLEU, compounds split, 5 checkpoints averaged).
"""

from wmt_transformer.config import Config


def get_config() -> Config:
    """Returns the defaults: every field of `Config` has the base model's value of the paper."""
    return Config(family="paper")
