"""Executables kept between processes: what is loaded computes what was compiled, and nothing else is taken for it."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmt_transformer import executables
from wmt_transformer.executables import Keeping

COMPILED = "/jax/core/compile/backend_compile_duration"


def best(x: jax.Array, scale: jax.Array, *, count: int) -> tuple[jax.Array, jax.Array]:
    """Sorts, as beams do: XLA can save such a program only before it was called."""
    values, places = jax.lax.top_k(x * scale, count)
    return jnp.sort(values, stable=True), places


def keeping() -> Keeping:
    """As in a process of its own: JAX shares what it compiles between functions that are equal."""
    return Keeping(partial(best), static=("count",))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WMT_TRANSFORMER_CACHE", str(tmp_path))
    return tmp_path / "executables"


@pytest.fixture
def compiled() -> Iterator[list[str]]:
    """The compilations from here on, JAX's own cache included."""
    events: list[str] = []

    def listen(event: str, *_: object, **__: object) -> None:
        events.extend([event] if event == COMPILED else [])

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)


def arguments(rows: int = 3) -> tuple[jax.Array, jax.Array]:
    return jax.random.normal(jax.random.key(0), (rows, 50)), jnp.float32(-2.0)


def test_what_is_loaded_computes_what_was_compiled(folder: Path, compiled: list[str]):
    given = arguments()
    expected = best(*given, count=4)
    first = keeping()
    first.prepare([(given, {"count": 4})])
    assert len(first) == len(list(folder.iterdir())) == 1
    found = first(*given, count=4)
    again = keeping()  # as in another process
    compiled.clear()
    again.prepare([(given, {"count": 4})])
    for one, other, third in zip(found, again(*given, count=4), expected, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, third)
    assert not compiled
    other = given[0] * 2, given[1]  # other values, the same program
    np.testing.assert_array_equal(again(*other, count=4)[1], best(*other, count=4)[1])
    assert len(again) == 1


def test_other_arguments_make_other_programs(folder: Path):
    kept, given = keeping(), arguments()
    kept.prepare([(given, {"count": 4})])
    kept.prepare([(given, {"count": 5})])
    kept.prepare([(arguments(rows=2), {"count": 4})])
    kept.prepare(
        [
            (
                (
                    given[0].astype(jnp.bfloat16),
                    given[1],
                ),
                {"count": 4},
            )
        ]
    )
    kept.prepare([(given, {"count": 4})])
    assert len(kept) == len(list(folder.iterdir())) == 4
    assert kept(*arguments(rows=7), count=1)[0].shape == (7, 1)  # not prepared: as by `jax.jit`
    assert len(kept) == 5
    assert len(list(folder.iterdir())) == 4


def test_other_code_settings_and_machines_have_files_of_their_own(folder: Path, monkeypatch: pytest.MonkeyPatch):
    given = arguments()

    def files() -> int:
        executables._surroundings.cache_clear()
        keeping().prepare([(given, {"count": 2})])
        return len(list(folder.iterdir()))

    assert [files(), files()] == [1, 1]
    for name in ("_code", "_processor"):
        monkeypatch.setattr(executables, name, lambda: "another")
        assert files() == {"_code": 2, "_processor": 3}[name]
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", "") + " --xla_cpu_enable_fast_math=false")
    assert files() == 4
    before = jax.config.values["jax_default_matmul_precision"]
    jax.config.update("jax_default_matmul_precision", "highest")
    try:
        assert files() == 5
    finally:
        jax.config.update("jax_default_matmul_precision", before)
        executables._surroundings.cache_clear()


def test_threads_that_compile_at_once_leave_the_cache_of_jax_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch):
    before, begun, save = jax.config.values["jax_enable_compilation_cache"], itertools.count(1), executables._save

    def slowly(*saved: Any) -> None:
        time.sleep(0.3 * next(begun))  # so that the first to begin is the first to end
        save(*saved)

    monkeypatch.setattr(executables, "_save", slowly)
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda rows: keeping().prepare([(arguments(rows), {"count": 2})]), (2, 3, 4)))
    assert jax.config.values["jax_enable_compilation_cache"] == before
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("damage", ["empty", "cut", "a bit"])
def test_a_damaged_file_is_made_anew(folder: Path, compiled: list[str], damage: str):
    given = arguments()
    keeping().prepare([(given, {"count": 3})])
    [file] = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(
        {"empty": b"", "cut": whole[:-9], "a bit": whole[:99] + bytes([whole[99] ^ 1]) + whole[100:]}[damage]
    )
    compiled.clear()
    again = keeping()
    again.prepare([(given, {"count": 3})])
    assert compiled
    np.testing.assert_array_equal(again(*given, count=3)[0], best(*given, count=3)[0])
    compiled.clear()
    keeping().prepare([(given, {"count": 3})])
    assert not compiled


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_time(folder: Path):
    folder.write_text("a file in its place")
    kept, given = keeping(), arguments()
    kept.prepare([(given, {"count": 3})])
    np.testing.assert_array_equal(kept(*given, count=3)[0], best(*given, count=3)[0])


def test_another_process_finds_them_also_where_the_first_was_answered_by_the_cache_of_jax(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "of JAX"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    script = (
        "import jax, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from test_executables import COMPILED, arguments, keeping\n"
        "given, seen, kept = arguments(), [], keeping()\n"
        "jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: seen.append(event))\n"
        "if sys.argv[2] == 'prepare':\n"
        "    kept.prepare([(given, {'count': 4})])\n"
        "    print(seen.count(COMPILED))\n"
        "print(kept(*given, count=4)[0].tolist())\n"
    )

    def run(what: str) -> list[str]:
        command = [sys.executable, "-c", script, str(Path(__file__).parent), what]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    [expected] = run("call")
    assert list((tmp_path / "of JAX").iterdir())
    assert run("prepare") == ["1", expected]
    assert run("prepare") == ["0", expected]
    assert len(list(folder.iterdir())) == 1
