"""Which source word each output word looks at: cross-attention as weights, and as word alignments.

The weights come from a teacher-forced pass over the finished output: row t is what the decoder attended to when it
predicted piece t. For one number a pair of pieces, we take the mean over the heads of the decoder's last layer (as
fairseq does by default), and over the models of an ensemble.

An alignment links every output piece to the source piece of most weight; the ends of both sentences are left out.
Links between pieces become links between words, each written once: Pharaoh's `i-j`, source word i and output word j,
both counted from 0 in the text split at white space. A piece belongs to the word that it is a part of, a space that is
a piece of its own to the word after it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from wmt_transformer.config import ModelConfig
from wmt_transformer.data.vocabulary import Vocabulary, normalise
from wmt_transformer.decode.runs import Params
from wmt_transformer.model.transformer import Transformer
from wmt_transformer.special_tokens import EOS

Links = tuple[tuple[int, int], ...]
"""Pairs of a source word and an output word, sorted."""


@dataclasses.dataclass(frozen=True)
class Attention:
    """Weights `[target, source]` of one output, whose rows sum to 1. The last source piece is the end of the sentence,
    and so is the last output piece, unless the output was cut."""

    source_pieces: list[str]
    target_pieces: list[str]
    weights: np.ndarray


def pharaoh(links: Links) -> str:
    """Returns `0-0 1-2 …`, as fairseq and Marian write alignments."""
    return " ".join(f"{source}-{target}" for source, target in links)


def mean_attention(
    models: Sequence[ModelConfig],
    params: Sequence[Params],
    source: Int[Array, "batch source"],
    tokens: Int[Array, "batch hypotheses target"],
) -> Float[Array, "batch hypotheses target source"]:
    """Returns the last layer's weights for every hypothesis, the mean over heads and models."""
    width, flat = tokens.shape[1], tokens.reshape(-1, tokens.shape[2])
    total = 0.0
    for model, own in zip(models, params, strict=True):
        encoded = Transformer(model).apply({"params": own}, source, method="encode")
        encoded, repeated = (jnp.repeat(cast(Array, x), width, axis=0) for x in (encoded, source))
        total += _last_attention(model, own, encoded, repeated, flat).astype(jnp.float32).mean(axis=1)
    return cast(Array, total / len(models)).reshape(*tokens.shape, -1)


def _last_attention(
    model: ModelConfig, params: Params, encoded: Array, source: Array, target: Array
) -> Float[Array, "batch heads target source"]:
    explicit = Transformer(dataclasses.replace(model, attention="explicit"))  # the fused path has no weights to show
    apply = cast(Any, explicit.apply)
    _, kept = apply({"params": params}, encoded, source, target, method="decode", mutable="intermediates")
    last = kept["intermediates"][f"decoder_{model.decoder_layers - 1}"]
    return last["cross_attention"]["attention_weights"][0]


def links(weights: np.ndarray, source_words: Sequence[int], target_words: Sequence[int]) -> Links:
    """Returns the word links of weights `[target, source]` whose ends of sentence are left out.

    Args:
      weights: at least one row for each target piece and one column for each source piece; others are ignored.
      source_words, target_words: the number of each piece's word; -1 is none.
    """
    if not source_words or not target_words:
        return ()
    most = weights[: len(target_words), : len(source_words)].argmax(axis=1)
    found = {(source_words[piece], target) for piece, target in zip(most, target_words, strict=True)}
    return tuple(sorted((source, target) for source, target in found if source >= 0 and target >= 0))


def source_words(pieces: Sequence[str], first: int = 0) -> list[int]:
    """Returns the number of each source piece's word; the words are numbered from `first`."""
    starts = [number == 0 or piece.startswith("▁") for number, piece in enumerate(pieces)]
    return [first - 1 + int(count) for count in np.cumsum(starts)]


def target_pieces(vocabulary: Vocabulary, ids: Sequence[int]) -> tuple[list[str], list[int]]:
    """Returns what each output piece adds to the text, and the number of its word, -1 where no word follows a space.

    As in SentencePiece's pieces, ▁ stands for a space and begins the text.
    """
    texts = [vocabulary.decode(ids[:count]) for count in range(len(ids) + 1)]
    # A letter added to the text so far continues its last word, or begins the next one.
    words = [len(normalise(f"{text}x").split()) - 1 for text in texts[1:]]
    total = len(normalise(texts[-1]).split())
    added = [_added(before, now).replace(" ", "▁") for before, now in itertools.pairwise(texts)]
    return [f"▁{piece}" if number == 0 else piece for number, piece in enumerate(added)], [
        word if word < total else -1 for word in words
    ]


def _added(before: str, now: str) -> str:
    """Returns the end of `now` that differs from `before`: one more byte may change the text's last letter."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, now, strict=False))
    return now[len(list(pairs)) :]


def of_output(
    vocabulary: Vocabulary, source: str, first_word: int, ids: Sequence[int], weights: np.ndarray
) -> tuple[Links, Attention]:
    """Returns the word links and the attention of one output.

    Args:
      source: the text that was translated: a line, or the part of it that begins with word `first_word`.
      ids: the output's, up to its EOS if it has one.
      weights: `[target, source]`, with padding after both.
    """
    pieces = vocabulary.pieces(source)
    body = [token for token in ids if token != EOS]
    added, words = target_pieces(vocabulary, body)
    found = links(weights, source_words(pieces, first_word), words)
    end = ["<end>"]
    kept = weights[: len(ids), : len(pieces) + 1].astype(np.float32)
    return found, Attention([*pieces, *end], added + end * (len(ids) - len(body)), kept)
