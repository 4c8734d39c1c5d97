"""Table 3, row C2: 4 layers; WMT14 English to German.

    wmt-transformer train table3_c2 --workdir runs/table3_c2

Time: not yet run.
Score on newstest2013, one checkpoint: not yet run (the paper: perplexity 5.19, 25.3 BLEU).
"""

from wmt_transformer.config import Config, ModelConfig


def get_config() -> Config:
    """Returns base (the defaults) but for 4 layers."""
    return Config(model=ModelConfig(num_layers=4))
