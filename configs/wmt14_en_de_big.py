"""The paper's big model on WMT14 English to German, with the paper's settings throughout; Table 3's row "big" too.

    wmt-transformer train wmt14_en_de_big --workdir runs/wmt14_en_de_big

Time: the paper's run took 3.5 days on 8 P100 GPUs; ours is not yet run.
Score on newstest2014: not yet run (the paper: 28.4 tokenised BLEU, compounds split, 20 checkpoints averaged; on
newstest2013, one checkpoint: perplexity 4.33, 26.4 BLEU).
"""

from wmt_transformer.config import Config, ModelConfig, TrainConfig


def get_config() -> Config:
    """Returns base twice as wide, with three times the dropout and the steps, and 20 checkpoints to average (§6.1)."""
    return Config(
        model=ModelConfig(d_model=1024, d_ff=4096, num_heads=16, dropout=0.3),
        # The paper's step took 1.0 s and its checkpoints were 10 minutes apart (§5.2, §6.1).
        train=TrainConfig(steps=300_000, checkpoint_every=600, keep_checkpoints=20, average_last=20),
    )
