"""A config file: Python that is executed, and whose get_config() returns the config."""

from __future__ import annotations

import importlib.util
import traceback
from pathlib import Path

from wmt_transformer.config import Config, UserError


def executed(path: Path) -> Config:
    """Executes a config file and returns its config. Raises UserError, with the line at which it fails."""
    if path.suffix != ".py":
        raise UserError(f"{path} is no .py file, as configs are; give one that defines get_config()")
    spec = importlib.util.spec_from_file_location(f"wmt_transformer_config_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise UserError(f"{path} defines no get_config(); it must return a wmt_transformer.config.Config")
        config = module.get_config()
    except UserError:
        raise
    except SyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}") from error
    except Exception as error:  # whatever the user's code raises
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{path}, line {lines[-1] if lines else '?'}: {reason}") from error
    if not isinstance(config, Config):
        raise UserError(f"get_config() of {path} returns {type(config).__name__}, not a wmt_transformer.config.Config")
    return config
