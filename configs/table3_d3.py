"""Table 3, row D3: no label smoothing; WMT14 English to German.

    wmt-transformer train table3_d3 --workdir runs/table3_d3

Time: not yet run.
Score on newstest2013, one checkpoint: not yet run (the paper: perplexity 4.67, 25.3 BLEU).
"""

from wmt_transformer.config import Config, TrainConfig


def get_config() -> Config:
    """Returns base (the defaults) but for no label smoothing."""
    return Config(train=TrainConfig(label_smoothing=0.0))
