"""The device mesh, and where arrays live on it. One device is a mesh of one: there is no other path.

Three axes: `data` and `fsdp` split the rows of a batch, `fsdp` also every large parameter and its moments (ZeRO,
Rajbhandari et al. 2020), `tensor` splits heads, hidden units and vocabulary (Shoeybi et al. 2019). XLA derives every
transfer between devices from the table below.

Where `data` is the only axis, it divides large parameters and moments as well, and there the transfers are written out
(`on_parts`): XLA would not gather the parameters once and compute from whole ones. Each device then updates its part,
where else all would read and write all of Adam's 28 bytes a parameter.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from wmt_transformer.config import MeshConfig, UserError

AXES = ("data", "fsdp", "tensor")
ROWS = P(("data", "fsdp"))
"""How a batch `[rows, length]` is split."""

RULES: tuple[tuple[str, P], ...] = (
    # The end of a leaf's path                     how its axes are split
    (r"(embedding/table|output_table)$", P("tensor", "fsdp")),  # [vocabulary, d_model]
    (r"output_bias$", P("tensor")),  # [vocabulary]
    (r"_positions$", P(None, "fsdp")),  # [position, d_model]
    (r"attention/(query|key|value)/kernel$", P("fsdp", "tensor", None)),  # [d_model, heads, width]
    (r"attention/(query|key|value)/bias$", P("tensor", None)),  # [heads, width]
    (r"attention/output/kernel$", P("tensor", None, "fsdp")),  # [heads, width, d_model]
    (r"feed_forward/hidden/kernel$", P("fsdp", "tensor")),  # [d_model, d_ff]
    (r"feed_forward/hidden/bias$", P("tensor")),  # [d_ff]
    (r"feed_forward/output/kernel$", P("tensor", "fsdp")),  # [d_ff, d_model]
    (r"", P()),  # norms, biases of width d_model, counters: small, so every device holds them
)
"""The first rule that matches a leaf's path, in the parameters and in Adam's moments alike. An axis of the mesh that
does not divide an axis of the array leaves it whole. Where `data` is the only axis of the mesh, it divides what `fsdp`
would, along the longest axis of the array that it divides."""


def make_mesh(config: MeshConfig, devices: Any = None) -> Mesh:
    """Returns a mesh over all devices (or those given); raises UserError when the sizes do not multiply to them."""
    # Auto: Linen's modules do not name the sharding of what they compute, as Explicit axes would require.
    found = arranged(config, jax.devices() if devices is None else devices)
    return Mesh(found, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def arranged(config: MeshConfig, devices: Sequence[Any]) -> np.ndarray:
    """Returns the devices as they lie on the mesh, `[data, fsdp, tensor]`; see `make_mesh`."""
    count = len(devices)
    asked = {axis: getattr(config, axis) for axis in AXES}
    flags = " ".join(f"--mesh.{axis} {size}" for axis, size in asked.items())
    open_axes = [axis for axis, size in asked.items() if size == -1]
    if len(open_axes) > 1 or any(size < 1 and size != -1 for size in asked.values()):
        raise UserError(f"{flags}: sizes are 1 or more, and at most one is -1 (what is left over)")
    rest = count // int(np.prod([size for size in asked.values() if size != -1]))
    sizes = tuple(rest if size == -1 else size for size in asked.values())
    if int(np.prod(sizes)) != count:
        raise UserError(
            f"{flags} does not multiply to the {count} devices there are; --mesh.data -1 takes what is left"
        )
    return _hosts_together(_neighbours(sizes, devices))


def _neighbours(sizes: tuple[int, ...], devices: Sequence[Any]) -> np.ndarray:
    """Returns the devices in the shape of the mesh, neighbours on it near each other on their network.

    Between several slices the network is slow: of the axes the first ones cross it, `data` before all, which moves
    least. Axes of a slice's torus may be split (a row of 16 devices out of 4 x 4), which `jax.make_mesh` does on v5e
    only.
    """
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if devices[0].device_kind == "TPU v4" and any(device.core_on_chip for device in devices):
        return np.asarray(devices).reshape(sizes)  # ahead of time; real ones are one device a chip
    if slices == 1:
        return mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    across: list[int] = []  # multiplies to the number of slices: that divides the number of devices
    for size in sizes:
        across.append(math.gcd(size, slices // math.prod(across)))
    inside = [size // count for size, count in zip(sizes, across, strict=True)]
    return mesh_utils.create_hybrid_device_mesh(inside, across, devices, allow_split_physical_axes=True)


def _hosts_together(devices: np.ndarray) -> np.ndarray:
    """Returns the mesh `[data, fsdp, tensor]` with those rows of a batch next to each other that one host reads."""
    rows = devices.reshape(-1, devices.shape[-1])
    hosts = [sorted({device.process_index for device in row}) for row in rows]
    return rows[sorted(range(len(rows)), key=hosts.__getitem__)].reshape(devices.shape)


def row_shards(mesh: Mesh) -> int:
    """Returns the number of devices over which the rows of a batch are split."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def check_rows(batch_multiple: int, mesh: Mesh) -> None:
    """Raises UserError where batches whose rows are a multiple of this cannot be shared out evenly."""
    if batch_multiple % row_shards(mesh):
        raise UserError(
            f"--data.batch_multiple {batch_multiple} is not a multiple of the {row_shards(mesh)} devices that "
            "rows are split over (--mesh.data times --mesh.fsdp); make it one"
        )


