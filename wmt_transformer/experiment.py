"""Experiments: a config by name, changed by options, compared with another, kept as JSON in the folder of a run.

A `configs/NAME.py` file defines `get_config() -> Config`. Dotted command-line options change it (`--model.dropout
0.3`), and the work folder of the run keeps it as JSON, so that every later verb knows what was trained.

This file imports nothing heavy: `--help` and error messages do not wait for JAX.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from wmt_transformer.config import (
    Config,
    DataConfig,
    DecodeConfig,
    MeshConfig,
    ModelConfig,
    TrainConfig,
    UserError,
    check,
)
from wmt_transformer.config_file import executed
from wmt_transformer.ranges import expected, kinds
from wmt_transformer.reading import read_text

SECTIONS = {"model": ModelConfig, "data": DataConfig, "train": TrainConfig, "decode": DecodeConfig, "mesh": MeshConfig}


def to_json(config: Config) -> str:
    """Returns the config as indented JSON, one field a line."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(text: str, name: str = "config.json") -> Config:
    """Returns the config that `to_json` wrote; `name` is what messages call the file.

    Raises UserError for text that is no JSON object, for a field that this version does not have, and for a value of
    the wrong type or out of its range.
    """
    values = _json_object(text, name)
    try:
        for section, kind in SECTIONS.items():
            if section in values:
                values[section] = _section(values[section], kind, f"{section}.", name)
        return _section(values, Config, "", name)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def _section(given: object, kind: type, prefix: str, name: str) -> Any:
    """Returns a section of a config with the values that JSON gives by name."""
    if not isinstance(given, dict):
        raise UserError(f"{prefix[:-1]} is {given!r}; it must hold settings by name")
    if unknown := sorted(set(given) - kinds(kind).keys()):
        raise UserError(f"{prefix}{unknown[0]} is unknown to this version; use the one that wrote it")
    values = {field: tuple(value) if isinstance(value, list) else value for field, value in given.items()}
    check(kind, values)
    return kind(**values)


def json_object(path: Path) -> dict[str, Any]:
    """Returns what a JSON file of a run holds by name. Raises UserError where it cannot be read, or holds no object."""
    return _json_object(read_text(path), str(path))


