"""Trees: Penn brackets in and out, the clean-up, linearisation and repair."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmt_transformer.config import UserError
from wmt_transformer.data.treebanks import trees
from wmt_transformer.data.treebanks.trees import Repairs, Tree

TREEBANKS = sorted(Path(os.environ.get("WMT_TRANSFORMER_DATA", "/nowhere"), "trees").glob("*.gz"))

CAT = "(S (NP (DT The) (NN cat)) (VP (VBD sat)) (. .))"


def one(text: str) -> Tree:
    (tree,) = trees.read(text.split("\n"), "here")
    return tree


def cleaned(text: str) -> str:
    return str(trees.clean(one(text)))


# ---- Reading and writing


def test_what_is_read_is_written_on_one_line_however_it_was_laid_out():
    assert str(one("(S (NP (DT The)\n   (NN cat) )\n (VP(VBD sat))\t(. .) )")) == CAT


def test_several_trees_may_stand_on_one_line_and_one_over_several():
    assert [str(tree) for tree in trees.read(["(A (B b)) (C", "", " (D d)", ")"], "here")] == ["(A (B b))", "(C (D d))"]


def test_words_and_leaves_come_in_the_order_of_the_sentence():
    assert one(CAT).words() == ["The", "cat", "sat", "."]
    assert [leaf.label for leaf in one(CAT).leaves()] == ["DT", "NN", "VBD", "."]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(S (NN a)\n", r"here, line 7, column 1: this tree is never closed; 1 closing"),
        ("(S (NN a)))", r"here, line 7, column 11: '\)' is outside any tree"),
        ("\n  word", r"here, line 8, column 3: 'word' is outside any tree"),
        ("(S ())", r"here, line 7, column 5: an empty tree"),
        ("(S (NN))", r"here, line 7, column 7: an empty tree"),
        ("()", r"here, line 7, column 2: an empty tree"),
        ("(NN two words)", r"here, line 7, column 9: unexpected 'words'; a word is in brackets of its own"),
        ("(S (NN a) b)", r"here, line 7, column 11: unexpected 'b'"),
        ("(S a (NN b))", r"here, line 7, column 6: a bracket after the word 'a'"),
    ],
)
def test_what_is_no_tree_is_named_with_file_line_and_column(text, message):
    with pytest.raises(UserError, match=message):
        list(trees.read(text.split("\n"), "here", 7))


# ---- Clean-up


def test_traces_go_with_the_constituents_that_they_leave_empty():
    # wsj-like: "what he *T* said 0 *T*"
    text = "(SBAR (WHNP (WP what)) (S (NP (PRP he)) (VP (VBD said) (SBAR (-NONE- 0) (S (-NONE- *T*-1))))))"
    assert cleaned(text) == "(SBAR (WHNP (WP what)) (S (NP (PRP he)) (VP (VBD said))))"


def test_function_tags_and_indices_go_and_brackets_that_are_words_stay():
    text = "(S (NP-SBJ-1 (-LRB- -LRB-) (PRP$ its) (-RRB- -RRB-)) (PRT (RP up)) (NP=2 (NN|JJ x)) (NP-LGS=3 (CD 1)))"
    assert cleaned(text) == "(S (NP (-LRB- -LRB-) (PRP$ its) (-RRB- -RRB-)) (ADVP (RP up)) (NP (NN|JJ x)) (NP (CD 1)))"


def test_the_bracket_around_the_sentence_goes_unless_there_is_no_single_constituent_in_it():
    assert cleaned("( (S (NN a)))") == cleaned("(TOP (S (NN a)))") == cleaned("(S1 (S (NN a)))") == "(S (NN a))"
    assert cleaned("( (S (NN a)) (. .))") == "(TOP (S (NN a)) (. .))"
    assert cleaned("(ROOT (S (NN a)) (. .))") == "(TOP (S (NN a)) (. .))"
    assert cleaned("( (NN a))") == cleaned("(NN a)") == "(TOP (NN a))"


def test_a_tree_of_nothing_but_traces_is_none():
    assert trees.clean(one("( (S (NP (-NONE- *)) (-NONE- 0)))")) is None


# ---- Tokens


def test_a_tree_becomes_the_tokens_of_vinyals_et_al():
    # Their example, figure 2: "John has a dog ."
    tree = one("(S (NP (NNP John)) (VP (VBZ has) (NP (DT a) (NN dog))) (. .))")
    assert trees.linearise(tree) == ["(S", "(NP", "XX", ")NP", "(VP", "XX", "(NP", "XX", "XX", ")NP", ")VP", "XX", ")S"]


def test_words_may_be_numbered_on_both_sides():
    tree = one(CAT)
    assert trees.number(tree.words()) == ["X1", "The", "X2", "cat", "X3", "sat", "X4", "."]
    tokens = trees.linearise(tree, numbered=True)
    assert " ".join(tokens) == "(S (NP X1 X2 )NP (VP X3 )VP X4 )S"
    assert trees.restore(tokens, tree.leaves()) == (tree, Repairs())
    assert trees.restore([*tokens, "X9"], tree.leaves())[1] == Repairs(leaves=1)
    long = trees.linearise(Tree("NP", tuple(tree.leaves() * 20)), numbered=True)
    assert (long[64], long[65]) == ("X64", "X1")  # from 1 again


def restored(tokens: str, words: str = "a b") -> tuple[str, Repairs]:
    tree, repairs = trees.restore(tokens.split(), [Tree("T", (), word) for word in words.split()])
    return str(tree), repairs


@pytest.mark.parametrize(
    ("tokens", "tree", "repairs"),
    [
        ("(S (N XX )N XX )S", "(S (N (T a)) (T b))", Repairs()),
        ("(S (N XX XX", "(S (N (T a) (T b)))", Repairs(closed=2)),
        ("(S (N XX )S", "(S (N (T a)) (T b))", Repairs(closed=1, leaves=1)),
        ("(S (N XX XX )N )V )S", "(S (N (T a) (T b)))", Repairs(dropped=1)),
        ("(S (N XX )N (V )V XX )S", "(S (N (T a)) (T b))", Repairs(dropped=1)),
        ("(S XX the XX ( ) )S", "(S (T a) (T b))", Repairs(dropped=3)),
        ("(S (N XX )N )S", "(S (N (T a)) (T b))", Repairs(leaves=1)),
        ("(S XX (N XX XX )N XX )S", "(S (T a) (N (T b)))", Repairs(leaves=2)),
        ("(S XX )S (V XX )V", "(TOP (S (T a)) (V (T b)))", Repairs(tops=1)),
        ("XX XX", "(TOP (T a) (T b))", Repairs(tops=1)),
        ("", "(TOP (T a) (T b))", Repairs(leaves=2, tops=1)),
        ("(S (S )S", "(S (T a) (T b))", Repairs(closed=1, dropped=1, leaves=2)),
    ],
)
def test_any_tokens_become_a_tree_over_exactly_the_words_and_repairs_are_counted(tokens, tree, repairs):
    assert restored(tokens) == (tree, repairs)


TOKENS = st.lists(st.sampled_from(["(S", ")S", "(NP", ")NP", "(VP", ")VP", "XX", "junk", "(", ")"]), max_size=40)


@given(TOKENS, st.integers(1, 8))
def test_what_is_restored_has_the_words_and_needs_no_second_repair(tokens, count):
    leaves = [Tree("T", (), str(number)) for number in range(count)]
    tree, _ = trees.restore(tokens, leaves)
    assert tree.leaves() == leaves
    assert trees.restore(trees.linearise(tree), leaves) == (tree, Repairs())
    assert one(str(tree)) == tree == trees.clean(tree)


LABELS = st.text("ABC-=|$.,:", min_size=1, max_size=6)
WORDS = st.text(st.characters(exclude_characters="() \t\n\r\f\v", exclude_categories=("Cs",)), min_size=1, max_size=5)
ODD = st.recursive(
    st.builds(lambda label, word: Tree(label, (), word), LABELS | st.just("-NONE-"), WORDS),
    lambda inside: st.builds(Tree, LABELS | st.just(""), st.lists(inside, min_size=1, max_size=4).map(tuple)),
    max_leaves=20,
)


@given(ODD)
def test_odd_trees_are_read_as_written_and_come_back_from_their_tokens(tree):
    assert one(str(tree)) == tree
    clean = trees.clean(tree)
    if clean is not None:
        assert trees.clean(clean) == clean
        assert trees.restore(trees.linearise(clean), clean.leaves()) == (clean, Repairs())


def test_a_tree_deeper_than_the_stack_of_python_is_no_trouble():
    deep = "(S " * 5000 + "(NN a)" + ")" * 5000
    tree = trees.clean(one(deep))
    assert tree is not None and str(tree) == deep
    tree, repairs = trees.restore(trees.linearise(tree)[:5001], tree.leaves())
    assert str(tree) == deep and repairs == Repairs(closed=5000)


@pytest.mark.slow
@pytest.mark.skipif(not TREEBANKS, reason="needs the treebanks: set WMT_TRANSFORMER_DATA")
def test_every_tree_of_the_treebanks_comes_back_from_its_tokens():
    count = 0
    for path in TREEBANKS:
        for raw in trees.read_file(path):
            tree = trees.clean(raw)
            assert tree is not None
            assert trees.restore(trees.linearise(tree), tree.leaves()) == (tree, Repairs())
            assert one(str(tree)) == tree
            count += 1
    assert count == 27128 + 5062 + 3396 + 518  # as the treebanks' description counts them
