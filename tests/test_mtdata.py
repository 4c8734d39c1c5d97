"""Corpora of mtdata's index: a program that answers as mtdata does stands in; where mtdata is there, it is asked."""

from __future__ import annotations

import functools
import http.server
import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import corpora
from wmt_transformer.data.corpora import mtdata
from wmt_transformer.data.corpora.corpus import Split

STAND_IN = r"""#!{python}
import sys
SETS = {{
    "Toy-colours-1-eng-deu": ("en-de", "red\trot\ngreen\tgr\u00fcn\n"),
    "Toy-dev-1-deu-eng": ("de-en", "blau\tblue\t{{}}\n"),
}}
assert sys.argv[1] == "-no-pb"
if sys.argv[2] == "list":
    assert sys.argv[3:6] == ["--full", "--strict", "--langs"]
    for name, (pair, text) in SETS.items():
        if pair == sys.argv[6]:
            print(f"{{name}}\thttp://127.0.0.1/{{name}}.tsv\t\n('somebody-2020-colours',)\n")
elif sys.argv[3] == "Toy-colours-1-eng-deu" and "{broken}":
    print("red\trot")
    print("Traceback\nConnectionError: refused", file=sys.stderr)
    sys.exit(1)
else:
    sys.stdout.buffer.write(SETS[sys.argv[3]][1].encode())
"""


def install(folder: Path, monkeypatch, broken: str = "") -> None:
    program = folder / "program"
    program.write_text(STAND_IN.format(python=sys.executable, broken=broken))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv(mtdata.PROGRAM, str(program))
    mtdata._index.cache_clear()


def load(split: Split = "train", corpus: str = "mtdata:Toy-colours-1-eng-deu", **settings) -> list[tuple[str, str]]:
    return list(corpora.load(DataConfig(corpus=corpus, **settings), split))


def test_texts_are_taken_by_language_in_either_direction(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch)
    assert load() == [("red", "rot"), ("green", "grün")]
    assert load(source="de", target="en") == [("rot", "red"), ("grün", "green")]
    assert load("dev", dev_files=("Toy-dev-1-deu-eng",)) == [("blue", "blau")]
    assert load("test") == []
    assert load(train_pairs=1) == [("red", "rot")]  # and the program is stopped
    data = DataConfig(corpus="multi30k", more_corpora=("mtdata:Toy-colours-1-eng-deu:de-en",))
    assert list(corpora.load(corpora.members(data)[1], "train")) == [("rot", "red"), ("grün", "green")]
    assert corpora.credits(data) == [
        "mtdata:Toy-colours-1-eng-deu: licence at its source, http://127.0.0.1/Toy-colours-1-eng-deu.tsv; "
        "cite: somebody-2020-colours"
    ]


def test_what_is_not_there_is_named_with_what_is_near_it(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch)
    with pytest.raises(UserError, match="mtdata has no Toy-colors-1-eng-deu with en and de; near it are Toy-colours-1"):
        load(corpus="mtdata:Toy-colors-1-eng-deu")
    with pytest.raises(UserError, match=r"has no Toy-colours-1-eng-deu with en and fr; see: mtdata list .*en-fr"):
        load(target="fr")
    with pytest.raises(UserError, match=r"name the ID of a development set with --data\.dev_files"):
        load("dev")


def test_a_download_that_fails_says_why_and_what_to_do(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, broken="yes")
    with pytest.raises(UserError, match=r"1-eng-deu failed: ConnectionError: refused; .*mtdata cache -di ID"):
        load()
    monkeypatch.setenv(mtdata.PROGRAM, str(tmp_path / "nowhere"))
    mtdata._index.cache_clear()
    with pytest.raises(UserError, match=r"no program \S+/nowhere; run: .*pip install 'mtdata>=0\.5' \(40 MB\)"):
        load()


@pytest.fixture
def colours(tmp_path):
    """The address of a set on this machine."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "colours.tsv").write_text("red\trot\n")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/colours.tsv"
        server.shutdown()


@pytest.mark.slow
def test_the_real_mtdata_gives_a_set_of_an_index_of_ours(tmp_path, monkeypatch, colours):
    try:
        mtdata._program()
    except UserError:
        pytest.skip("mtdata is not installed")
    (tmp_path / "mtdata_toy.py").write_text(
        "from mtdata.entry import DatasetId, Entry\n"
        "def load_all(index):\n"
        "    did = DatasetId('Toy', 'colours', '1', ('eng', 'deu'))\n"
        f"    index += Entry(did=did, url='{colours}', ext='tsv', in_ext='tsv')\n"
    )
    monkeypatch.chdir(tmp_path)  # where mtdata looks for more of its index
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("MTDATA", str(tmp_path / "cache"))
    mtdata._index.cache_clear()
    assert load() == [("red", "rot")]
    assert load(source="de", target="en") == [("rot", "red")]
