"""A driver too old for the CUDA that is installed is told in one line; the library and the plugin are fakes."""

import ctypes
import os
import tomllib

import pytest
from commands import ROOT, refused, run

from wmt_transformer import cuda


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Returns a function that makes a machine of a driver (its version, the CUDA it runs) and plugins (by major)."""

    class Library:
        def __init__(self, runs: int):
            self.runs = runs

        def cuDriverGetVersion(self, version) -> int:
            version._obj.value = self.runs
            return 0

    def make(version: str | None, runs: int | None, *plugins: int) -> None:
        def load(name: str | None) -> object:
            if name != "libcuda.so.1":
                return library(name)
            if runs is None:
                raise OSError("libcuda.so.1: cannot open shared object file: No such file or directory")
            return Library(runs)

        library = ctypes.CDLL
        monkeypatch.setattr(ctypes, "CDLL", load)
        monkeypatch.delenv("JAX_PLATFORMS")
        monkeypatch.setattr(cuda, "VERSION", tmp_path / "version")
        if version is not None:
            line = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Sun May 12 19:39:15 UTC 2024\n"
            (tmp_path / "version").write_text(line)
        for major in plugins:
            (tmp_path / f"jax_cuda{major}_plugin").mkdir()
        monkeypatch.syspath_prepend(tmp_path)

    return make


def test_an_old_driver_under_cuda_13_is_told_with_the_extra_that_it_runs(machine, capsys, tmp_path):
    machine("535.183.01", 12020, 13)
    # Process 2 of 2: the driver is looked at before the other processes are called.
    place = ["--coordinator", "localhost:1", "--num-processes", 2, "--process-id", 2]
    said = refused(capsys, "train", "quickstart", "--workdir", tmp_path, *place)
    assert "NVIDIA driver 535.183.01 runs CUDA up to 12.2" in said
    assert "driver 580 or newer" in said and "[cuda12]" in said
    assert "pip uninstall jax-cuda13-plugin jax-cuda13-pjrt" in said


def test_a_driver_too_old_for_cuda_12_has_to_be_updated(machine, capsys, tmp_path):
    machine(None, 11080, 12)
    said = refused(capsys, "translate", "--workdir", tmp_path, "A man sleeps.")
    assert "the NVIDIA driver runs CUDA up to 11.8" in said
    assert "driver 525 or newer" in said and "extra" not in said


@pytest.mark.parametrize(
    ("runs", "plugins"),
    [
        (13000, [13]),
        (12000, [12]),  # CUDA 12.9 on a driver for 12.0: minor versions go together
        (13000, [12]),
        (None, [13]),  # no driver, so no GPU
        (11040, []),
    ],
)
def test_a_driver_that_runs_what_is_installed_is_let_through(machine, runs, plugins):
    machine("600.1", runs, *plugins)
    cuda.check_driver()


@pytest.mark.parametrize(("platforms", "lets"), [("cpu", True), ("tpu,cpu", True), ("cuda", False), ("cpu,gpu", False)])
def test_an_old_driver_does_no_harm_where_jax_is_kept_from_the_gpu(machine, monkeypatch, platforms, lets):
    machine("535.183.01", 12020, 13)
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    if lets:
        cuda.check_driver()
    else:
        with pytest.raises(cuda.UserError, match=r"535\.183\.01"):
            cuda.check_driver()


@pytest.mark.parametrize("major", [12, 13])
def test_gpus_are_not_passed_over_where_a_tpu_compiler_is_installed(machine, monkeypatch, tmp_path, capsys, major):
    machine("600.1", 13000, major)
    (tmp_path / "libtpu").mkdir()
    monkeypatch.setattr("glob.glob", lambda pattern: [])
    assert run("paper", "--help") == 0
    assert "JAX_PLATFORMS" not in os.environ


def test_every_cuda_that_an_extra_brings_is_known_with_its_driver():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {major: extras[name] for major, name in zip(cuda.DRIVERS, ("cuda", "cuda12"), strict=True)} == {
        major: [f"jax[cuda{major}]"] for major in cuda.DRIVERS
    }
