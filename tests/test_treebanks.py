"""Treebanks as corpora: splits, mixtures, what is missing, and what the model sees of a tree."""

import dataclasses
import gzip
from pathlib import Path

import pytest

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import corpora
from wmt_transformer.data.prepare import prepare
from wmt_transformer.data.treebanks.words import leaves, tokenize
from wmt_transformer.special_tokens import EOS


def mrg(word: object) -> str:
    """A tree over two words, laid out as in the Penn Treebank."""
    return f"\n( (S \n    (NP-SBJ-1 (DT The) (NN {word}) )\n    (VP (-NONE- *-1) )))\n"


def tree(word: object) -> tuple[str, str]:
    """The same as a pair, cleaned."""
    return f"The {word}", f"(S (NP (DT The) (NN {word})))"


def load(split: corpora.Split, **settings) -> list[tuple[str, str]]:
    return list(corpora.load(DataConfig(target="tree", **settings), split))


@pytest.fixture
def penn(tmp_path) -> Path:
    """A folder laid out as LDC99T42, section n with the one tree `n`."""
    for section in range(25):
        folder = tmp_path / "parsed" / "mrg" / "wsj" / f"{section:02}"
        folder.mkdir(parents=True)
        (folder / f"wsj_{section:02}01.mrg").write_text(mrg(section))
    return tmp_path


@pytest.mark.parametrize("below", ["", "parsed/mrg", "parsed/mrg/wsj"])
def test_the_penn_treebank_is_split_by_its_standard_sections(penn, below):
    path = str(penn / below)
    assert load("train", corpus="penn_treebank", path=path) == [tree(n) for n in range(2, 22)]
    assert load("dev", corpus="penn_treebank", path=path) == [tree(22)]
    assert load("test", corpus="penn_treebank", path=path) == [tree(23)]


def test_missing_sections_are_named(penn):
    for section in ("07", "23"):
        (penn / "parsed" / "mrg" / "wsj" / section / f"wsj_{section}01.mrg").unlink()
    with pytest.raises(UserError, match=r"lacks the sections 07, 23 of the Penn Treebank .*parsed/mrg/wsj"):
        load("train", corpus="penn_treebank", path=str(penn))


def test_the_last_trees_of_craft_in_the_order_of_its_files_are_held_out(tmp_path):
    folder = tmp_path / "structural-annotation" / "treebank" / "penn"
    folder.mkdir(parents=True)
    for name, numbers in (("11.tree", range(100)), ("12.tree", range(100, 3000))):
        (folder / name).write_text("\n".join(tree(n)[1] for n in numbers) + "\n")
    splits = {split: load(split, corpus="craft", path=str(tmp_path)) for split in ("train", "dev", "test")}
    assert {name: len(pairs) for name, pairs in splits.items()} == {"train": 287, "dev": 1356, "test": 1357}
    assert splits["train"] + splits["dev"] + splits["test"] == [tree(n) for n in range(3000)]


def test_a_treebank_that_is_not_there_says_what_to_fetch(tmp_path):
    for corpus, address in (("craft", "github.com/UCDenver-ccp/CRAFT"), ("penn_sample", "nltk.downloader treebank")):
        with pytest.raises(UserError, match=rf"has no .*{address}"):
            load("train", corpus=corpus, path=str(tmp_path))


def test_files_of_trees_are_plain_or_gz_one_a_line_or_not_and_names_may_have_a_star(tmp_path):
    (tmp_path / "a1.mrg").write_text(mrg(1) + mrg(2))
    with gzip.open(tmp_path / "a2.trees.gz", "wt") as file:
        file.write(tree(3)[1] + "\n" + tree(4)[1] + "\n( (-NONE- *))\n")
    settings = {"corpus": "trees", "path": str(tmp_path), "train_files": ("a*",), "dev_files": ("a1.mrg",)}
    assert load("train", **settings) == [tree(n) for n in (1, 2, 3, 4)]
    assert load("dev", **settings) == [tree(1), tree(2)]
    with pytest.raises(UserError, match=r"there is no file .*b\*\.trees"):
        load("train", corpus="trees", path=str(tmp_path), train_files=("b*.trees",))
    found = [path.name for path in corpora.files(DataConfig(target="tree", **settings))]
    assert found == ["a1.mrg", "a2.trees.gz"]  # each once


