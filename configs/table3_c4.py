"""Table 3, row C4: half the width, the feed-forward network as it was; WMT14 English to German.

    wmt-transformer train table3_c4 --workdir runs/table3_c4

Time: not yet run.
Score on newstest2013, one checkpoint: not yet run (the paper: perplexity 5.75, 24.5 BLEU).
"""

from wmt_transformer.config import Config, ModelConfig


def get_config() -> Config:
    """Returns base (the defaults) but for half the width, the feed-forward network as it was."""
    return Config(model=ModelConfig(d_model=256, d_k=32, d_v=32))
