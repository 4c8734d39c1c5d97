"""Running commands in a test, and the config of a toy run that several files of tests start from."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from wmt_transformer import checkpoint, cli

ROOT = Path(__file__).parents[1]
WORDS = [
    "red",
    "green",
    "blue",
    "cat",
    "dog",
    "bird",
    "sees",
    "likes",
    "big",
    "small",
    "old",
    "new",
    "the",
    "a",
    "one",
    "two",
]
CONFIG = """
from wmt_transformer.config import Config, DataConfig, ModelConfig, TrainConfig

def get_config():
    return Config(
        family="small",
        model=ModelConfig(num_layers=1, d_model=16, d_ff=32, num_heads=2, d_k=8, d_v=8),
        data=DataConfig(
            corpus="files", source="en", target="de", path={path!r}, train_files=("train.en", "train.de"),
            dev_files=("dev.en", "dev.de"), test_files=("dev.en", "dev.de"), vocabulary_size=300,
            max_length=40, source_tokens=256, target_tokens=256, num_shapes=2,
        ),
        train=TrainConfig(
            steps=12, warmup_steps=10, log_every=4, evaluate_every=6, checkpoint_every=3, keep_checkpoints=3,
            average_last=2, evaluate_pairs=4, show_translations=1,
        ),
    )
"""


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    return stopped.value.code  # type: ignore[return-value]


def refused(capsys, *arguments: object) -> str:
    """Runs a command that must fail as a user's mistake does: code 2, one line, nothing on standard output."""
    capsys.readouterr()
    code = run(*arguments)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    lines = [line for line in err.splitlines() if line.startswith("wmt-transformer: ")]
    assert len(lines) == 1 and err.endswith(lines[0] + "\n"), err
    return lines[0]


def params_of(workdir: Path, which: str | int):
    return jax.tree.map(np.asarray, checkpoint.load_params(workdir, which))


def assert_same(one, other) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


def without_checksums(workdir: Path, **changes: Any) -> None:
    """Changes the manifest of a run's data, and drops its checksums, as those of earlier versions had none."""
    path = workdir / "data" / "manifest.json"
    manifest = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in manifest.items() if name not in ("check", "checksums")}))
