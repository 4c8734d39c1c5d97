"""Parsing from end to end: a toy treebank trained on for a few steps, and the verbs that use the run."""

import io
import json
import os
import random
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest
from commands import refused, run

from wmt_transformer.config import Config, UserError
from wmt_transformer.data.treebanks import trees
from wmt_transformer.data.treebanks.words import leaves
from wmt_transformer.decode.generate import Translator
from wmt_transformer.decode.lines import Part, Translation
from wmt_transformer.decode.parse import Parser, parse
from wmt_transformer.evaluate.runs import Decoding, scored
from wmt_transformer.experiment import to_json
from wmt_transformer.visualize.trees import outline, svg

CONFIG = """
from wmt_transformer.config import Config, DataConfig, DecodeConfig, ModelConfig, TrainConfig

def get_config():
    return Config(
        family="small",
        model=ModelConfig(num_layers=1, d_model=16, d_ff=32, num_heads=2, d_k=8, d_v=8),
        data=DataConfig(
            corpus="trees", source="en", target="tree", path={path!r}, train_files=("train.trees",),
            dev_files=("held_out.trees",), test_files=("held_out.trees",), vocabulary_size=310,
            tree_leaves="numbers", max_length=40, source_tokens=256, target_tokens=256, num_shapes=2,
        ),
        train=TrainConfig(
            steps=8, warmup_steps=10, log_every=4, evaluate_every=4, checkpoint_every=4, evaluate_pairs=6,
            show_translations=1,
        ),
        decode=DecodeConfig(beam_size=1, extra_length=8),
    )
"""


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> Path:
    """A run on a toy treebank."""
    folder = tmp_path_factory.mktemp("treebank")
    draw = random.Random(0)
    os.environ["WMT_TRANSFORMER_CACHE"] = str(folder / "cache")

    def noun_phrase() -> str:
        return f"(NP (DT {draw.choice(['the', 'a'])}) (NN {draw.choice(['cat', 'dog', 'bird', 'fish'])}))"

    for name, count in (("train", 100), ("held_out", 6)):
        lines = [f"(S {noun_phrase()} (VP (VBZ sees) {noun_phrase()}) (. .))" for _ in range(count)]
        (folder / f"{name}.trees").write_text("\n".join(lines) + "\n")
    (folder / "toy.py").write_text(CONFIG.format(path=str(folder)))
    assert run("train", folder / "toy.py", "--workdir", folder / "run") == 0
    return folder / "run"


def test_training_measures_f1_on_the_development_trees(workdir, capsys):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    scored = [line for line in lines if "dev/f1" in line]
    assert [line["step"] for line in scored] == [4, 8]
    assert all(line["dev/score"] == line["dev/f1"] for line in scored)
    assert run("info", workdir, "--json") == 0
    assert json.loads(capsys.readouterr().out)["best_measure"] == "dev F1"
    assert run("info", workdir) == 0
    assert "F1 " in capsys.readouterr().out


def test_evaluate_scores_a_split_by_the_rules_of_evalb(workdir, capsys):
    assert run("evaluate", "--workdir", workdir, "--split", "test", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {"recall", "precision", "f1", "exact_match", "crossing", "repaired", "lengths"} <= set(found)
    assert (found["beam_size"], found["split"], found["sentences"], found["errors"]) == (1, "test", 6, 0)
    assert [part["max_length"] for part in found["lengths"]] == [None, 40]
    assert found["lengths"][0]["f1"] == found["f1"]

    # The trees that it wrote, scored as files against the gold ones: the same.
    gold = workdir.parent / "held_out.trees"
    assert run("evaluate-parses", "--gold", gold, "--predicted", workdir / "test.trees", "--json") == 0
    assert json.loads(capsys.readouterr().out)["f1"] == found["f1"]

    assert run("evaluate", "--workdir", workdir, "--split", "dev") == 0
    assert "Bracketing FMeasure" in capsys.readouterr().out


def test_a_constrained_model_writes_nothing_but_trees(workdir, capsys):
    # This one has hardly learnt anything.
    command = "evaluate", "--workdir", workdir, "--split", "test", "--json"
    repaired = {}
    for beam in (1, 2):
        for flag in ((), ("--constrained",)):
            assert run(*command, "--beam-size", beam, *flag) == 0
            found = json.loads(capsys.readouterr().out)
            repaired[beam, found["constrained"]] = found["repaired"]
            assert found["errors"] == found["skipped"] == 0
    assert repaired == {(1, False): 6, (1, True): 0, (2, False): 6, (2, True): 0}
    assert run("parse", "--workdir", workdir, "--constrained", "--json", "The cat sees .") == 0
    (one,) = json.loads(capsys.readouterr().out)["parses"]
    assert not any(one["repairs"].values()) and one["words"] == ["The", "cat", "sees", "."]
    with pytest.raises(UserError, match="wmt14 is no treebank"):
        scored(Translator.load(workdir), [], Config(), Decoding(constrained=True))


def test_average_tells_f1_before_and_after(workdir, tmp_path, capsys):
    assert run("average", "--workdir", workdir) == 0
    assert "dev F1 " in capsys.readouterr().err


def test_parse_gives_one_tree_over_the_words_of_each_line(workdir, capsys, monkeypatch, tmp_path):
    text = "The cat doesn't (a).\nhi"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(text.encode()))))
    assert run("parse", "--workdir", workdir) == 0
    found = [next(trees.read([line], "out")) for line in capsys.readouterr().out.splitlines()]
    assert [tree.words() for tree in found] == [
        ["The", "cat", "does", "n't", "-LRB-", "a", "-RRB-", "."], ["hi"]
    ]  # fmt: skip
    assert found[0].leaves()[-1].label == "."  # punctuation has its tag

    (tmp_path / "in.txt").write_text("The cat. sees it's dog .\n")
    beam = ("--beam-size", 2, "--alpha", 0.3)
    assert run("parse", "--workdir", workdir, "--tokenized", "--input", tmp_path / "in.txt", "--json", *beam) == 0
    (one,) = json.loads(capsys.readouterr().out)["parses"]
    assert one["words"] == "The cat. sees it's dog .".split()  # noqa: SIM905
    assert next(trees.read([one["tree"]], "out")).words() == one["words"]
    assert set(one["repairs"]) == {"closed", "dropped", "leaves", "tops"}


