"""What a run measures and shows at its evaluations, beside the loss: greedy output, because beams would take longer.

The training loop knows nothing of decoding: it is given the function that `evaluation` returns.
"""

from __future__ import annotations

from typing import Any

from wmt_transformer.config import Config
from wmt_transformer.data.documents.prepare import PreparedText
from wmt_transformer.data.prepare import Prepared
from wmt_transformer.decode.completion import LanguageModel
from wmt_transformer.decode.generate import Translator
from wmt_transformer.evaluate.runs import Decoding, Warn, headline_of, ignore
from wmt_transformer.train.development import Evaluate

PROMPT_LENGTH = 40
"""Characters at the beginning of the development text that a language model continues."""
CONTINUATION = 60
"""Tokens that it writes."""


def evaluation(config: Config, prepared: Prepared | PreparedText, warn: Warn = ignore) -> Evaluate | None:
    """Returns what the training loop is to do at each evaluation; None where the config asks for nothing.

    A translator's or parser's is the BLEU or F1 of the first `evaluate_pairs` development sentences, a language model's
    a continuation of the development text, which has no score.
    """
    if isinstance(prepared, PreparedText):
        return _continuation(config, prepared) if config.train.show_translations else None
    return _scores(config, prepared, warn) if config.train.evaluate_pairs and prepared.dev_text else None


def _scores(config: Config, prepared: Prepared, warn: Warn) -> Evaluate:
    pairs = prepared.dev_text[: config.train.evaluate_pairs]
    translator: Translator | None = None

    def measure(params: Any) -> tuple[dict[str, float], str]:
        nonlocal translator
        translator = translator or Translator(config, params, prepared.vocabulary)
        translator.params = params
        (name, value), hypotheses = headline_of(translator, pairs, config, Decoding(beam_size=1), warn)
        shown = list(zip(pairs, hypotheses, strict=True))[: config.train.show_translations]
        return {name.lower(): value}, "\n".join(f"  {source}\n  -> {now}" for (source, _), now in shown)

    return measure


def _continuation(config: Config, prepared: PreparedText) -> Evaluate:
    prompt = prepared.dev_text[0][:PROMPT_LENGTH]
    model: LanguageModel | None = None

    def show(params: Any) -> tuple[dict[str, float], str]:
        nonlocal model
        model = model or LanguageModel(config, params, prepared.vocabulary)
        model.params = params
        text = model.generate_text(prompt, num_tokens=CONTINUATION, temperature=0.8, keep_last=True)
        return {}, f"  {prompt}|{text}".replace("\n", "\n  ")

    return show
