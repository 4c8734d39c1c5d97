"""Packed text: every token once an epoch, the token before each window, hosts, and documents by hand."""

import dataclasses
import gzip
from collections import Counter

import numpy as np
import pytest

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import corpora
from wmt_transformer.data.documents import corpora as documents
from wmt_transformer.data.documents.prepare import prepare
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


def plainly(tokens: list[int], context: int, seed: int, epoch: int) -> list[tuple[int, list[int]]]:
    """All windows of an epoch of one corpus, with the token before each, in their order: the explicit form."""
    random = np.random.default_rng([seed, epoch])
    start = -int(random.integers(context)) if epoch else 0
    count = -(-(len(tokens) - 1) // context) + 1
    cut = [
        (begin, tokens[max(begin, 0) : max(begin + context, 0)])
        for begin in range(start, start + count * context, context)
    ]
    before = [BOS if begin <= 0 or tokens[begin - 1 : begin] == [EOS] else tokens[begin - 1] for begin, _ in cut if _]
    return [(before[index], cut[index][1]) for index in random.permutation(count) if cut[index][1]]


def as_read(batches: Windows, epoch: int) -> list[tuple[int, list[int]]]:
    """All windows of an epoch, with the token before each, in their order."""
    steps = range(epoch * batches.batches_per_epoch, (epoch + 1) * batches.batches_per_epoch)
    found = [(int(b[0]), t[t != PAD].tolist()) for step in steps for b, t in zip(*batches[step], strict=True)]
    return [(before, row) for before, row in found if row]


@pytest.mark.parametrize("weights", [(), (1.0,)])
def test_one_corpus_is_read_as_the_explicit_form_has_it_with_a_weight_or_without(weights):
    stream = TokenStream(TOKENS, [len(TOKENS)] * len(weights), weights)
    for epoch in range(4):
        assert as_read(Windows(stream, 4, 8, 2, seed=3), epoch) == plainly(TOKENS.tolist(), 4, 3, epoch)


def test_of_several_corpora_an_epoch_has_the_windows_as_often_as_the_weights_say():
    first, second, third = range(10, 50), range(60, 176), range(200, 240)
    stream = TokenStream(np.array([*first, *second, *third]), [40, 116, 40], [2.0, 0.5, 0.0])
    batches = Windows(stream, 4, 16, 2, seed=5)
    counts = [Counter(token for _, row in as_read(batches, epoch) for token in row) for epoch in range(3)]
    for epoch, counted in enumerate(counts):
        assert {counted[token] for token in first} == {2} and not any(counted[token] for token in third)
        assert 50 <= sum(counted[token] for token in second) <= 64, epoch
    assert {counts[0][token] + counts[1][token] for token in second} == {1}  # two epochs have all of it
    again = Windows(stream, 4, 16, 2, seed=5)
    for step in (2 * batches.batches_per_epoch, 1, 0):  # after a resume: no step needs the one before
        assert all(map(np.array_equal, batches[step], again[step]))
    for _, row in as_read(batches, 1):  # no window has tokens of two corpora
        assert len({token in first for token in row}) == 1
    with pytest.raises(UserError, match="leave no window of 4 tokens"):
        Windows(TokenStream(stream.tokens, stream.sizes, [0.01, 0.0, 0.0]), 4, 16, 2)


def test_several_texts_are_counted_and_mixed_and_a_resume_finds_them(tmp_path):
    (tmp_path / "more.txt").write_text("another text\n" * 20)
    (tmp_path / "pairs.tsv").write_text("one dog\tein Hund\n" * 3)
    data = text(
        tmp_path,
        documents="line",
        more_corpora=("text=more.txt", "files=pairs.tsv"),
        train_weights=(1.0, 0.5, 3.0),
        vocabulary_size=290,
    )
    told: list[str] = []
    prepared = prepare(data, tmp_path / "data", told.append)
    counted = [(one["name"], one["documents"], one["weight"]) for one in prepared.statistics["corpora"]]
    assert counted == [("text", 5, 1.0), ("text=more.txt", 20, 0.5), ("files=pairs.tsv", 3, 3.0)]  # nothing held out
    sizes = [one["tokens"] for one in prepared.statistics["corpora"]]
    assert prepared.train.sizes == sizes and sum(sizes) == len(prepared.train) == prepared.statistics["train"]["tokens"]
    more = prepared.train.tokens[sizes[0] : sizes[0] + sizes[1]]
    assert (more == EOS).sum() == 20 and prepared.vocabulary.decode(more) == "another text"  # up to the first EOS
    table = "\n".join(told)
    share = 3 * sizes[2] / (sizes[0] + 0.5 * sizes[1] + 3 * sizes[2])
    (line,) = [line for line in table.split("\n") if "files=pairs.tsv" in line]
    assert f"{share:.1%}" in line and f" {sizes[2]} " in line
    prepare(data, tmp_path / "data", told.append, trained=True)
    assert told[-1].endswith("is up to date")
    (tmp_path / "empty.txt").write_text(" \n")
    for changes, message in [
        ({"train_weights": (1.0, 2.0)}, "train_weights has 2 values for 3 corpora"),
        ({"train_weights": (0.0, 0.0, 0.0)}, "train_weights are all 0"),
        ({"train_weights": (0.001, 0.0, 0.0)}, "leave nothing of"),
        ({"more_corpora": ("text=more.txt", "text=empty.txt")}, "text=empty.txt has no training text"),
        ({"more_corpora": ("text=more.txt", "text=none.txt")}, "there is no file"),
        ({"tags": ("a", "b", "c")}, "data.tags is for pairs of sentences"),
    ]:
        with pytest.raises(UserError, match=message):
            prepare(dataclasses.replace(data, **changes), tmp_path / "other", told.append)
        assert not (tmp_path / "other").exists()


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
