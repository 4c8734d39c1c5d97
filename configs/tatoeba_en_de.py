"""Tatoeba English to German: 160,000 short everyday sentences (6.5 words on average).

    wmt-transformer train tatoeba_en_de --workdir runs/tatoeba_en_de

Time: not yet run.
Score on the test split: not yet run.
"""

from wmt_transformer.config import Config, DataConfig, ModelConfig, TrainConfig


def get_config() -> Config:
    """Returns a small model: short sentences make cheap steps; five times the pairs of Multi30k."""
    return Config(
        family="small",
        model=ModelConfig(
            num_layers=3, d_model=128, d_ff=512, num_heads=4, d_k=32, d_v=32, dropout=0.1, norm_position="pre"
        ),
        data=DataConfig(
            corpus="tatoeba",
            source="en",
            target="de",
            vocabulary_size=6000,
            max_length=64,
            source_tokens=2048,
            target_tokens=2048,
            num_shapes=5,
        ),
        train=TrainConfig(
            steps=10_000,
            warmup_steps=1000,
            evaluate_every=1000,
            evaluate_pairs=500,
            checkpoint_every=250,
            average_last=5,
        ),
    )