def test_further_trees_are_mixed_into_the_training_set_by_weight(penn, tmp_path):
    (tmp_path / "auto.trees").write_text("\n".join(tree(n)[1] for n in range(100, 110)) + "\n")
    settings = {"corpus": "penn_treebank", "path": str(penn), "train_files": (str(tmp_path / "auto.trees"),)}
    own = [tree(n) for n in range(2, 22)]
    assert load("train", **settings) == own + [tree(n) for n in range(100, 110)]
    mixed = load("train", **settings, train_weights=(2.0, 0.5), deduplicate=False)
    assert mixed == [pair for pair in own for _ in range(2)] + [tree(n) for n in (101, 103, 105, 107, 109)]
    assert load("dev", **settings, train_weights=(2.0, 0.5), deduplicate=False) == [tree(22)]
    for weights, message in (((1.0,), "1 numbers for 2"), ((1.0, 0.0), "above 0"), ((2.0, 1.0), "--data.deduplicate")):
        with pytest.raises(UserError, match=message):
            load("train", **settings, train_weights=weights)


def test_trees_are_read_one_by_one(tmp_path):
    (tmp_path / "many.trees").write_text(f"{tree(1)[1]}\n" * 3 + "(S (broken\n")
    pairs = corpora.load(
        DataConfig(corpus="trees", target="tree", path=str(tmp_path), train_files=("many.trees",)), "train"
    )
    assert [next(pairs) for _ in range(3)] == [tree(1)] * 3  # the broken one is not reached yet
    with pytest.raises(UserError, match=r"many\.trees, line 4, column 1: this tree is never closed"):
        next(pairs)


def test_only_trees_are_translated_to(tmp_path):
    with pytest.raises(UserError, match=r"craft has no en-de; it has en-tree"):
        list(corpora.load(DataConfig(corpus="craft", path=str(tmp_path)), "train"))
    with pytest.raises(UserError, match=r"data\.target is 'de', and corpus trees translates to tree"):
        list(corpora.load(DataConfig(corpus="trees", path=str(tmp_path)), "train"))


def test_the_model_sees_words_and_brackets_each_bracket_one_piece_and_dev_keeps_the_whole_tree(tmp_path):
    lines = [
        f"(S (NP (DT The) (NN {a}{b})) (VP (VBZ {b}{a}s)) (. .))" for a in "kmpt" for b in ("ar", "el", "oo", "un")
    ]
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.trees").write_text("\n".join(lines) + "\n")
    data = DataConfig(corpus="trees", target="tree", path=str(tmp_path), vocabulary_size=310)
    data = dataclasses.replace(data, **{f"{name}_files": (f"{name}.trees",) for name in ("train", "dev", "test")})
    prepared = prepare(data, tmp_path / "data", lambda line: None)
    words = prepared.vocabulary
    brackets = "(S (NP XX XX )NP (VP XX )VP XX )S"
    assert words.pieces(brackets) == [f"\u2581{bracket}" for bracket in brackets.split()]
    source, target = prepared.train.pair(5)
    assert words.decode(source) == f"The m{'el'} elms ."
    assert (words.decode(target), len(target)) == (brackets, 10 + 1) and target[-1] == EOS
    assert prepared.dev_text[5] == ("The mel elms .", lines[5])
    assert words.decode(prepared.dev.pair(5)[1]) == brackets
    numbered = prepare(dataclasses.replace(data, tree_leaves="numbers"), tmp_path / "numbered", lambda line: None)
    assert numbered.vocabulary.pieces("(S (NP X1 X2 )NP")[2:4] == ["\u2581X1", "\u2581X2"]
    source, target = numbered.dev.pair(5)
    assert numbered.vocabulary.decode(source) == "X1 The X2 mel X3 elms X4 ."
    assert numbered.vocabulary.decode(target) == "(S (NP X1 X2 )NP (VP X3 )VP X4 )S"
    assert numbered.dev_text == prepared.dev_text
    assert words.decode(words.encode("XXL (SBAR (NP x")) == "XXL (SBAR (NP x"  # a label never seen is spelt