def row_slice(mesh: Mesh) -> tuple[int, int]:
    """Returns the index of the slice of a batch's rows that this process reads, and the number of slices.

    Processes whose devices differ along `tensor` only hold the same rows and read the same slice.
    """
    mine = sorted(
        {
            data * mesh.shape["fsdp"] + fsdp
            for (data, fsdp, _), device in np.ndenumerate(mesh.devices)
            if device.process_index == jax.process_index()
        }
    )
    shards = row_shards(mesh)
    first, count = mine[0], len(mine)
    if mine != list(range(first, first + count)) or shards % count or first % count:
        raise UserError(
            "the devices of one host are not neighbours on the mesh; choose a --mesh.tensor that divides their number"
        )
    return first // count, shards // count


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of an array that every device holds whole."""
    return NamedSharding(mesh, P())


def by_rows(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch: rows split over `data` and `fsdp`."""
    return NamedSharding(mesh, ROWS)


def shardings(tree: Any, mesh: Mesh | AbstractMesh) -> Any:
    """Returns the sharding of every leaf of a train state, or of any part of one, by RULES."""

    def place(path: Any, leaf: Any) -> NamedSharding:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        spec = next(spec for pattern, spec in RULES if re.search(pattern, name))
        if "fsdp" in spec and divides_parameters(mesh):
            divided = [axis for axis, size in enumerate(leaf.shape) if size % mesh.shape["data"] == 0]
            spec = P(*[None] * max(divided, key=leaf.shape.__getitem__), "data") if divided else P()
        axes = [axis if axis and size % mesh.shape[axis] == 0 else None for axis, size in zip(spec, leaf.shape)]  # noqa: B905 - P() is shorter
        return NamedSharding(mesh, P(*axes))

    return jax.tree_util.tree_map_with_path(place, tree)


def divides_parameters(mesh: Mesh | AbstractMesh) -> bool:
    """Tells whether large parameters and moments lie divided over `data`: where it is the mesh's only axis."""
    return mesh.shape["data"] > 1 and mesh.shape["fsdp"] == mesh.shape["tensor"] == 1


def whole(params: Any, mesh: Mesh) -> Any:
    """Returns parameters as all but the train step read them: gathered where they lie divided over `data`."""
    return jax.device_put(params, replicated(mesh)) if divides_parameters(mesh) else params


def on_parts(
    compute: Callable[[Any, Any, Any], tuple[Any, Any]], places: Any, mesh: Mesh, dtype: Any
) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """Returns `compute(params, batch, key)` for parameters that lie divided over `data`, at `places`.

    Each device gathers them once, computes sums and gradient of its own rows, and keeps its part of what these are over
    all devices. What is divided is sent, and added up, in `dtype`, that of the products: half the bytes in bfloat16.
    """

    def gathered(part: Any, place: NamedSharding) -> Any:
        if "data" not in place.spec:
            return part
        sent = part.astype(dtype)
        return jax.lax.all_gather(sent, "data", axis=place.spec.index("data"), tiled=True).astype(part.dtype)

    def added_up(gradient: Any, place: NamedSharding) -> Any:
        if "data" not in place.spec:
            return jax.lax.psum(gradient, "data")
        sent, axis = gradient.astype(dtype), place.spec.index("data")
        return jax.lax.psum_scatter(sent, "data", scatter_dimension=axis, tiled=True).astype(gradient.dtype)

    def on_each_device(params: Any, batch: Any, key: Any) -> tuple[Any, Any]:
        sums, gradient = compute(jax.tree.map(gathered, params, places), batch, key)
        return jax.lax.psum(sums, "data"), jax.tree.map(added_up, gradient, places)

    parts = jax.tree.map(lambda place: place.spec, places)
    return jax.shard_map(
        on_each_device,
        mesh=mesh,
        in_specs=(parts, ROWS, P()),
        out_specs=(P(), parts),
        check_vma=False,  # attention's kernels do not say how their outputs vary over the mesh
    )


def place_batch(batch: Any, mesh: Mesh) -> Any:
    """Returns the global batch as device arrays, made from the rows that this process read."""
    sharding = by_rows(mesh)
    return jax.tree.map(lambda rows: jax.make_array_from_process_local_data(sharding, np.asarray(rows)), batch)
