"""An untrained translator on a small vocabulary, which several files of tests decode with."""

import dataclasses
import functools
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wmt_transformer.config import Config, DataConfig, DecodeConfig, ModelConfig
from wmt_transformer.data import vocabulary as vocabularies
from wmt_transformer.data.vocabulary import Vocabulary
from wmt_transformer.decode.generate import Translator
from wmt_transformer.model.transformer import Transformer
from wmt_transformer.special_tokens import EOS

WORDS = ["ein", "Mann", "eine", "Frau", "sehen", "den", "kleinen", "Hund", "im", "Garten", "hinter", "am", "See"]
MODEL = ModelConfig(
    vocabulary_size=330,
    num_layers=1,
    d_model=32,
    d_ff=48,
    num_heads=2,
    d_k=16,
    d_v=16,
    tied_embeddings="none",  # tied and untrained, a model repeats its input for ever
    compute_dtype="float32",
)
CONFIG = Config(model=MODEL, data=DataConfig(max_length=40), decode=DecodeConfig(extra_length=9, batch_tokens=512))
LARGER = dataclasses.replace(MODEL, num_layers=2, d_model=24, d_ff=32, num_heads=3, d_k=8, d_v=8)
"""A model of another size for the same vocabulary."""


def sentence(seed: int, words: int) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, words))


@functools.cache
def toy_vocabulary() -> Vocabulary:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocabulary.model"
        return vocabularies.train((sentence(i, 8) for i in range(200)), path, size=MODEL.vocabulary_size)


@functools.cache
def toy_params(model: ModelConfig = MODEL, seed: int = 0) -> Any:
    some = jnp.ones((1, 2), jnp.int32)
    params: Any = Transformer(model).init(jax.random.key(seed), some, some)["params"]
    table = params["output_table"] * 3  # surer of its words than untrained models are, so that nothing ties
    return params | {"output_table": table.at[EOS].multiply(3)}  # and of the end, so that some sentences end


def toy_translator(model: ModelConfig = MODEL, seed: int = 0) -> Translator:
    return Translator(dataclasses.replace(CONFIG, model=model), toy_params(model, seed), toy_vocabulary())


def forward(model: ModelConfig, params: Any, source: list[int], target: list[int]) -> np.ndarray:
    """Returns the log-probabilities `[target, vocabulary]` of a target, in float64 NumPy from the model's logits."""
    logits: Any = Transformer(model).apply({"params": params}, jnp.asarray([source]), jnp.asarray([target]))
    logits = np.asarray(logits[0], np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
