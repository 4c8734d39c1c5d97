"""A language model of tiny Shakespeare: 1.1 MB of the plays (public domain), from github.com/karpathy/char-rnn.

    wmt-transformer train language_model_shakespeare --workdir runs/shakespeare
    wmt-transformer average --workdir runs/shakespeare
    wmt-transformer evaluate --workdir runs/shakespeare --split dev --stride 128
    wmt-transformer generate --workdir runs/shakespeare --prompt "ROMEO:" --temperature 0.8 --top-p 0.95

Time: 22 minutes on one core (0.86 million parameters; Intel Xeon, float32).
Score on the last 10 % of the text, as in nanoGPT, mean of the last five checkpoints: 2.190 bits per byte (1.518 nats a
character) with --stride 128, 2.202 with windows side by side. After 2,000 steps these 512 pieces were at 2.403 and a
vocabulary of characters at 2.529: a piece is 1.8 bytes.
"""

from wmt_transformer.config import Config, DataConfig, ModelConfig, TrainConfig


def get_config() -> Config:
    return Config(
        family="small",
        model=ModelConfig(
            architecture="decoder_only",
            num_layers=4,
            d_model=128,
            d_ff=512,
            num_heads=4,
            d_k=32,
            d_v=32,
            norm_position="pre",
            dropout=0.1,
        ),
        data=DataConfig(
            corpus="shakespeare",
            documents="file",
            context=256,
            vocabulary_size=512,
            target_tokens=2048,
            batch_multiple=4,
        ),
        train=TrainConfig(
            steps=6000,
            learning_rate=0.7,
            warmup_steps=400,
            label_smoothing=0.0,
            evaluate_every=500,
            checkpoint_every=250,
            keep_checkpoints=8,
            average_last=5,
        ),
    )
