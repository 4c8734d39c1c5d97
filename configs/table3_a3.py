"""Table 3, row A3: 16 heads, half as wide; WMT14 English to German.

    wmt-transformer train table3_a3 --workdir runs/table3_a3

Time: not yet run.
Score on newstest2013, one checkpoint: not yet run (the paper: perplexity 4.91, 25.8 BLEU).
"""

from wmt_transformer.config import Config, ModelConfig


def get_config() -> Config:
    """Returns base (the defaults) but for 16 heads, half as wide."""
    return Config(model=ModelConfig(num_heads=16, d_k=32, d_v=32))
