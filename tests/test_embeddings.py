"""Word vectors in and out: three formats that hold the same numbers, a run that starts from them, and gensim."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import params_of, refused, run

from wmt_transformer.config import UserError
from wmt_transformer.data import embeddings
from wmt_transformer.data.vocabulary import Vocabulary

WORDS = ["the", "house", ",", "ing", ". . .", "ü"]
VECTORS = np.random.default_rng(0).normal(0, 3, (len(WORDS), 4)).astype(np.float32)
LINES = [f"{word} {' '.join(map(repr, row))}\n" for word, row in zip(WORDS, VECTORS.tolist(), strict=True)]
IDS = {"<pad>": 0, "▁the": 1, "the": 2, ",": 3, "ing": 4, "▁ü": 5, "▁none": 6}


def binary() -> bytes:
    words = [word.replace(" ", "_") for word in WORDS]  # a space ends a word there
    records = [word.encode() + b" " + row.astype("<f4").tobytes() for word, row in zip(words, VECTORS, strict=True)]
    return f"{len(WORDS)} 4\n".encode() + b"\n".join(records) + b"\n"


FILES = {
    "glove.txt": "".join(LINES).encode(),
    "word2vec.txt": f"{len(WORDS)} 4\n{''.join(LINES)}".encode(),
    "word2vec.txt.gz": gzip.compress(f"{len(WORDS)} 4\n{''.join(LINES)}".encode()),
    "word2vec.bin": binary(),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_vectors_of_the_words_that_are_wanted(name: str, tmp_path: Path):
    (tmp_path / name).write_bytes(FILES[name])
    spaced = [] if name.endswith("bin") else [". . ."]
    found = embeddings.read(tmp_path / name, {"house", ". . .", "ü", "absent"}, 4)
    assert list(found) == ["house", *spaced, "ü"]
    for word, vector in found.items():
        np.testing.assert_array_equal(vector, VECTORS[WORDS.index(word)])


def test_words_start_pieces_and_marks_are_pieces_too(tmp_path: Path):
    (tmp_path / "glove.txt").write_bytes(FILES["glove.txt"])
    ids, vectors = embeddings.rows(tmp_path / "glove.txt", IDS, 4)
    assert ids.tolist() == [1, 3, 5]  # ▁the, the comma and ▁ü, but not the piece `ing` of other words
    expected = VECTORS[[WORDS.index(word) for word in ("the", ",", "ü")]]
    np.testing.assert_allclose(vectors / vectors[0, 0], expected / expected[0, 0], rtol=1e-5)
    assert np.sqrt((vectors**2).mean()) == pytest.approx(4**-0.5)


def test_a_table_of_pieces_is_matched_as_it_stands(tmp_path: Path):
    with (tmp_path / "ours.txt").open("w") as out:
        embeddings.write(out, ["▁the", "the", "\n", "ing"], VECTORS[:4])
    ids, _ = embeddings.rows(tmp_path / "ours.txt", IDS, 4)
    assert ids.tolist() == [1, 2, 4]
    np.testing.assert_array_equal(embeddings.read(tmp_path / "ours.txt", {"\\n"}, 4)["\\n"], VECTORS[2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begin"),
        (b"only words\n", "begin"),
        (b"a 1 2 3\n", "vectors of 3 numbers"),
        (b"a 1 2 3 4\nb 1 2 3\n", "line 2"),
        (b"2 4\na 1 2 3 4\na 1 2 x 4\n", "line 3"),
        (binary()[:-9], "ends in word 6 of 6"),
        (b"zzz 1 2 3 4\n", "none of the 7 pieces"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(content: bytes, message: str, tmp_path: Path):
    (tmp_path / "vectors").write_bytes(content)
    with pytest.raises(UserError, match=message):
        embeddings.rows(tmp_path / "vectors", {**IDS, "a": 7} if message == "line 3" else IDS, 4)


@pytest.fixture(scope="module")
def exported(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "vectors.txt"
    assert run("export-embeddings", "--workdir", toy / "run", "--checkpoint", "latest", "--output", path) == 0
    return path


def test_an_export_holds_the_table_to_the_last_digit(toy: Path, exported: Path):
    words = Vocabulary.load(toy / "run" / "data" / "vocabulary.model")
    table = params_of(toy / "run", "latest")["target_embedding"]["table"]
    found = embeddings.read(exported, words.ids().keys(), table.shape[1])
    assert found.keys() == words.ids().keys()
    for piece, vector in found.items():
        np.testing.assert_array_equal(vector, table[words.ids()[piece]])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_gensim_loads_an_export_and_finds_the_same_neighbours(toy: Path, exported: Path):
    gensim = pytest.importorskip("gensim.models")
    theirs = gensim.KeyedVectors.load_word2vec_format(str(exported))
    table = params_of(toy / "run", "latest")["target_embedding"]["table"]
    ids = Vocabulary.load(toy / "run" / "data" / "vocabulary.model").ids()
    pieces = sorted(ids, key=ids.__getitem__)
    assert len(theirs) == len(ids)
    for piece in ("▁", "a", "<0xE2>"):
        ours = embeddings.nearest(table, ids[piece], 8)
        expected = theirs.most_similar(piece, topn=8)
        assert [pieces[row] for row, _ in ours] == [name for name, _ in expected]
        np.testing.assert_allclose([cosine for _, cosine in ours], [cosine for _, cosine in expected], atol=1e-5)


def test_a_run_starts_from_the_vectors_that_a_file_has(toy: Path, tmp_path: Path, capsys: Any):
    ids = Vocabulary.load(toy / "run" / "data" / "vocabulary.model").ids()
    first, second = [piece for piece in ids if piece.startswith("▁") and len(piece) > 1][:2]
    lines = [f"{piece[1:]} {' '.join([value] * 16)}\n" for piece, value in ((first, "1"), (second, "-2"))]
    (tmp_path / "glove.txt").write_text("".join(lines))
    settings = ("--model.pretrained_embeddings", tmp_path / "glove.txt", "--train.warmup_steps", 1_000_000_000)
    shutil.copytree(toy / "run" / "data", tmp_path / "run" / "data")
    steps = ("--train.steps", 1, "--train.evaluate_pairs", 0)
    assert run("train", toy / "toy.py", "--workdir", tmp_path / "run", *settings, *steps) == 0
    assert "vectors for 2 of 300 pieces" in capsys.readouterr().err
    # The first step of so long a warm-up changes nothing that one could see.
    table = params_of(tmp_path / "run", 1)["target_embedding"]["table"]
    root_mean_square = np.sqrt((1.0**2 + 2.0**2) / 2)
    np.testing.assert_allclose(table[ids[first]], 1.0 / root_mean_square / 4, rtol=1e-4)
    np.testing.assert_allclose(table[ids[second]], -2.0 / root_mean_square / 4, rtol=1e-4)
    assert np.std(table[ids["▁"]]) > 0.1  # drawn at random
    assert json.loads((tmp_path / "run" / "config.json").read_text())["model"]["pretrained_embeddings"]
    none = ("--model.pretrained_embeddings", tmp_path / "none.txt")
    assert "no file" in refused(capsys, "train", toy / "toy.py", "--workdir", tmp_path / "other", *none, *steps)
