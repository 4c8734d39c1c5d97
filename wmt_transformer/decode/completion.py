"""Strings in, strings out: a trained decoder as a language model, which continues a text.

A language model continues the prompt. The decoder of a translation run is a language model too, of the target language,
once it has a sentence to translate; the prompt is then the beginning of the translation. The samplers of `sampling`
draw the tokens one at a time, with a cache of keys and values, for all prompts together, and each token is handed out
at once. The continuation of one prompt does not depend on the others.

A language model reads no more tokens than its window had in training. When the window is full, its last half becomes
the prompt of the next one, so a text may have any length.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wmt_transformer.config import Config, UserError
from wmt_transformer.data.vocabulary import Vocabulary
from wmt_transformer.decode import next_tokens, runs, sampling, scoring
from wmt_transformer.decode.lines import padded, round_up
from wmt_transformer.decode.rules import Rules
from wmt_transformer.decode.runs import Params
from wmt_transformer.decode.streaming import Continuation, GrowingText, StopStrings, windows
from wmt_transformer.decode.texts import as_list, one_or_all
from wmt_transformer.messages import number_of
from wmt_transformer.special_tokens import BOS, EOS, PAD


class NextToken(NamedTuple):
    """A token that may come next; `text` is its piece with spaces for ▁."""

    token: int
    text: str
    probability: float


class LanguageModel:
    """Continues text with one set of parameters; assign `params` to use others of the same shapes.

    Calls from several threads are safe.

    >>> import wmt_transformer as wt
    >>> model = wt.LanguageModel.load("runs/shakespeare")
    >>> model
    LanguageModel(runs/shakespeare, step ..., ... parameters, ...)
    >>> model.generate_text("ROMEO:", num_tokens=20, temperature=0.8)
    '...'
    >>> [likeliest, second] = model.predict_next("A journey of a", 2)
    >>> 1 >= likeliest.probability >= second.probability
    True
    >>> "".join(model.stream("ROMEO:", num_tokens=20, seed=3)) == model.generate_text("ROMEO:", 20, seed=3)
    True
    """

    def __init__(
        self,
        config: Config,
        params: Params,
        vocabulary: Vocabulary,
        source: str | None = None,
        origin: str = "in memory",
    ):
        translates = config.model.architecture == "encoder_decoder"
        if translates and source is None:
            raise UserError(
                f"{config.name} is a translation run: give the sentence to translate as the source (--source TEXT)"
            )
        if not translates and source is not None:
            raise UserError(f"{config.name} is a language model, which has no source; leave it out")
        self.params, self.vocabulary, self._origin = params, vocabulary, origin
        self.model = runs.sized(config.model, params, vocabulary)
        self._source = None if source is None else [*vocabulary.encode(source), EOS]
        # A model of whole files hardly ever saw a beginning.
        self._needs_prompt = not translates and config.data.documents == "file"
        positions = self.model.max_positions if self.model.positions == "learned" else sys.maxsize
        self.context = positions if translates else min(config.data.context, positions)
        """Tokens that a window holds, BOS included."""
        self._longest_prompt = (config.data.max_length if translates else self.context) - 1

    @classmethod
    def load(
        cls,
        workdir: str | os.PathLike[str],
        checkpoint: str | int | None = None,
        source: str | None = None,
        warn: Callable[[str], None] = warnings.warn,
    ) -> LanguageModel:
        """Reads a run: `checkpoint` is average, best, latest or a step; None is the average, or else the best.

        `warn` is told which checkpoint is used where it is not the newest.

        `source` is the sentence to translate, for a translation run. Raises UserError when the folder holds no run, no
        such checkpoint, or a run of the other kind.
        """
        run = runs.load(Path(workdir), checkpoint, warn=warn)
        return cls(run.config, run.params, run.vocabulary, source, run.origin)

    def __repr__(self) -> str:
        return runs.shown(self, self._origin, self.params)

    @one_or_all
    def predict_next(self, prompt: list[str], count: int = 10, keep_last: bool = False) -> list[list[NextToken]]:
        """Returns the `count` tokens that are most likely to follow a prompt, likeliest first, or a list for several.

        Raises UserError for a prompt that is longer than the context, unless `keep_last` keeps only its last tokens.
        """
        return [self._likeliest(self._window(one, keep_last), count) for one in prompt]

    def _likeliest(self, ids: list[int], count: int) -> list[NextToken]:
        if self._source is None:
            length = min(round_up(len(ids)), self.context)
            source, target, place = next_tokens.padded_left([ids], length), np.array([[EOS]], np.int32), 0
        else:
            source, place = np.array([self._source], np.int32), len(ids) - 1
            target = padded([[*ids[1:], EOS]], 1, min(round_up(len(ids)), self.context))
        log_probs = np.asarray(next_tokens.following(self.params, source, target, np.int32(place), model=self.model))
        best = np.argsort(-log_probs, kind="stable")[:count]
        return [
            NextToken(token, self.vocabulary.piece(token).replace("\u2581", " "), float(np.exp(log_probs[token])))
            for token in best.tolist()
        ]

    @one_or_all
    def generate_text(
        self,
        prompt: list[str],
        num_tokens: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float | None = None,
        stop: Sequence[str] = (),
        seed: int = 1,
        keep_last: bool = False,
    ) -> list[str]:
        """Returns what the model writes after a prompt, or a list for several; the options are those of `stream`."""
        pieces = self.stream(
            prompt,
            num_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            repetition_penalty=repetition_penalty,
            stop=stop,
            seed=seed,
            keep_last=keep_last,
        )
        return ["".join(row) for row in zip(*pieces, strict=True)]

    def stream(
        self,
        prompts: str | Iterable[str],
        num_tokens: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float | None = None,
        stop: Sequence[str] = (),
        seed: int = 1,
        keep_last: bool = False,
    ) -> Iterator[Any]:
        """Yields, after every token, the new text of the continuation of a prompt, or a list of those of several
        prompts; many of the strings are empty.

        Args:
          prompts: one prompt, or any iterable of them.
          num_tokens: most tokens of a continuation, which may end before.
          temperature, top_k, top_p, repetition_penalty: see `sampling`, in the order penalty, temperature, k, p; at
            temperature 0 the most probable token is taken.
          stop: texts that end a continuation where they appear; they are not part of it.
          seed: with the number of a prompt, decides what is drawn for it.
          keep_last: keep the last tokens of a prompt that is longer than the context, instead of refusing it.

        Raises TypeError for what is no text, UserError for settings out of range, an empty prompt where the model needs
        one, and one that is too long.
        """
        if num_tokens < 1:
            raise UserError(f"num_tokens is {num_tokens}, it must be at least 1")
        if not 0 <= seed < 2**32:
            raise UserError(f"the seed is {seed}, it must be from 0 to {2**32 - 1}")
        sampler = _sampler(temperature, top_k, top_p, repetition_penalty)
        stops, asked = StopStrings(tuple(stop)), [self._window(one, keep_last) for one in as_list(prompts, "prompts")]
        rows = [Continuation(ids, num_tokens, GrowingText(self.vocabulary.decode, ids, stops)) for ids in asked]
        pieces = self._stream(rows, sampler, _keys(seed, len(rows)))
        return (piece for (piece,) in pieces) if isinstance(prompts, str) else pieces

    def _stream(self, rows: list[Continuation], sampler: sampling.Sampler, keys: jax.Array) -> Iterator[list[str]]:
        window = 0
        while any(row.left for row in rows):
            now = jax.vmap(jax.random.fold_in, (0, None))(keys, window)
            yield from self._fill_window(rows, sampler, now)
            window += 1
        if any(rest := [row.text.finish() for row in rows]):
            yield rest

    def _fill_window(self, rows: list[Continuation], sampler: sampling.Sampler, keys: jax.Array) -> Iterator[list[str]]:
        """Yields the new text of every row until each has ended or filled its window."""
        inputs = [row.ids if len(row.ids) <= self.context else row.ids[-max(self.context // 2, 1) :] for row in rows]
        limits = [min(row.left, self.context - len(ids) + 1) for row, ids in zip(rows, inputs, strict=True)]
        rules, skipped = None, [0] * len(rows)
        longest = min(round_up(max(map(len, inputs))), self.context)
        before = next_tokens.padded_left(inputs, longest)
        if self._source is None:
            source = before
        else:
            source = np.array([self._source] * len(rows), np.int32)
            skipped = [len(ids) - 1 for ids in inputs]  # forced, after BOS
            limits = [limit + n if limit else 0 for limit, n in zip(limits, skipped, strict=True)]
            anything = jnp.full(len(rows), np.iinfo(np.int32).max, jnp.int32)
            prefix = padded([ids[1:] for ids in inputs], len(rows), longest)
            rules = Rules(jnp.zeros_like(anything), anything, jnp.asarray(prefix))
        max_length, max_lengths = round_up(max(limits)), np.asarray(limits, np.int32)
        state, memory = next_tokens.begin(self.params, source, max_lengths, model=self.model, max_length=max_length)
        for index in range(max(limits)):
            state = next_tokens.extend(
                self.params, memory, state, max_lengths, keys, rules, before, model=self.model, sampler=sampler
            )
            tokens = np.asarray(state.last)[:, 0].tolist()
            yield [
                row.add(token) if index >= forced and token != PAD else ""
                for row, token, forced in zip(rows, tokens, skipped, strict=True)
            ]
            if not any(row.left for row in rows) or not np.asarray(state.open).any():
                break

    def warm_up(
        self,
        num_tokens: int,
        prompt_tokens: int | None = None,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float | None = None,
    ) -> int:
        """Compiles every program that one prompt at a time may need, so that no later call waits; returns how many.

        These are the calls with this `num_tokens` and these options (see `stream`), and `predict_next`. What was
        compiled before, by any process, is read from the cache folder.

        Args:
          prompt_tokens: the most tokens of a prompt (default: those that the context holds, or, of a translation run,
            those that its training saw).

        >>> import wmt_transformer as wt
        >>> wt.LanguageModel.load("runs/shakespeare").warm_up(num_tokens=20, prompt_tokens=10) > 1
        True
        """
        if num_tokens < 1 or (prompt_tokens is not None and prompt_tokens < 0):
            raise UserError(f"num_tokens is {num_tokens} and prompt_tokens {prompt_tokens}; give 1 or more, 0 or more")
        sampler, keys = _sampler(temperature, top_k, top_p, repetition_penalty), _keys(1, 1)
        most = min(self._longest_prompt if prompt_tokens is None else prompt_tokens, self.context - 1)
        shapes, lengths = {}, {}
        for prompt in range(1, most + 2):  # BOS included
            lengths[min(round_up(prompt), self.context)] = prompt
            for length, left in windows(prompt, num_tokens, self.context):
                forced = 0 if self._source is None else length - 1
                new = min(left, self.context - length + 1) + forced
                shapes[min(round_up(length), self.context), round_up(new)] = length, left
        for length in lengths.values():
            self._likeliest([BOS] * length, 1)
        for length, left in shapes.values():
            row = Continuation([BOS] * length, left, GrowingText(self.vocabulary.decode, [], StopStrings(())))
            next(self._stream([row], sampler, keys))
        begun = shapes if self._source is None else {new for _, new in shapes}  # whose start is that of the source
        return len(lengths) + len(begun) + len(shapes)

    def log_probabilities(self, ids: Sequence[int], stride: int | None = None) -> np.ndarray:
        """Returns the log-probability of each of a document's ids, the last of which is EOS, given those before it.

        The document is read in windows of the context's length, each `stride` tokens after the one before; each scores
        the tokens that no earlier window had. So a token has at least context - stride others before it, where the
        document has them. With a stride as long as the context (the default) windows do not overlap, as in training.
        """
        if self._source is not None:
            raise UserError(
                "a translation run has no probability of a text alone; give --source and --target to `score`"
            )
        stride = self.context if stride is None else stride
        if not 1 <= stride <= self.context:
            raise UserError(f"the stride is {stride}, it must be from 1 to the context, {self.context}")
        kept, all_ids = self.context - stride + 1, [BOS, *ids]
        sources = [all_ids[max(start + 1 - kept, 0) : start + 1] for start in range(0, len(ids), stride)]
        targets = [list(ids[start : start + stride]) for start in range(0, len(ids), stride)]
        found, rows = [], 8
        for start in range(0, len(targets), rows):
            some = slice(start, start + rows)
            source = next_tokens.padded_left(sources[some], kept, rows)
            target = padded(targets[some], rows, stride)
            scored = scoring.log_probabilities((self.params,), source, target, models=(self.model,))
            found.append(np.asarray(scored)[: len(targets[some])].reshape(-1))
        return np.concatenate(found)[: len(ids)]

    def _window(self, prompt: str, keep_last: bool) -> list[int]:
        """Returns the prompt's ids after BOS, or with `keep_last` the last ids of one that is too long."""
        if not prompt and self._needs_prompt:
            raise UserError("the prompt is empty, and this model was trained on whole files: give a text to continue")
        ids = [BOS, *self.vocabulary.encode_target(prompt)]
        if len(ids) <= self.context:
            return ids
        if not keep_last or self._source is not None:
            raise UserError(
                f"the prompt has {number_of(len(ids) - 1, 'token')} and the model's context holds {self.context - 1}; "
                "shorten it" + ("" if self._source is not None else ", or keep its last tokens only (--keep-last)")
            )
        return ids[-self.context :]


def _sampler(
    temperature: float, top_k: int | None, top_p: float | None, repetition_penalty: float | None
) -> sampling.Sample:
    asked = [
        (sampling.RepetitionPenalty, repetition_penalty),
        (sampling.Temperature, temperature),
        (sampling.TopK, top_k),
        (sampling.TopP, top_p),
    ]
    return sampling.Sample(tuple(kind(value) for kind, value in asked if value is not None))


def _keys(seed: int, count: int) -> jax.Array:
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(count))
