"""The mesh and its rule table: eight simulated devices against one, and how much of the state each one holds."""

import dataclasses
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
from wmt_transformer.train.sharding import arranged, make_mesh, shardings

pytestmark = pytest.mark.timeout(900)  # a dozen programs for eight devices are compiled first

MESHES = {
    "data 8": MeshConfig(data=8),
    "fsdp 8": MeshConfig(data=1, fsdp=8),
    "tensor 2, data 4": MeshConfig(data=4, tensor=2),
    "all three": MeshConfig(data=2, fsdp=2, tensor=2),
}


TESTED = {"post": [*MESHES], "pre": ["data 8", "all three"]}
"""By where the norms are. The first, which takes minutes, is among the slow tests."""


@pytest.fixture(scope="module", params=[pytest.param("post", marks=pytest.mark.slow), "pre"])
def eight_devices(request):
    flags = "--xla_force_host_platform_device_count=8"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("eight_devices.py")), request.param, *TESTED[request.param]],
        env={**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture
def on_mesh(eight_devices, mesh) -> dict:
    """What eight devices report of a mesh, or skips."""
    if mesh not in eight_devices:
        pytest.skip("is among the slow tests: `make test-all`")
    return eight_devices[mesh]


@pytest.mark.parametrize("mesh", MESHES)
def test_eight_devices_compute_what_one_device_computes(on_mesh):
    # Three updates with dropout on: its bits do not depend on how an array is split.
    assert on_mesh["loss"] == pytest.approx(1.0, abs=1e-5)
    assert on_mesh["difference"] < 2e-5
    assert on_mesh["skipped"]


@pytest.mark.parametrize("mesh", [*MESHES, "no mesh"])
def test_eight_devices_translate_as_one_device_does(eight_devices, on_mesh):
    alone, together = eight_devices["one device"]["translations"], on_mesh["translations"]
    assert len(alone) == len(together) == 11
    for one, other in zip(alone, together, strict=True):
        assert [ids for ids, _ in one] == [ids for ids, _ in other]
        assert [score for _, score in one] == pytest.approx([score for _, score in other], abs=1e-4)


@pytest.mark.parametrize(("mesh", "devices"), [("data 8", 8), ("fsdp 8", 8), ("tensor 2, data 4", 4), ("all three", 4)])
def test_decoding_splits_rows_over_all_devices_but_those_that_share_them(on_mesh, devices):
    assert on_mesh["rows over"] == devices


@pytest.mark.parametrize(("mesh", "parts"), [("data 8", 8), ("fsdp 8", 8), ("tensor 2, data 4", 2), ("all three", 4)])
def test_every_large_leaf_its_moments_and_its_running_mean_are_split(request, on_mesh, parts):
    shares = on_mesh["shares"]
    matrices = {name: share for name, share in shares.items() if name.endswith(("kernel", "table"))}
    # The parameters and Adam's two moments of each; in one of the two also their mean, and one is frozen.
    count = 1 + 2 * (4 + 2) + 2 * (8 + 2)
    assert len(matrices) == (2 * count + 2 * (count - 1) if "[pre-" in request.node.name else 3 * count)
    for name, (whole, mine) in matrices.items():
        assert whole == parts * mine, name


def test_an_axis_that_does_not_divide_an_array_leaves_it_whole():
    mesh = jax.sharding.AbstractMesh((1, 3, 2), ("data", "fsdp", "tensor"))
    tree = {"target_embedding": {"table": jax.ShapeDtypeStruct((24, 16), np.float32)}}
    assert shardings(tree, mesh)["target_embedding"]["table"].spec == P("tensor", None)


@pytest.mark.parametrize(
    ("name", "shape", "devices", "expected"),
    [
        ("target_embedding/table", (37000, 512), 8, P("data", None)),
        ("target_embedding/table", (37000, 512), 16, P(None, "data")),  # 16 does not divide 37,000
        ("encoder_0/self_attention/query/kernel", (512, 8, 64), 256, P("data", None, None)),
        ("encoder_0/self_attention/output/kernel", (8, 64, 512), 256, P(None, None, "data")),
        ("encoder_0/feed_forward/hidden/kernel", (512, 2048), 256, P(None, "data")),
        ("encoder_0/feed_forward/hidden/bias", (2048,), 256, P("tensor")),  # an axis of 1: whole
        ("target_embedding/table", (37000, 510), 256, P(None, None)),
    ],
)
def test_data_alone_divides_large_parameters_along_their_longest_axis_that_it_divides(name, shape, devices, expected):
    mesh = jax.sharding.AbstractMesh((devices, 1, 1), ("data", "fsdp", "tensor"))
    tree = jax.ShapeDtypeStruct(shape, np.float32)
    for part in reversed(name.split("/")):
        tree = {part: tree}
    (place,) = jax.tree.leaves(shardings(tree, mesh))
    assert P(*place.spec, *[None] * (len(shape) - len(place.spec))) == expected


def test_sizes_that_do_not_multiply_to_the_devices_are_refused_with_their_flags():
    for sizes, found in (({"data": 3}, "--mesh.data 3"), ({"fsdp": 2}, "--mesh.fsdp 2"), ({"tensor": -1}, "at most")):
        with pytest.raises(UserError, match=found):
            make_mesh(MeshConfig(**sizes))


@dataclasses.dataclass(frozen=True)
class FakeChip:
    """What a mesh asks of a TPU chip that is not there."""

    id: int
    device_kind: str
    coords: tuple[int, int, int]
    process_index: int
    slice_index: int = 0
    core_on_chip: int = 0
    platform: str = "tpu"


def fake_slices(kind: str, sides: tuple[int, int, int], slices: int = 1) -> list[FakeChip]:
    """Returns the chips of slices, in each of whose hosts there is a square of 2 x 2 chips."""
    width, height, depth = sides
    places = [(x, y, z) for z in range(depth) for y in range(height) for x in range(width)]
    squares = sorted({(z, y // 2, x // 2) for x, y, z in places})
    return [
        FakeChip(
            number * len(places) + index,
            kind,
            (x, y, z),
            number * len(squares) + squares.index((z, y // 2, x // 2)),
            number,
        )
        for number in range(slices)
        for index, (x, y, z) in enumerate(places)
    ]


TOPOLOGIES = {
    "v5e": ("TPU v5 lite", (4, 4, 1)),
    "v6e": ("TPU v6 lite", (4, 4, 1)),
    "v5p": ("TPU v5", (2, 2, 4)),
    "v4": ("TPU v4", (4, 4, 4)),
}


@pytest.mark.parametrize("slices", [1, 2, 4])
@pytest.mark.parametrize("family", TOPOLOGIES)
@pytest.mark.parametrize(
    "config",
    [MeshConfig(), MeshConfig(fsdp=8), MeshConfig(data=1, fsdp=-1), MeshConfig(tensor=2), MeshConfig(fsdp=2, tensor=4)],
    ids=lambda config: f"{config.data} {config.fsdp} {config.tensor}",
)
def test_every_family_of_slices_has_a_mesh_in_which_hosts_read_neighbouring_rows(family, slices, config):
    kind, sides = TOPOLOGIES[family]
    chips = fake_slices(kind, sides, slices)
    mesh = arranged(config, chips)
    assert sorted(chip.id for chip in mesh.flatten()) == list(range(len(chips)))
    rows = mesh.reshape(-1, mesh.shape[-1])
    for host in {chip.process_index for chip in chips}:
        mine = [index for index, row in enumerate(rows) if host in {chip.process_index for chip in row}]
        assert mine == list(range(mine[0], mine[-1] + 1))
    # What shares heads and vocabulary exchanges most: it never leaves a slice.
    assert all(len({chip.slice_index for chip in row}) == 1 for row in rows)


def test_any_number_of_slices_is_shared_by_some_axis():
    chips = fake_slices("TPU v5 lite", (4, 4, 1), slices=3)
    assert arranged(MeshConfig(fsdp=16), chips).shape == (3, 16, 1)
    across = arranged(MeshConfig(data=1, fsdp=48), chips)[0, :, 0]
    assert [chip.slice_index for chip in across] == [0] * 16 + [1] * 16 + [2] * 16
