"""Executables kept in the cache folder, so that a later process loads what an earlier one compiled, without tracing it.

JAX's own cache is asked by the program that tracing and lowering give; of a decoder's many small programs these take
most of a start. Here the name of a file says all that the program follows from: this package's code, the versions and
settings of JAX, the processor, the static arguments, and the shapes of the others.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import platform
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from jax.experimental import serialize_executable
from jax.experimental.compilation_cache import compilation_cache

import wmt_transformer
from wmt_transformer.config import UserError
from wmt_transformer.files import cache_folder, whole_bytes
from wmt_transformer.platform import MOST_THREADS, threads_that_compile, usable_cores

_DIGEST = hashlib.sha256
_ALONE = threading.Lock()
"""Is held while JAX's cache is off, which is a setting of the process."""


class Keeping:
    """A function compiled by `jax.jit`, whose executables can be made, or loaded, before it is called.

    Args:
      function: takes positional arguments that are pytrees of arrays, and keywords that are compiled in.
      static: the names of these keywords, whose values have a `repr` that tells them apart.
    """

    def __init__(self, function: Callable[..., Any], static: tuple[str, ...]) -> None:
        self._jitted: Any = jax.jit(function, static_argnames=static)
        self._ready: dict[Hashable, Any] = {}

    def __call__(self, *arguments: Any, **static: Any) -> Any:
        if self._ready and (ready := self._ready.get(_key(arguments, static))) is not None:
            return ready(*arguments)
        return self._jitted(*arguments, **static)

    def __len__(self) -> int:
        """How many programs there are in this process."""
        return len(self._ready) + self._jitted._cache_size()

    def clear(self) -> None:
        """Forgets the programs of this process."""
        self._ready.clear()
        self._jitted.clear_cache()

    def prepare(self, calls: Iterable[tuple[tuple[Any, ...], dict[str, Any]]]) -> None:
        """Loads, or compiles and keeps, the programs for calls like these (arguments, keywords); for one device."""
        missing = {key: call for call in calls if (key := _key(*call)) not in self._ready}
        with ThreadPoolExecutor(min(usable_cores(), MOST_THREADS)) as threads:
            found = dict(zip(missing, threads.map(lambda key: _load(_path(key)), missing), strict=True))
        self._ready |= {key: program for key, program in found.items() if program is not None}
        new = [key for key in missing if key not in self._ready]
        if not new:
            return
        with _ALONE, _compiled_anew() as compiled, ThreadPoolExecutor(threads_that_compile() or 1) as threads:

            def make(key: Hashable) -> Any:
                arguments, static = missing[key]
                before = compiled.here
                program = self._jitted.lower(*arguments, **static).compile()
                if compiled.here > before:
                    _save(_path(key), program)  # before it is called, after which some cannot be saved
                return program

            self._ready |= zip(new, threads.map(make, new), strict=True)


class _Compiled(threading.local):
    """Compilations of this thread."""

    here = 0


@contextlib.contextmanager
def _compiled_anew() -> Iterator[_Compiled]:
    """Leaves JAX's cache out: what XLA has read from there, it saves incompletely. Counts compilations."""
    compiled = _Compiled()

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        compiled.here += event == "/jax/core/compile/backend_compile_duration"

    before = jax.config.values["jax_enable_compilation_cache"]
    jax.monitoring.register_event_duration_secs_listener(listen)
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    try:
        yield compiled
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()
        jax.monitoring.unregister_event_duration_listener(listen)


def _path(key: Hashable) -> Path:
    return cache_folder() / "executables" / _DIGEST(f"{_surroundings()}\n{key}".encode()).hexdigest()


def _key(arguments: tuple[Any, ...], static: dict[str, Any]) -> Hashable:
    leaves, structure = jax.tree.flatten(arguments)
    return tuple(sorted(static.items())), structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)


@cache
def _surroundings() -> str:
    """Returns what else a program follows from."""
    device = jax.devices()[0]
    settings = {name: value for name, value in jax.config.values.items() if "cache" not in name}
    flags = {name: os.environ.get(name) for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS")}
    versions = (
        wmt_transformer.__version__,
        jax.__version__,
        version("jaxlib"),
        version("flax"),
        device.client.platform_version,
    )
    return repr((_code(), versions, sorted(settings.items()), flags, str(device), device.device_kind, _processor()))


def _code() -> str:
    """Returns a digest of this package's code."""
    digest, root = _DIGEST(), Path(wmt_transformer.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + _DIGEST(path.read_bytes()).digest())
    return digest.hexdigest()


def _processor() -> str:
    """Returns what this machine's processor can do, and how many cores XLA divides work by."""
    try:
        lines = Path("/proc/cpuinfo").read_text("ascii", "replace").splitlines()
    except OSError:
        lines = []
    can = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    return repr((platform.machine(), platform.processor(), can, os.cpu_count()))


def _load(path: Path) -> Any:
    """Returns the executable in a file; None where there is none, or a damaged one."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, saved = content[: _DIGEST().digest_size], content[_DIGEST().digest_size :]
    if _DIGEST(saved).digest() != digest:
        return None
    try:
        return serialize_executable.deserialize_and_load(*pickle.loads(saved), execution_devices=jax.devices()[:1])
    except jax.errors.JaxRuntimeError:  # XLA does not take it after all
        return None


def _save(path: Path, compiled: Any) -> None:
    """Keeps an executable for later processes; one that its device cannot save, or a folder that is full, is none."""
    try:
        saved = pickle.dumps(serialize_executable.serialize(compiled))
        with whole_bytes(path) as file:
            file.write(_DIGEST(saved).digest() + saved)
    except (jax.errors.JaxRuntimeError, UserError):
        return
