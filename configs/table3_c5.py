"""Table 3, row C5: twice the width, the feed-forward network as it was; WMT14 English to German.

    wmt-transformer train table3_c5 --workdir runs/table3_c5

Time: not yet run.
Score on newstest2013, one checkpoint: not yet run (the paper: perplexity 4.66, 26.0 BLEU).
"""

from wmt_transformer.config import Config, ModelConfig


def get_config() -> Config:
    """Returns base (the defaults) but for twice the width, the feed-forward network as it was."""
    return Config(model=ModelConfig(d_model=1024, d_k=128, d_v=128))
