"""`benchmarks/gpu.py` as it runs on a card, tiny on a CPU: every part tells what it should, and right figures."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import ROOT, run

GPU = ROOT / "benchmarks" / "gpu.py"
HAS_TORCH = all(importlib.util.find_spec(name) for name in ("torch", "transformers", "safetensors"))


def script(*arguments: object) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(GPU), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    folder, data = tmp_path_factory.mktemp("gpu") / "prepared", os.environ.get("WMT_TRANSFORMER_DATA")
    script("prepare", "--output", folder, "--smoke", *(("--data", data) if data else ()))
    return folder


def results(folder: Path, call: str) -> tuple[dict[str, list[dict]], dict]:
    report = json.loads((folder / f"{call}.json").read_text())
    parts: dict[str, list[dict]] = {name: [] for name in report["parts"]}
    for result in report["results"]:
        parts[result["part"]].append(result)
    return parts, report


@pytest.mark.timeout(900)  # a dozen processes, each of which compiles
def test_the_call_that_measures_speed_has_every_part_and_finds_us_right(prepared, tmp_path):
    script("speed", "--data", prepared, "--output", tmp_path, "--smoke")
    parts, report = results(tmp_path, "speed")
    assert {"date", "jax", "flax", "torch", "python"} <= report["card"].keys()
    states = {name: part["state"] for name, part in report["parts"].items()}
    needs_torch = {"torch_loss", "torch_16", "torch_compiled_16", "marian", *(() if HAS_TORCH else ("decode",))}
    for name, state in states.items():
        assert state == "done" or (name in needs_torch and not HAS_TORCH and "is not installed" in state), (name, state)
    assert parts["device"][0]["matmul_flops"] > 0 and parts["device"][0]["bandwidth"] > 0
    assert parts["losses"][0]["equal"] and parts["losses"][0]["here"][-1] < parts["losses"][0]["here"][0]
    assert parts["cached"][0]["equal"]
    for ours in parts["train_16"]:
        assert "error" not in ours and ours["slots_per_second"] > ours["target_tokens_per_second"] > 0
    assert len(report["goals"]) == 9
    if not HAS_TORCH:
        return
    assert parts["torch_loss"][0]["equal"]
    for name in ("torch_16", "torch_compiled_16"):
        assert all("error" not in theirs and theirs["step_ms"] > 0 for theirs in parts[name])
        # Random dropout of their own, one batch again and again: about our loss.
        assert parts[name][0]["rows"] == parts["train_16"][0]["rows"]
    compared, *theirs = parts["marian"]
    assert compared["equal_outputs"] == compared["compared"] == 4
    ours = {(one["rows"], one["dtype"]): one["tokens"] for one in parts["decode"]}
    assert all(one["tokens"] == ours[one["rows"], one["dtype"]] == 32 * one["rows"] for one in theirs)


@pytest.mark.slow
@pytest.mark.timeout(900)  # a dozen processes, each of which compiles
def test_the_call_that_trains_scores_its_models_and_brings_them_back(prepared, tmp_path):
    script("train", "--data", prepared, "--output", tmp_path, "--smoke")
    parts, report = results(tmp_path, "train")
    assert {part["state"] for part in report["parts"].values()} == {"done"}
    seeds = [result for result in parts["multi30k"] if "seed" in result]
    assert [result["seed"] for result in seeds] == [1, 2, 3]
    assert all(result["epochs"] == 2 and result["curve"][-1][2] < result["curve"][0][2] for result in seeds)
    scored = [result["scores"] for result in (*seeds, *parts["pairs"]) if "scores" in result]
    tests = json.loads((prepared / "tests.json").read_text())
    assert set(scored[-1]) == {"seconds", *tests}
    for scores in scored:
        for name in set(scores) - {"seconds"}:
            assert 0 <= scores[name]["sacrebleu"] <= 100 and "tok:13a" in scores[name]["signature"]
            assert 0 <= scores[name]["tokenized_lowercase_bleu"] <= 100
            assert len(scores[name]["translations"]) == len(tests[name])
    back = sorted(path for path in tmp_path.iterdir() if path.suffix != ".json")
    assert len(back) <= 7 and all(path.stat().st_size <= 16 << 20 for path in back)
    assert len({leaf.dtype for leaf in np.load(tmp_path / "pairs.npz").values()} - {np.dtype(np.float16)}) == 0


def test_a_model_comes_back_in_pieces_and_becomes_a_run_again(prepared, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu_corpus
    import gpu_learn

    monkeypatch.setattr(gpu_learn, "PIECE", 10_000)
    monkeypatch.setattr(gpu_corpus, "pairs_config", lambda _, real=gpu_corpus.pairs_config: real(True))
    import jax
    from gpu_ours import random_params

    config = gpu_corpus.pairs_config(False)
    import dataclasses

    params = random_params(dataclasses.replace(config.model, vocabulary_size=400))
    arrays = gpu_learn.rounded(params)
    names = gpu_learn.save(arrays, tmp_path / "pairs.npz")
    assert len(names) > 1 and all((tmp_path / name).stat().st_size <= 10_000 for name in names)
    gpu_learn.restore("pairs", [tmp_path / name for name in names], prepared, tmp_path / "run")
    from wmt_transformer import checkpoint

    kept = checkpoint.load_params(tmp_path / "run")
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(np.asarray(a, np.float16), b), kept, gpu_learn.widened(arrays)
    )
    assert run("translate", "--workdir", tmp_path / "run", "a man") == 0


def test_a_part_that_does_not_fit_says_so_and_an_unknown_one_is_named(prepared, tmp_path):
    script("speed", "--data", prepared, "--output", tmp_path, "--smoke", "--budget", 5)
    _, report = results(tmp_path, "speed")
    assert {part["state"] for part in report["parts"].values()} == {"left out: no time"}
    command = [sys.executable, str(GPU), "train", "--data", prepared, "--output", tmp_path, "--parts", "nonesuch"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 1 and "there is no part 'nonesuch'; there are multi30k, pairs" in done.stderr
