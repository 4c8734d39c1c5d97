"""Scores of parses: counted by hand, and against EVALB itself where it can be built."""

import gzip
import itertools
import json
import random
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from commands import refused, run
from hypothesis import given
from hypothesis import strategies as st

from wmt_transformer.data.treebanks import trees
from wmt_transformer.data.treebanks.trees import Tree, read
from wmt_transformer.evaluate import parsing

GOLD = "(TOP (S (NP-SBJ-1 (DT the) (NN cat)) (VP (VBD sat) (PP (IN on) (NP (DT a) (NN mat))) (NP (-NONE- *))) (. .)))"
PARSE = "(S (NP (DT the)) (VP (VB cat) (VBD sat) (PRT (IN on))) (NP (DT a) (NN mat)) (. .))"


def tree(text: str) -> Tree:
    (found,) = read([text], "text")
    return found


def test_scores_are_those_counted_by_hand():
    # Without the full stop and the trace the words are the 0, cat 1, sat 2, on 3, a 4, mat 5. Gold: S 0-6, NP 0-2,
    # VP 2-6, PP 3-6, NP 4-6; the NP over the trace is none. Parse: S 0-6, NP 0-1, VP 1-4, PRT 3-4, NP 4-6. S and the
    # last NP are in both; VP 1-4 crosses three of the gold tree's and counts once; one of six tags is wrong.
    one = parsing.compare(tree(GOLD), tree(PARSE))
    assert one == parsing.Sentence(
        length=7, status=parsing.VALID, matched=2, gold=5, predicted=5, crossing=1, words=6, tags=5
    )
    scores = parsing.total([one, parsing.compare(tree(GOLD), tree(GOLD))])
    assert (scores.recall, scores.precision) == (70.0, 70.0)
    assert (scores.exact_match, scores.crossing, scores.no_crossing) == (50.0, 0.5, 50.0)
    assert scores.tagging == pytest.approx(100 * 11 / 12)
    assert scores.f1 == pytest.approx(70.0)


@pytest.mark.parametrize(
    ("gold", "parse", "matched"),
    [
        ("(S (ADVP (RB up)))", "(S (PRT (RB up)))", 2),
        ("(S (NP=2 (NN x)))", "(S (NP-SBJ (NN x)))", 2),
        ("(S (NP (NP (NN x))))", "(S (NP (NN x)))", 2),
        ("(S (NP (NN x)))", "(S (NP (NP (NP (NN x)))))", 2),
        ("(S (NP (NN x)) (: ;) (NP (NN y)))", "(TOP (S (NP (NN x) (: ;)) (NP (NN y))))", 3),
        ("(S (-LRB- -LRB-) (NP (NN x)))", "(S (NP (-LRB- -LRB-) (NN x)))", 1),
    ],
)
def test_what_evalb_takes_for_the_same_and_what_not(gold: str, parse: str, matched: int):
    assert parsing.compare(tree(gold), tree(parse)).matched == matched


def test_a_sentence_without_a_parse_or_with_other_words_is_in_no_score_but_the_counts():
    gold = tree("(S (NP (NN x)) (. .))")
    sentences = [
        parsing.compare(gold, gold),
        parsing.compare(gold, None),
        parsing.compare(gold, tree("(S (NP (NN x)) (NN .))")),  # the full stop is a word there
    ]
    assert [one.status for one in sentences] == [parsing.VALID, parsing.SKIPPED, parsing.ERROR]
    scores = parsing.total(sentences)
    assert (scores.sentences, scores.skipped, scores.errors, scores.valid, scores.f1) == (3, 1, 1, 1, 100.0)


def test_nothing_to_score_is_zero_and_long_sentences_are_left_out_when_asked():
    assert parsing.total([]).f1 == 0.0
    wrong = parsing.compare(tree("(S (A (N x)) (N y))"), tree("(T (N x) (B (N y)))"))
    assert parsing.total([wrong]).f1 == 0.0
    right = parsing.compare(tree("(S (N x) (N y) (N z))"), tree("(S (N x) (N y) (N z))"))
    assert parsing.total([wrong, right], max_length=2).recall == 0.0
    assert parsing.total([wrong, right], max_length=3).recall == pytest.approx(100 / 3)


