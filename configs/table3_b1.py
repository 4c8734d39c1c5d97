"""Table 3, row B1: keys and queries of width 16, values as they were; WMT14 English to German.

    wmt-transformer train table3_b1 --workdir runs/table3_b1

Time: not yet run.
Score on newstest2013, one checkpoint: not yet run (the paper: perplexity 5.16, 25.1 BLEU).
"""

from wmt_transformer.config import Config, ModelConfig


def get_config() -> Config:
    """Returns base (the defaults) but for keys and queries of width 16, values as they were."""
    return Config(model=ModelConfig(d_k=16))
