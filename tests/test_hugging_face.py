"""Corpora of the Hugging Face hub: pairs by language, splits, licences, and what is said where something is missing.

A folder stands in for the data set's repository, and a server on this machine for the hub.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from wmt_transformer import experiment
from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import corpora
from wmt_transformer.data.corpora.corpus import Split
from wmt_transformer.data.manifest import read_manifest
from wmt_transformer.data.prepare import prepare

pytest.importorskip("datasets")
pytestmark = pytest.mark.filterwarnings("ignore")  # whatever datasets, pyarrow and pandas warn about

CARD = """---
license: cc-by-4.0
configs:
- config_name: de-en
  data_files:
  - split: train
    path: de-en/train*
  - split: validation
    path: de-en/validation*
- config_name: en-fr
  data_files:
  - split: train
    path: en-fr/train*
---
# Colours
```
@inproceedings{colours,
  title = {The {Colours}},
}
```
"""
PAIRS = [("red", "rot"), ("green", "grün"), ("blue", "blau"), ("white", None)]


@pytest.fixture
def colours(tmp_path, monkeypatch) -> Path:
    """A copy of a data set's repository: columns of translations in de-en, a column for each language in en-fr."""
    import datasets.config
    import pyarrow
    import pyarrow.parquet

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "colours"
    for config, split, pairs in (("de-en", "train", PAIRS), ("de-en", "validation", PAIRS[:1])):
        (folder / config).mkdir(parents=True, exist_ok=True)
        rows = [{"de": german, "en": english} for english, german in pairs]
        pyarrow.parquet.write_table(
            pyarrow.table({"id": list(range(len(rows))), "translation": rows}), folder / config / f"{split}.parquet"
        )
    (folder / "en-fr").mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"fr": ["rouge"], "en": ["red"]}), folder / "en-fr" / "train.parquet")
    (folder / "README.md").write_text(CARD)
    return folder


def load(folder: Path, split: Split = "train", corpus: str = "hf:somebody/colours:de-en", **settings):
    return list(corpora.load(DataConfig(corpus=corpus, path=str(folder), **settings), split))


def test_texts_are_taken_by_language_in_either_direction(colours):
    expected = [(english, german or "") for english, german in PAIRS]
    assert load(colours) == expected
    assert load(colours, source="de", target="en") == [(german, english) for english, german in expected]
    assert load(colours, "dev") == expected[:1]
    assert load(colours, "test") == []
    assert load(colours, corpus="hf:somebody/colours:en-fr", source="fr", target="en") == [("rouge", "red")]


def test_splits_and_parts_of_them_can_be_named(colours):
    assert [english for english, _ in load(colours, train_files=("train[1:3]",))] == ["green", "blue"]
    assert [english for english, _ in load(colours, "dev", dev_files=("train[:1]",))] == ["red"]
    with pytest.raises(UserError, match=r"Unknown split \"trian\". Should be one of"):
        load(colours, train_files=("trian",))
    with pytest.raises(UserError, match=r"has no split validation, it has train; name one .* with --data\.dev_files"):
        load(colours, "dev", corpus="hf:somebody/colours:en-fr", target="fr")


def test_a_missing_direction_and_an_unknown_config_are_refused_with_what_is_there(colours):
    with pytest.raises(UserError, match=r"hf:somebody/colours:de-en has no en-fr; it has de, en"):
        load(colours, target="fr")
    with pytest.raises(UserError, match=r"has no config de-em; name one of its 2 as in hf:NAME:CONFIG: de-en"):
        load(colours, corpus="hf:somebody/colours:de-em")
    with pytest.raises(UserError, match=r"has several configs; .*: en-fr$"):
        load(colours, corpus="hf:somebody/colours", target="fr")
    with pytest.raises(UserError, match=r"names a revision, which .* has none of; leave out @v1"):
        load(colours, corpus="hf:somebody/colours:de-en@v1")
    with pytest.raises(
        UserError, match=r"data\.corpus is 'hf:'; it must be one of .*, or hf:NAME\[:CONFIG\]\[@REVISION"
    ):
        load(colours, corpus="hf:")


def test_prepare_says_licence_and_citation_and_reads_again_what_changed(colours, tmp_path):
    config = experiment.override(
        experiment.load("quickstart"),
        ["--data.corpus", "hf:somebody/colours:de-en", "--data.path", str(colours), "--data.vocabulary_size", "290"],
    ).data
    lines: list[str] = []
    prepared = prepare(config, tmp_path / "data", lines.append, processes=1)
    assert lines[:2] == [
        f"hf:somebody/colours:de-en: licence cc-by-4.0; see {colours}",
        "cite: @inproceedings{colours, title = {The {Colours}}, }",
    ]
    assert prepared.statistics["train"] | {"too_long": 0} == {
        "read": 4, "empty": 1, "duplicate": 0, "too_long": 0, "length_ratio": 0, "kept": 3
    }  # fmt: skip
    assert prepared.dev_text == [("red", "rot")]
    assert read_manifest(tmp_path / "data")["credits"] == lines[:2]
    prepare(config, tmp_path / "data", lines.append)
    assert lines[-1].endswith("is up to date")
    (colours / "README.md").write_text(CARD.replace("cc-by-4.0", "mit"))
    prepare(config, tmp_path / "data", lines.append)
    assert lines[-1].endswith("is up to date: the text is the same")


