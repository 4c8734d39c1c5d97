"""What goes out is proved before it is written: a few sentences, translated greedily by the other program and by us.

They are the first development sentences of the run, or, where it has none, made of random pieces of its vocabulary. In
float32 the ids must be the same, up to a tie: where two tokens are equally likely to us, rounding may decide otherwise.
A smaller type rounds the weights, so that its differences are counted and shown, and nothing is refused. Where it is
asked for, both programs also translate the run's test set, and their BLEU is in the report.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import itertools
import platform
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wmt_transformer import __version__
from wmt_transformer.config import Config, DecodeConfig, ModelConfig, UserError
from wmt_transformer.data.vocabulary import Vocabulary, normalise
from wmt_transformer.data.vocabulary_files import load_vocabulary
from wmt_transformer.decode import batched, scoring
from wmt_transformer.decode.lines import Part, most_tokens, padded, parts_of, round_up
from wmt_transformer.decode.runs import sized
from wmt_transformer.evaluate.bleu import sacrebleu_score, tokenizer_of
from wmt_transformer.interop.marian_folder import Json, write_json
from wmt_transformer.special_tokens import EOS

REPORT = "export.json"
"""The file of an exported folder that tells how it was compared, and with what."""
OURS = f"wmt_transformer {__version__}"
_SENTENCES = 16
_TIE = 1e-3  # nats; layer norms that add 1e-5 in place of 1e-6 to the variance move logits by less than 1e-4

Outputs = Sequence[Sequence[int]]
"""The ids of each translation."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How another program translates what we exported."""

    program: str
    """Its name and version."""
    reason: str | None = None
    """Why nothing was compared; None where it was."""
    kind: str = ""
    """What was translated."""
    sentences: int = 0
    same: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """How many come out as ours, by the type of the weights."""
    differences: Sequence[Json] = ()
    """Those that do not: the weights' type, the source, ours, theirs."""
    bleu: Sequence[Json] = ()
    """Of the test set where it was asked for, ours first: program, weights, sentences, search, score, signature."""

    def __str__(self) -> str:
        if self.reason:
            return f"not compared with {self.program}: {self.reason}"
        counts = ", ".join(f"{precision} {count}" for precision, count in self.same.items())
        return f"of {self.sentences} {self.kind} {self.program} translates as we do: {counts}"

    def scores(self) -> list[str]:
        """Returns a line for people for each BLEU."""
        return [
            f"BLEU {one['bleu']:.2f} of {one['program']}, {one['weights']}, {one['search']} search, "
            f"{one['sentences']:,} test sentences: {one['signature']}"
            for one in self.bleu
        ]

    def write(self, folder: Path) -> None:
        """Writes the report of an export into its folder."""
        names = ("jax", "jaxlib", "flax", "numpy", "sentencepiece")
        versions = {name: importlib.metadata.version(name) for name in names}
        versions = {"wmt_transformer": __version__, "python": platform.python_version(), **versions}
        write_json(folder / REPORT, {**dataclasses.asdict(self), "versions": versions})


class TestSet(NamedTuple):
    """The test set of a run, in parts that are translated in one go."""

    parts: list[Part]
    references: list[str]
    language: str
    """Of the references."""

    @classmethod
    def of(cls, config: Config, words: Vocabulary, data: Path, longest: int) -> TestSet:
        """Reads it. Raises UserError where the run has none."""
        paths = [data / f"test.{language}" for language in (config.data.source, config.data.target)]
        texts, references = ([*_lines(path)] if path.is_file() else [] for path in paths)
        if not texts:
            raise UserError(f"{data} has no test set to measure BLEU on; leave out --bleu")
        parts, _ = parts_of(words, texts, None, longest, lambda _: None, 0)
        return cls(parts, references, config.data.target)


