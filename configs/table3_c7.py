"""Table 3, row C7: a feed-forward network of twice the width; WMT14 English to German.

    wmt-transformer train table3_c7 --workdir runs/table3_c7

Time: not yet run.
Score on newstest2013, one checkpoint: not yet run (the paper: perplexity 4.75, 26.2 BLEU).
"""

from wmt_transformer.config import Config, ModelConfig


def get_config() -> Config:
    """Returns base (the defaults) but for a feed-forward network of twice the width."""
    return Config(model=ModelConfig(d_ff=4096))
