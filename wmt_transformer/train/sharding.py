"""The device mesh, and where arrays live on it. One device is a mesh of one: there is no other path."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from wmt_transformer.config import MeshConfig, UserError


def make_mesh(config: MeshConfig) -> Mesh:
    """Returns a mesh over all devices with the axis `data`; raises UserError when the sizes do not fit."""
    devices = jax.device_count()
    size = devices if config.data == -1 else config.data
    if size != devices:
        raise UserError(
            f"--mesh.data {config.data} does not use the {devices} devices there are; give {devices}, or -1 for all"
        )
    # Auto: Linen's modules do not name the sharding of what they compute, as Explicit axes would require.
    return jax.make_mesh((size,), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of an array that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def by_rows(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch: rows split over the `data` axis."""
    return NamedSharding(mesh, PartitionSpec("data"))


def place_batch(batch: Any, mesh: Mesh) -> Any:
    """Returns the global batch as device arrays, made from the rows that this process read."""
    sharding = by_rows(mesh)
    return jax.tree.map(lambda rows: jax.make_array_from_process_local_data(sharding, np.asarray(rows)), batch)
