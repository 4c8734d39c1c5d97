"""The paper's parser trained on the Wall Street Journal only (§6.3, Table 4): about 40,000 trees of the Penn Treebank.

    wmt-transformer train parsing_wsj --workdir runs/parsing_wsj --data.path LDC99T42/parsed/mrg/wsj
    wmt-transformer evaluate --workdir runs/parsing_wsj --split test

The treebank is the Linguistic Data Consortium's LDC99T42; sections 2-21 train, 22 is dev, 23 is test.

Time: not yet run.
Score on section 23: not yet run (the paper: 91.3 F1).
"""

from wmt_transformer.config import Config, DataConfig, DecodeConfig, ModelConfig, TrainConfig


def get_config() -> Config:
    """Returns 4 layers of d_model 1024, 16,000 pieces, beam 21, alpha 0.3 and the source's length + 300.

    Everything else is as in the base model. The paper tuned dropout (attention's too) and the learning rate on section
    22 and does not give them, nor the number of steps: dropout is tensor2tensor's, the rate the base model's.
    """
    return Config(
        model=ModelConfig(num_layers=4, d_model=1024, d_k=128, d_v=128, dropout=0.2, attention_dropout=0.2),
        data=DataConfig(
            corpus="penn_treebank", target="tree", vocabulary_size=16_000, max_length=512, deduplicate=False
        ),
        train=TrainConfig(steps=50_000),
        decode=DecodeConfig(beam_size=21, alpha=0.3, extra_length=300),
    )
