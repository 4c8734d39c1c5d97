"""The Transformer of "Attention Is All You Need" in JAX and Flax, from data to BLEU.

Read it in this order: config, data (corpora, vocabulary, prepare, batches), model (attention, layers,
transformer), checkpoint, train (loss, optimizer, step, loop), decode (beam, generate), evaluate (bleu), cli.

    from wmt_transformer import Translator
    Translator.load("runs/multi30k_en_de").translate(["A man rides a bicycle."])
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wmt_transformer.decode.generate import Translator as Translator

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "Translator":  # imported when asked for: it brings JAX, which `--help` should not wait for
        from wmt_transformer.decode.generate import Translator

        return Translator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