ODD = st.recursive(
    st.builds(
        lambda tag, word: Tree(tag, (), word),
        st.sampled_from(["NN", ".", ",", "-NONE-", "-LRB-", "PRT", "NN-1", ".-1", "``"]),
        st.sampled_from("ab."),
    ),
    lambda inside: st.builds(
        Tree,
        st.sampled_from(["S", "NP", "NP-SBJ-1", "NP=2", "PRT", "ADVP", "ADVP|PRT", "TOP", "TOP-1", ","]),
        st.lists(inside, min_size=1, max_size=3).map(tuple),
    ),
    max_leaves=12,
)


@given(ODD, ODD)
def test_the_clean_up_changes_no_score(gold: Tree, other: Tree):
    clean = trees.clean(gold)
    if clean is not None:
        assert parsing.compare(gold, other) == parsing.compare(clean, other)
        assert parsing.compare(other, gold) == parsing.compare(other, clean)
        assert parsing.compare(gold, gold) == parsing.compare(clean, clean) == parsing.compare(gold, clean)


# ---- Against EVALB


@pytest.fixture(scope="session")
def evalb(pytestconfig: pytest.Config) -> Path:
    """The folder of EVALB and its samples, built as `evalb` in it; kept for the next run."""
    folder = Path(pytestconfig.cache.mkdir("evalb"))
    built = folder / "allennlp" / "tools" / "EVALB" / "evalb"
    if not built.exists():
        if shutil.which("gcc") is None:
            pytest.skip("EVALB is built with gcc, and there is none")
        fetch = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(folder), "allennlp==2.10.1"]
        fetched = subprocess.run(fetch, capture_output=True, text=True)
        if fetched.returncode:
            pytest.skip(f"EVALB's source is in a package that pip cannot fetch: {fetched.stderr.strip()[-200:]}")
        (wheel,) = folder.glob("allennlp-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if "/EVALB/" in name])
        wheel.unlink()
        command = ["gcc", "-w", "-o", "evalb.new", "evalb.c"]
        subprocess.run(command, cwd=built.parent, check=True)
        (built.parent / "evalb.new").rename(built)
    return built.parent


def evalb_output(evalb: Path, rules: Path, gold: Path, parses: Path, max_length: int = 40) -> str:
    # It stops at eleven errors unless told otherwise, and exits with 0 whatever it found.
    command = [evalb / "evalb", "-p", rules, "-e", "1000000", "-c", str(max_length), gold, parses]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def our_sentences(gold: Path, parses: Path) -> list[parsing.Sentence]:
    pairs = zip(parsing.numbered_trees(str(gold)), parsing.numbered_trees(str(parses), predicted=True), strict=True)
    return [parsing.compare(one, other) for (_, one), (_, other) in pairs if one]


def our_output(sentences: list[parsing.Sentence], max_length: int = 40) -> str:
    return parsing.table(sentences) + "\n" + parsing.summary(sentences, max_length) + "\n"


def test_every_line_agrees_with_evalb_on_its_own_samples(evalb: Path, tmp_path: Path):
    gold, parses = (evalb / "sample" / name for name in ("sample.gld", "sample.tst"))
    expected = evalb_output(evalb, evalb / "COLLINS.prm", gold, parses)
    assert "Bracketing FMeasure       =  88.65" in expected
    assert our_output(our_sentences(gold, parses)) == expected
    # The samples' own rules take the label TT for T and the word This for this, and keep full stops, which they have
    # none of.
    expected = evalb_output(evalb, evalb / "sample" / "sample.prm", gold, parses)
    assert "Bracketing FMeasure       =  89.12" in expected
    same = tmp_path / "sample.tst"
    same.write_text(parses.read_text().replace("(TT ", "(T ").replace("This", "this"))
    assert our_output(our_sentences(gold, same)) == expected


LABELS = ["NP", "VP", "S", "PP", "ADVP", "PRT", "NP-SBJ", "NP=2", "S|VP", "TOP", "X-1=2", ",", "NML"]
TAGS = ["NN", "JJ", ",", ".", ":", "``", "$", "-LRB-", "PRT", "ADVP", "NN-1"]


def perturbed(node: Tree, draw: random.Random, rate: float) -> list[Tree]:
    """Returns what stands for a node in a parse with mistakes: the same words under other brackets."""
    chance = draw.random() / rate
    if node.word is not None:
        if chance < 0.1:
            return [Tree(draw.choice(TAGS), (), node.word)]
        empty = Tree("NP", (Tree("-NONE-", (), "*T*-1"),))
        return [empty, node] if chance < 0.2 else [node]
    children = [one for child in node.children for one in perturbed(child, draw, rate)]
    label = draw.choice(LABELS) if chance < 0.3 else node.label
    if chance < 0.1:
        return children  # dropped
    if 0.3 <= chance < 0.5:  # nested: some of the children get a bracket of their own, or all of them once more
        start = draw.randrange(len(children))
        end = draw.randrange(start, len(children)) + 1
        children[start:end] = [Tree(draw.choice([label, *LABELS]), tuple(children[start:end]))]
    if 0.5 <= chance < 0.7 and len(children) > 1:  # moved: the last child, or the first, goes one bracket out
        if draw.random() < 0.5:
            return [Tree(label, tuple(children[:-1])), children[-1]]
        return [children[0], Tree(label, tuple(children[1:]))]
    return [Tree(label, tuple(children))]


def gold_and_parses(golds: Iterable[Tree], draw: random.Random) -> list[tuple[str, str]]:
    """Returns lines of trees and of parses of very different quality, without those too big for EVALB's arrays."""
    pairs = []
    for gold in golds:
        parts = perturbed(gold, draw, rate=draw.choice([0.01, 0.2, 1.0]))
        parse = str(Tree("TOP", tuple(parts)) if len(parts) > 1 else parts[0])
        chance = draw.random()
        if chance < 0.02:
            parse = draw.choice(["", "(())", "()", "(TOP)", "(S1 ())"])  # a parser that failed
        elif chance < 0.03 and parse.count("(") > 1:
            parse = parse.removesuffix(")") + " (NP))"  # a constituent without words
        elif chance < 0.04:
            parse = parse.replace("the)", "teh)")
        if all(len(line) < 5000 and line.count("(") < 200 for line in (str(gold), parse)):
            pairs.append((str(gold), parse))
    return pairs


def assert_agree(evalb: Path, folder: Path, pairs: Sequence[tuple[str, str]], max_length: int) -> parsing.Scores:
    gold, parses = folder / "gold.trees", folder / "parses.trees"
    for path, lines in zip((gold, parses), zip(*pairs, strict=True), strict=True):
        path.write_text("".join(f"{line}\n" for line in lines))
    expected = evalb_output(evalb, evalb / "COLLINS.prm", gold, parses, max_length)
    sentences = our_sentences(gold, parses)
    assert our_output(sentences, max_length).splitlines() == expected.splitlines()
    return parsing.total(sentences)


def invented(draw: random.Random, words: int) -> Tree:
    """Returns a random tree over so many words."""
    if words == 1 and draw.random() < 0.7:
        return Tree(draw.choice(TAGS), (), draw.choice(["the", "a", ",", "x"]))
    if words == 1:
        return Tree(draw.choice(LABELS), (invented(draw, 1),))
    cuts = sorted(draw.sample(range(1, words), draw.randint(1, min(3, words - 1))))
    sizes = [end - start for start, end in zip([0, *cuts], [*cuts, words], strict=True)]
    return Tree(draw.choice(LABELS), tuple(invented(draw, size) for size in sizes))


def test_every_line_agrees_with_evalb_on_invented_trees(evalb: Path, tmp_path: Path):
    draw = random.Random(1)
    pairs = gold_and_parses((invented(draw, draw.randint(1, 20)) for _ in range(500)), draw)
    scores = assert_agree(evalb, tmp_path, pairs, max_length=10)
    assert scores.valid > 150 and scores.errors > 50 and scores.skipped > 5


@pytest.mark.parametrize(
    ("name", "layout", "count"),
    [
        ("wsj_sample_test.mrg.gz", "traces, functions, an unlabelled top bracket", 518),
        ("craft_train.trees.gz", "one a line", 700),
        ("masc_train.trees.gz", "one a line", 400),
    ],
)
def test_every_line_agrees_with_evalb_on_perturbed_treebanks(
    name: str, layout: str, count: int, evalb: Path, data_folder: Path, tmp_path: Path
):
    path = data_folder / "trees" / name
    if not path.is_file():
        pytest.skip(f"there is no {path}")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        golds = read((line.rstrip("\n") for line in lines), str(path))
        pairs = gold_and_parses(itertools.islice(golds, count), random.Random(2))
    assert len(pairs) > 0.95 * count
    scores = assert_agree(evalb, tmp_path, pairs, max_length=25)
    assert 50 < scores.f1 < 95 and scores.errors > 10 and scores.skipped > 3 and 0 < scores.exact_match < 90


# ---- The verb


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., list[object]]:
    """Writes gold trees and parses and returns the command that scores them."""

    def write(gold: str, parses: str) -> list[object]:
        paths = tmp_path / "gold.mrg", tmp_path / "parses.txt"
        for path, text in zip(paths, (gold, parses), strict=True):
            path.write_text(text)
        return ["evaluate-parses", "--gold", paths[0], "--predicted", paths[1]]

    return write


