"""BLEU against hand counts, Moses' arithmetic and the published scores of a real system; reading what is scored."""

import dataclasses
import gzip
import html
import json
import math
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest
from commands import refused, run

from wmt_transformer.config import Config, DataConfig, UserError
from wmt_transformer.evaluate import bleu
from wmt_transformer.evaluate.runs import papers_scores
from wmt_transformer.reading import read_lines

VERSION, MOSES = f"version:{version('sacrebleu')}", f"sacremoses:{version('sacremoses')}"


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


CHINESE = ["一个穿红衬衫的男人在骑自行车。", "两只狗在公园里奔跑。"]


@pytest.mark.parametrize("language", ["zh", "zh-CN", "zh_Hant", "cmn"])
def test_chinese_is_scored_by_its_own_tokeniser(language: str):
    # To 13a each sentence is one token: not one 4-gram, so the score is 0 even where one letter is wrong.
    assert bleu.sacrebleu_score(CHINESE, CHINESE)[0] == 0.0
    scores = bleu.score(CHINESE, CHINESE, language)
    assert scores.sacrebleu == pytest.approx(100.0) and "|tok:zh|" in scores.signature
    assert scores.tokenized_bleu is None and "Moses" in (scores.note or "")
    assert set(scores.report()) == {"sacrebleu", "signature", "chrf", "chrf_signature", "note"}


def test_a_chinese_score_equals_the_hand_count():
    # 我 爱 北 京 。 against 我 爱 南 京 。: 4 of 5 letters, 2 of 4 pairs (我爱, 京。), no longer n-gram; sacreBLEU's
    # smoothing gives the zeros 1 / (2 * 3) and 1 / (4 * 2).
    found, _ = bleu.sacrebleu_score(["我爱北京。"], ["我爱南京。"], tokenize=bleu.tokenizer_of("zh")[0])
    assert found == pytest.approx(100 * (4 / 5 * 2 / 4 * 1 / 6 * 1 / 8) ** 0.25)


