"""Table 3, row D1: no dropout; WMT14 English to German.

    wmt-transformer train table3_d1 --workdir runs/table3_d1

Time: not yet run.
Score on newstest2013, one checkpoint: not yet run (the paper: perplexity 5.77, 24.6 BLEU).
"""

from wmt_transformer.config import Config, ModelConfig


def get_config() -> Config:
    """Returns base (the defaults) but for no dropout."""
    return Config(model=ModelConfig(dropout=0.0))
