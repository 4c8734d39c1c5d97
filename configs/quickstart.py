"""A first look: English to German on the built-in phrasebook, a synthetic corpus that needs no download.

    wmt-transformer quickstart            (prepare, train, average, translate and score, in one go)

Time: 90 s on 2 CPU cores (AMD EPYC, Zen 5), 6 s of them compilation.
Score: 97.7 sacreBLEU on 1,000 held-out sentences.
"""

from wmt_transformer.config import Config, DataConfig, DecodeConfig, ModelConfig, TrainConfig


def get_config() -> Config:
    """Returns a two-layer model with small batches: many updates make five minutes on a CPU enough."""
    return Config(
        family="small",
        # No dropout: no sentence is seen twice, so there is nothing to learn by heart.
        model=ModelConfig(num_layers=2, d_model=128, d_ff=256, num_heads=4, d_k=32, d_v=32, dropout=0.0),
        data=DataConfig(
            corpus="phrasebook",
            source="en",
            target="de",
            train_pairs=130_000,
            vocabulary_size=2000,
            max_length=40,
            source_tokens=1024,
            target_tokens=1024,
            num_shapes=2,
        ),
        train=TrainConfig(
            steps=1800,
            warmup_steps=400,
            log_every=50,
            evaluate_every=450,
            evaluate_pairs=200,
            checkpoint_every=100,
            average_last=5,
        ),
        decode=DecodeConfig(extra_length=20),
    )
