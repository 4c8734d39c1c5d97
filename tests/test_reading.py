"""One way to read a text file: plain or compressed, from a pipe too, with whatever its first and last bytes are."""

from __future__ import annotations

import contextlib
import gzip
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import corpora, embeddings, vocabulary
from wmt_transformer.data.documents import corpora as documents
from wmt_transformer.data.treebanks import trees
from wmt_transformer.reading import read_lines, read_text

FORMS = {
    "plain": b"eins\nzwei drei\n",
    "byte order mark": "\ufeffeins\nzwei drei\n".encode(),
    "Windows": b"eins\r\nzwei drei\r\n",
    "no last newline": b"\xef\xbb\xbfeins\r\nzwei drei",
}


@contextlib.contextmanager
def pipe(content: bytes) -> Iterator[str]:
    """Yields the name of a pipe, as bash's <(…) gives one, from which this can be read once."""
    reading, writing = os.pipe()

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), open(writing, "wb") as file:
            file.write(content)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield f"/dev/fd/{reading}"
    finally:
        os.close(reading)
        thread.join()


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("form", FORMS)
def test_a_text_is_the_same_in_every_form(tmp_path: Path, form: str, packed: bool):
    content = gzip.compress(FORMS[form]) if packed else FORMS[form]
    expected = ["eins", "zwei drei"]
    (tmp_path / "text").write_bytes(content)  # the name does not say that it is compressed
    assert list(read_lines(tmp_path / "text")) == expected
    assert read_text(tmp_path / "text").split() == ["eins", "zwei", "drei"]
    with pipe(content) as name:
        assert list(read_lines(name)) == expected


def test_corpus_files_may_be_pipes():
    with pipe(b"a cat\n") as source, pipe(gzip.compress(b"eine Katze\n")) as target:
        data = DataConfig(corpus="files", train_files=(source, target))
        assert list(corpora.load(data, "train")) == [("a cat", "eine Katze")]
        assert corpora.files(data) == []  # their size and time mean nothing
    with pipe(b"a cat\teine Katze\n") as both:
        data = DataConfig(corpus="files", train_files=(both,))
        assert list(corpora.load(data, "train")) == [("a cat", "eine Katze")]
    with pipe(b"(S (NN cats))\n") as tree:
        data = DataConfig(corpus="trees", target="tree", train_files=(tree,))
        assert list(corpora.load(data, "train")) == [("cats", "(S (NN cats))")]
        assert corpora.files(data) == []


def test_what_has_to_be_read_several_times_may_not_be_a_pipe():
    with pipe(b"some text\n") as name:
        data = DataConfig(corpus="text", documents="line", train_files=(name,))
        with pytest.raises(UserError, match=f"{name} is a pipe, which can be read once.*save it"):
            list(documents.load(data, "train"))


def test_blank_lines_of_a_tsv_are_pairs_of_blank_lines(tmp_path: Path):
    (tmp_path / "a.tsv").write_text("\ufeffa\tb\n\n  \nc\td\n\n")
    data = DataConfig(corpus="files", path=str(tmp_path), train_files=("a.tsv",))
    assert list(corpora.load(data, "train")) == [("a", "b"), ("", ""), ("", ""), ("c", "d"), ("", "")]


def test_word_vectors_and_vocabularies_may_be_pipes(tmp_path: Path):
    vector = np.array([1.0, 2.0, 3.0], "<f4")
    binary = b"2 3\na " + vector.tobytes() + b"\nb " + (vector * 2).tobytes() + b"\n"
    for content in (b"2 3\na 1 2 3\nb 2 4 6\n", b"a 1 2 3\nb 2 4 6\n", binary, gzip.compress(binary)):
        with pipe(content) as name:
            found = embeddings.read(Path(name), {"a", "b"}, 3)
            assert {word: row.tolist() for word, row in found.items()} == {"a": [1, 2, 3], "b": [2, 4, 6]}
    sentences = ["a small text of a few words", "ein kleiner Text aus ein paar Worten"]
    vocabulary.train(sentences, tmp_path / "v.model", 280)
    with pipe((tmp_path / "v.model").read_bytes()) as name:
        assert len(vocabulary.Vocabulary.load(name)) == 280


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"3 3\na 1 2 3\nb 1 2 3\n", "ends after 2 of 3 words"),
        (b"a 1 2 3\nb 1 nan 3\n", "line 2 is not a word and 3 numbers"),
        (b"2 3\na " + np.ones(3, "<f4").tobytes() + b"b " + np.full(3, np.inf, "<f4").tobytes(), "word 2 of 2"),
    ],
)
def test_damaged_word_vectors_are_named_by_file_and_place(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "vectors").write_bytes(content)
    with pytest.raises(UserError, match=f"vectors,? {message}"):
        embeddings.read(tmp_path / "vectors", {"a", "b"}, 3)


def test_a_damaged_archive_is_named_in_the_middle_of_reading(tmp_path: Path):
    packed = gzip.compress(b"".join(b"(S (NN cat%d))\n" % n for n in range(10_000)))
    (tmp_path / "trees").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UserError, match="trees is damaged"):
        list(trees.read_file(tmp_path / "trees"))