def test_the_verb_prints_evalbs_summary_or_one_json_object(write: Callable[..., list[object]], capsys):
    command = write(f"{GOLD}\n(S (NN x) (NN y))\n", f"{PARSE}\n(S (NN x) (NN y))\n")
    capsys.readouterr()
    assert run(*command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "=== Summary ===" and "Bracketing Recall         =  50.00" in lines and "-- len<=40 --" in lines
    assert run(*command, "--sentences", "--max-length", 3) == 0
    out = capsys.readouterr().out
    assert "   2    2    0  100.00 100.00     1      1    1      0      2     2   100.00" in out and "len<=3" in out
    assert run(*command, "--json") == 0
    every = json.loads(capsys.readouterr().out)
    assert {"recall", "precision", "f1", "exact_match", "crossing", "tagging"} <= set(every)
    assert (every["recall"], every["crossing"], every["max_length"]) == (50.0, 0.5, None)
    assert [part["max_length"] for part in every["lengths"]] == [None, 40]
    assert run(*command, "--json", "--max-length", 3) == 0
    short = json.loads(capsys.readouterr().out)
    assert (short["recall"], short["sentences"], short["max_length"]) == (100.0, 1, 3)


@pytest.mark.parametrize("failed", ["", "(())", "()", "( ( ) )", "(TOP)", "(S1 ())"])
def test_a_failed_parse_is_a_skipped_sentence_however_a_parser_writes_it(
    failed: str, write: Callable[..., list[object]], capsys
):
    assert run(*write("(S (N x))\n(S (N y))\n", f"(S (N x) (NP))\n{failed}\n"), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["sentences"], found["skipped"], found["errors"], found["f1"]) == (2, 1, 0, 100.0)


def test_trees_may_stand_over_several_lines(write: Callable[..., list[object]], capsys):
    treebank = "\n( (S \n    (NP (NN x) )\n    (VP (VB y) )))\n\n( (S (NN z)))\n"
    assert run(*write(treebank, treebank), "--json") == 0
    assert json.loads(capsys.readouterr().out)["sentences"] == 2


@pytest.mark.parametrize(
    ("gold", "parses", "said"),
    [
        ("(S (N x))\n(S (N y))\n", "(S (N x))\n", "has 2 trees and .*parses.txt 1: number 2 has no other"),
        ("(S (N x))\n", "(S (N x))\n\n", "has 1 tree and .*parses.txt 2: number 2 has no other"),
        ("(S (N x))\n(S (N y))\n", "(S (N x))\n(S (N z))\n", "parses.txt, line 2: 'z' where .* has 'y'"),
        ("(S (N x) (N y))\n", "(S (N x))\n", "parses.txt, line 1: no more words where .* has 'y'"),
        ("(S (N x))\n", "(S (N x)\n", "parses.txt, line 1, column 1"),
        ("(S (N x))\n", "(S (N x)))\n", "parses.txt, line 1, column 10"),
        ("(S (N x))\n(S ())\n", "(S (N x))\n(S (N x))\n", "gold.mrg, line 2, column 5"),
        ("(S (N x))\n\n", "(S (N x))\n(S (N x))\n", "gold.mrg, line 2 is blank"),
        ("\n", "(S (N x))\n", "gold.mrg, line 1 is blank"),
        ("", "", "gold.mrg is empty"),
    ],
)
def test_files_that_do_not_fit_are_refused_with_their_line(
    gold: str, parses: str, said: str, write: Callable[..., list[object]], capsys
):
    assert re.search(said, refused(capsys, *write(gold, parses)))


def test_words_that_only_one_tree_takes_for_punctuation_are_said_to_be_errors(
    write: Callable[..., list[object]], capsys
):
    assert run(*write("(S (N x) (. .))\n", "(S (N x) (N .))\n"), "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["errors"] == 1 and "1 sentence not scored, the first is number 1" in err
