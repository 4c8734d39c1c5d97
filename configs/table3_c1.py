"""Table 3, row C1: 2 layers; WMT14 English to German.

    wmt-transformer train table3_c1 --workdir runs/table3_c1

Time: not yet run.
Score on newstest2013, one checkpoint: not yet run (the paper: perplexity 6.11, 23.7 BLEU).
"""

from wmt_transformer.config import Config, ModelConfig


def get_config() -> Config:
    """Returns base (the defaults) but for 2 layers."""
    return Config(model=ModelConfig(num_layers=2))
