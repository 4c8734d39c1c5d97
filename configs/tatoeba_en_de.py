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
        model=ModelConfig(num_layers=4, d_model=128, d_ff=512, num_heads=4, d_k=32, d_v=32, dropout=0.1),
        data=DataConfig(
            corpus="tatoeba",
            source="en",
            target="de",
            vocabulary_size=8000,
            max_length=64,
            source_tokens=4096,
            target_tokens=4096,
            num_shapes=6,
        ),
        train=TrainConfig(
            steps=10_000,
            learning_rate=2.0,
            warmup_steps=2000,
            evaluate_every=1000,
            checkpoint_every=500,
        ),
    )