# ---- Words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # The treebank's own tokenisation of its first sentences (wsj_0001, 0003 and 0005).
        ("Mr. Vinken is chairman of Elsevier N.V., the Dutch publishing group.",
         "Mr. Vinken is chairman of Elsevier N.V. , the Dutch publishing group ."),
        ('"There\'s no asbestos in our products now."', "`` There 's no asbestos in our products now . ''"),
        ("J.P. Bolduc succeeds Terrence D. Daniels (a vice chairman), who resigned.",
         "J.P. Bolduc succeeds Terrence D. Daniels -LRB- a vice chairman -RRB- , who resigned ."),
        # Rules by hand.
        ("I can't, they're; we cannot... it's the dogs' food!",
         "I ca n't , they 're ; we can not ... it 's the dogs ' food !"),
        ("It cost $1,000 at 3:45 -- 5% less: \u201cgood\u201d.", "It cost $ 1,000 at 3:45 -- 5 % less : `` good '' ."),
        ("He left the U.S.", "He left the U.S. ."),
        ("Say it [sic].", "Say it -LSB- sic -RSB- ."),
        ("", ""),
    ],
)  # fmt: skip
def test_text_is_tokenised_as_in_the_penn_treebank(text, words):
    assert tokenize(text) == words.split()


def test_text_that_is_tokenised_already_stays_as_it_is():
    text = "He said : `` I ca n't -LRB- really -RRB- '' -- $ 35.2 million ."
    assert tokenize(text) == text.split()


def test_slashes_and_asterisks_have_a_backslash_in_the_penn_treebank_alone():
    text = "3 1/2 and/or a\\/b *"
    assert tokenize(text) == ["3", "1\\/2", "and\\/or", "a\\/b", "\\*"]
    assert tokenize(text, "trees") == text.split()


def test_craft_splits_hyphens_and_slashes_and_keeps_square_brackets():
    words = tokenize("The p53-/- wild-type mice [14-17] (5 mg/ml) anti-rabbit 2-fold http://a.b/c-d.", "craft")
    expected = "The p53 - / - wild - type mice [ 14 - 17 ] -LRB- 5 mg / ml -RRB- anti-rabbit 2-fold http://a.b/c-d ."
    assert " ".join(words) == expected


def test_words_are_leaves_that_brackets_can_hold_and_punctuation_has_its_tag():
    text = "(see Fig.3(a) , \u201cthere\u201d ; ok"
    assert [str(leaf) for leaf in leaves(text.split())] == [
        "(XX -LRB-see)", "(XX Fig.3-LRB-a-RRB-)", "(, ,)", "(XX \u201cthere\u201d)", "(: ;)", "(XX ok)"
    ]  # fmt: skip


@pytest.mark.parametrize("leaves", ["XX", "numbers"])
def test_a_word_or_label_with_a_no_break_space_is_one_word_or_label(tmp_path, leaves):
    (tmp_path / "a.trees").write_text("(S (NP\u00a0X (CD 10\u00a0000) (NN cats)) (VP (VBP sleep)))\n")
    data = DataConfig(corpus="trees", target="tree", path=str(tmp_path), train_files=("a.trees",), tree_leaves=leaves)
    ((words, tree),) = corpora.load(data, "train")
    source, target = corpora.spelling(data)(words, tree)
    numbered = leaves == "numbers"
    assert source == ("X1 10\u00a0000 X2 cats X3 sleep" if numbered else "10\u00a0000 cats sleep")
    first, second, third = ("X1", "X2", "X3") if numbered else ("XX",) * 3
    assert target.split() == ["(S", "(NP_X", first, second, ")NP_X", "(VP", third, ")VP", ")S"]


def test_a_treebank_without_a_test_set_has_none(tmp_path):
    (tmp_path / "a.trees").write_text("(S (NN cats))\n")
    data = DataConfig(corpus="trees", target="tree", path=str(tmp_path), train_files=("a.trees",))
    assert list(corpora.load(data, "test")) == []
    with pytest.raises(UserError, match="dev_files is empty"):
        list(corpora.load(data, "dev"))
