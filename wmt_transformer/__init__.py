"""The Transformer of "Attention Is All You Need" in JAX and Flax, from data to BLEU.

Read it in this order: config, data (corpora, vocabulary, prepare, batches), model (attention, layers,
transformer, language_model), checkpoint, train (loss, optimizer, step, loop), decode (beam, sampling, generate,
completion), evaluate (bleu, perplexity), cli.

    from wmt_transformer import Translator
    Translator.load("runs/multi30k_en_de").translate(["A man rides a bicycle."])

    from wmt_transformer import LanguageModel
    LanguageModel.load("runs/shakespeare").generate_text("ROMEO:", 100, temperature=0.8)

    from wmt_transformer import Parser
    Parser.load("runs/penn").parse(["The cat sees a dog."])[0].tree
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wmt_transformer.decode.completion import LanguageModel as LanguageModel
    from wmt_transformer.decode.generate import Translator as Translator
    from wmt_transformer.decode.parse import Parser as Parser

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Imported when asked for: they bring JAX, which `--help` should not wait for.
    if name == "Translator":
        from wmt_transformer.decode.generate import Translator

        return Translator
    if name == "LanguageModel":
        from wmt_transformer.decode.completion import LanguageModel

        return LanguageModel
    if name == "Parser":
        from wmt_transformer.decode.parse import Parser

        return Parser
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
