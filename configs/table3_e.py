"""Table 3, row E: learned positions in the sinusoids' place; WMT14 English to German.

    wmt-transformer train table3_e --workdir runs/table3_e

Time: not yet run.
Score on newstest2013, one checkpoint: not yet run (the paper: perplexity 4.92, 25.7 BLEU).
"""

from wmt_transformer.config import Config, ModelConfig


def get_config() -> Config:
    """Returns base (the defaults) but for learned positions."""
    return Config(model=ModelConfig(positions="learned"))
