"""Table 3, row C6: a feed-forward network of half the width; WMT14 English to German.

    wmt-transformer train table3_c6 --workdir runs/table3_c6

Time: not yet run.
Score on newstest2013, one checkpoint: not yet run (the paper: perplexity 5.12, 25.4 BLEU).
"""

from wmt_transformer.config import Config, ModelConfig


def get_config() -> Config:
    """Returns base (the defaults) but for a feed-forward network of half the width."""
    return Config(model=ModelConfig(d_ff=1024))
