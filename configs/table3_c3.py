"""Table 3, row C3: 8 layers; WMT14 English to German.

    wmt-transformer train table3_c3 --workdir runs/table3_c3

Time: not yet run.
Score on newstest2013, one checkpoint: not yet run (the paper: perplexity 4.88, 25.5 BLEU).
"""

from wmt_transformer.config import Config, ModelConfig


def get_config() -> Config:
    """Returns base (the defaults) but for 8 layers."""
    return Config(model=ModelConfig(num_layers=8))
