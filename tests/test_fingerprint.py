"""A run is bound to what its data are: their content counts, not their paths and times."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import CONFIG, refused, run
from test_prepare import quiet, sentences, write_corpus

from wmt_transformer.config import UserError
from wmt_transformer.data import fingerprint
from wmt_transformer.data.prepare import open_text, prepare


def test_the_same_text_has_the_same_fingerprint_wherever_it_is_and_whenever_it_was_written(tmp_path):
    data = write_corpus(tmp_path / "here", sentences())
    prepare(data, tmp_path / "data", quiet)
    found, made = fingerprint.of(tmp_path / "data"), (tmp_path / "data").stat().st_ino
    other = write_corpus(tmp_path / "there", sentences())
    prepare(other, tmp_path / "other", quiet)
    assert fingerprint.of(tmp_path / "other") == found and set(found) == {"vocabulary", "corpus"}

    lines: list[str] = []
    (tmp_path / "here").rename(tmp_path / "moved")
    moved = write_corpus(tmp_path / "moved", sentences())  # with new times
    for _ in range(2):
        prepare(moved, tmp_path / "data", lines.append, trained=True)
    assert (tmp_path / "data").stat().st_ino == made and fingerprint.of(tmp_path / "data") == found
    assert [line.partition(" is ")[2] for line in lines[1:]] == ["up to date: the text is the same", "up to date"]


def test_the_content_of_the_corpus_counts_not_only_its_size(tmp_path):
    pairs = sentences()
    prepare(write_corpus(tmp_path / "one", pairs), tmp_path / "data", quiet)
    prepared = prepare(write_corpus(tmp_path / "two", [pairs[1], pairs[0], *pairs[2:]]), tmp_path / "other", quiet)
    one, other = fingerprint.of(tmp_path / "data"), fingerprint.of(tmp_path / "other")
    assert prepared.statistics["train"]["kept"] == 100
    assert one["vocabulary"] == other["vocabulary"] and one["corpus"] != other["corpus"]


def test_after_the_first_checkpoint_nothing_is_made_anew(tmp_path):
    data = write_corpus(tmp_path / "corpus", sentences())
    folder = tmp_path / "data"
    prepare(data, folder, quiet, trained=True)  # there was nothing: it is made
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    with pytest.raises(UserError, match=r"checkpoints.*differs: data\.max_length: 60 there, 50 here;"):
        prepare(dataclasses.replace(data, max_length=50), folder, quiet, trained=True)
    write_corpus(tmp_path / "corpus", [*sentences(), ("A new cat .", "Eine neue Katze .")])
    with pytest.raises(UserError, match=r"checkpoints.*differs: the text of corpus files;"):
        prepare(data, folder, quiet, trained=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "manifest.json").write_text("[]")
    with pytest.raises(UserError, match=r"has no manifest\.json of this version.*checkpoints"):
        prepare(data, folder, quiet, trained=True)
    assert len(prepare(data, folder, quiet).train) == 101


def test_a_folder_of_an_earlier_version_is_read_through(tmp_path):
    data = write_corpus(tmp_path / "corpus", sentences())
    prepare(data, tmp_path / "data", quiet)
    found = fingerprint.of(tmp_path / "data")
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    for name in ("corpus", "checksums", "check"):
        del manifest[name]
    (tmp_path / "data" / "manifest.json").write_text(json.dumps(manifest))
    assert fingerprint.of(tmp_path / "data") == found


DAMAGE = {
    "one flipped bit": lambda content: (
        bytes([*content[: len(content) // 2], content[len(content) // 2] ^ 16]) + content[len(content) // 2 + 1 :]
    ),
    "cut off": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("damage", [*DAMAGE, "missing"])
def test_damage_to_any_file_of_a_prepared_folder_is_seen_and_named(tmp_path, damage):
    data, folder = write_corpus(tmp_path / "corpus", sentences()), tmp_path / "data"
    prepare(data, folder, quiet)
    found = fingerprint.of(folder)
    names = {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert {"vocabulary.model", "train.tokens", "train.offsets", "dev.tokens", "dev.de", "test.en"} <= names
    for name in names:
        content = (folder / name).read_bytes()
        if damage == "missing":
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(DAMAGE[damage](content))
        for trained in (False, True):
            with pytest.raises(UserError, match=f"{name} is damaged: .*move .* away"):
                prepare(data, folder, quiet, trained=trained)
        (folder / name).write_bytes(content)
    open_text(folder)
    (folder / "dev.de").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"dev\.de is damaged"):
        open_text(folder)
    shutil.rmtree(folder)  # as the message says
    prepare(data, folder, quiet, trained=True)
    assert fingerprint.of(folder) == found


def test_a_manifest_that_is_not_what_was_written_is_none(tmp_path):
    data, path = write_corpus(tmp_path / "corpus", sentences()), tmp_path / "data" / "manifest.json"
    prepare(data, tmp_path / "data", quiet)
    whole = path.read_text("utf-8")
    for was, now in (('"uint16"', '"uint06"'), ('"dtype"', '"dtypf"'), ("{", "["), ('"kept": 100', '"kept": 101')):
        path.write_text(whole.replace(was, now, 1), "utf-8")
        with pytest.raises(UserError, match=r"no manifest\.json of this version that is whole"):
            prepare(data, tmp_path / "data", quiet, trained=True)


def test_what_differs_is_named_and_what_is_not_known_is_not_compared():
    found = {"vocabulary": "1", "corpus": "2"}
    fingerprint.check({}, found, "checkpoint 3")
    fingerprint.check(found, {"vocabulary": "1"}, "checkpoint 3")
    with pytest.raises(UserError, match="checkpoint 3 was made with another corpus than"):
        fingerprint.check({**found, "corpus": "0"}, found, "checkpoint 3")
    with pytest.raises(UserError, match="another vocabulary and another corpus than"):
        fingerprint.check({"vocabulary": "0", "corpus": "0"}, found, "checkpoint 3")


def test_a_folder_without_a_vocabulary_has_no_fingerprint(tmp_path):
    with pytest.raises(UserError, match="no vocabulary in"):
        fingerprint.of(tmp_path)
    for name in ("source.spm", "target.spm", "vocab.json"):
        (tmp_path / name).write_text(name)
    before = fingerprint.of(tmp_path)
    (tmp_path / "vocab.json").write_text("{}")
    assert set(before) == {"vocabulary"} and fingerprint.of(tmp_path) != before


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The path of a config whose corpus is beside it."""
    pairs = [("the cat sees a dog", "DIE KATZE SIEHT EINEN HUND"), ("one big bird", "EIN GROSSER VOGEL")]
    for split, count in (("train", 40), ("dev", 2)):
        for side, language in enumerate(("en", "de")):
            lines = [f"{pairs[n % 2][side]} {n}\n" for n in range(count)]
            (tmp_path / f"{split}.{language}").write_text("".join(lines))
    (tmp_path / "toy.py").write_text(CONFIG.format(path=str(tmp_path)))
    return tmp_path / "toy.py"