def test_parse_draws_trees_for_people(workdir, capsys, tmp_path):
    assert run("parse", "--workdir", workdir, "--pretty", "--svg", tmp_path / "tree.svg", "The cat sees & <dog> .") == 0
    out = capsys.readouterr().out
    assert [line.split()[-1] for line in out.splitlines() if "cat" in line or "sees" in line] == ["cat", "sees"]
    assert "sees" in (tmp_path / "tree.svg").read_text()


def test_what_cannot_be_parsed_is_refused(workdir, capsys, tmp_path):
    assert "line 2 is empty" in refused(capsys, "parse", "--workdir", workdir, "The cat .", " ")
    long = " ".join(["cat"] * 50)
    # Each word stands behind its number; numbers that training never saw are spelt in several pieces.
    pieces = len(Translator.load(workdir).vocabulary.encode(" ".join(trees.number(long.split()))))
    assert pieces > 100
    assert f"line 1 has {pieces} pieces, training saw at most 39" in refused(
        capsys, "parse", "--workdir", workdir, long
    )
    (tmp_path / "config.json").write_text(to_json(Config()))  # a run that translates
    assert "wmt14, which is no treebank; use translate" in refused(capsys, "parse", "--workdir", tmp_path, "hi")
    assert "--svg draws one sentence" in refused(
        capsys, "parse", "--workdir", workdir, "--svg", tmp_path / "x.svg", "a", "b"
    )
    assert not (tmp_path / "x.svg").exists()
    assert "not both" in refused(capsys, "parse", "--workdir", workdir, "--input", tmp_path / "x", "a")


def test_a_word_with_a_space_that_is_none_in_trees_is_one_leaf(workdir, monkeypatch):
    rules = []

    def n_best(self, lines, *_, rule, **__):
        rules.append(rule([Part(1, 0, lines[0], [], [], 0)], np.array([30], np.int32)))
        return [[Translation("(S XX XX XX )S", -1.0)]]

    monkeypatch.setattr(Translator, "n_best", n_best)
    words = ["1\u00a01/2", "or", "2\u00a03/4"]  # as treebanks have them: only ASCII space separates words
    (one,) = parse(Translator.load(workdir), [leaves(words)], constrained=True)
    assert rules[0].leaves.tolist() == [3] and one.tree.words() == words and not any(one.repairs)
    (one,) = Parser.load(workdir).parse([" ".join(words)], tokenized=True, constrained=True)
    assert one.tree.words() == words


def test_whatever_the_model_writes_becomes_a_tree_over_the_words(workdir, monkeypatch):
    translator = Translator.load(workdir)
    output = [[Translation("(S (NP XX XX )NP", -1.5)], [Translation("(S XX XX XX XX XX )S", -2.0)]]
    monkeypatch.setattr(Translator, "n_best", lambda self, lines, *_, **__: output[: len(lines)])
    first, second = parse(translator, [leaves(["The", "cat", "sat"]), leaves(["Hi", "."])])
    assert str(first.tree) == "(S (NP (XX The) (XX cat)) (XX sat))" and first.score == -1.5
    assert (first.repairs.closed, first.repairs.leaves) == (1, 1)
    assert str(second.tree) == "(S (XX Hi) (. .))" and second.repairs.leaves == 3


# ---- Pictures

CAT = "(S (NP (DT The) (XX c&t)) (VP (VBD sat)) (. .))"


def test_an_outline_has_a_line_for_every_constituent_and_word():
    assert outline(next(trees.read([CAT], "here"))).splitlines() == [
        "S",
        "├─ NP",
        "│  ├─ DT The",
        "│  └─ c&t",
        "├─ VP",
        "│  └─ VBD sat",
        "└─ . .",
    ]


def test_a_drawing_is_svg_with_words_from_left_to_right_and_labels_above_their_parts():
    root = xml.etree.ElementTree.fromstring(svg(next(trees.read([CAT], "here"))))
    space = "{http://www.w3.org/2000/svg}"
    texts = {element.text: element for element in root.iter(f"{space}text")}
    at = {text: (float(element.attrib["x"]), float(element.attrib["y"])) for text, element in texts.items()}
    assert at["The"][0] < at["c&t"][0] < at["sat"][0]
    assert at["S"][1] < at["NP"][1] < at["DT"][1] < at["The"][1]
    assert at["NP"][0] == pytest.approx((at["The"][0] + at["c&t"][0]) / 2, abs=0.1)
    assert "XX" not in at
    assert len(list(root.iter(f"{space}path"))) == 3
    assert all(0 < x < float(root.attrib["width"]) and 0 < y < float(root.attrib["height"]) for x, y in at.values())
