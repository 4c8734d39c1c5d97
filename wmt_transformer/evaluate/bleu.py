"""Scores of a translation side by side: sacreBLEU's BLEU, chrF2, chrF2++ and TER, and the tokenised BLEU of the paper.

sacreBLEU (cased, both sides tokenised by the standard "13a" rules) comes first, because only it can be compared
between papers (Post 2018). The paper's scores were computed by `multi-bleu.perl` on text tokenised by Moses, into
German (27.3, 28.4) with hyphenated compounds split as well, which adds about a point: these are `tokenized_bleu` and
`compound_split_bleu`. Most Multi30k results are `tokenized_lowercase_bleu`. Each score has its signature.

13a and Moses split at spaces and marks, so a sentence in a language without spaces between words is one token to them,
and BLEU of four tokens is 0. Such languages have sacreBLEU's own tokenisers (`TOKENIZERS`), and BLEU and chrF2 alone.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from collections.abc import Sequence
from typing import Any

from wmt_transformer.config import UserError
from wmt_transformer.messages import number_of


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores of one output on one test set, from 0 to 100; `report` makes the JSON object."""

    sacrebleu: float
    """BLEU, cased, tokenised by 13a or the language's own tokeniser, as `signature` says."""
    signature: str
    """sacreBLEU's own description of how `sacrebleu` was computed."""
    chrf: float
    """chrF2: F-score of character n-grams up to 6, recall weighted twice."""
    chrf_signature: str
    chrf_plus_plus: float | None = None
    """chrF2++: the same with word 1- and 2-grams. None where spaces do not part the words."""
    chrf_plus_plus_signature: str | None = None
    ter: float | None = None
    """Translation edit rate: edits in 100 words of the reference, so lower is better, and it may be above 100."""
    ter_signature: str | None = None
    tokenized_bleu: float | None = None
    """BLEU-4 without smoothing on Moses-tokenised, cased text: the paper's 38.1 and 41.8 into French. None where Moses
    does not find the words."""
    tokenized_bleu_signature: str | None = None
    tokenized_lowercase_bleu: float | None = None
    """The same of lower-cased text."""
    tokenized_lowercase_bleu_signature: str | None = None
    compound_split_bleu: float | None = None
    """Into German: the same, cased, with hyphenated compounds split: the paper's 27.3 and 28.4. None elsewhere."""
    compound_split_bleu_signature: str | None = None
    comet: float | None = None
    """COMET, about 0 to 1; see `comet.py`. None where it was not asked for."""
    comet_signature: str | None = None
    note: str | None = None
    """What a reader has to know of these scores, None where there is nothing."""

    def report(self) -> dict[str, float | str]:
        """Returns the scores and their signatures by name, without those that are None."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


def score(hypotheses: Sequence[str], references: Sequence[str], language: str) -> Scores:
    """Returns all scores of `hypotheses` against one reference each.

    Args:
      hypotheses: plain (detokenised) translations, one line each.
      references: the plain reference of each.
      language: the language of both (ISO 639, such as de, zh or zh-CN), which decides the tokenisers.

    Raises UserError when the numbers of lines differ or there are none.
    """
    check_lines(hypotheses, "translation", references, "reference")
    if not hypotheses:
        raise UserError("there is nothing to score: translations and references are empty")
    compared: list[Any] = []
    for metric in metrics(language).values():
        compared += [metric.corpus_score(hypotheses, [references]).score, str(metric.get_signature())]
    tokenizer, note = tokenizer_of(language)
    if tokenizer != DEFAULT_TOKENIZER:
        return Scores(*compared, note=note)
    output, expected = tokenize(hypotheses, language), tokenize(references, language)
    split: tuple[float | None, str | None] = (None, None)
    if language == "de":
        split = multi_bleu(split_compounds(output), split_compounds(expected), "de+split-hyphens")
    tokenized = *multi_bleu(output, expected, language), *multi_bleu(output, expected, language, lowercase=True)
    return Scores(*[*compared, *tokenized, *split])


def check_lines(lines: Sequence[str], kind: str, others: Sequence[str], their_kind: str) -> None:
    """Raises UserError where there are not as many lines of one kind as of the other."""
    if len(lines) != len(others):
        raise UserError(
            f"there are {number_of(len(lines), kind)} for {number_of(len(others), their_kind)}; line n of one must "
            "belong to line n of the other"
        )


def metrics(language: str) -> dict[str, Any]:
    """Returns sacreBLEU's metrics for texts in a language, by their names."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    tokenizer, _ = tokenizer_of(language)
    found = {"BLEU": BLEU(tokenize=tokenizer, force=True), "chrF2": CHRF()}  # force: be silent about tokenised text
    of_words = {"chrF2++": CHRF(word_order=2), "TER": TER()}
    return {**found, **of_words} if tokenizer == DEFAULT_TOKENIZER else found


