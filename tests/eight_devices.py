"""Trains and translates a tiny model on one device and on meshes of eight; prints what differs as JSON.

`test_sharding.py` runs it in a process with eight simulated devices: python eight_devices.py post|pre MESH …
"""

import contextlib
import json
import sys

import fakes
import jax
import jax.numpy as jnp
import numpy as np
import test_sharding
import test_step
from jax.sharding import Mesh

from wmt_transformer.config import DecodeConfig, MeshConfig, TrainConfig
from wmt_transformer.decode import batched, shapes
from wmt_transformer.decode.lines import Part
from wmt_transformer.train import optimizer, sharding, state, step

# With the TPU's kernels in one of the two: they have to be told how they are split.
attention = {"post": "explicit", "pre": "fused"}[sys.argv[1]]
model, _ = fakes.tiny_model(norm_position=sys.argv[1], vocabulary_size=24, d_model=16, d_ff=32, attention=attention)
# One of the two also clips, decays, accumulates, freezes, and keeps a running mean, which is split as parameters are.
FROZEN = "encoder/0/feed_forward/hidden/kernel"
ALL = {"clip_norm": 1.0, "weight_decay": 0.1, "ema_decay": 0.9, "accumulation": 2, "freeze": (FROZEN,)}
more = {"post": {}, "pre": ALL}[sys.argv[1]]
settings = TrainConfig(warmup_steps=4, **more)
BATCH = jax.tree.map(lambda side: np.concatenate([side, side[::-1]]), test_step.BATCH)  # 2 rows a device
update = optimizer.optimizer(settings, 16)


def train(mesh: Mesh) -> tuple[state.TrainState, float, bool]:
    """Returns the state behind three updates with dropout, the loss of the last, and whether one more, whose gradient
    is not finite, leaves all as it is."""
    with jax.set_mesh(mesh):
        now = state.initial_state(model, update, mesh, 1, settings.ema_decay > 0)
        run = step.make_train_step(model, update, settings, mesh)
        batch = sharding.place_batch(BATCH, mesh)
        for _ in range(2):
            now, _ = run(now, batch)
        now, measured = run(now, batch)
        spoilt = state.with_embeddings(jax.tree.map(jnp.copy, now), np.array([5]), np.full((1, 16), np.inf))
        kept = jax.tree.map(np.asarray, (spoilt.params, spoilt.optimizer, spoilt.ema))
        after, _ = run(spoilt, batch)
        same = jax.tree.map(np.array_equal, kept, (after.params, after.optimizer, after.ema))
    return now, float(measured.sums.loss), int(after.skipped) == 1 and all(jax.tree.leaves(same))


def translations(params, mesh: Mesh | None) -> list:
    """Returns ids and score of every hypothesis of 11 sources."""
    lengths = [9, 2, 5, 5, 7, 1, 9, 3, 4, 8, 6]
    sources = [[*map(int, row[:length]), 3] for row, length in zip(fakes.random_tokens(2, 11, 9), lengths, strict=True)]
    parts = [Part(line, 0, "", source, [], 0) for line, source in enumerate(sources)]
    with contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh):
        found = batched.decode(
            (model.config,),
            (params,),
            parts,
            batched.Request(DecodeConfig(beam_size=4, extra_length=4), count=4, positions=99),
        )
    return [[(one.ids, one.score) for one in row] for row in found]


def shards_of_rows(mesh: Mesh) -> int:
    """Returns over how many devices decoding splits the rows of a batch."""
    with jax.set_mesh(mesh):
        return shapes.rows_over_devices()[1]


def sharper(params):
    """Returns the parameters with a larger table: hypotheses of nearly equal scores may change places."""
    return {**params, "target_embedding": {"table": params["target_embedding"]["table"] * 30}}


def main() -> None:
    single = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    one, loss, _ = train(single)
    report: dict = {
        "one device": {"translations": translations(sharper(one.params), single)},
        "no mesh": {"translations": translations(jax.tree.map(np.asarray, sharper(one.params)), None)},
    }
    for name in sys.argv[2:]:
        config = test_sharding.MESHES[name]
        mesh = sharding.make_mesh(config)
        now, other, skipped = train(mesh)
        both = zip(jax.tree.leaves(now.params), jax.tree.leaves(one.params), strict=True)
        leaves = jax.tree_util.tree_leaves_with_path((now.params, now.optimizer, now.ema))
        moved = jax.tree.map(lambda leaf, like: jax.device_put(leaf, like.sharding), sharper(one.params), now.params)
        report[name] = {
            "loss": other / loss,
            "skipped": skipped,
            "difference": max(float(abs(np.asarray(a) - np.asarray(b)).max()) for a, b in both),
            "shares": {
                jax.tree_util.keystr(path, simple=True, separator="/"): [
                    leaf.size,
                    leaf.addressable_shards[0].data.size,
                ]
                for path, leaf in leaves
            },
            "translations": translations(sharding.whole(moved, mesh), mesh),
            "rows over": shards_of_rows(mesh),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
