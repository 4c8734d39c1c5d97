"""IWSLT'14 German to English, the small benchmark of the literature, with fairseq's `transformer_iwslt_de_en`.

    wmt-transformer train iwslt14_de_en --workdir runs/iwslt14_de_en

Time: not yet run.
Score on the test set (6,750 sentences): not yet run. Published by fairseq's authors for these settings, in tokenised,
lower-cased BLEU: 34.4; with dynamic convolutions in place of self-attention 35.2 (Wu et al. 2019, arXiv 1901.10430).
"""

from wmt_transformer.config import Config, DataConfig, DecodeConfig, ModelConfig, TrainConfig


def get_config() -> Config:
    """Returns the size and the settings of fairseq's example. What differs from it: one vocabulary for both languages
    (fairseq cuts both by the same 10,000 merges, and numbers the pieces of each), and biases and layer norms do not
    decay."""
    return Config(
        family="small",
        model=ModelConfig(
            d_ff=1024,
            num_heads=4,
            d_k=128,
            d_v=128,
            dropout=0.3,
            sinusoid_layout="concatenated",
            norm_epsilon=1e-5,
            attention_bias=True,
            tied_embeddings="target",
        ),
        data=DataConfig(
            corpus="iwslt14",
            source="de",
            target="en",
            vocabulary_size=10_000,
            deduplicate=False,
            source_tokens=4096,
            target_tokens=4096,
        ),
        train=TrainConfig(
            steps=50_000,
            learning_rate=5e-4 * (512 * 4000) ** 0.5,  # 5e-4 at the end of warm-up
            adam_epsilon=1e-8,
            weight_decay=1e-4,
            keep_checkpoints=10,
            average_last=10,
        ),
        decode=DecodeConfig(beam_size=5, alpha=1.0),
    )