@pytest.mark.parametrize(
    ("language", "module", "wanted"),
    [("ja", "MeCab", "ja-mecab"), ("ko", "mecab_ko", "ko-mecab"), ("th", None, "char")],
)
def test_languages_without_spaces_have_a_score_with_and_without_the_usual_tokeniser(
    language: str, module: str | None, wanted: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == module else object())
    scores = bleu.score(["ฉันรักเธอ"], ["ฉันรักเธอ"], language)
    assert scores.sacrebleu == pytest.approx(100.0) and "|tok:char|" in scores.signature
    assert ("pip install 'sacrebleu[" in (scores.note or "")) == (module is not None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert bleu.tokenizer_of(language)[0] == wanted


def test_other_languages_are_scored_by_13a():
    assert {bleu.tokenizer_of(language) for language in ("en", "de", "fr", "cs", "vi", "pt-BR")} == {("13a", None)}


def test_moses_rules_are_those_of_the_language():
    # French Moses keeps the elision whole, German Moses makes the apostrophe a token of its own.
    # fr: l' homme voit la mer bleue    5/6, 3/5, 2/4, 1/3 of the n-grams: the product is 1/12
    # de: l ' homme voit la mer bleue   6/7, 4/6, 2/5, 1/4: 2/35
    hypotheses, references = ["l'homme voit la mer bleue"], ["l'arbre voit la mer bleue"]
    assert bleu.tokenized_lowercase_bleu(hypotheses, references, "fr") == pytest.approx(100 * (1 / 12) ** 0.25)
    assert bleu.tokenized_lowercase_bleu(hypotheses, references, "de") == pytest.approx(100 * (2 / 35) ** 0.25)


def multi_bleu_perl(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Moses' multi-bleu.perl for one reference, step by step, 0 to 100."""
    correct, total = [0] * 5, [0] * 5
    length_translation = length_reference = 0
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        words, expected = hypothesis.split(), reference.split()
        length_translation += len(words)
        length_reference += len(expected)
        for n in range(1, 5):
            there = Counter(tuple(expected[k : k + n]) for k in range(len(expected) - n + 1))
            for gram, count in Counter(tuple(words[k : k + n]) for k in range(len(words) - n + 1)).items():
                total[n] += count
                correct[n] += min(count, there[gram])
    if min(correct[1:]) == 0:
        return 0.0  # multi-bleu takes log(0) for -9999999999
    brevity = 1.0 if length_translation >= length_reference else math.exp(1 - length_reference / length_translation)
    return 100 * brevity * math.exp(sum(math.log(correct[n] / total[n]) for n in range(1, 5)) / 4)


def test_multi_bleu_of_a_small_case_counted_by_hand():
    # the the cat sat on a mat   against   the cat sat on the mat
    # 1-grams: the twice (the reference has two), cat, sat, on, mat: 6 of 7; 2-grams: the cat, cat sat, sat on: 3 of 6;
    # 3-grams: the cat sat, cat sat on: 2 of 5; 4-grams: the cat sat on: 1 of 4. The second line, three right words
    # for four, has 3 of 3, 2 of 2, 1 of 1 and no 4-gram. 10 tokens for 10: no penalty.
    hypotheses = ["the the cat sat on a mat", "a b c"]
    references = ["the cat sat on the mat", "a b c d"]
    by_hand = 100 * (9 / 10 * 5 / 8 * 3 / 6 * 1 / 4) ** 0.25
    assert multi_bleu_perl(hypotheses, references) == pytest.approx(by_hand)
    assert bleu.multi_bleu(hypotheses, references, "none")[0] == pytest.approx(by_hand)
    # Without its first word the first line has 6 tokens, so 9 for 10: 6, 3, 2 and 1 right of 6, 5, 4 and 3.
    shorter = ["the cat sat on a mat", "a b c"]
    by_hand = 100 * math.exp(1 - 10 / 9) * ((5 + 3) / 9 * 5 / 7 * 3 / 5 * 1 / 3) ** 0.25
    assert bleu.multi_bleu(shorter, references, "none")[0] == pytest.approx(by_hand)


def test_a_split_compound_counted_by_hand():
    # hyp: Der Ost-Berliner Zoo .  ref: Der West-Berliner Zoo .   tokens: 3 of 4, then only "Zoo ." of 3, then 0.
    # Split: Der Ost ##AT##-##AT## Berliner Zoo .   1-grams 5/6; 2-grams 3/5: @ Berliner, Berliner Zoo, Zoo .;
    # 3-grams 2/4: @ Berliner Zoo, Berliner Zoo .; 4-grams 1/3.
    scores = bleu.score(["Der Ost-Berliner Zoo."], ["Der West-Berliner Zoo."], "de")
    assert scores.tokenized_bleu == 0.0
    assert scores.compound_split_bleu == pytest.approx(100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25)


@pytest.mark.parametrize(
    "line, split",
    [
        ("Ost-Berlin", "Ost ##AT##-##AT## Berlin"),
        ("eins - zwei", "eins - zwei"),  # a dash between spaces is none
        ("Vor- und Nachteile", "Vor- und Nachteile"),
        ("a-b-c", "a ##AT##-##AT## b-c"),  # perl's s///g does not look at b again
        ("ab-cd-ef", "ab ##AT##-##AT## cd ##AT##-##AT## ef"),
    ],
)
def test_compounds_are_split_as_the_papers_script_splits_them(line: str, split: str):
    assert bleu.split_compounds([line]) == [split]


def test_a_copy_of_the_reference_scores_100_everywhere():
    lines = ["Ein Mann fährt Rad.", "Zwei Hunde laufen über die Ost-West-Wiese."]
    numbers = {name: x for name, x in bleu.score(lines, lines, "de").report().items() if not isinstance(x, str)}
    assert numbers.pop("ter") == 0.0  # no edits
    assert set(numbers) == {
        "sacrebleu", "chrf", "chrf_plus_plus", "tokenized_bleu", "tokenized_lowercase_bleu", "compound_split_bleu"
    }  # fmt: skip
    assert list(numbers.values()) == pytest.approx([100.0] * 6)


def test_each_score_of_the_report_has_its_signature():
    report = bleu.score(["a"], ["b"], "de").report()
    assert {name: report[name] for name in report if "signature" in name} == {
        "signature": "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|" + VERSION,
        "chrf_signature": "nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|" + VERSION,
        "chrf_plus_plus_signature": "nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no|" + VERSION,
        "ter_signature": "nrefs:1|case:lc|tok:tercom|norm:no|punct:yes|asian:no|" + VERSION,
        "tokenized_bleu_signature": f"nrefs:1|case:mixed|eff:no|tok:moses-de|{MOSES}|smooth:none|{VERSION}",
        "tokenized_lowercase_bleu_signature": f"nrefs:1|case:lc|eff:no|tok:moses-de|{MOSES}|smooth:none|{VERSION}",
        "compound_split_bleu_signature": (
            f"nrefs:1|case:mixed|eff:no|tok:moses-de+split-hyphens|{MOSES}|smooth:none|{VERSION}"
        ),
    }


def test_compounds_are_split_in_german_only():
    assert not any("compound" in name for name in bleu.score(["un porte-clés"], ["un porte-clés"], "fr").report())
    bleu.check_compound_split("de")
    with pytest.raises(UserError, match=r"German only, and the target is 'fr'.*English-French ones have not"):
        bleu.check_compound_split("fr")


def test_case_counts_in_sacrebleu_and_not_in_the_tokenised_score():
    scores = bleu.score(["ein mann fährt heute rad"], ["Ein Mann fährt heute Rad"], "de")
    assert scores.sacrebleu < 50.0
    assert scores.tokenized_lowercase_bleu == pytest.approx(100.0)


@pytest.fixture(scope="module")
def real_system(data_folder: Path) -> tuple[list[str], list[str]]:
    """Sennrich et al. 2016 on newstest2014, Moses-tokenised, and the reference."""
    names = ("sennrich2016.newstest2014.de.gz", "newstest2014.de-en.de.gz")
    hypotheses, references = (list(read_lines(data_folder / "newstest" / name)) for name in names)
    assert len(hypotheses) == len(references) == 3003
    return hypotheses, references


@pytest.mark.parametrize(
    "settings, expected", [({}, 25.27), ({"lowercase": True}, 25.78), ({"tokenize": "intl"}, 24.06)]
)
def test_a_real_system_gets_the_scores_that_sacrebleus_command_gives_it(real_system, settings, expected):
    assert round(bleu.sacrebleu_score(*real_system, **settings)[0], 2) == expected


def test_scores_of_a_real_system_are_multi_bleus_of_the_same_tokens(real_system):
    # Entities and spaces of its own tokens are undone first, as far as the tokeniser sees them.
    hypotheses, references = [html.unescape(line) for line in real_system[0]], real_system[1]
    scores = bleu.score(hypotheses, references, "de")
    tokens = [bleu.tokenize(lines, "de") for lines in (hypotheses, references)]
    lower = [[line.lower() for line in lines] for lines in tokens]
    split = [bleu.split_compounds(lines) for lines in tokens]
    assert sum("##AT##-##AT##" in line for line in split[1]) > 300  # the rule has something to do
    assert scores.tokenized_bleu == pytest.approx(multi_bleu_perl(*tokens), abs=1e-9)
    assert scores.tokenized_lowercase_bleu == pytest.approx(multi_bleu_perl(*lower), abs=1e-9)
    assert scores.compound_split_bleu == pytest.approx(multi_bleu_perl(*split), abs=1e-9)
    # Moses' rules and 13a's differ little; splitting compounds is worth half a point here.
    assert scores.tokenized_bleu and scores.tokenized_lowercase_bleu and scores.compound_split_bleu
    assert abs(scores.tokenized_lowercase_bleu - 25.78) < 0.5
    assert 0.3 < scores.compound_split_bleu - scores.tokenized_bleu < 1.0


def test_evaluate_shows_every_score_of_two_files_with_its_signature(real_system, tmp_path, capsys):
    files = [tmp_path / "hypotheses", tmp_path / "references"]
    for path, lines in zip(files, real_system, strict=True):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ["evaluate", "--hypotheses", files[0], "--references", files[1], "--language", "de"]
    assert run(*command, "--compound-split") == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == f"sacreBLEU                   25.27  nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|{VERSION}"
    assert [line.partition("  ")[0] for line in lines[1:7]] == [
        "chrF2", "chrF2++", "TER (lower is better)",
        "tokenised BLEU", "tokenised, compounds split", "tokenised lower-cased BLEU",
    ]  # fmt: skip
    assert all("nrefs:1|" in line for line in lines[:7])
    assert lines[7:] == ["Between papers compare sacreBLEU."]  # two files may be of any test set
    assert "looks tokenised" in err
    assert run(*command, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert round(found["sacrebleu"], 2) == 25.27
    assert {"tokenized_bleu", "tokenized_bleu_signature", "compound_split_bleu"} <= set(found)


def test_the_papers_scores_are_named_beside_those_of_its_own_test_sets():
    german, french = (Config(data=DataConfig(corpus="wmt14", source="en", target=target)) for target in ("de", "fr"))
    assert "27.3 and 28.4" in (papers_scores(german, "test") or "")
    assert "38.1 and 41.8" in (papers_scores(french, "test") or "")
    assert papers_scores(german, "dev") is None
    other = dataclasses.replace(german, data=DataConfig(corpus="multi30k", source="en", target="de"))
    assert papers_scores(other, "test") is None


def test_evaluate_refuses_compounds_in_french_and_files_of_different_length(tmp_path, capsys):
    (tmp_path / "one").write_text("a\n")
    (tmp_path / "two").write_text("a\nb\n")
    files = ("--hypotheses", tmp_path / "one", "--references", tmp_path / "two", "--language", "fr")
    message = refused(capsys, "evaluate", *files, "--compound-split")
    assert "German only" in message and "English-French" in message
    assert "1 translation for 2 references" in refused(capsys, "evaluate", *files)


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
    assert list(read_lines(plain)) == list(read_lines(packed)) == ["eins", "", "zwei\u2028drei"]


def test_a_file_that_is_not_utf8_is_refused_with_the_line(tmp_path: Path):
    path = tmp_path / "latin1.txt"
    path.write_bytes("gut\nschön\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin1\.txt, line 2 is not UTF-8"):
        list(read_lines(path))


def test_missing_and_broken_files_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="there is no file"):
        list(read_lines(tmp_path / "nowhere"))
    broken = tmp_path / "broken.gz"
    broken.write_bytes(gzip.compress(b"text\n" * 1000)[:-9])
    with pytest.raises(UserError, match="is damaged"):
        list(read_lines(broken))
