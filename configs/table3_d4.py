"""Table 3, row D4: twice the label smoothing; WMT14 English to German.

    wmt-transformer train table3_d4 --workdir runs/table3_d4

Time: not yet run.
Score on newstest2013, one checkpoint: not yet run (the paper: perplexity 5.47, 25.7 BLEU).
"""

from wmt_transformer.config import Config, TrainConfig


def get_config() -> Config:
    """Returns base (the defaults) but for twice the label smoothing."""
    return Config(train=TrainConfig(label_smoothing=0.2))
