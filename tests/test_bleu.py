"""BLEU against hand counts and the published score of a real system; reading the files that are scored."""

import dataclasses
import gzip
import html
import math
from pathlib import Path

import pytest

from wmt_transformer.config import UserError
from wmt_transformer.evaluate import bleu


def test_tokenised_lowercase_bleu_equals_the_hand_count():
    # a cat sat on the mat .   against   the cat sat on the mat .   (case and the space are no difference)
    # 1-grams 6/7, 2-grams 5/6, 3-grams 4/5, 4-grams 3/4; equal lengths, so no penalty: the product is 3/7.
    assert bleu.tokenized_lowercase_bleu(["A cat sat on the mat."], ["The CAT sat on the mat ."], "en") == (
        pytest.approx(100 * (3 / 7) ** 0.25)
    )


def test_short_output_pays_the_brevity_penalty_over_the_whole_corpus():
    # 9 tokens for 12, every n-gram right: the corpus pays exp(1 - 12 / 9), whoever left words out.
    hypotheses = ["a b c d", "a b c d e"]
    references = ["a b c d x y z", "a b c d e"]
    assert bleu.tokenized_lowercase_bleu(hypotheses, references, "en") == pytest.approx(100 * math.exp(1 - 12 / 9))


def test_tokenised_bleu_is_not_smoothed():
    # No 4-gram is right: multi-bleu.perl prints 0, and sacreBLEU's smoothed score is above it.
    scores = bleu.score(["a b c x"], ["a b c d"], "en")
    assert scores.tokenized_lowercase_bleu == 0.0
    assert scores.sacrebleu > 0.0


def test_moses_rules_are_those_of_the_language():
    # French Moses keeps the elision whole, German Moses makes the apostrophe a token of its own.
    # fr: l' homme voit la mer bleue    5/6, 3/5, 2/4, 1/3 of the n-grams: the product is 1/12
    # de: l ' homme voit la mer bleue   6/7, 4/6, 2/5, 1/4: 2/35
    hypotheses, references = ["l'homme voit la mer bleue"], ["l'arbre voit la mer bleue"]
    assert bleu.tokenized_lowercase_bleu(hypotheses, references, "fr") == pytest.approx(100 * (1 / 12) ** 0.25)
    assert bleu.tokenized_lowercase_bleu(hypotheses, references, "de") == pytest.approx(100 * (2 / 35) ** 0.25)


def test_a_copy_of_the_reference_scores_100_everywhere():
    lines = ["Ein Mann fährt Rad.", "Zwei Hunde laufen über die Wiese."]
    scores = bleu.score(lines, lines, "de")
    assert dataclasses.astuple(scores) == pytest.approx((100.0, scores.signature, 100.0, 100.0))


def test_the_report_has_the_agreed_keys_and_the_standard_signature():
    report = dataclasses.asdict(bleu.score(["a"], ["b"], "en"))
    assert list(report) == ["sacrebleu", "signature", "chrf", "tokenized_lowercase_bleu"]
    assert report["signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")


def test_case_counts_in_sacrebleu_and_not_in_the_tokenised_score():
    scores = bleu.score(["ein mann fährt heute rad"], ["Ein Mann fährt heute Rad"], "de")
    assert scores.sacrebleu < 50.0
    assert scores.tokenized_lowercase_bleu == pytest.approx(100.0)


def test_a_real_system_gets_its_known_scores(data_folder: Path):
    # Sennrich et al. 2016 on newstest2014: the sacrebleu command line gives 25.27 (13a, cased) and 25.78
    # (13a, lower-cased). The output is Moses-tokenised, entities included, which 13a undoes and Moses does
    # not: they are undone here, and Moses' rules then differ from 13a's by less than a point.
    hypotheses = bleu.read_lines(data_folder / "newstest" / "sennrich2016.newstest2014.de.gz")
    references = bleu.read_lines(data_folder / "newstest" / "newstest2014.de-en.de.gz")
    assert round(bleu.score(hypotheses, references, "de").sacrebleu, 2) == 25.27
    unescaped = [html.unescape(line) for line in hypotheses]
    assert abs(bleu.tokenized_lowercase_bleu(unescaped, references, "de") - 25.78) < 1.0


def test_files_of_different_length_are_refused_with_both_counts():
    with pytest.raises(UserError, match="2 translations for 3 references"):
        bleu.score(["a", "b"], ["a", "b", "c"], "en")


def test_nothing_to_score_is_refused():
    with pytest.raises(UserError, match="nothing to score"):
        bleu.score([], [], "en")


@pytest.mark.parametrize(
    "raw",
    [b"eins\r\n\r\nzwei\xe2\x80\xa8drei\n", b"\xef\xbb\xbfeins\n\nzwei\xe2\x80\xa8drei"],
    ids=["Windows", "BOM and no last line end"],
)
def test_lines_end_at_newlines_only(tmp_path: Path, raw: bytes):
    # U+2028 is a line separator to str.splitlines, and part of a line to `wc` and every other tool.
    plain, packed = tmp_path / "text", tmp_path / "text.gz"
    plain.write_bytes(raw)
    packed.write_bytes(gzip.compress(raw))
    assert bleu.read_lines(plain) == bleu.read_lines(packed) == ["eins", "", "zwei\u2028drei"]


def test_a_file_that_is_not_utf8_is_refused_with_the_line(tmp_path: Path):
    path = tmp_path / "latin1.txt"
    path.write_bytes("gut\nschön\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin1\.txt, line 2 is not UTF-8"):
        bleu.read_lines(path)


def test_missing_and_broken_files_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="there is no file"):
        bleu.read_lines(tmp_path / "nowhere")
    broken = tmp_path / "broken.gz"
    broken.write_bytes(gzip.compress(b"text\n" * 1000)[:-9])
    with pytest.raises(UserError, match="not a whole gzip file"):
        bleu.read_lines(broken)
