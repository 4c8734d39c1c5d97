"""The mesh and its rule table: eight simulated devices against one, and how much of the state each one holds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from wmt_transformer.config import MeshConfig, UserError
from wmt_transformer.train.sharding import make_mesh, shardings

MESHES = {
    "data 8": MeshConfig(data=8),
    "fsdp 8": MeshConfig(data=1, fsdp=8),
    "tensor 2, data 4": MeshConfig(data=4, tensor=2),
    "all three": MeshConfig(data=2, fsdp=2, tensor=2),
}

EIGHT_DEVICES = """
import json, sys
import fakes, jax, numpy as np, test_sharding, test_step
from wmt_transformer.config import MeshConfig, TrainConfig
from wmt_transformer.train import optimizer, sharding, state, step

model, _ = fakes.tiny_model(norm_position=sys.argv[1], vocabulary_size=24, d_model=16, d_ff=32)
settings = TrainConfig(warmup_steps=4)
update = optimizer.optimizer(settings, 16)

def train(mesh):
    with jax.set_mesh(mesh):
        now = state.initial_state(model, update, mesh, 1)
        run = step.make_train_step(model, update, settings, mesh)
        for _ in range(3):
            now, measured = run(now, sharding.place_batch(test_step.BATCH, mesh))
    return now, float(measured.sums.loss)

one, loss = train(sharding.make_mesh(MeshConfig(), jax.devices()[:1]))
report = {}
for name, config in test_sharding.MESHES.items():
    now, other = train(sharding.make_mesh(config))
    difference = max(float(abs(np.asarray(a) - np.asarray(b)).max()) for a, b in
                     zip(jax.tree.leaves(now.params), jax.tree.leaves(one.params), strict=True))
    shares = {jax.tree_util.keystr(path, simple=True, separator="/"):
              [leaf.size, leaf.addressable_shards[0].data.size] for path, leaf in
              jax.tree_util.tree_leaves_with_path((now.params, now.optimizer))}
    report[name] = {"loss": other / loss, "difference": difference, "shares": shares}
print(json.dumps(report))
"""


@pytest.fixture(scope="module", params=["post", "pre"])
def eight_devices(request):
    flags = "--xla_force_host_platform_device_count=8"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    run = subprocess.run(
        [sys.executable, "-c", EIGHT_DEVICES, request.param],
        env={**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("mesh", MESHES)
def test_eight_devices_compute_what_one_device_computes(eight_devices, mesh):
    # Three updates with dropout on: its bits do not depend on how an array is split.
    assert eight_devices[mesh]["loss"] == pytest.approx(1.0, abs=1e-5)
    assert eight_devices[mesh]["difference"] < 2e-5


@pytest.mark.parametrize(("mesh", "parts"), [("data 8", 1), ("fsdp 8", 8), ("tensor 2, data 4", 2), ("all three", 4)])
def test_every_large_leaf_and_its_moments_are_split(eight_devices, mesh, parts):
    shares = eight_devices[mesh]["shares"]
    matrices = {name: share for name, share in shares.items() if name.endswith(("kernel", "table"))}
    assert len(matrices) == 3 * (1 + 2 * (4 + 2) + 2 * (8 + 2))  # the parameters, and Adam's two moments of each
    for name, (whole, mine) in matrices.items():
        assert whole == parts * mine, name


def test_an_axis_that_does_not_divide_an_array_leaves_it_whole():
    mesh = jax.sharding.AbstractMesh((1, 3, 2), ("data", "fsdp", "tensor"))
    tree = {"target_embedding": {"table": jax.ShapeDtypeStruct((24, 16), np.float32)}}
    assert shardings(tree, mesh)["target_embedding"]["table"].spec == P("tensor", None)


def test_sizes_that_do_not_multiply_to_the_devices_are_refused_with_their_flags():
    for sizes, found in (({"data": 3}, "--mesh.data 3"), ({"fsdp": 2}, "--mesh.fsdp 2"), ({"tensor": -1}, "at most")):
        with pytest.raises(UserError, match=found):
            make_mesh(MeshConfig(**sizes))
