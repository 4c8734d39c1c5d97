"""What depends on the device at hand, told to be another: kernels it lacks, dtypes, determinism, memory too small."""

import types
from typing import Any

import fakes
import jax
import jax.numpy as jnp
import pytest
from commands import assert_same, params_of, refused, run

from wmt_transformer import checkpoint
from wmt_transformer.config import MeshConfig, TrainConfig
from wmt_transformer.model.build import build
from wmt_transformer.model.dense import compute_dtype
from wmt_transformer.train import loop, step
from wmt_transformer.train.device_memory import asked_bytes
from wmt_transformer.train.optimizer import optimizer
from wmt_transformer.train.sharding import make_mesh


def test_a_tpus_kernels_are_refused_elsewhere_before_any_work(toy, tmp_path, capsys):
    workdir = tmp_path / "w"
    said = refused(capsys, "train", toy / "toy.py", "--workdir", workdir, "--model.attention", "fused")
    assert "--model.attention fused" in said and "TPU" in said and "CPU" in said and "auto" in said
    assert not (workdir / "data").exists() and not (workdir / "config.json").exists()


@pytest.mark.parametrize(
    ("backend", "capability", "dtype"),
    [
        ("cpu", None, "float32"),
        ("tpu", None, "bfloat16"),
        ("gpu", "7.0", "float32"),  # V100
        ("gpu", "7.5", "float32"),  # T4
        ("gpu", "8.0", "bfloat16"),  # A100
        ("gpu", "9.0", "bfloat16"),  # H100
        ("gpu", "10.0", "bfloat16"),  # B200
        ("gpu", "gfx90a", "bfloat16"),  # AMD's MI250
        ("gpu", None, "bfloat16"),  # a card that is only compiled for
    ],
)
def test_auto_is_bfloat16_where_the_hardware_multiplies_it(monkeypatch, backend, capability, dtype):
    device = types.SimpleNamespace(**({} if capability is None else {"compute_capability": capability}))
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert compute_dtype("auto") == jnp.dtype(dtype)
    assert compute_dtype("float32") == jnp.float32 and compute_dtype("bfloat16") == jnp.bfloat16


@pytest.mark.parametrize(
    ("backend", "asked", "told"), [("gpu", True, True), ("gpu", False, False), ("cpu", True, False)]
)
def test_the_train_step_is_compiled_to_be_deterministic_where_that_is_asked_of_a_gpu(monkeypatch, backend, asked, told):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    options = step.compiler_options(TrainConfig(deterministic=asked))
    assert options.get("xla_gpu_deterministic_ops", False) == told
    jitted: list[Any] = []
    monkeypatch.setattr(jax, "jit", lambda function, **settings: jitted.append(settings) or function)
    settings, mesh = TrainConfig(deterministic=asked), make_mesh(MeshConfig())
    step.make_train_step(build(fakes.TINY), optimizer(settings, fakes.TINY.d_model), settings, mesh)
    assert jitted[-1]["compiler_options"] == options


def test_xla_knows_the_deterministic_option():
    compiled = jax.jit(lambda x: x + 1, compiler_options={"xla_gpu_deterministic_ops": True})
    assert compiled(1) == 2


def test_a_run_goes_on_with_another_determinism(toy, copy):
    assert run("train", toy / "toy.py", "--workdir", copy, "--train.deterministic", True, "--train.steps", 13) == 0


@pytest.mark.parametrize("at", [1, 5])
def test_a_device_memory_that_is_too_small_is_one_line_and_leaves_the_run_as_it_was(
    toy, tmp_path, capsys, monkeypatch, at
):
    workdir, call, calls = tmp_path / "w", loop.Programs.__call__, []
    arguments = ["train", toy / "toy.py", "--workdir", workdir]

    def too_small(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == at:
            raise jax.errors.JaxRuntimeError(
                "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 13421772800 bytes.\nmore lines"
            )
        return call(*arguments)

    monkeypatch.setattr(loop.Programs, "__call__", too_small)
    said = refused(capsys, *arguments)
    assert "out of device memory" in said and "12.5 GiB" in said and jax.devices()[0].device_kind in said
    for setting in ("--model.remat True", "--train.accumulation 2", "--data.target_tokens 128"):
        assert setting in said
    assert checkpoint.steps(workdir) == [step for step in (3,) if step < at]
    monkeypatch.setattr(loop.Programs, "__call__", call)
    assert run(*arguments) == 0
    assert_same(params_of(workdir, 12), params_of(toy / "run", 12))


def test_another_failure_of_xla_is_not_taken_for_memory(toy, tmp_path, monkeypatch):
    def broken(*_: Any) -> Any:
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(loop.Programs, "__call__", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        run("train", toy / "toy.py", "--workdir", tmp_path / "w")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 285212672 bytes.", 285212672),
        ("RESOURCE_EXHAUSTED: Failed to allocate request for 176.00MiB (184549376B) on device ordinal 0", 184549376),
        ("RESOURCE_EXHAUSTED: ... ran out of memory trying to allocate 6.00GiB", 6 * 2**30),
        ("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 18.00G of 15.75G hbm.", 18 * 2**30),
        ("RESOURCE_EXHAUSTED: no more", None),
    ],
)
def test_what_was_asked_for_is_read_from_the_message(message, expected):
    assert asked_bytes(message) == expected
