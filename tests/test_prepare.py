"""Prepared data: what is kept and why not, whole or not at all, the same for any number of processes."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import resource
from pathlib import Path

import numpy as np
import pytest

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import prepare as prepare_module
from wmt_transformer.data import tokens
from wmt_transformer.data.prepare import open_prepared, prepare
from wmt_transformer.data.vocabulary import normalise
from wmt_transformer.special_tokens import EOS

ANIMALS = [("dog", "Hund"), ("tree", "Baum"), ("man", "Mann"), ("table", "Tisch"), ("king", "König")]
VERBS = [("sees", "sieht"), ("hears", "hört"), ("finds", "findet"), ("knows", "kennt")]


def sentences() -> list[tuple[str, str]]:
    """A hundred different pairs."""
    return [
        (f"The {a} {v} the {b}.", f"Der {aa} {vv} den {bb}.")
        for a, aa in ANIMALS
        for v, vv in VERBS
        for b, bb in ANIMALS
    ]


def write_corpus(folder: Path, train: list[tuple[str, str]]) -> DataConfig:
    folder.mkdir(exist_ok=True)
    held_out = [
        (" Raw  text stays\u00a0raw. ", "Roher Text\u2028bleibt roh."),
        ("", "leer"),
        ("The man " * 40, "Lang."),
    ]
    for name, pairs in (("train", train), ("dev", held_out), ("test", held_out[::-1])):
        for side, language in enumerate(("en", "de")):
            text = "".join(pair[side] + "\n" for pair in pairs)
            (folder / f"{name}.{language}").write_text(text, "utf-8", newline="\n")
    return DataConfig(
        corpus="files",
        path=str(folder),
        train_files=("train.en", "train.de"),
        dev_files=("dev.en", "dev.de"),
        test_files=("test.en", "test.de"),
        vocabulary_size=330,
        max_length=60,
    )


@pytest.fixture
def data(tmp_path) -> DataConfig:
    return write_corpus(tmp_path / "corpus", sentences())


def quiet(line: str) -> None:
    pass


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_pairs_come_back_as_their_pieces_with_end_of_sentence(data, tmp_path):
    prepared = prepare(data, tmp_path / "data", quiet)
    words = prepared.vocabulary
    assert len(words) == 330
    assert len(prepared.train) == 100
    for index, (source, target) in enumerate(sentences()):
        source_ids, target_ids = prepared.train.pair(index)
        assert source_ids.tolist() == [*words.encode(source), EOS]
        assert target_ids.tolist() == [*words.encode(target), EOS]
        assert prepared.train.source_lengths[index] == len(source_ids)
        assert prepared.train.target_lengths[index] == len(target_ids)
        assert source_ids.dtype == np.uint16
    sums = {"source": prepared.train.source_lengths.sum(), "target": prepared.train.target_lengths.sum()}
    assert prepared.statistics["tokens"] == sums


def test_every_reason_to_drop_a_pair_is_counted_and_shown(tmp_path):
    good = sentences()[:20]
    long = "The dog sees the tree. " * 30  # at least six pieces each: far beyond max_length 60
    bad = [
        ("", "leer"),
        ("empty", " \t\u2028\x00"),
        (f"  {good[0][0]} ", good[0][1].replace(" ", "\u00a0")),  # a duplicate, once normalised
        (long, "Kurz."),
        ("Short.", long),
        ("a", "Der Hund sieht den Baum."),
    ]
    data = write_corpus(tmp_path / "corpus", [good[0], *bad, *good[1:]])
    lines: list[str] = []
    prepared = prepare(
        dataclasses.replace(data, vocabulary_size=290, max_length_ratio=5.0), tmp_path / "data", lines.append
    )
    counts = {"read": 26, "empty": 2, "duplicate": 1, "too_long": 2, "length_ratio": 1, "kept": 20}
    assert prepared.statistics["train"] == counts
    kept = [tuple(prepared.vocabulary.decode(side) for side in prepared.train.pair(i)) for i in range(20)]
    assert kept == good
    for name, number in counts.items():
        assert any(name.replace("_", " ") in line and str(number) in line for line in lines[-1].split("\n"))


def test_in_a_notebook_tables_are_told_too_and_not_displayed(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    lines: list[str] = []
    prepare(dataclasses.replace(data, train_weights=(2.0,)), tmp_path / "data", lines.append)
    assert "training pairs" in lines[-1] and "share of an epoch" in lines[-1] and capsys.readouterr().out == ""


def test_limits_are_exact(tmp_path):
    data = write_corpus(tmp_path / "corpus", sentences())
    free = prepare(data, tmp_path / "free", quiet).train
    longest = np.maximum(free.source_lengths, free.target_lengths)
    limit = int(longest.max()) - 1
    limited = prepare(dataclasses.replace(data, max_length=limit), tmp_path / "limited", quiet).train
    assert len(limited) == (longest <= limit).sum()
    assert 0 < len(limited) < 100
    sides = np.stack([free.source_lengths, free.target_lengths]) - 1  # pieces, without end of sentence
    ratios = sides.max(axis=0) / sides.min(axis=0)
    ratio = float(np.median(ratios))
    limited = prepare(dataclasses.replace(data, max_length_ratio=ratio), tmp_path / "ratio", quiet).train
    assert len(limited) == (ratios < ratio).sum()
    assert 0 < len(limited) < 100


def test_duplicates_stay_when_asked(tmp_path):
    data = write_corpus(tmp_path / "corpus", sentences() * 2)
    assert len(prepare(data, tmp_path / "one", quiet).train) == 100
    assert len(prepare(dataclasses.replace(data, deduplicate=False), tmp_path / "two", quiet).train) == 200


def test_dev_and_test_are_never_filtered_shortened_or_normalised(data, tmp_path):
    prepared = prepare(data, tmp_path / "data", quiet)
    raw = [
        (" Raw  text stays\u00a0raw. ", "Roher Text\u2028bleibt roh."),
        ("", "leer"),
        ("The man " * 40, "Lang."),
    ]
    assert prepared.dev_text == raw
    assert prepared.test_text == raw[::-1]
    assert (tmp_path / "data" / "dev.en").read_bytes().decode() == "".join(f"{source}\n" for source, _ in raw)
    assert len(prepared.dev) == 3
    for index, pair in enumerate(raw):
        assert [prepared.vocabulary.decode(side) for side in prepared.dev.pair(index)] == list(map(normalise, pair))
    assert prepared.dev.source_lengths[1] == 1  # an empty sentence is its end
    assert prepared.dev.source_lengths[2] > data.max_length


@pytest.mark.parametrize("model", ["bpe", "unigram"])
def test_the_result_is_the_same_for_any_number_of_processes(data, tmp_path, monkeypatch, model):
    monkeypatch.setattr(prepare_module, "CHUNK", 7)  # 15 chunks, more than are done in this process alone
    data = dataclasses.replace(data, vocabulary_model=model, vocabulary_size=300)
    for processes in (1, 2):
        prepare(data, tmp_path / str(processes), quiet, processes)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    monkeypatch.setattr(prepare_module, "CHUNK", 100)
    prepare(data, tmp_path / "whole", quiet, 1)
    assert contents(tmp_path / "1") == contents(tmp_path / "whole")


def test_workers_do_not_import_jax(data, tmp_path, monkeypatch):
    import subprocess
    import sys

    code = "import sys, wmt_transformer.data.prepare, wmt_transformer.data.corpora; print('jax' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert result.stdout.strip() == "False"


def test_the_vocabulary_sample_is_even_and_no_larger_than_asked(tmp_path):
    text = tmp_path / "train.tsv"
    lines = [f"source {n}\ttarget {n}\n".encode() for n in range(1000)]
    text.write_bytes(b"".join(lines))
    starts = np.cumsum([0, *map(len, lines)])
    keep = np.arange(1000) % 2 == 0  # every second is a duplicate
    chunks = [
        tokens.Chunk(int(starts[i]), int(starts[i + 100] - starts[i]), keep[i : i + 100]) for i in range(0, 1000, 100)
    ]
    sample = list(prepare_module._sample(text, chunks, 50))
    numbers = [int(source.split()[1]) for source, _ in sample]
    assert sample == [[f"source {number}", f"target {number}"] for number in numbers]
    assert len(set(numbers)) == 50
    assert set(np.diff(numbers)) == {20}  # 500 pairs are left, two apart: each tenth
    assert len(list(prepare_module._sample(text, chunks, 10_000))) == 500


def test_nothing_is_done_again_until_something_changes(data, tmp_path):
    folder = tmp_path / "data"
    lines: list[str] = []
    prepare(data, folder, quiet)
    made = folder.stat().st_ino
    other_batches = dataclasses.replace(data, source_tokens=7, target_tokens=7, num_shapes=3, batch_multiple=1)
    prepare(other_batches, folder, lines.append)
    assert folder.stat().st_ino == made and "up to date" in lines[-1]

    prepare(dataclasses.replace(data, vocabulary_size=331), folder, quiet)
    assert folder.stat().st_ino != made
    assert len(open_prepared(folder).vocabulary) == 331

    write_corpus(Path(data.path or ""), sentences()[:50])
    assert len(prepare(data, folder, quiet).train) == 50

    made = folder.stat().st_ino
    (Path(data.path or "") / "train.en").unlink()  # it is not needed any more
    assert len(prepare(data, folder, quiet).train) == 50 and folder.stat().st_ino == made

    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["check"]
    manifest["recipe"]["format"] = -1
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="no prepared data of this version"):
        open_prepared(folder)


@pytest.mark.parametrize("name", ["../x", "a/b", "a\0b", "", "x y"])
def test_the_name_of_a_language_becomes_a_part_of_no_path(data, tmp_path, name):
    for side in ("source", "target"):
        with pytest.raises(UserError, match=rf"data\.{side} is .*expected the name of a language"):
            prepare(dataclasses.replace(data, **{side: name}), tmp_path / "data", quiet)
    assert not (tmp_path / "data").exists()


def test_a_failure_leaves_the_folder_as_it_was(data, tmp_path, monkeypatch):
    folder = tmp_path / "work" / "data"
    prepare(data, folder, quiet)
    before = contents(folder)

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "train.tokens"))

    larger = dataclasses.replace(data, vocabulary_size=331)
    with monkeypatch.context() as patched:
        patched.setattr(tokens, "write", full)
        with pytest.raises(UserError, match=r"train\.tokens: No space left on device; make room"):
            prepare(larger, folder, quiet)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            prepare(larger, folder, quiet)
    with pytest.raises(UserError, match="bytes and characters alone"):
        prepare(dataclasses.replace(data, vocabulary_size=50), folder, quiet)
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["data"]


@contextlib.contextmanager
def files_of_at_most(size: int):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_the_system_really_refuses_is_one_line_and_leaves_nothing(data, tmp_path):
    folder = tmp_path / "work" / "data"
    with files_of_at_most(4096), pytest.raises(UserError, match="File too large; make room"):
        prepare(data, folder, quiet)
    assert list(folder.parent.iterdir()) == []


def test_what_a_killed_run_left_behind_is_cleared_away(data, tmp_path):
    leftover = tmp_path / ".data.new"
    leftover.mkdir()
    (leftover / "train.tokens").write_bytes(b"half")
    prepare(data, tmp_path / "data", quiet)
    assert not leftover.exists()


def test_a_corpus_of_nothing_but_empty_or_long_pairs_is_refused(data, tmp_path):
    write_corpus(Path(data.path or ""), [("", "leer"), ("leer", " ")])
    with pytest.raises(UserError, match="no training pairs: read 2, all with an empty side"):
        prepare(data, tmp_path / "data", quiet)
    write_corpus(Path(data.path or ""), sentences())
    with pytest.raises(UserError, match=r"no training pair is left.*max-length"):
        prepare(dataclasses.replace(data, max_length=2), tmp_path / "data", quiet)


def test_opening_what_is_not_there_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match="wmt-transformer prepare"):
        open_prepared(tmp_path / "data")


def test_a_large_vocabulary_takes_four_bytes_a_token(tmp_path):
    ids = tokens.Encoded(np.array([70_000, EOS, 65_536, EOS], np.uint32), np.array([2, 2]))
    tokens.write(tmp_path, "train", [ids])
    source, target = tokens.TokenPairs.open(tmp_path, "train", "uint32").pair(0)
    assert source.tolist() == [70_000, EOS] and target.tolist() == [65_536, EOS]


def test_a_small_text_gets_the_vocabulary_that_it_supports_and_is_told(data, tmp_path):
    lines: list[str] = []
    prepared = prepare(dataclasses.replace(data, vocabulary_size=6000), tmp_path / "data", lines.append)
    assert 330 < len(prepared.vocabulary) < 500
    told = f"the text supports {len(prepared.vocabulary)} pieces, fewer than data.vocabulary_size 6,000"
    assert any(told in line for line in lines)
    prepare(dataclasses.replace(data, vocabulary_size=6000), tmp_path / "data", lines.append)
    assert lines[-1].endswith("is up to date")


def test_a_corpus_without_a_test_set_is_prepared(data, tmp_path):
    prepared = prepare(dataclasses.replace(data, test_files=()), tmp_path / "data", quiet)
    assert (len(prepared.dev_text), prepared.test_text) == (3, [])
    with pytest.raises(UserError, match=r"dev_files names 0 files"):
        prepare(dataclasses.replace(data, dev_files=()), tmp_path / "other", quiet)
