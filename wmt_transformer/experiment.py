"""Experiments: a config by name, changed by options, compared with another, kept as JSON in the folder of a run.

A config is made by a `configs/NAME.py` file that defines `get_config() -> Config`, changed by dotted command-line
options (`--model.dropout 0.3`), and written as JSON into the work folder of the run, so that every later verb knows
what was trained.

This file imports nothing heavy: `--help` and error messages do not wait for JAX.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import json
import os
from pathlib import Path
from typing import Any

from wmt_transformer.config import Config, DataConfig, DecodeConfig, MeshConfig, ModelConfig, TrainConfig, UserError


def to_json(config: Config) -> str:
    """Returns the config as indented JSON, one field a line."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(text: str) -> Config:
    """Returns the config that `to_json` wrote; raises UserError for a field that this version does not have."""
    raw = json.loads(text)
    sections = {
        "model": ModelConfig,
        "data": DataConfig,
        "train": TrainConfig,
        "decode": DecodeConfig,
        "mesh": MeshConfig,
    }
    values: dict[str, Any] = {}
    for name, value in raw.items():
        if name in sections:
            known = {field.name for field in dataclasses.fields(sections[name])}
            unknown = sorted(set(value) - known)
            if unknown:
                raise UserError(
                    f"config.json has {name}.{unknown[0]}, unknown to this version; use the one that wrote it"
                )
            value = sections[name](**{k: tuple(v) if isinstance(v, list) else v for k, v in value.items()})
        values[name] = value
    return Config(**values)


def run_config(workdir: Path) -> Config:
    """Returns the config that the work folder's run was made with."""
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(f"{workdir} holds no run; make one with: wmt-transformer train CONFIG --workdir {workdir}")
    return from_json(path.read_text())


def is_language_model(settings: Config) -> bool:
    """Tells whether a run is a language model's, not a translation run. Raises UserError for data of the other kind."""
    language_model = settings.model.architecture == "decoder_only"
    if language_model != (settings.data.documents != "none"):
        raise UserError(
            f"model.architecture is {settings.model.architecture} and data.documents {settings.data.documents}: a "
            "language model (decoder_only) reads documents (file, paragraph or line), a translator none"
        )
    return language_model


def differences(old: Config, new: Config) -> list[str]:
    """Returns one line per field that differs: `model.dropout: 0.1 there, 0.3 here`."""
    there, here = _flat(dataclasses.asdict(old)), _flat(dataclasses.asdict(new))
    return [f"{name}: {there[name]!r} there, {here[name]!r} here" for name in here if there.get(name) != here[name]]


MAY_CHANGE = (
    "train.steps",
    "train.log_every",
    "train.evaluate_every",
    "train.evaluate_pairs",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.average_last",
    "train.patience",
    "train.stop_after_skipped",
    "train.show_translations",
    "model.vocabulary_size",
    "model.remat",
    "model.attention",
    "data.path",
    "decode.",
    "mesh.",
)
"""Fields in which a resumed run may differ: they change how long and how it is watched, not what is learned.
(The model's vocabulary size follows the data's, which may not differ.)"""


def check_same_run(workdir: Path, config: Config) -> None:
    """Raises UserError when the work folder holds a run of another config; the message names what differs."""
    path = workdir / "config.json"
    if path.is_file():
        changed = [line for line in differences(from_json(path.read_text()), config) if not line.startswith(MAY_CHANGE)]
        if changed:
            raise UserError(f"{workdir} holds a run of another config ({'; '.join(changed)}); choose another --workdir")


FAMILIES: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {
        "model": {"norm_position": "post", "attention_dropout": 0.0, "relu_dropout": 0.0},
        "train": {"learning_rate": 1.0, "warmup_steps": 4000, "adam_b2": 0.98},
    },
    "t2t": {
        "model": {"norm_position": "pre", "attention_dropout": 0.1, "relu_dropout": 0.1},
        "train": {"learning_rate": 2.0, "warmup_steps": 8000, "adam_b2": 0.997},
    },
}
"""Where the paper and tensor2tensor's later presets (`transformer_base` since version 3) differ; sizes, dropout, label
smoothing, batches and beam are the same in both."""


def with_family(config: Config, family: str) -> Config:
    """Returns the config with the conventions of `paper` or `t2t` (see FAMILIES), named so; UserError for others."""
    if family not in FAMILIES:
        raise UserError(f"there is no family {family!r} to choose; there are {', '.join(FAMILIES)}")
    sections = {
        section: dataclasses.replace(getattr(config, section), **fields) for section, fields in FAMILIES[family].items()
    }
    return dataclasses.replace(config, family=family, **sections)


def override(config: Config, arguments: list[str]) -> Config:
    """Returns the config changed by `--section.field value …` (or `--section.field=value`) arguments.

    `--family t2t` changes what `with_family` says, before the other arguments do, wherever it stands. Raises UserError
    for a field that there is not, and for a value of the wrong type.
    """
    import difflib

    import tyro

    known = list(_flat(dataclasses.asdict(config)))
    options: list[list[str]] = []
    for argument in arguments:
        if argument.startswith("--") and not argument[2:3].isdigit():
            name, equals, value = argument[2:].partition("=")
            options.append([f"--{name.replace('-', '_')}", *([value] if equals else [])])
        elif options:
            options[-1].append(argument)
        else:
            raise UserError(f"unexpected argument {argument!r}; options look like --model.dropout 0.3")
    for option in sorted(options, key=lambda option: option[0] != "--family"):
        name = option[0][2:]
        if name == "family":
            config = with_family(config, " ".join(option[1:]))
            continue
        if name not in known or name == "name":
            close = difflib.get_close_matches(name, known, 3) or [n for n in known if n.endswith(name.split(".")[-1])]
            hint = f"; did you mean --{', --'.join(close)}?" if close else f"; there are {', '.join(known)}"
            raise UserError(f"there is no setting --{name}{hint}")
        try:
            kind = tyro.conf.FlagConversionOff[Config]
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                config = tyro.cli(kind, default=config, args=option, use_underscores=True)
        except SystemExit:
            section, _, field = name.partition(".")
            expected = type(getattr(config, section)).__annotations__[field]
            raise UserError(f"--{name} {' '.join(option[1:])}: expected {expected}") from None
    return config


def shipped_configs() -> dict[str, Path]:
    """Returns the path of every config that comes with the package, by name, in a checkout or a wheel."""
    package = Path(__file__).resolve().parent
    for folder in (package / "configs", package.parent / "configs"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}
    return {}


def load(name_or_path: str) -> Config:
    """Returns `get_config()` of a shipped config's name or of a path to a config file.

    Raises UserError when there is no such config; the message lists those that exist.
    """
    shipped = shipped_configs()
    is_path = name_or_path.endswith(".py") or os.sep in name_or_path
    path = Path(name_or_path) if is_path else shipped.get(name_or_path)
    if path is None or not path.is_file():
        raise UserError(
            f"there is no config {name_or_path!r}; shipped are {', '.join(shipped)}, and a path to a .py file works too"
        )
    spec = importlib.util.spec_from_file_location(f"wmt_transformer_config_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise UserError(f"{path} defines no get_config(); it must return a wmt_transformer.config.Config")
    config = module.get_config()
    return dataclasses.replace(config, name=path.stem)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Returns nested dicts as one, with dotted names."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for name, sub in value.items() for k, v in _flat(sub, f"{prefix}.{name}" if prefix else name).items()}
