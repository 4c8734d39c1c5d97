"""Scores of a translation: sacreBLEU, chrF2, and the tokenised lower-cased BLEU of older papers.

sacreBLEU (cased, tokenised by the standard "13a" rules on both sides) comes first and always with its
signature, because it alone can be compared between papers (Post 2018). The paper's 28.4 (table 2) and most
Multi30k results were computed by `multi-bleu.perl` on text that the authors had tokenised themselves, and the
latter on lower-cased text: `tokenized_lowercase_bleu` does the same with Moses' tokeniser, and says so.
"""

from __future__ import annotations

import dataclasses
import gzip
import os
from collections.abc import Sequence
from pathlib import Path

from wmt_transformer.config import UserError


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores of one output on one test set, from 0 to 100; `dataclasses.asdict` makes the report."""

    sacrebleu: float
    """BLEU, 13a, cased, as `signature` says."""
    signature: str
    """sacreBLEU's own description of how `sacrebleu` was computed."""
    chrf: float
    """chrF2: F-score of character n-grams up to 6, recall weighted twice."""
    tokenized_lowercase_bleu: float
    """BLEU-4 without smoothing on Moses-tokenised, lower-cased text."""


def score(hypotheses: Sequence[str], references: Sequence[str], language: str) -> Scores:
    """Returns all scores of `hypotheses` against one reference each.

    Args:
      hypotheses: plain (detokenised) translations, one line each.
      references: the plain reference of each.
      language: the language of both (ISO 639-1), whose Moses rules the tokenised score uses.

    Raises UserError when the numbers of lines differ or there are none.
    """
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    if len(hypotheses) != len(references):
        raise UserError(
            f"there are {len(hypotheses)} translations for {len(references)} references; "
            "line n of one has to belong to line n of the other"
        )
    if not hypotheses:
        raise UserError("there is nothing to score: translations and references are empty")
    bleu = BLEU(force=True)  # force: say nothing when the text looks tokenised
    return Scores(
        sacrebleu=bleu.corpus_score(hypotheses, [references]).score,
        signature=str(bleu.get_signature()),
        chrf=CHRF().corpus_score(hypotheses, [references]).score,
        tokenized_lowercase_bleu=tokenized_lowercase_bleu(hypotheses, references, language),
    )


def tokenized_lowercase_bleu(hypotheses: Sequence[str], references: Sequence[str], language: str) -> float:
    """Returns `multi-bleu.perl -lc` of the Moses-tokenised texts, 0 to 100.

    That is the geometric mean of the corpus's clipped 1- to 4-gram precisions, without smoothing (0 if one of
    them is 0), times the brevity penalty exp(1 - r / c) where the output is shorter than the reference.
    """
    from sacrebleu.metrics.bleu import BLEU
    from sacremoses import MosesTokenizer

    moses = MosesTokenizer(language)

    def tokenized(lines: Sequence[str]) -> list[str]:
        return [str(moses.tokenize(line, escape=False, return_str=True)).lower() for line in lines]

    bleu = BLEU(tokenize="none", smooth_method="none", force=True)
    return bleu.corpus_score(tokenized(hypotheses), [tokenized(references)]).score


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Returns the lines of a UTF-8 text file, plain or `.gz`, without their line ends.

    Only \\n and \\r\\n end a line, as in every tool that counts lines. Raises UserError when there is no such
    file, or naming the first line that is not UTF-8.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError) as error:
        raise UserError(f"{path} is not a whole gzip file: {error}") from error
    lines = raw.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if not lines[-1]:
        lines.pop()
    text = []
    for number, line in enumerate(lines, start=1):
        try:
            text.append(line.removesuffix(b"\r").decode("utf-8"))
        except UnicodeDecodeError as error:
            raise UserError(f"{path}, line {number} is not UTF-8; convert the file, for example with iconv") from error
    return text