def test_a_trained_run_refuses_other_text_and_takes_a_moved_folder(config: Path, tmp_path: Path, capsys):
    workdir, corpus = tmp_path / "run", tmp_path / "corpus"
    assert run("prepare", config, "--workdir", workdir) == 0
    (workdir / "checkpoints" / "3").mkdir(parents=True)
    corpus.mkdir()
    for path in (*tmp_path.glob("*.en"), *tmp_path.glob("*.de")):
        shutil.copy(path, corpus)
    arguments = (config, "--workdir", workdir, "--data.path", corpus)
    model = (workdir / "data" / "vocabulary.model").read_bytes()
    assert run("prepare", *arguments) == 0
    assert "the text is the same" in capsys.readouterr().err
    for name in ("train.en", "train.de"):
        with (corpus / name).open("a") as file:
            file.write("one more\n" * 30)
    for verb in ("prepare", "train"):
        assert "the text of corpus files" in refused(capsys, verb, *arguments)
    assert (workdir / "data" / "vocabulary.model").read_bytes() == model


HOLDING = """
import sys
from pathlib import Path
from wmt_transformer.files import locked, whole_folder
with whole_folder(Path(sys.argv[2]), "--workdir") if sys.argv[1] == "folder" else locked(Path(sys.argv[2])):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("what", "name", "message"), [("folder", "data", "being written"), ("run", ".", "in use by a run")]
)
def test_of_two_that_prepare_one_folder_the_second_is_refused(
    config: Path, tmp_path: Path, capsys, what, name, message
):
    workdir = tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOLDING, what, str(workdir / name)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as first:
        assert first.stdout is not None and first.stdout.readline() == b"ready\n"
        assert message in refused(capsys, "prepare", config, "--workdir", workdir)
        first.communicate()
    assert run("prepare", config, "--workdir", workdir) == 0


@pytest.mark.parametrize("verb", ["prepare", "train"])
def test_a_corpus_that_is_not_there_leaves_no_folder(config: Path, tmp_path: Path, capsys, verb):
    files = ("--data.train_files", "none.en", "none.de")
    assert "no file" in refused(capsys, verb, config, "--workdir", tmp_path / "new" / "run", *files)
    assert not (tmp_path / "new").exists()