class Sample(NamedTuple):
    """A few sentences, and what we make of them; where BLEU is asked for, the parts of the test set come after them."""

    kind: str
    texts: list[str]
    sources: list[list[int]]
    """Ids, EOS included."""
    limits: list[int]
    """The most tokens of each output."""
    outputs: list[list[int]]
    """Ids, EOS left out."""
    vocabulary: Vocabulary
    model: ModelConfig
    params: Mapping[str, Any]
    test: TestSet | None = None

    @classmethod
    def of(cls, config: Config, params: Mapping[str, Any], data: Path, positions: int, bleu: bool = False) -> Sample:
        """Translates the sample of a run, greedily and in float32; no sequence is longer than `positions`.

        Raises UserError where BLEU is asked for and the run has no test set.
        """
        words = load_vocabulary(data)
        model = dataclasses.replace(sized(config.model, params, words), compute_dtype="float32")
        settings = DecodeConfig(beam_size=1, extra_length=config.decode.extra_length)
        longest = min(config.data.max_length, positions)
        test = TestSet.of(config, words, data, longest) if bleu else None
        kind, lines = "development sentences", _development(data / f"dev.{config.data.source}")
        texts = _short(words, lines, longest)
        if not texts:
            kind, texts = "made-up sentences", _short(words, _made_up(words), longest)
        parts, _ = parts_of(words, texts, None, longest, lambda _: None, 1)
        parts += test.parts if test else []
        found = batched.decode((model,), (params,), parts, batched.Request(settings, positions=positions))
        sources = [part.source for part in parts]
        limits = [most_tokens(len(source), settings, positions) for source in sources]
        outputs = [_cut(one.ids, limit) for (one,), limit in zip(found, limits, strict=True)]
        return cls(kind, texts, sources, limits, outputs, words, model, params, test)

    def compare(self, program: str, translated: Mapping[str, Outputs]) -> Comparison:
        """Returns how the translations of another program, ids by the type of its weights, compare with ours.

        Raises UserError, which shows one, where some differ though nothing was rounded.
        """
        named = f"{program} {importlib.import_module(program).__version__}"
        same, differences, scores = {}, [], self.bleu(OURS, "float32", self.outputs)
        for precision, outputs in translated.items():
            theirs = [_cut(ids, limit) for ids, limit in zip(outputs, self.limits, strict=True)]
            others = [i for i in range(len(self.texts)) if theirs[i] != self.outputs[i]]
            shown = {i: self._shown(i, theirs[i]) for i in others}
            wrong = [i for i in others if precision == "float32" and not self._tie(i, theirs[i])]
            if wrong:
                source, ours, other = shown[wrong[0]].values()
                raise UserError(
                    f"{named} translates {len(wrong)} of {len(self.texts)} {self.kind} otherwise than we do, so "
                    f"nothing was written: {source!r} is {ours!r} here and {other!r} there; another version of "
                    f"{program} may do better"
                )
            same[precision] = len(self.texts) - len(others)
            scores += self.bleu(named, precision, theirs)
            differences += [{"weights": precision, **shown[i]} for i in others]
        return Comparison(named, None, self.kind, len(self.texts), same, differences, tuple(scores))

    def bleu(self, program: str, weights: str, outputs: Outputs) -> list[Json]:
        """Returns the BLEU of a program's outputs, none where it was not asked for."""
        if self.test is None:
            return []
        texts: list[list[str]] = [[] for _ in self.test.references]
        for part, ids in zip(self.test.parts, outputs[len(self.texts) :], strict=True):
            texts[part.line].append(normalise(self.vocabulary.decode(ids)))
        hypotheses, tokenizer = (
            [" ".join(filter(None, parts)) for parts in texts],
            tokenizer_of(self.test.language),
        )
        score, signature = sacrebleu_score(hypotheses, self.test.references, tokenize=tokenizer[0])
        about = {"program": program, "weights": weights, "sentences": len(hypotheses), "search": "greedy"}
        return [{**about, "bleu": score, "signature": signature}]

    def _shown(self, place: int, theirs: list[int]) -> Json:
        texts = [normalise(self.vocabulary.decode(ids)) for ids in (self.outputs[place], theirs)]
        return {"source": self.texts[place], "ours": texts[0], "theirs": texts[1]}

    def _tie(self, place: int, theirs: list[int]) -> bool:
        """Tells whether the first token that differs is as likely to us as our own."""
        rows = [[*ids, EOS][: self.limits[place]] for ids in (self.outputs[place], theirs)]
        pairs = enumerate(zip(*rows, strict=False))
        first = next((i for i, (one, other) in pairs if one != other), None)
        if first is None:  # one goes on where the other ends by its limit
            return False
        source, target = [self.sources[place]] * 2, [row[: first + 1] for row in rows]
        sides = [padded(side, 2, round_up(max(map(len, side)))) for side in (source, target)]
        likely = np.asarray(scoring.log_probabilities((self.params,), *sides, models=(self.model,)))[:, first]
        return bool(abs(likely[0] - likely[1]) < _TIE)


def compared(
    program: str,
    packages: Sequence[str],
    sample: Callable[[bool], Sample],
    translate: Callable[[Sample], Mapping[str, Outputs]],
    bleu: bool,
) -> Comparison:
    """Returns how another program compares, and where its packages are not installed, why it does not.

    Args:
      sample: makes the sample, with the test set or without.
      translate: returns the program's translations of it, ids by the type of its weights.
      bleu: measure it on the test set: of both programs, or, where the other is not installed, of ours.
    """
    reason = missing(*packages)
    if not reason:
        one = sample(bleu)
        return one.compare(program, translate(one))
    ours = sample(True) if bleu else None
    return Comparison(program, reason, bleu=tuple(ours.bleu(OURS, "float32", ours.outputs) if ours else ()))


def missing(*packages: str) -> str:
    """Returns why packages cannot be compared with, an empty string where all are installed."""
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    return f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed" if absent else ""


def _cut(ids: Sequence[int], limit: int) -> list[int]:
    """Returns the ids before EOS, at most `limit`."""
    return list(itertools.takewhile(lambda token: token != EOS, ids[:limit]))


def _lines(path: Path) -> Iterator[str]:
    """Yields the lines of a file that `prepare` wrote."""
    with path.open(encoding="utf-8", newline="\n") as file:
        yield from (line.removesuffix("\n") for line in file)


def _development(path: Path) -> list[str]:
    """Returns the first development sentences of a run, none where it has no such file."""
    if not path.is_file():
        return []
    return list(filter(None, map(str.strip, itertools.islice(_lines(path), _SENTENCES))))


def _short(words: Vocabulary, lines: list[str], longest: int) -> list[str]:
    """Returns the lines that are translated, and in one go."""
    return [line for line in lines if 0 < len(words.encode(line)) < longest]


def _made_up(words: Vocabulary) -> list[str]:
    """Returns texts of random pieces, of letters alone."""
    pieces = [piece for piece in words.ids() if piece.removeprefix("\u2581").isalpha()]
    draw = random.Random(0)
    drawn = ("".join(draw.choices(pieces, k=draw.randrange(1, 8))) for _ in range(_SENTENCES))
    return [text.replace("\u2581", " ").strip() for text in drawn]
