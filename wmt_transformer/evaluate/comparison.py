"""Translations of several systems side by side: whether their scores differ by more than chance.

Two tests, both sacreBLEU's own, each of a system against the first: paired bootstrap resampling (Koehn 2004) draws
test sets from the sentences, and paired approximate randomisation (Riezler and Maxwell 2005) swaps the two systems'
outputs at random. p is how often chance alone makes a difference as large as the one that was found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from wmt_transformer.config import UserError
from wmt_transformer.evaluate.bleu import metrics
from wmt_transformer.letters import visible
from wmt_transformer.messages import number_of

SIGNIFICANT = 0.05
"""p below which the table marks a difference."""


@dataclasses.dataclass(frozen=True)
class Compared:
    """One score of one system; the first system, which the others are compared with, has no p."""

    metric: str
    system: str
    score: float
    mean: float
    """Of the bootstrap's test sets."""
    interval: float
    """Half of the interval around `mean` in which 95 % of them lie."""
    p_bootstrap: float | None
    p_randomisation: float | None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Every score of every system, and the signatures of both tests by metric."""

    scores: list[Compared]
    bootstrap_signatures: dict[str, str]
    randomisation_signatures: dict[str, str]


def compare(systems: Sequence[tuple[str, Sequence[str]]], references: Sequence[str], language: str) -> Comparison:
    """Compares systems, given by name with their plain translations, with the first of them.

    Args:
      references: the plain reference of each sentence.
      language: of all texts, by which they are tokenised.

    Raises UserError where there are fewer than two systems, no sentences, or not as many translations as references.
    """
    from sacrebleu.significance import PairedTest

    if len(systems) < 2:
        raise UserError(f"a comparison needs two systems or more; there is {len(systems)}")
    if not references:
        raise UserError("there is nothing to compare: the references are empty")
    for name, hypotheses in systems:
        if len(hypotheses) != len(references):
            count = number_of(len(hypotheses), "line")
            raise UserError(
                f"{name} has {count} for {number_of(len(references), 'reference')}; line n of every system must belong "
                "to line n of the references"
            )
    named: list[tuple[str, Sequence[str]]] = [(name, list(hypotheses)) for name, hypotheses in systems]
    chosen = metrics(language)
    signatures: dict[str, dict[str, str]] = {}
    results: dict[str, dict[str, Any]] = {}
    for test in ("bs", "ar"):
        found, results[test] = PairedTest(named, chosen, [list(references)], test_type=test)()
        signatures[test] = {metric: str(signature) for metric, signature in found.items()}
    scores = [
        Compared(metric, name, float(one.score), float(one.mean), float(one.ci), *_chances(metric, place, results))
        for metric in chosen
        for place, ((name, _), one) in enumerate(zip(systems, results["bs"][metric], strict=True))
    ]
    return Comparison(scores, signatures["bs"], signatures["ar"])


def _chances(metric: str, place: int, results: dict[str, dict[str, Any]]) -> tuple[float | None, float | None]:
    """Returns p of both tests for the system at this place. Equal scores have 1, where sacreBLEU gives the least p."""
    base, *_ = results["bs"][metric]
    bootstrap, randomisation = (results[test][metric][place] for test in ("bs", "ar"))
    equal = place > 0 and bootstrap.score == base.score
    return (1.0, 1.0) if equal else (bootstrap.p_value, randomisation.p_value)


def table(comparison: Comparison) -> str:
    """Returns the comparison for people: a line for each score of each system, and the signatures."""
    names = {one.system: visible(one.system) for one in comparison.scores}
    width = max(map(len, names.values()))
    lines = [f"{'':7}  {'':{width}}   score   mean and 95 %     p bootstrap  p randomisation"]
    for one in comparison.scores:
        line = f"{one.metric:7}  {names[one.system]:{width}}  {one.score:6.2f}  {one.mean:6.2f} ± {one.interval:5.2f}"
        if one.p_bootstrap is not None and one.p_randomisation is not None:
            line += f"  {_p(one.p_bootstrap):>14}  {_p(one.p_randomisation):>15}"
        lines.append(line.rstrip())
    lines += ["", f"* p below {SIGNIFICANT}: chance alone seldom makes such a difference from the first system"]
    for metric, signature in comparison.bootstrap_signatures.items():
        lines += [f"{metric:7}  {signature}", f"{'':7}  {comparison.randomisation_signatures[metric]}"]
    return "\n".join(lines)


def _p(value: float) -> str:
    return f"{value:.4f}{'*' if value < SIGNIFICANT else ' '}"
