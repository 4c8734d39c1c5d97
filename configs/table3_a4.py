"""Table 3, row A4: 32 heads, a quarter as wide; WMT14 English to German.

    wmt-transformer train table3_a4 --workdir runs/table3_a4

Time: not yet run.
Score on newstest2013, one checkpoint: not yet run (the paper: perplexity 5.01, 25.4 BLEU).
"""

from wmt_transformer.config import Config, ModelConfig


def get_config() -> Config:
    """Returns base (the defaults) but for 32 heads, a quarter as wide."""
    return Config(model=ModelConfig(num_heads=32, d_k=16, d_v=16))