def _json_object(text: str, name: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UserError(f"{name} is damaged: {error}; restore it, or train in another folder") from error
    if not isinstance(found, dict):
        raise UserError(f"{name} holds nothing by name, but {text.strip()[:40]!r}; restore it")
    return found


def run_config(workdir: Path) -> Config:
    """Returns the config of the run in a work folder. Raises UserError where there is none, or it cannot be read."""
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(f"{workdir} holds no run; make one with: wmt-transformer train CONFIG --workdir {workdir}")
    return from_json(read_text(path), str(path))


def is_language_model(settings: Config) -> bool:
    """Tells whether a run trains a language model. Raises UserError where its data are for the other kind of model."""
    language_model = settings.model.architecture == "decoder_only"
    if language_model != (settings.data.documents != "none"):
        raise UserError(
            f"model.architecture is {settings.model.architecture} and data.documents {settings.data.documents}: a "
            "language model (decoder_only) reads documents (file, paragraph or line), a translator none"
        )
    return language_model


def differences(old: Config, new: Config, ignored: Collection[str] = ()) -> list[str]:
    """Returns a line for each field that differs, `model.dropout: 0.1 there, 0.3 here`, but for the `ignored` ones."""
    there, here = _flat(dataclasses.asdict(old)), _flat(dataclasses.asdict(new))
    names = [name for name in here if name not in ignored and there.get(name) != here[name]]
    return [f"{name}: {there[name]!r} there, {here[name]!r} here" for name in names]


MAY_CHANGE = frozenset(
    {
        "train.steps",
        "train.epochs",
        "train.log_every",
        "train.evaluate_every",
        "train.evaluate_pairs",
        "train.checkpoint_every",
        "train.keep_checkpoints",
        "train.average_last",
        "train.patience",
        "train.patience_measure",
        "train.stop_after_skipped",
        "train.show_translations",
        "train.deterministic",
        "model.vocabulary_size",
        "model.remat",
        "model.attention",
        "data.path",
        "data.vocabulary",
        *(f"decode.{field.name}" for field in dataclasses.fields(DecodeConfig)),
        *(f"mesh.{field.name}" for field in dataclasses.fields(MeshConfig)),
    }
)
"""Fields in which a resumed run may differ: they change how long and how it is watched, not what is learned.
(The model's vocabulary size follows the data's, which may not differ; nor may the content of a path.)"""
LENGTH = frozenset({"train.steps", "train.epochs"})
"""When a run ends; where its learning rate falls to 0 by then, another end is another schedule."""


def check_same_run(workdir: Path, config: Config) -> None:
    """Raises UserError when the work folder holds a run of another config; the message names what differs."""
    if not (workdir / "config.json").is_file():
        return
    may_change = MAY_CHANGE - LENGTH if config.train.schedule in ("linear", "cosine") else MAY_CHANGE
    if config.data.num_shapes is None:  # as many as the run has
        may_change |= {"data.num_shapes"}
    if changed := differences(run_config(workdir), config, may_change):
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
    for a setting that does not exist, and for a value of the wrong type or out of its range.
    """
    options = _options(config, arguments)
    if "family" in options:
        config = with_family(config, " ".join(options.pop("family")))
    if not options:
        return config
    words = {name: [f"--{name}", *values] for name, values in options.items()}
    changed = _parsed(config, [word for one in words.values() for word in one])
    if changed is not None:
        return changed
    for name, one in words.items():
        if _parsed(config, one) is None:
            section, _, field = name.partition(".")
            raise UserError(f"{' '.join(one)}: it must be {expected(kinds(SECTIONS[section])[field])}")
    raise UserError(f"cannot read {' '.join(arguments)}")


def _options(config: Config, arguments: list[str]) -> dict[str, list[str]]:
    """Returns the words that follow each setting's name; the last of several counts."""
    options: dict[str, list[str]] = {}
    values: list[str] | None = None
    for argument in arguments:
        if argument.startswith("--") and not argument[2:3].isdigit():
            name, equals, value = argument[2:].partition("=")
            name = name.replace("-", "_")
            _check_known(name, config)
            options[name] = values = [value] if equals else []
        elif values is None:
            raise UserError(f"unexpected argument {argument!r}; options look like --model.dropout 0.3")
        else:
            values.append(argument)
    return options


def _check_known(name: str, config: Config) -> None:
    """Raises UserError for a dotted name that no setting has, and says which are near."""
    import difflib

    known = [known for known in _flat(dataclasses.asdict(config)) if known != "name"]
    if name not in known:
        ends = [one for one in known if one.endswith(f".{name.split('.')[-1]}")]
        close = difflib.get_close_matches(name, known, 3) or ends
        hint = f"; did you mean --{', --'.join(close)}?" if close else f"; there are {', '.join(known)}"
        raise UserError(f"there is no setting --{name}{hint}")


def _parsed(config: Config, words: list[str]) -> Config | None:
    """Returns the config changed by these words, None where a value is not of its field's type."""
    import tyro

    try:
        kind = tyro.conf.FlagConversionOff[Config]
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            return tyro.cli(kind, default=config, args=words, use_underscores=True)
    except SystemExit:
        return None


def load_config(name_or_path: str | os.PathLike[str], **overrides: Any) -> Config:
    """Returns a config by the name of a shipped one or the path of a file, with some of its settings changed.

    Args:
      overrides: sections with the settings to change (`train={"steps": 20_000}`), and `family` (see `with_family`),
        which changes its settings first. Dotted names do as well: `**{"train.steps": 20_000}`.

    Raises UserError for a config or a setting that does not exist, and for a value out of a setting's range.

    >>> import wmt_transformer as wt
    >>> config = wt.load_config("multi30k_en_de", train={"steps": 4000}, model={"dropout": 0.2, "num_layers": 2})
    >>> config.train.steps, config.model.num_layers, config.data.corpus
    (4000, 2, 'multi30k')
    """
    config, changes = load(os.fspath(name_or_path)), _flat(overrides)
    if "family" in changes:
        config = with_family(config, changes.pop("family"))
    sections: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        _check_known(name, config)
        section, _, field = name.partition(".")
        sections.setdefault(section, {})[field] = tuple(value) if isinstance(value, list) else value
    for section, fields in sections.items():
        check(SECTIONS[section], fields)
    changed = {name: dataclasses.replace(getattr(config, name), **fields) for name, fields in sections.items()}
    return dataclasses.replace(config, **changed)


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
    return dataclasses.replace(executed(path), name=path.stem)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Returns nested dicts as one, with dotted names."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for name, sub in value.items() for k, v in _flat(sub, f"{prefix}.{name}" if prefix else name).items()}
