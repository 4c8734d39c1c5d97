"""The model that a config names."""

from wmt_transformer.config import ModelConfig
from wmt_transformer.model.language_model import DecoderOnlyTransformer
from wmt_transformer.model.transformer import Transformer

Model = Transformer | DecoderOnlyTransformer


def build(config: ModelConfig) -> Model:
    """Returns the module; its parameters are drawn or loaded by the caller."""
    return Transformer(config) if config.architecture == "encoder_decoder" else DecoderOnlyTransformer(config)
