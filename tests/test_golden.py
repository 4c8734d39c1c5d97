"""A frozen tiny checkpoint: what it translates, and the losses of its next 20 updates, against the numbers of the day.

Weights and text are NumPy's, from fixed seeds, so nothing here depends on how parameters are drawn. All is float32 on a
CPU. A change that is meant to change numbers changes them here; the tolerances leave room for another order of sums,
as other CPUs and versions of XLA have. The numbers are printed by `python -m tests.test_golden`, with the environment
variable JAX_DISABLE_MOST_OPTIMIZATIONS=true, as tests compile: so jax 0.10 and 0.12 gave the same to 1e-5, while LLVM's
optimisations order sums otherwise and make 6e-4 of it in 20 updates.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wmt_transformer.config import DecodeConfig, MeshConfig, ModelConfig, TrainConfig
from wmt_transformer.data.batches import Batch
from wmt_transformer.decode import batched
from wmt_transformer.decode.lines import Part
from wmt_transformer.model.build import build
from wmt_transformer.special_tokens import EOS
from wmt_transformer.train.optimizer import optimizer
from wmt_transformer.train.sharding import make_mesh, place_batch
from wmt_transformer.train.state import abstract_state, initial_state
from wmt_transformer.train.step import make_train_step

MODEL = ModelConfig(
    vocabulary_size=40,
    num_layers=2,
    d_model=16,
    d_ff=32,
    num_heads=2,
    d_k=8,
    d_v=8,
    tied_embeddings="none",  # tied and untrained, a model repeats one word for ever
    compute_dtype="float32",
)
TRAIN = TrainConfig(warmup_steps=10, label_smoothing=0.1, seed=1)
STEPS = 20
SCORE_TOLERANCE = 1e-4
"""Of a hypothesis' score, which sums up to 17 log-probabilities."""
LOSS_TOLERANCE = 2e-4
"""Of a loss: differences of 1e-7 grow over the updates."""

GREEDY: list[tuple[list[int], float]] = [
    ([2], -0.91955),
    ([23, 23, 23, 23, 23, 23, 23, 23, 23, 23], -6.70398),
    ([16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16], -9.19390),
    ([26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26], -15.08557),
    ([31, 2], -2.86425),
    ([2], -0.90609),
    ([2], -1.33473),
    ([14, 14, 2], -5.33100),
]
BEAM: list[tuple[list[int], float]] = [
    ([2], -0.91955),
    ([23, 23, 23, 23, 23, 23, 23, 23, 23, 23], -6.70398),
    ([16, 2], -3.96634),
    ([26, 19, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26], -14.38673),
    ([2], -2.12357),
    ([2], -0.90609),
    ([2], -1.33473),
    ([2], -2.50068),
]
LOSSES = [
    4.40235,
    3.54865,
    4.26298,
    4.13095,
    4.08548,
    3.67129,
    3.62644,
    3.64016,
    3.60108,
    3.64822,
    3.7614,
    3.65438,
    3.50187,
    3.56295,
    3.42619,
    3.46703,
    3.54895,
    3.5071,
    3.53208,
    3.42243,
]


@functools.cache
def frozen_params() -> Any:
    """Returns the checkpoint: norms are the identity, every other array normal, as wide as its rows are short."""
    shapes: Any = jax.eval_shape(
        lambda: build(MODEL).init(jax.random.key(0), *[jnp.ones((1, 2), jnp.int32)] * 2)["params"]
    )
    random = np.random.default_rng(17)
    leaves, tree = jax.tree_util.tree_flatten_with_path(shapes)

    def drawn(path: Any, shape: tuple[int, ...]) -> np.ndarray:
        name = path[-1].key
        if name in ("scale", "bias"):
            return np.full(shape, float(name == "scale"), np.float32)
        return (random.standard_normal(shape) * (1.5 / np.sqrt(MODEL.d_model))).astype(np.float32)

    return jax.tree_util.tree_unflatten(tree, [drawn(path, leaf.shape) for path, leaf in leaves])


def sentences(seed: int, count: int, longest: int) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [
        [*random.integers(4, MODEL.vocabulary_size, random.integers(1, longest)).tolist(), EOS] for _ in range(count)
    ]


def translations(beam_size: int) -> list[tuple[list[int], float]]:
    """Returns ids and score of the best translation of eight sources."""
    parts = [Part(line, 0, "", source, [], 0) for line, source in enumerate(sentences(3, 8, 9), 1)]
    request = batched.Request(DecodeConfig(beam_size=beam_size, alpha=0.6, extra_length=8))
    params: Any = jax.tree.map(jnp.asarray, frozen_params())
    return [(best.ids, best.score) for (best,) in batched.decode((MODEL,), (params,), parts, request)]


def losses() -> list[float]:
    """Returns the smoothed loss per token of each of the updates, which learn to copy."""
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    model, update = build(MODEL), optimizer(TRAIN, MODEL.d_model)
    found = []
    with jax.set_mesh(mesh):
        places = jax.tree.map(lambda leaf: leaf.sharding, abstract_state(model, update, mesh).params)
        state = initial_state(model, update, mesh, TRAIN.seed)._replace(params=jax.device_put(frozen_params(), places))
        step = make_train_step(model, update, TRAIN, mesh)
        for number in range(STEPS):
            rows = sentences(100 + number, 8, 8)
            side = np.zeros((8, 8), np.int32)
            for row, ids in zip(side, rows, strict=True):
                row[: len(ids)] = ids
            state, measured = step(state, place_batch(Batch(side, side.copy()), mesh))
            found.append(float(measured.sums.loss / measured.sums.tokens))
    return found


def assert_translations(beam_size: int, expected: list[tuple[list[int], float]]) -> None:
    found = translations(beam_size)
    assert [ids for ids, _ in found] == [ids for ids, _ in expected]
    np.testing.assert_allclose([score for _, score in found], [score for _, score in expected], atol=SCORE_TOLERANCE)


def test_the_frozen_checkpoint_translates_as_before_greedily():
    assert_translations(1, GREEDY)


def test_the_frozen_checkpoint_translates_as_before_with_a_beam():
    assert_translations(4, BEAM)


def test_twenty_updates_of_the_frozen_checkpoint_have_the_losses_of_before():
    found = losses()
    np.testing.assert_allclose(found, LOSSES, atol=LOSS_TOLERANCE)
    assert np.mean(found[-5:]) < np.mean(found[:5])  # it learns something


if __name__ == "__main__":
    for name, rows in (("GREEDY", translations(1)), ("BEAM", translations(4))):
        print(f"{name}: list[tuple[list[int], float]] = [")
        for ids, score in rows:
            print(f"    ({ids}, {score:.5f}),")
        print("]")
    print(f"LOSSES = {[round(loss, 5) for loss in losses()]}")
