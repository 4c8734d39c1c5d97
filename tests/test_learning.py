"""The whole of it learns: a small Transformer is trained to reverse its input until it gets every unseen line right."""

import jax.numpy as jnp
import numpy as np
import pytest

from wmt_transformer.config import Config, DecodeConfig, MeshConfig, ModelConfig, TrainConfig
from wmt_transformer.data.batches import Batch
from wmt_transformer.decode.generate import Translator
from wmt_transformer.model.transformer import Transformer
from wmt_transformer.train.optimizer import optimizer
from wmt_transformer.train.sharding import make_mesh, place_batch
from wmt_transformer.train.state import initial_state
from wmt_transformer.train.step import make_train_step

LETTERS = "abcdefghijkl"
FIRST = 4
"""The id of the first letter, behind PAD, BOS, EOS and UNKNOWN."""


class Letters:
    """A vocabulary of single letters."""

    def __len__(self) -> int:
        return FIRST + len(LETTERS)

    def encode(self, text: str) -> list[int]:
        return [FIRST + LETTERS.index(letter) for letter in text]

    def decode(self, ids: list[int]) -> str:
        ids = [int(i) for i in ids]
        return "".join(LETTERS[i - FIRST] for i in ids[: ids.index(2) if 2 in ids else None] if i >= FIRST)


def lines(random: np.random.Generator, count: int) -> list[str]:
    return ["".join(random.choice(list(LETTERS), random.integers(3, 9))) for _ in range(count)]


def batch_of(texts: list[str]) -> Batch:
    sides = [np.zeros((len(texts), 9), np.int32) for _ in range(2)]
    for row, text in enumerate(texts):
        for side, letters in zip(sides, (text, text[::-1]), strict=True):
            side[row, : len(text) + 1] = [*Letters().encode(letters), 2]
    return Batch(*sides)


@pytest.mark.slow
@pytest.mark.parametrize("norm_position", ["post", "pre"])
def test_it_learns_to_reverse_every_unseen_line(norm_position):
    config = Config(
        model=ModelConfig(
            vocabulary_size=len(Letters()), num_layers=2, d_model=64, d_ff=128, num_heads=4, d_k=16, d_v=16,
            dropout=0.0, norm_position=norm_position,
        ),
        train=TrainConfig(warmup_steps=200, label_smoothing=0.1),
        decode=DecodeConfig(extra_length=5),
    )  # fmt: skip
    random = np.random.default_rng(0)
    unseen = sorted(set(lines(random, 200)))
    mesh, model, update = make_mesh(MeshConfig()), Transformer(config.model), optimizer(config.train, 64)
    state, step = initial_state(model, update, mesh, 0), make_train_step(model, update, config.train, mesh)
    wrong = unseen
    for _ in range(20):
        for _ in range(200):
            texts = [text for text in lines(random, 80) if text not in unseen][:64]
            state, _ = step(state, place_batch(batch_of(texts), mesh))
        translator = Translator(config, state.params, Letters())  # type: ignore[arg-type]
        for beam_size in (1, 4):
            found = translator.translate(unseen, beam_size=beam_size)
            wrong = [(text, got) for text, got in zip(unseen, found, strict=True) if got != text[::-1]]
        if not wrong:
            break
    assert not wrong, f"{len(wrong)} of {len(unseen)} wrong after {int(jnp.asarray(state.step))} steps: {wrong[:3]}"
