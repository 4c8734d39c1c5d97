"""Whether the NVIDIA driver can run the CUDA that is installed with JAX, asked before JAX starts.

With a driver that is too old JAX either prints a traceback and computes on the CPU, or fails with whatever the first
CUDA call says. Its CUDA plugins come with a CUDA of their own, so the two version numbers tell it beforehand: the
driver's library says which CUDA it runs (a forward-compatibility package included, which the driver's own version does
not show), and all minor versions of one major version go together (docs.nvidia.com/deploy/cuda-compatibility).
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
from pathlib import Path

from wmt_transformer.config import UserError

DRIVERS = {13: 580, 12: 525}
"""The oldest driver of each CUDA that there is a plugin for, by major version (docs.jax.dev, "Installation"). Where
both plugins are installed JAX takes the first."""

VERSION = Path("/proc/driver/nvidia/version")


def installed() -> int | None:
    """Returns the major version of the CUDA that JAX's plugin brings, None where no plugin is installed."""
    return next((major for major in DRIVERS if importlib.util.find_spec(f"jax_cuda{major}_plugin")), None)


def check_driver() -> None:
    """Raises UserError where JAX would start CUDA and the driver is too old for it."""
    needed, platforms = installed(), os.environ.get("JAX_PLATFORMS", "")
    if needed is None or (platforms and not {"cuda", "gpu"} & set(platforms.split(","))):
        return
    runs = _driver_runs()
    if runs is None or runs >= needed * 1000:
        return
    remedy = "update the driver"
    if runs >= 12000:
        remedy += (
            f", or `pip uninstall jax-cuda{needed}-plugin jax-cuda{needed}-pjrt` and install the extra [cuda12], "
            "which this one runs"
        )
    raise UserError(
        f"the NVIDIA driver{_driver_version()} runs CUDA up to {runs // 1000}.{runs % 1000 // 10}, but CUDA {needed} "
        f"is installed, which needs driver {DRIVERS[needed]} or newer: {remedy}; or compute on the CPU with "
        "JAX_PLATFORMS=cpu"
    )


def _driver_runs() -> int | None:
    """Returns the newest CUDA that the driver runs, 1000 major + 10 minor; None where there is no driver."""
    version = ctypes.c_int()
    try:
        failed = ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except OSError:
        return None
    return None if failed else version.value


def _driver_version() -> str:
    """Returns the kernel module's version after a space; nothing where it is not told, as under WSL."""
    try:
        found = re.search(r"\b\d{3,}\.\d+(\.\d+)*", VERSION.read_text())
    except OSError:
        return ""
    return f" {found[0]}" if found else ""