DEFAULT_TOKENIZER = "13a"
TOKENIZERS = {
    **dict.fromkeys(("zh", "zho", "cmn", "yue", "wuu"), "zh"),
    **dict.fromkeys(("ja", "jpn"), "ja-mecab"),
    **dict.fromkeys(("ko", "kor"), "ko-mecab"),
    # Nothing in sacreBLEU splits these without a download.
    **dict.fromkeys(("th", "tha", "lo", "lao", "km", "khm", "my", "mya", "bo", "bod", "dz", "dzo"), "char"),
}
"""sacreBLEU's tokeniser of a language where 13a is not; `zh`, `ja-mecab` and `ko-mecab` are its own choice."""
EXTRAS = {"ja-mecab": ("MeCab", "sacrebleu[ja]"), "ko-mecab": ("mecab_ko", "sacrebleu[ko]")}
"""The module that a tokeniser needs, and what installs it."""


def tokenizer_of(language: str) -> tuple[str, str | None]:
    """Returns sacreBLEU's tokeniser of a language, and what a reader of its scores has to know."""
    wanted = TOKENIZERS.get(re.split("[-_]", language.lower())[0], DEFAULT_TOKENIZER)
    if wanted == DEFAULT_TOKENIZER:
        return wanted, None
    note = f"no scores of words: neither Moses nor spaces part the words of {language!r}"
    module, extra = EXTRAS.get(wanted, ("", ""))
    if module and importlib.util.find_spec(module) is None:
        missing = f"BLEU is of characters: {wanted}, the usual tokeniser, needs pip install '{extra}'"
        return "char", f"{missing}; {note}"
    return wanted, note


def check_compound_split(language: str) -> None:
    """Raises UserError where the score of split compounds is asked for and the language is not German."""
    if language != "de":
        raise UserError(
            f"compounds are split in German only, and the target is {language!r}: the paper's English-German scores "
            "have compounds split, its English-French ones have not (tokenized_bleu); German files need --language de"
        )


def sacrebleu_score(hypotheses: Sequence[str], references: Sequence[str], **settings: Any) -> tuple[float, str]:
    """Returns sacreBLEU's score and signature, with the settings of its `BLEU` (default: 13a, cased)."""
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU(force=True, **settings)  # force: say nothing when the text looks tokenised
    return bleu.corpus_score(hypotheses, [references]).score, str(bleu.get_signature())


def tokenized_lowercase_bleu(hypotheses: Sequence[str], references: Sequence[str], language: str) -> float:
    """Returns `multi-bleu.perl -lc` of the Moses-tokenised texts, 0 to 100."""
    return multi_bleu(tokenize(hypotheses, language), tokenize(references, language), language, lowercase=True)[0]


def multi_bleu(
    hypotheses: Sequence[str], references: Sequence[str], rules: str, lowercase: bool = False
) -> tuple[float, str]:
    """Returns the score of `multi-bleu.perl`, 0 to 100, for texts with spaces between tokens, and a signature.

    It is the geometric mean of the corpus's clipped 1- to 4-gram precisions, without smoothing (0 if one of them is
    0), times the brevity penalty exp(1 - r / c) where the output is shorter than the reference. The signature names
    the tokeniser's `rules`.
    """
    from importlib.metadata import version

    value, signature = sacrebleu_score(
        hypotheses, references, tokenize="none", smooth_method="none", lowercase=lowercase
    )
    return value, signature.replace("tok:none", f"tok:moses-{rules}|sacremoses:{version('sacremoses')}")


def tokenize(lines: Sequence[str], language: str) -> list[str]:
    """Returns the lines tokenised by Moses, with spaces between tokens and nothing escaped."""
    from sacremoses import MosesTokenizer

    moses = MosesTokenizer(language)
    return [str(moses.tokenize(line, escape=False, return_str=True)) for line in lines]


def looks_tokenized(lines: Sequence[str]) -> bool:
    """Returns whether most lines end in a separate full stop: tokenising them again lowers their scores."""
    return sum(line.endswith(" .") for line in lines) > len(lines) / 2


def split_compounds(lines: Sequence[str]) -> list[str]:
    """Returns tokenised lines with hyphenated compounds split as tensor2tensor's `get_ende_bleu.sh` splits them.

    Its `s/(\\S)-(\\S)/$1 ##AT##-##AT## $2/g` makes three tokens of `Ost-Berlin`. Matches do not overlap, so the second
    hyphen of `a-b-c` stays.
    """
    return [re.sub(r"(\S)-(\S)", r"\1 ##AT##-##AT## \2", line) for line in lines]
