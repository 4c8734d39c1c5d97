"""Strings in, strings out: a trained model, or several as an ensemble, as a translator.

Texts become parts (`lines`), parts are decoded in batches of few shapes (`batched`), and the outputs become texts
again. Search or sampling, forced prefixes, lengths, coverage and alignments are options of this one path (`n_best`);
an option that is not used costs nothing. A text's translation does not depend on the texts around it.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wmt_transformer.config import Config, DecodeConfig, DecodeDtype, ModelConfig, UserError
from wmt_transformer.data.vocabulary import Vocabulary, normalise
from wmt_transformer.decode import alignment, batched, ensemble, lines, runs, sampling, scoring
from wmt_transformer.decode.glossary import Glossary, missing
from wmt_transformer.decode.lines import Part, Translation
from wmt_transformer.decode.runs import Params
from wmt_transformer.decode.sampling import GREEDY
from wmt_transformer.decode.scoring import Score
from wmt_transformer.decode.shapes import batch_tokens
from wmt_transformer.decode.texts import as_list, one_or_all
from wmt_transformer.messages import number_of
from wmt_transformer.special_tokens import EOS


class Translator:
    """Translates with one set of parameters; assign `params` to go on with others of the same shapes.

    Calls from several threads are safe: they decode one after the other.

    >>> import wmt_transformer as wt
    >>> translator = wt.Translator.load("runs/quickstart")
    >>> translator
    Translator(runs/quickstart, average at step ..., ... parameters, ...)
    >>> translator.translate("The old dog sees a small bird.")
    '...'
    >>> translator.translate(["The cat sees a dog.", "A bird likes the big cat."], beam_size=2)
    ['...', '...']
    >>> [best, second] = translator.n_best("The cat sees a dog.", 2)
    >>> best.score >= second.score
    True
    """

    def __init__(self, config: Config, params: Params, vocabulary: Vocabulary, origin: str = "in memory"):
        if config.model.architecture == "decoder_only":
            raise UserError(f"{config.name} is a language model, which does not translate; see `generate`")
        self.params = params
        self.model = runs.sized(config.model, params, vocabulary)
        self.vocabulary = vocabulary
        self.data = config.data
        self._decode = config.decode
        self._origin = origin
        self._others: tuple[Translator, ...] = ()  # of an ensemble
        self._one_at_a_time = threading.Lock()
        # A learned table of positions ends; sinusoids do not.
        self._positions = config.model.max_positions if config.model.positions == "learned" else sys.maxsize
        self.longest = min(config.data.max_length, self._positions)
        """A line with this many pieces, EOS included, is decoded in parts: training saw none as long."""

    def __repr__(self) -> str:
        return runs.shown(self, self._origin, self._parameters)

    @classmethod
    def load(
        cls,
        workdir: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        checkpoint: str | int | Sequence[str | int | None] | None = None,
        compute_dtype: DecodeDtype | None = None,
        warn: Callable[[str], None] = warnings.warn,
    ) -> Translator:
        """Reads a trained translator. Several work folders, several checkpoints of one, or the same number of both are
        an ensemble (see `ensemble`).

        Args:
          checkpoint: average, best, latest or a step; None is the average where there is one, otherwise the best.
          compute_dtype: of the matrix products (default: the run's own, on a CPU float32); bfloat16 is faster on a CPU
            that multiplies it, and rounds; int8 is for CPUs, and rounds more (see `model/int8.py`).
          warn: is told which checkpoint is used where it is not the newest.

        Raises UserError when a folder holds no run, no such checkpoint, or another model's vocabulary.
        """
        folders = [workdir] if isinstance(workdir, str | os.PathLike) else list(workdir)
        which = [checkpoint] if checkpoint is None or isinstance(checkpoint, str | int) else list(checkpoint)
        count = max(len(folders), len(which))
        if not {len(folders), len(which)} <= {1, count}:
            raise UserError(
                f"{number_of(len(folders), 'work folder')} and {number_of(len(which), 'checkpoint')}: give one of "
                "either, or the same number of both"
            )
        pairs = itertools.islice(zip(itertools.cycle(folders), itertools.cycle(which), strict=False), count)
        return cls.ensemble(
            [cls(*runs.load(Path(folder), one, compute_dtype, warn)) for folder, one in pairs],
            [str(one) for one in folders],
        )

    @classmethod
    def ensemble(cls, members: Sequence[Translator], names: Sequence[str] = ()) -> Translator:
        """Returns a translator whose probabilities are the mean of its members' (see `decode/ensemble.py`).

        Sizes may differ. The first member's vocabulary and decoding settings are used, and the shortest of their
        limits on lengths. Raises UserError where the vocabularies differ; `names` are the members' in the message.
        """
        first, *others = members
        if not others:
            return first
        for number, other in enumerate(others, 1):
            if differs := ensemble.difference(first.vocabulary, other.vocabulary):
                one, two = (
                    (names[0], names[number]) if len(names) == len(members) else ("the first", f"number {number + 1}")
                )
                raise UserError(
                    f"the vocabularies of {one} and {two} differ: {differs}; an ensemble needs runs of one vocabulary"
                )
        config = Config(model=first.model, data=first.data, decode=first._decode)
        joined = cls(config, first.params, first.vocabulary, " + ".join(one._origin for one in members))
        joined._others = tuple(others)
        joined._positions = min(one._positions for one in members)
        joined.longest = min(one.longest for one in members)
        return joined

    @one_or_all
    def translate(
        self,
        texts: list[str],
        beam_size: int | None = None,
        alpha: float | None = None,
        warn: Callable[[str], None] | None = None,
        first_line: int = 1,
        *,
        prefixes: str | Iterable[str] | None = None,
        beta: float | None = None,
        min_length: int | None = None,
        max_length: int | None = None,
        sampler: sampling.Sample | None = None,
        seed: int = 1,
        glossary: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Returns the best translation of a text, or a list of those of several texts; see `n_best` for the options."""
        request = self.request(1, beam_size, alpha, beta, min_length, max_length, sampler, seed, glossary=glossary)
        return [best.text for best, *_ in self._hypotheses(texts, request, prefixes, warn, first_line)]

    @one_or_all
    def n_best(
        self,
        texts: list[str],
        count: int,
        beam_size: int | None = None,
        alpha: float | None = None,
        warn: Callable[[str], None] | None = None,
        first_line: int = 1,
        *,
        prefixes: str | Iterable[str] | None = None,
        beta: float | None = None,
        min_length: int | None = None,
        max_length: int | None = None,
        sampler: sampling.Sample | None = None,
        seed: int = 1,
        glossary: Mapping[str, str] | None = None,
        alignments: bool = False,
        rule: batched.MakeRule | None = None,
    ) -> list[list[Translation]]:
        """Returns up to `count` translations of a text, best first, or a list of such lists for several texts.

        Args:
          texts: one text, or any iterable of them. Each line of a text is translated for itself, and its line breaks
            come back between the translations. A blank text gives one empty translation of score 0.
          count: translations wanted, at most the beam size. There are fewer where fewer exist. With a sampler: samples,
            drawn independently of each other and given in their order.
          beam_size: hypotheses kept (default: the config's); 1 is greedy.
          alpha: exponent of the length penalty, at least 0 (default: the config's).
          warn: is told about every line that is too long to translate in one go (default: `warnings.warn`).
          first_line: the number of the first text in warnings and errors, and for `seed`.
          prefixes: what each translation begins with; an empty one forces nothing. The translation goes on where the
            prefix ends, be it in the middle of a word.
          beta: factor of the coverage penalty (see `decode/coverage.py`).
          min_length, max_length: the fewest and most pieces of an output, EOS not counted: one that reaches
            `max_length` ends there. Without it an output is cut at the source's pieces plus the config's
            `extra_length`, which also holds beside it.
          sampler: draws translations at random instead of searching for the best, such as
            `Sample((Temperature(0.8), TopK(40)))` of `decode/sampling.py`; scores are log-probabilities.
          seed: with the text's number, decides what is drawn for it, whatever else is translated.
          glossary: source terms and what each translation of a sentence with them must contain (see
            `decode/glossary.py`). Where there is no room for some, `missing` of the translation has them, and `warn` is
            told.
          alignments: adds word alignments and attention to each translation (see `decode/alignment.py`).
          rule: what outputs must be (see `decode/tree_rules.py`), in place of lengths and prefixes.

        Returns:
          A text of several lines or parts has their translations joined, the k-th best with the k-th best, and their
          mean score; a prefix is its first part's, lengths are each part's.

        Raises TypeError for what is no text, and UserError for settings out of range or against each other, and for a
        prefix that cannot be met.
        """
        request = self.request(
            count, beam_size, alpha, beta, min_length, max_length, sampler, seed, alignments, rule, glossary
        )
        return self._hypotheses(texts, request, prefixes, warn, first_line)

    def decode(self, texts: Sequence[str], request: batched.Request) -> list[list[Translation]]:
        """Returns what `n_best` does, for a request that is made once (see `request`) and used for many calls.

        Lines that are too long to be translated in one go are cut in silence.
        """
        return self._hypotheses(texts, request, None, lambda _: None, 1)

    def _hypotheses(
        self,
        texts: Sequence[str],
        request: batched.Request,
        prefixes: str | Iterable[str] | None,
        warn: Callable[[str], None] | None,
        first_line: int,
    ) -> list[list[Translation]]:
        begun = None if prefixes is None else as_list(prefixes, "prefixes")
        if begun is not None and len(begun) != len(texts):
            raise UserError(f"there are {len(begun)} prefixes for {len(texts)} texts; give one for each")
        warn = warn or warnings.warn
        parts, ends = lines.parts_of(self.vocabulary, texts, begun, self.longest, warn, first_line)
        for part in parts:
            lines.check_room(part, request.settings, self._positions)
        if (glossary := request.glossary) is not None:
            parts = [glossary.constrained(part, self.vocabulary, self._room(part, request)) for part in parts]
        found: list[list[tuple[str, list[Translation]]]] = [[] for _ in texts]
        with self._one_at_a_time:
            outputs = batched.decode(self._models, self._parameters, parts, request)
        for part, hypotheses in zip(parts, outputs, strict=True):
            translations = [self._translation(part, one) for one in hypotheses]
            if translations[0].missing:
                warn(f"line {part.line}: there was no room for {', '.join(translations[0].missing)} of the glossary")
            found[part.line - first_line].append((part.before, translations))
        return [lines.join(one, end) for one, end in zip(found, ends, strict=True)]

    def request(
        self,
        count: int = 1,
        beam_size: int | None = None,
        alpha: float | None = None,
        beta: float | None = None,
        min_length: int | None = None,
        max_length: int | None = None,
        sampler: sampling.Sample | None = None,
        seed: int = 1,
        alignments: bool = False,
        rule: batched.MakeRule | None = None,
        glossary: Mapping[str, str] | None = None,
    ) -> batched.Request:
        """Returns what is asked for every text alike; see `n_best`, whose options these are.

        Raises UserError for settings out of range or against each other.
        """
        settings = dict(beam_size=beam_size, alpha=alpha, beta=beta, min_length=min_length, max_length=max_length)
        given = {name: value for name, value in settings.items() if value is not None}
        decoding: DecodeConfig = dataclasses.replace(self._decode, **given)
        if sampler is not None:
            _check_sampling(given if glossary is None else {**given, "glossary": glossary}, seed)
            decoding = dataclasses.replace(decoding, beam_size=1, alpha=0.0, beta=0.0)
        most = sys.maxsize if sampler is not None else decoding.beam_size
        if not 1 <= count <= most:
            advice = "1 or more" if sampler is not None else f"1 to {most}, or a wider beam"
            raise UserError(
                f"{number_of(count, 'translation')} {'was' if count == 1 else 'were'} asked of a beam of "
                f"{decoding.beam_size}; ask for {advice}"
            )
        terms = None if glossary is None else Glossary(glossary)
        return batched.Request(decoding, count, sampler or GREEDY, seed, alignments, rule, self._positions, (), terms)

    def warm_up(self, texts: int | None = None, request: batched.Request | None = None) -> int:
        """Compiles every program that translating may need, so that no later call waits; returns how many there are.

        Each length has its program, and each number of texts up to the next power of two. What was compiled before,
        by any process, is read from the cache folder.

        Args:
          texts: the most lines that one call will have, 1 for a call a sentence (default: any number).
          request: the options of these calls (see `request`; default: the config's). Prefixes make other programs.

        >>> import wmt_transformer as wt
        >>> translator = wt.Translator.load("runs/quickstart")
        >>> translator.warm_up(texts=1, request=translator.request(beam_size=1)) > 1
        True
        """
        if texts is not None and texts < 1:
            raise UserError(f"there are {texts} texts to warm up for; give 1 or more")
        with self._one_at_a_time:
            asked = request or self.request()
            return batched.warm_up(self._models, self._parameters, asked, self.longest, texts)

    @one_or_all
    def score(self, sources: list[str], targets: str | Iterable[str], first_line: int = 1) -> list[Score]:
        """Returns the log-probability of a target given its source, or a list for several (see `decode/scoring.py`).

        No line is split, however long. Raises TypeError for what is no text, UserError where the numbers of sources and
        targets differ, and for a line (the first is `first_line`) that is longer than a model's learned positions.
        """
        translations = as_list(targets, "targets")
        if len(sources) != len(translations):
            raise UserError(f"there are {len(sources)} sources and {len(translations)} targets; give as many targets")
        ids = [[[*self.vocabulary.encode(text), EOS] for text in sources]]
        ids += [[[*self.vocabulary.encode_target(text), EOS] for text in translations]]
        for line, pair in enumerate(zip(*ids, strict=True), first_line):
            if max(map(len, pair)) > self._positions:
                raise UserError(
                    f"line {line} has {max(map(len, pair))} tokens and the model {self._positions} learned positions"
                )
        most = batch_tokens(self._decode) // self._decode.beam_size
        with self._one_at_a_time:
            return scoring.score(self._models, self._parameters, ids[0], ids[1], most, self._positions)

    @property
    def _models(self) -> tuple[ModelConfig, ...]:
        return (self.model, *(other.model for other in self._others))

    @property
    def _parameters(self) -> tuple[Params, ...]:
        return (self.params, *(other.params for other in self._others))

    def _room(self, part: Part, request: batched.Request) -> int:
        """Returns how many pieces the output of a part has room for, beside its prefix and EOS."""
        return lines.most_tokens(len(part.source), request.settings, self._positions) - 1 - len(part.prefix)

    def _translation(self, part: Part, output: batched.Output) -> Translation:
        # Bytes that the model joins may make a line break; `normalise` keeps it one line.
        text = normalise(self.vocabulary.decode(output.ids))
        if output.weights is None:
            return Translation(text, output.score, missing=missing(text, part.terms))
        links, attention = alignment.of_output(self.vocabulary, part.text, part.first_word, output.ids, output.weights)
        return Translation(text, output.score, links, (attention,), missing(text, part.terms))


def _check_sampling(given: dict[str, Any], seed: int) -> None:
    """Raises UserError for settings of a search, which sampling does not do, and for a seed out of range."""
    without = {"beam_size": 1, "alpha": 0, "beta": 0, "glossary": None}  # these values search for nothing
    if searching := [name for name, none in without.items() if given.get(name, none) != none]:
        raise UserError(f"sampling draws translations and does not search; leave out the {searching[0]}")
    if not 0 <= seed < 2**32:
        raise UserError(f"the seed is {seed}, it must be from 0 to {2**32 - 1}")
