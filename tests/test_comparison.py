"""Comparing systems, against what sacreBLEU's own command prints of the same files, and what is refused."""

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import refused, run

from wmt_transformer.config import UserError
from wmt_transformer.evaluate import bleu, comparison

WORDS = ["the", "a", "small", "big", "red", "old", "cat", "dog", "bird", "house", "sees", "likes", "finds", "near"]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """References, a system that changes few of their words, one that changes more and one that changes half."""
    folder, draw = tmp_path_factory.mktemp("systems"), random.Random(1)
    references = [" ".join(draw.choices(WORDS, k=draw.randint(5, 12))) + "." for _ in range(60)]

    def changed(share: float) -> list[str]:
        return [" ".join(w if draw.random() > share else draw.choice(WORDS) for w in r.split()) for r in references]

    texts = {"references": references, "good": changed(0.1), "bad": changed(0.15), "worst": changed(0.5)}
    for name, lines in texts.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    return {name: folder / name for name in texts}


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def by_sacrebleu(files: dict[str, Path], test: str) -> tuple[list[list[float]], list[float]]:
    """Returns the numbers of each system, and p of the second, from the table of sacreBLEU's command."""
    command = [sys.executable, "-m", "sacrebleu", files["references"], "-i", files["good"], files["bad"]]
    options = ["-m", "bleu", "chrf", "ter", "--force", f"--paired-{test}", "-f", "text", "-w", "4"]
    done = subprocess.run([*map(str, command), *options], capture_output=True, text=True, check=True)
    rows = [line.split("│", 2)[2] for line in done.stdout.splitlines() if line.startswith("│")]
    _, good, bad, p = ([float(number) for number in re.findall(r"\d+\.\d+", row)] for row in rows)
    return [good, bad], p


@pytest.mark.slow
def test_scores_intervals_and_both_tests_are_those_of_sacrebleus_command(files, capsys):
    arguments = ("--hypotheses", files["good"], files["bad"], "--references", files["references"])
    assert run("evaluate", *arguments, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["metric"] for one in found["scores"][::2]] == ["BLEU", "chrF2", "chrF2++", "TER"]
    ours = [one for one in found["scores"] if one["metric"] != "chrF2++"]  # which the command has not beside chrF2
    for system, theirs in enumerate(by_sacrebleu(files, "bs")[0]):
        numbers = [one[name] for one in ours[system::2] for name in ("score", "mean", "interval")]
        assert numbers == pytest.approx(theirs, abs=1e-4)
    for test, name in (("bs", "p_bootstrap"), ("ar", "p_randomisation")):
        assert [one[name] for one in ours[1::2]] == pytest.approx(by_sacrebleu(files, test)[1], abs=1e-4)
        assert [one[name] for one in ours[::2]] == [None] * 3
    assert 0.001 < ours[1]["p_randomisation"] < 0.5
    assert "bs:1000|seed:12345" in found["bootstrap_signatures"]["BLEU"]
    assert "ar:10000|seed:12345" in found["randomisation_signatures"]["TER"]


def test_the_table_marks_what_is_no_chance_and_has_the_signatures(files):
    systems = [(name, lines(files[name])) for name in ("good", "worst", "good")]
    found = comparison.compare(systems, lines(files["references"]), "en")
    table = comparison.table(found).splitlines()
    first, second, third = table[1:4]
    assert first.split()[:2] == ["BLEU", "good"] and "*" not in first
    assert second.count("*") == 2
    assert third.split()[-2:] == ["1.0000", "1.0000"]  # the first system again
    assert sum("seed:12345" in line for line in table) == 8


def test_the_name_of_a_system_is_no_instruction_to_the_terminal(files):
    systems = [(name, lines(files["good"])) for name in ("good", "\x1b[31mred")]
    assert "<U+001B>[31mred" in comparison.table(comparison.compare(systems, lines(files["references"]), "en"))


def test_ter_counts_edits_and_shifts_in_100_words_of_the_reference():
    scores = bleu.score(["a b c x"], ["a b c d"], "en")
    assert scores.ter == 25.0 and "tok:tercom" in str(scores.ter_signature)
    assert bleu.score(["c d a b"], ["a b c d"], "en").ter == 25.0  # one shift
    assert bleu.score(["A b c d"], ["a b c d"], "en").ter == 0.0


def test_chrf_plus_plus_looks_at_words_too():
    scores = bleu.score(["ab cd"], ["abc d"], "en")
    assert scores.chrf == 100.0 and scores.chrf_plus_plus is not None and scores.chrf_plus_plus < 100
    assert "nw:2" in str(scores.chrf_plus_plus_signature)


def test_systems_that_cannot_be_compared_are_refused(files, tmp_path, capsys):
    (tmp_path / "short").write_text("a cat\n")
    arguments = ("--references", files["references"], "--hypotheses", files["good"])
    message = refused(capsys, "evaluate", *arguments, tmp_path / "short")
    assert f"{tmp_path / 'short'} has 1 line for 60 references" in message
    assert "--compound-split is of one file" in refused(
        capsys, "evaluate", *arguments, files["bad"], "--compound-split", "--language", "de"
    )
    with pytest.raises(UserError, match="two systems or more"):
        comparison.compare([("one", ["a"])], ["a"], "en")
    with pytest.raises(UserError, match="references are empty"):
        comparison.compare([("one", []), ("two", [])], [], "en")
