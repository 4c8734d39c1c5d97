"""The Transformer of "Attention Is All You Need" in JAX and Flax, from data to BLEU.

    import wmt_transformer as wt

    wt.train(wt.load_config("multi30k_en_de"), "runs/multi30k_en_de")
    wt.average("runs/multi30k_en_de")
    wt.evaluate("runs/multi30k_en_de").sacrebleu
    wt.Translator.load("runs/multi30k_en_de").translate("A man rides a bicycle.")
    wt.LanguageModel.load("runs/shakespeare").generate_text("ROMEO:", 100, temperature=0.8)
    wt.Parser.load("runs/parsing_craft").parse("The cat sees a dog.").tree

These names are the public ones. Importing the package is fast: each brings what it needs, JAX above all, when it is
first asked for. The rest of the package reads in the order of the tree in docs/en/design.md.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wmt_transformer.config import Config, UserError
    from wmt_transformer.decode.completion import LanguageModel
    from wmt_transformer.decode.generate import Translator
    from wmt_transformer.decode.parse import Parser
    from wmt_transformer.evaluate.runs import evaluate
    from wmt_transformer.experiment import load_config
    from wmt_transformer.training import average, prepare, train

__version__ = "0.1.0"

__all__ = [
    "Config",
    "LanguageModel",
    "Parser",
    "Translator",
    "UserError",
    "average",
    "evaluate",
    "load_config",
    "prepare",
    "train",
]

_HOMES = {
    "Config": "config",
    "LanguageModel": "decode.completion",
    "Parser": "decode.parse",
    "Translator": "decode.generate",
    "UserError": "config",
    "average": "training",
    "evaluate": "evaluate.runs",
    "load_config": "experiment",
    "prepare": "training",
    "train": "training",
}
"""The module of each public name."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; public are {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])


class _Package(ModuleType):
    """Keeps `train` and `evaluate` the functions.

    Python would put the folders of these names in their place as soon as anything in them is imported. (`from
    wmt_transformer.train import loop` finds the folder all the same.)
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
