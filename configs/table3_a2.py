"""Table 3, row A2: 4 heads, twice as wide; WMT14 English to German.

    wmt-transformer train table3_a2 --workdir runs/table3_a2

Time: not yet run.
Score on newstest2013, one checkpoint: not yet run (the paper: perplexity 5.00, 25.5 BLEU).
"""

from wmt_transformer.config import Config, ModelConfig


def get_config() -> Config:
    """Returns base (the defaults) but for 4 heads, twice as wide."""
    return Config(model=ModelConfig(num_heads=4, d_k=128, d_v=128))
