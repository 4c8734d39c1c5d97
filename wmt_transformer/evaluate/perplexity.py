"""How well a model predicts text: perplexity per token and per word, and bits per byte; one scorer for every model.

The scorer sees a model as one function, `log_probs(ids)`: for a document's ids, the last of which is its end, the
natural-log probability of every id given those before it. A Transformer computes that window by window. `by_steps`
makes such a function of a model that predicts one token at a time, as in decoding: `step(tokens [1, 1], cache, index)
-> (logits [1, 1, V], cache)`.

    score(documents, lambda text: [*vocabulary.encode(text), EOS], by_steps(step, cache, BOS))

Tokens depend on the vocabulary, so perplexity per token compares only models of one vocabulary. Words and bytes are the
text's own, so the other two compare any models whose ids can spell any text: a model with one id for everything unknown
has less to predict.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wmt_transformer.config import UserError
from wmt_transformer.train.metrics import perplexity

LogProbabilities = Callable[[Sequence[int]], np.ndarray]
"""`log_probs(ids) -> [len(ids)]`: ln p(id | the ids before it, in this document)."""


@dataclasses.dataclass(frozen=True)
class Perplexity:
    """The information of a text under a model, and the text's length."""

    nats: float
    """-ln p of all documents, their ends included: an end is predicted like any token."""
    tokens: int
    """Ends of documents included."""
    words: int
    """Separated by white space; an end is no word."""
    bytes: int
    """Of the text in UTF-8; an end has no bytes."""

    @property
    def per_token(self) -> float:
        """exp(nats / tokens)."""
        return perplexity(self.nats / self.tokens)

    @property
    def per_word(self) -> float:
        """exp(nats / words), which does not depend on what the tokens are."""
        return perplexity(self.nats / self.words) if self.words else math.inf

    @property
    def bits_per_byte(self) -> float:
        """Nats / ln 2 / bytes; of ASCII text also bits per character."""
        return self.nats / math.log(2) / self.bytes

    def report(self) -> dict[str, float | int | None]:
        """Returns all numbers by name, None for one that is not finite."""
        measures = {"perplexity": self.per_token, "word_perplexity": self.per_word, "bits_per_byte": self.bits_per_byte}
        found = {**measures, **dataclasses.asdict(self)}
        return {name: value if math.isfinite(value) else None for name, value in found.items()}


def score(documents: Sequence[str], encode: Callable[[str], Sequence[int]], log_probs: LogProbabilities) -> Perplexity:
    """Returns how well a model predicts the documents.

    Args:
      encode: returns a document's ids, the one that ends it included.
      log_probs: the model; see `LogProbabilities`.

    Raises UserError where there is no text.
    """
    size = sum(len(document.encode()) for document in documents)
    if not size:
        raise UserError("there is no text to measure; give documents that are not empty")
    nats, tokens = 0.0, 0
    for document in documents:
        ids = encode(document)
        nats -= float(np.sum(log_probs(ids), dtype=np.float64))
        tokens += len(ids)
    return Perplexity(nats, tokens, sum(len(document.split()) for document in documents), size)


def by_steps(step: Callable[[Any, Any, Any], tuple[Any, Any]], cache: Any, bos: int) -> LogProbabilities:
    """Returns the log-probabilities of a model that predicts one token at a time.

    `step` and `cache` are those of `decode.beam.Step` for a batch of one and one hypothesis: `step` is given the token
    before index t (`bos` at the beginning) and returns logits of every id.
    """

    def log_probs(ids: Sequence[int]) -> np.ndarray:
        found, before, state = np.zeros(len(ids)), bos, cache
        for index, token in enumerate(ids):
            logits, state = step(np.full((1, 1), before, np.int32), state, np.int32(index))
            scores = np.asarray(logits, np.float64).reshape(-1)
            highest = scores.max()
            found[index] = scores[token] - highest - np.log(np.exp(scores - highest).sum())
            before = token
        return found

    return log_probs