def test_it_can_be_one_of_several_corpora(colours):
    base = DataConfig(corpus="phrasebook", more_corpora=(f"hf:somebody/colours:en-fr={colours}:en-fr",))
    (_, second) = corpora.members(base)
    assert (second.corpus, second.path, second.target) == ("hf:somebody/colours:en-fr", str(colours), "fr")
    assert list(corpora.load(second, "train")) == [("red", "rouge")]
    base = DataConfig(corpus="phrasebook", more_corpora=("hf:somebody/colours@v1:en-fr", "hf:a/b:en-fr@v2:fr-en"))
    named = [(one.corpus, one.source, one.target) for one in corpora.members(base)[1:]]
    assert named == [("hf:somebody/colours@v1", "en", "fr"), ("hf:a/b:en-fr@v2", "fr", "en")]


# ---- The hub


def refusal(path: str, known: tuple[str, ...]) -> tuple[int, str, str] | None:
    """Returns the status, the hub's code and a message for what is not given out."""
    if "/gated/" in path:
        return 403, "GatedRepo", "restricted"
    asked = re.search(r"colours/(?:resolve|tree|revision)/([^/]*)", path)
    return (404, "RevisionNotFound", "no such revision") if asked and asked[1] not in known else None


def hub(folder: Path) -> type[http.server.BaseHTTPRequestHandler]:
    """Returns what answers as the hub does: somebody/colours is the folder, somebody/gated wants to be asked first."""
    commit, name = "a" * 40, "/datasets/somebody/colours"

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path = unquote(urlsplit(self.path).path)
            if refused := refusal(path, ("main", "v1", commit)):
                self.answer(refused[0], b"{}", X_Error_Code=refused[1], X_Error_Message=refused[2])
            elif path.startswith(f"{name}/resolve/") and (file := folder / path.split("/", 6)[-1]).is_file():
                content = file.read_bytes()
                self.answer(200, content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit=commit)
            elif (
                path.startswith(f"/api{name}/tree/")
                and (place := folder / path.partition(commit)[2].strip("/")).is_dir()
            ):
                self.answer(200, json.dumps([self.entry(one) for one in place.iterdir()]).encode())
            elif path.startswith((f"{name}/resolve/", f"/api{name}/tree/")):
                self.answer(404, b"", X_Error_Code="EntryNotFound")
            elif path.startswith(f"/api{name}"):
                files = [str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()]
                siblings = [{"rfilename": one} for one in files]
                self.answer(200, json.dumps({"id": "somebody/colours", "sha": commit, "siblings": siblings}).encode())
            elif path == "/api/datasets":  # a search
                self.answer(200, json.dumps([{"id": "somebody/colours", "_id": "1"}]).encode())
            else:
                self.answer(404, b"{}", X_Error_Code="RepoNotFound", X_Error_Message="not found")

        do_HEAD = do_GET

        def entry(self, path: Path) -> dict:
            kind = "file" if path.is_file() else "directory"
            return {"type": kind, "path": str(path.relative_to(folder)), "size": path.stat().st_size, "oid": "0" * 40}

        def answer(self, status: int, content: bytes, **headers: str) -> None:
            self.send_response(status)
            for header, value in headers.items():
                self.send_header(header.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, format, *args):
            pass

    return Hub


@pytest.fixture
def endpoint(colours) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), hub(colours)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_data_set_is_downloaded_from_the_hub_and_a_refusal_is_one_line_with_the_remedy(endpoint, tmp_path):
    script = """
import sys
from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import corpora
for name in sys.argv[1:]:
    name, at, revision = name.partition("@")
    data = DataConfig(corpus=f"hf:somebody/{name}:de-en{at}{revision}")
    try:
        print(corpora.credits(data), list(corpora.load(data, "train")))
    except UserError as error:
        print(error)
"""
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-W", "ignore", "-c", script, "colours", "colours@v1", "colours@v2", "colors", "gated"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    found, tagged, no_such, unknown, gated = done.stdout.splitlines()
    assert f"licence cc-by-4.0, commit {'a' * 40}; see " in found
    assert tagged == found.replace("de-en: ", "de-en@v1: ")
    assert no_such.startswith("hf:somebody/colours:de-en@v2: ") and "v2" in no_such.partition(": ")[2]
    assert "licence cc-by-4.0" in found and found.endswith(str([(one, other or "") for one, other in PAIRS]))
    assert "hf:somebody/colors:de-en: " in unknown and unknown.endswith("did you mean hf:somebody/colours?")
    assert gated.endswith(
        "; accept its licence at https://huggingface.co/datasets/somebody/gated, then log in: hf auth login"
    )


def test_without_a_network_the_error_says_what_to_fetch_and_where_to_put_it(monkeypatch):
    import datasets

    def refused(*args, **kwargs):
        raise ConnectionError("Couldn't reach 'somebody/colours' on the Hub (LocalEntryNotFoundError)")

    monkeypatch.setattr(datasets, "get_dataset_config_names", refused)
    with pytest.raises(UserError, match=r"hf download --repo-type dataset somebody/colours --local-dir FOLDER; then"):
        list(corpora.load(DataConfig(corpus="hf:somebody/colours:de-en"), "train"))


def test_a_missing_package_is_named_with_its_size(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    data = DataConfig(corpus="hf:somebody/colours:de-en")
    for ask in (corpora.credits, lambda data: list(corpora.load(data, "train"))):
        with pytest.raises(UserError, match=r"not installed; run: pip install 'datasets>=4' \(100 MB with pandas\)"):
            ask(data)
