"""Table 3, row A1: one head as wide as the model; WMT14 English to German.

    wmt-transformer train table3_a1 --workdir runs/table3_a1

Time: not yet run.
Score on newstest2013, one checkpoint: not yet run (the paper: perplexity 5.29, 24.9 BLEU).
"""

from wmt_transformer.config import Config, ModelConfig


def get_config() -> Config:
    """Returns base (the defaults) but for one head as wide as the model."""
    return Config(model=ModelConfig(num_heads=1, d_k=512, d_v=512))
