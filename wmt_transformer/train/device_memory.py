"""A device's memory that is too small for a step, as one line that says what to set.

XLA finds out when a program is compiled (TPU) or started (GPU), in the first step or whenever a larger shape of batch
comes. What was saved stays as it is.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import jax

from wmt_transformer.config import Config, UserError

_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


@contextlib.contextmanager
def enough_memory(config: Config) -> Iterator[None]:
    """Turns XLA's RESOURCE_EXHAUSTED into a UserError with what was asked for, what there is, and the settings that
    make a step of this config smaller."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(_explained(str(error), config)) from error


def _explained(message: str, config: Config) -> str:
    device = jax.local_devices()[0]
    limit = ((device.memory_stats() if device.platform != "cpu" else None) or {}).get("bytes_limit")
    asked = asked_bytes(message)
    needs = "more than there is" if asked is None else f"{asked / 2**30:.1f} GiB"
    has = "" if limit is None else f" of {limit / 2**30:.1f} GiB"
    train, data = config.train, config.data
    return (
        f"out of device memory: the step asked for {needs}, which {device.device_kind}{has} does not have free; "
        f"--model.remat True needs less and goes on in this work folder; in another --workdir, --train.accumulation "
        f"{2 * train.accumulation} halves it, and so do fewer rows: --data.source_tokens {data.source_tokens // 2} "
        f"--data.target_tokens {data.target_tokens // 2}. What was saved is as it was"
    )


def asked_bytes(message: str) -> int | None:
    """Returns the bytes that XLA says it could not have, None where it does not say."""
    found = re.search(r"(?:allocate|request for|Used) ([\d.]+) ?([KMGT]?)", message)
    return int(float(found[1]) * 2 ** _UNITS[found[2]]) if found else None
