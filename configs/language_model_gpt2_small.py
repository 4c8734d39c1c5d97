"""A language model of the size of GPT-2 small (Radford et al. 2019): 124,439,808 parameters, context 1,024.

    wmt-transformer train language_model_gpt2_small --workdir runs/gpt2_small --data.path FOLDER \
        --data.train_files part1.txt.gz part2.txt.gz --data.dev_files dev.txt.gz

Text is yours: any UTF-8 files, a document a paragraph. Where GPT-2 departs from the paper (pre-norm, GELU, learned
positions, biases in attention, no label smoothing) so does this; the schedule is the paper's. Batches are its half a
million tokens, in micro-batches.

Time: not yet run.
Score: not yet run.
"""

from wmt_transformer.config import Config, DataConfig, ModelConfig, TrainConfig


def get_config() -> Config:
    return Config(
        family="small",
        model=ModelConfig(
            architecture="decoder_only",
            num_layers=12,
            d_model=768,
            d_ff=3072,
            num_heads=12,
            activation="gelu",
            positions="learned",
            max_positions=1024,
            norm_position="pre",
            norm_epsilon=1e-5,
            attention_bias=True,
        ),
        data=DataConfig(
            corpus="text",
            documents="paragraph",
            context=1024,
            vocabulary_size=50257,
            target_tokens=524_288,
        ),
        train=TrainConfig(steps=100_000, learning_rate=0.7, label_smoothing=0.0, accumulation=8),
    )
