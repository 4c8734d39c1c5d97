"""Strings in, strings out: a trained model as a translator.

Sentences are sorted by length and decoded in batches whose shapes come from a short list, so that XLA
compiles a handful of programs, one for each shape. Encoding, cross-attention's keys and values and the search
are one program; parameters and alpha are its arguments, so new parameters do not compile again. What a
sentence becomes does not depend on the sentences around it.

A line longer than anything that training saw (`data.max_length`) would be translated badly and slowly in one
go: it is cut into parts, at ends of sentences where it has any, the parts are translated, and a warning names
the line. Nothing is ever dropped.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from wmt_transformer.config import Config, ModelConfig, UserError, from_json
from wmt_transformer.data.vocabulary import BOS, EOS, PAD, Vocabulary, normalise
from wmt_transformer.decode import beam, sampling
from wmt_transformer.model.transformer import Transformer


@dataclasses.dataclass(frozen=True)
class Translation:
    """One hypothesis: its text, and its log-probability divided by the length penalty of §6.1."""

    text: str
    score: float


class Translator:
    """Translates with one set of parameters; assign `params` to go on with others of the same shapes."""

    def __init__(self, config: Config, params: Any, vocabulary: Vocabulary):
        rows = params["target_embedding"]["table"].shape[0]
        if rows != len(vocabulary):
            raise UserError(
                f"the vocabulary has {len(vocabulary)} pieces and the checkpoint's embedding {rows} rows; "
                "use the vocabulary that the model was trained with"
            )
        self.params = params
        self.model = dataclasses.replace(config.model, vocabulary_size=rows)
        self._decode = config.decode
        self.vocabulary = vocabulary
        # A learned table has no row for what lies behind its end; sinusoids go on for ever.
        self._positions = config.model.max_positions if config.model.positions == "learned" else sys.maxsize
        self._longest = min(config.data.max_length, self._positions)

    @classmethod
    def load(cls, workdir: str | os.PathLike[str], checkpoint: str | int | None = None) -> Translator:
        """Reads a trained translator: `checkpoint` is average, best, latest or a step.

        None is the average where there is one, otherwise the best.

        Raises UserError when the folder holds no run, no such checkpoint, or another model's vocabulary.
        """
        from wmt_transformer.checkpoint import load_params  # brings Orbax

        folder = Path(workdir)
        if not (folder / "config.json").is_file():
            raise UserError(
                f"{folder} holds no run: there is no config.json; "
                f"`wmt-transformer train CONFIG --workdir {folder}` makes one"
            )
        config = from_json((folder / "config.json").read_text(encoding="utf-8"))
        params = load_params(folder, checkpoint)
        return cls(config, params, Vocabulary.load(folder / "data" / "vocabulary.model"))

    def translate(
        self,
        sentences: Sequence[str],
        beam_size: int | None = None,
        alpha: float | None = None,
        warn: Callable[[str], None] | None = None,
        first_line: int = 1,
    ) -> list[str]:
        """Returns the best translation of each sentence, in their order; see `n_best`."""
        return [best[0].text for best in self.n_best(sentences, 1, beam_size, alpha, warn, first_line)]

    def n_best(
        self,
        sentences: Sequence[str],
        count: int,
        beam_size: int | None = None,
        alpha: float | None = None,
        warn: Callable[[str], None] | None = None,
        first_line: int = 1,
    ) -> list[list[Translation]]:
        """Returns up to `count` translations of each sentence, best first.

        Args:
          sentences: one line each; a blank one gives one empty translation of score 0.
          count: translations wanted, at most the beam size. There are fewer where fewer exist.
          beam_size: hypotheses kept (default: the config's); 1 is greedy.
          alpha: exponent of the length penalty, at least 0 (default: the config's).
          warn: is told about every line that is too long to translate in one go (default: `warnings.warn`).
          first_line: the number of the first sentence in such a warning.

        Returns:
          One list for each sentence. A line that was cut into parts has the parts' translations joined, the
          k-th best with the k-th best, and their mean score.
        """
        width = self._decode.beam_size if beam_size is None else beam_size
        alpha = self._decode.alpha if alpha is None else alpha
        if width < 1:
            raise UserError(f"the beam size is {width}, it must be at least 1")
        if not 1 <= count <= width:
            raise UserError(
                f"{count} translations were asked of a beam of {width}; ask for 1 to {width}, or a wider beam"
            )
        if not 0.0 <= alpha < float("inf"):
            raise UserError(f"alpha is {alpha}, it must be 0 or more")

        parts, owners = self._parts(sentences, warn or warnings.warn, first_line)
        translated = self._search(parts, count, width, alpha)
        by_line: list[list[list[Translation]]] = [[] for _ in sentences]
        for line, hypotheses in zip(owners, translated, strict=True):
            by_line[line].append(hypotheses)
        return [_join(lists) for lists in by_line]

    def _parts(
        self, sentences: Sequence[str], warn: Callable[[str], None], first_line: int
    ) -> tuple[list[list[int]], list[int]]:
        """Returns the source ids of every part to be translated, EOS included, and the line each is from."""
        parts, owners = [], []
        for line, sentence in enumerate(sentences):
            ids = self.vocabulary.encode(sentence)
            pieces = [ids] if ids else []
            if len(ids) >= self._longest:
                pieces = list(self._split(normalise(sentence)))
                warn(
                    f"line {line + first_line} is very long: {len(ids)} pieces, where training saw at most "
                    f"{self._longest - 1}; it is translated in {len(pieces)} parts"
                )
            parts += [[*piece, EOS] for piece in pieces]
            owners += [line] * len(pieces)
        return parts, owners

    def _split(self, text: str) -> Iterator[list[int]]:
        """Yields the ids of the text's parts: halves, halves of halves, … until each is short enough."""
        ids = self.vocabulary.encode(text)
        if len(ids) < self._longest or len(text) < 2:
            yield ids
        else:
            middle = _middle_cut(text)
            yield from self._split(text[:middle].strip())
            yield from self._split(text[middle:].strip())

    def _search(self, parts: list[list[int]], count: int, width: int, alpha: float) -> list[list[Translation]]:
        results: list[list[Translation]] = [[] for _ in parts]
        longest_first = sorted(range(len(parts)), key=lambda i: -len(parts[i]))
        while longest_first:
            length = min(_round_up(len(parts[longest_first[0]])), self._positions)
            max_length = min(length + self._decode.extra_length, self._positions)
            rows = max(1, self._decode.batch_tokens // (width * length))
            rows = 1 << min(rows.bit_length() - 1, (len(longest_first) - 1).bit_length())
            chosen, longest_first = longest_first[:rows], longest_first[rows:]
            source = np.full((rows, length), PAD, np.int32)
            max_lengths = np.zeros(rows, np.int32)
            for row, i in enumerate(chosen):
                source[row, : len(parts[i])] = parts[i]
                # The source's pieces without EOS, plus extra_length, plus the output's EOS.
                max_lengths[row] = min(len(parts[i]) + self._decode.extra_length, max_length)
            hypotheses = _decode(
                self.params,
                source,
                max_lengths,
                np.float32(alpha),
                model=self.model,
                beam_size=width,
                num_results=count,
                max_length=max_length,
            )
            for i, tokens, scores in zip(chosen, *map(np.asarray, hypotheses), strict=False):
                kept = np.isfinite(scores) | (np.arange(count) == 0)
                # Bytes that the model puts together may make a line break: one line in, one line out.
                results[i] = [
                    Translation(normalise(self.vocabulary.decode(ids)), float(score))
                    for ids, score in zip(tokens[kept].tolist(), scores[kept], strict=True)
                ]
        return results


@partial(jax.jit, static_argnames=("model", "beam_size", "num_results", "max_length"))
def _decode(
    params: Any,
    source: jax.Array,
    max_lengths: jax.Array,
    alpha: jax.Array,
    *,
    model: ModelConfig,
    beam_size: int,
    num_results: int,
    max_length: int,
) -> beam.Hypotheses:
    """Returns the search's hypotheses for a batch of source ids; compiled once for each shape."""
    transformer = Transformer(model)
    variables = {"params": params}
    encoded = transformer.apply(variables, source, method="encode")
    cache, memory = transformer.apply(variables, encoded, source, beam_size, max_length, method="start_cache")

    def step(tokens: jax.Array, cache: Any, index: jax.Array) -> tuple[jax.Array, Any]:
        return transformer.apply(variables, tokens, index, cache, memory, method="step")

    greedy = partial(sampling.greedy, step, cache, max_lengths)
    search = partial(beam.search, step, cache, max_lengths, beam_size=beam_size, num_results=num_results)
    chosen = greedy if beam_size == 1 else search
    return chosen(max_length=max_length, alpha=alpha, bos=BOS, eos=EOS, pad=PAD)


def _round_up(length: int) -> int:
    """Returns the least of 8, 12, 16, 24, 32, 48, 64, 96, … that is not less than `length`."""
    power = max(8, 1 << (length - 1).bit_length())
    return power * 3 // 4 if 8 < length <= power * 3 // 4 else power


def _middle_cut(text: str) -> int:
    """Returns where to cut a text in two: after a sentence, else between words, else between characters.

    The cut lies between a quarter and three quarters of the text, as near to the middle as it can.
    """
    middle = len(text) / 2
    for between in (r"(?<=[.!?…;:])\s+|(?<=\u3002)", r"\s+"):
        cuts = [match.start() for match in re.finditer(between, text)]
        nearest = min(cuts, key=lambda cut: abs(cut - middle), default=0)
        if abs(nearest - middle) <= middle / 2:
            return nearest
    return len(text) // 2


def _join(parts: list[list[Translation]]) -> list[Translation]:
    """Returns a line's n-best list from those of its parts; without parts, the empty translation."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return [Translation("", 0.0)]
    return [
        Translation(" ".join(part.text for part in kth), sum(part.score for part in kth) / len(kth))
        for kth in zip(*parts, strict=False)  # as many as the part with the fewest has
    ]
