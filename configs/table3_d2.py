"""Table 3, row D2: twice the dropout; WMT14 English to German.

    wmt-transformer train table3_d2 --workdir runs/table3_d2

Time: not yet run.
Score on newstest2013, one checkpoint: not yet run (the paper: perplexity 4.95, 25.5 BLEU).
"""

from wmt_transformer.config import Config, ModelConfig


def get_config() -> Config:
    """Returns base (the defaults) but for twice the dropout."""
    return Config(model=ModelConfig(dropout=0.2))
