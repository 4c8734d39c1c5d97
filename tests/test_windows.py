"""Packed text: every token once an epoch, the token before each window, hosts, and documents by hand."""

import gzip

import numpy as np
import pytest

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import corpora
from wmt_transformer.data.documents import corpora as documents
from wmt_transformer.data.documents.windows import TokenStream, Windows
from wmt_transformer.special_tokens import BOS, EOS, PAD

TOKENS = np.asarray([5, 6, 7, 8, EOS, 9, EOS, 10, 11, 12, 13, 14, 15, EOS], np.uint16)


def windows(**changes) -> Windows:
    settings = {"context": 4, "target_tokens": 8, "multiple": 2, "seed": 3} | changes
    return Windows(TokenStream(TOKENS), **settings)


def rows(batches: Windows, epoch: int) -> dict[int, tuple[list[int], list[int]]]:
    """Returns (source, target) of an epoch's rows that are not empty, by the place in the text that they are from."""
    found = {}
    for index in range(batches.batches_per_epoch):
        source, target = batches[epoch * batches.batches_per_epoch + index]
        for before, row in zip(source.tolist(), target.tolist(), strict=True):
            if real := [token for token in row if token != PAD]:
                # A row that is not full is the first or the last.
                places = [0, len(TOKENS) - len(real)] if len(real) < len(row) else range(len(TOKENS))
                (place,) = (p for p in places if TOKENS[p : p + len(real)].tolist() == real)
                found[place] = before, row
    return found


def test_the_first_epoch_is_the_text_cut_every_context_tokens_behind_the_token_before():
    assert rows(windows(), 0) == {
        0: ([BOS], [5, 6, 7, 8]),
        4: ([8], [EOS, 9, EOS, 10]),
        8: ([10], [11, 12, 13, 14]),
        12: ([14], [15, EOS, PAD, PAD]),
    }


def test_every_epoch_has_every_token_once_in_windows_that_begin_elsewhere():
    starts = set()
    for epoch in range(8):
        found = rows(windows(), epoch)
        tokens = [token for place in sorted(found) for token in found[place][1] if token != PAD]
        assert tokens == TOKENS.tolist()
        for place, (before, _) in found.items():
            assert before == [BOS if place == 0 or TOKENS[place - 1] == EOS else TOKENS[place - 1]]
        starts.add(min(place for place in found if place))
    assert len(starts) == 4  # every border that there is


def test_a_batch_is_a_function_of_the_step_and_hosts_share_its_rows():
    whole = windows()
    parts = [windows(host_index=host, host_count=2) for host in range(2)]
    for step in (7, 0, 3):
        source, target = whole[step]
        assert target.shape == (2, 4)
        for side, (one, two) in enumerate(zip(parts[0][step], parts[1][step], strict=True)):
            np.testing.assert_array_equal((source, target)[side], np.concatenate([one, two]))
    assert any((whole[step].target != windows(seed=4)[step].target).any() for step in range(4))


def text(tmp_path, **changes) -> DataConfig:
    (tmp_path / "a.txt").write_text("one\ntwo\n\n \nthree\n" + "x" * 11 + "\n\nlast tenth", newline="")
    settings = {"corpus": "text", "documents": "file", "path": str(tmp_path), "train_files": ("a.txt",)}
    return DataConfig(**{**settings, **changes})  # pyright: ignore[reportArgumentType]


def test_documents_are_files_paragraphs_or_lines_as_they_stand(tmp_path):
    data = {kind: text(tmp_path, documents=kind, dev_files=("a.txt",)) for kind in ("file", "paragraph", "line")}
    found = {kind: list(documents.load(one, "train")) for kind, one in data.items()}
    assert found["file"] == [(tmp_path / "a.txt").read_text()]
    assert found["paragraph"] == ["one\ntwo", "three\nxxxxxxxxxxx", "last tenth"]
    assert found["line"] == ["one", "two", "three", "xxxxxxxxxxx", "last tenth"]


def test_without_a_development_file_it_is_the_last_tenth_of_the_characters(tmp_path):
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(("é" * 90 + "ü" * 10).encode()))
    data = text(tmp_path, train_files=("b.txt.gz",))
    assert [list(documents.load(data, split)) for split in ("train", "dev", "test")] == [["é" * 90], ["ü" * 10], []]


def test_of_sentence_pairs_a_language_model_reads_the_target_side():
    data = DataConfig(corpus="phrasebook", source="en", target="fr", documents="line", train_pairs=20)
    assert list(documents.load(data, "train")) == [target for _, target in corpora.load(data, "train")]


def test_shakespeare_is_split_as_usual(data_folder):
    data = DataConfig(corpus="shakespeare", documents="file", path=str(data_folder / "lm"))
    (train,), (dev,) = (list(documents.load(data, split)) for split in ("train", "dev"))
    # nanoGPT's prepare.py for characters prints these two numbers.
    assert (len(train), len(dev)) == (1_003_854, 111_540)
    assert train.startswith("First Citizen:\nBefore we proceed")


def test_what_is_wrong_with_the_text_is_said_in_one_line(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"fine\ncaf\xe9\n")
    for changes, message in [
        ({"train_files": ("latin.txt",)}, r"latin\.txt, line 2 is not UTF-8 \(byte 4 is 0xe9\)"),
        ({"train_files": ("none.txt",)}, "there is no file"),
        ({"train_files": ()}, "names no file"),
        ({"path": str(tmp_path / "nowhere")}, "is not a folder"),
    ]:
        with pytest.raises(UserError, match=message):
            list(documents.load(text(tmp_path, **changes), "train"))
    with pytest.raises(UserError, match="documents"):
        list(corpora.load(text(tmp_path), "train"))
