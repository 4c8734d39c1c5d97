"""Marian models by their names, from a server on this machine that answers as the Hugging Face Hub does."""

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
from typing import Any

import jax
import numpy as np
import pytest
from commands import refused, run
from fakes import tiny_model

from wmt_transformer import checkpoint, parent
from wmt_transformer.config import Config, DataConfig
from wmt_transformer.data import phrasebook, vocabulary
from wmt_transformer.interop import marian_export

pytest.importorskip("huggingface_hub")
safetensors = pytest.importorskip("safetensors.numpy")

ROOT = Path(__file__).parents[1]
COMMIT = "6183067f769a302e3861815543b9f312c71b0ca4"
NAME = "Somebody/opus-mt-en-de"
CARD = "---\nlanguage:\n- en\n- de\nlicense: cc-by-4.0\n---\n\n# opus-mt-en-de\n"
READ = {"config.json", "generation_config.json", "tokenizer_config.json", "source.spm", "target.spm", "vocab.json"}
READ |= {"README.md", "model.safetensors"}


class Hub(http.server.ThreadingHTTPServer):
    """One model, and what the next requests meet."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.fetched: list[tuple[str, str | None]] = []
        """The files that were asked for, and which bytes of them."""
        self.cut: int | None = None
        """After how many bytes the next answer with weights breaks off."""
        self.refusal: tuple[int, str] | None = None
        """The status, and the hub's word for it, of every answer about the model."""
        self.broken = ""
        """A file that is not given."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(http.server.BaseHTTPRequestHandler):
    server: Any
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, hub = self.path.partition("?")[0], self.server
        if hub.refusal:
            self.answer(hub.refusal[0], b"{}", {"X-Error-Code": hub.refusal[1]})
        elif path in (f"/api/models/{NAME}/revision/main", f"/api/models/{NAME}/revision/{COMMIT}"):
            listed = [{"rfilename": name} for name in hub.files]
            self.answer(200, json.dumps({"id": NAME, "sha": COMMIT, "siblings": listed}).encode())
        elif path == f"/api/models/{NAME}/tree/{COMMIT}":
            listed = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in hub.files.items()
            ]
            self.answer(200, json.dumps(listed).encode())
        elif found := re.fullmatch(rf"/{NAME}/resolve/{COMMIT}/(.+)", path):
            self.file(found[1])
        elif path.startswith(f"/api/models/{NAME}/"):
            self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        else:
            self.answer(401, b"{}", {"X-Error-Code": "RepoNotFound"})

    def file(self, name: str) -> None:
        hub, data = self.server, self.server.files[name]
        etag = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
        if self.command == "HEAD":
            return self.answer(200, data, etag)
        if name == hub.broken:
            return self.answer(503, b"")
        wanted = self.headers.get("Range")
        hub.fetched.append((name, wanted))
        if wanted:
            first = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])  # type: ignore[index]
            etag["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
            return self.answer(206, data[first:], etag)
        cut = None
        if name == "model.safetensors":
            cut, hub.cut = hub.cut, None
        self.answer(200, data, etag, cut)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:cut])
        self.close_connection = cut is not None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a Marian model's folder as the hub has it, with weights for other programs beside ours."""
    data = tmp_path_factory.mktemp("data")
    texts = [text for one in phrasebook.generate("train", 100) for text in (one.en, one.de)]
    words = vocabulary.train(texts, data / "vocabulary.model", 400)
    model, params = tiny_model(vocabulary_size=len(words), d_v=8)
    folder = tmp_path_factory.mktemp("models") / "opus-mt-en-de"
    marian_export.export(Config(model=model.config, data=DataConfig(source="en", target="de")), params, data, folder)
    vocabulary.train(texts[1::2], folder / "target.spm", 380)  # or the two were one file of the hub's
    # The library writes ten megabytes at a time: in a smaller file there is no middle.
    weights = safetensors.load_file(folder / "model.safetensors") | {"unused": np.zeros(3 << 20, np.float32)}
    safetensors.save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "README.md").write_text(CARD)
    for name in ("pytorch_model.bin", "tf_model.h5", "rust_model.ot"):
        (folder / name).write_bytes(b"not for us")
    return folder


@pytest.fixture
def hub(folder: Path) -> Iterator[Hub]:
    server = Hub(folder)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def imported(home: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the verb as a user does, in a folder of its own: the library reads its variables when it is imported."""
    variables = {"HF_ENDPOINT": url, "HF_HOME": str(home / "hf"), "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "*"}
    environment = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HF_HUB_OFFLINE")}
    environment |= variables | {"PYTHONPATH": str(ROOT), "HF_HUB_ETAG_TIMEOUT": "3"}
    command = [sys.executable, "-m", "wmt_transformer", "import-marian", *arguments, "--workdir", "run"]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=300)


def line(found: subprocess.CompletedProcess[str]) -> str:
    """Returns the one line that a command which was refused ends with; what the library logs may come before it."""
    assert found.returncode == 2 and found.stdout == "" and "Traceback" not in found.stderr, found.stderr
    lines = [one for one in found.stderr.splitlines() if one.startswith("wmt-transformer: ")]
    assert len(lines) == 1 and found.stderr.endswith(lines[0] + "\n")
    return lines[0]


def test_a_download_that_is_cut_in_the_middle_goes_on_there_and_the_run_remembers_the_commit(
    hub: Hub, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    hub.cut = len(hub.files["model.safetensors"]) - (1 << 20)
    found = imported(tmp_path, hub.url, NAME)
    if found.returncode == 2:  # older versions of the library ask for the rest the next time
        assert "run again to go on" in line(found)
        found = imported(tmp_path, hub.url, NAME)
    assert found.returncode == 0, found.stderr
    assert {name for name, _ in hub.fetched} == READ  # and not the weights of other programs
    assert next(part for name, part in hub.fetched if name == "model.safetensors") is None
    (begun,) = [int(part[6:-1]) for _, part in hub.fetched if part]
    assert 0 < begun <= len(hub.files["model.safetensors"]) - (1 << 20)

    assert run("import-marian", folder, "--workdir", tmp_path / "same") == 0
    one, two = (checkpoint.load_params(tmp_path / name) for name in ("run", "same"))
    jax.tree.map(np.testing.assert_array_equal, one, two)
    assert parent.of(tmp_path / "run") == parent.Parent(NAME, COMMIT)
    assert [parent.of(tmp_path / name).license for name in ("run", "same")] == ["cc-by-4.0"] * 2  # type: ignore[union-attr]
    capsys.readouterr()
    assert run("info", tmp_path / "run") == 0
    shown = capsys.readouterr().out
    assert f"{NAME}@{COMMIT}" in shown and "opus-mt-en-de, family marian" in shown and "en to de" in shown

    hub.fetched.clear()
    assert "holds checkpoints, config.json, data already" in line(imported(tmp_path, hub.url, NAME))
    assert hub.fetched == []  # all of it was there


def test_what_was_fetched_before_a_failure_is_not_fetched_again(hub: Hub, tmp_path: Path):
    hub.broken = "model.safetensors"
    said = line(imported(tmp_path, hub.url, NAME))
    assert f"cannot fetch {hub.url}/{NAME} (HTTP 503)" in said and "run again to go on" in said
    assert not (tmp_path / "run").exists()
    hub.broken, before = "", [name for name, _ in hub.fetched]
    hub.fetched.clear()
    assert imported(tmp_path, hub.url, NAME, "--revision", COMMIT).returncode == 0
    again = {name for name, _ in hub.fetched}
    assert again == READ - set(before) and "model.safetensors" in again


def test_the_old_format_is_fetched_where_there_is_no_other(hub: Hub, tmp_path: Path):
    del hub.files["model.safetensors"]
    assert "pytorch_model.bin" in line(imported(tmp_path, hub.url, NAME))  # torch is not there, or cannot read it
    assert {name for name, _ in hub.fetched} == READ - {"model.safetensors"} | {"pytorch_model.bin"}


BY_HAND = f"put them into the folder {NAME} here, and run again"


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        ((401, "RepoNotFound"), f"shows no model {NAME} (HTTP 401); check its name, or set HF_TOKEN if it is private"),
        ((404, "RepoNotFound"), f"shows no model {NAME} (HTTP 404); check its name"),
        ((401, "GatedRepo"), "is given to those who accept its conditions there (HTTP 401)"),
        ((403, "GatedRepo"), "is given to those who accept its conditions there (HTTP 403)"),
        ((403, ""), f"/{NAME} (HTTP 403): "),
    ],
    ids=str,
)
def test_a_refusal_is_one_line_that_says_why_and_what_to_fetch_by_hand(
    hub: Hub, tmp_path: Path, refusal: tuple[int, str], reason: str
):
    hub.refusal = refusal
    said = line(imported(tmp_path, hub.url, NAME))
    assert reason in said and BY_HAND in said
    assert f"from {hub.url}/{NAME}/tree/main the files config.json, " in said
    assert not (tmp_path / "run").exists()


def test_a_name_or_revision_that_the_hub_has_not_and_no_network_at_all_are_one_line(hub: Hub, tmp_path: Path):
    assert "shows no model Somebody/else (HTTP 401)" in line(imported(tmp_path, hub.url, "Somebody/else"))
    said = line(imported(tmp_path, hub.url, NAME, "--revision", "v9"))
    assert "has no revision v9 (HTTP 404)" in said and "/tree/v9 " in said
    said = line(imported(tmp_path, "http://127.0.0.1:9", NAME))
    assert f"cannot fetch http://127.0.0.1:9/{NAME}: " in said and "refused" in said and BY_HAND in said


def test_what_is_a_folder_here_is_the_folder_and_what_is_neither_is_refused(
    hub: Hub, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / NAME).parent.mkdir()
    (tmp_path / NAME).symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    assert run("import-marian", NAME, "--workdir", "run") == 0
    assert parent.of(Path("run")) == parent.Parent(str(folder)) and hub.fetched == []
    said = refused(capsys, "import-marian", NAME, "--revision", "main", "--workdir", "other")
    assert "--revision is for a model of the Hugging Face Hub" in said
    for name in ("opus-mt-en-de", "a/b/c", "../x", "https://huggingface.co/a/b"):
        assert f"there is no folder {name}; " in refused(capsys, "import-marian", name, "--workdir", "other")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as if it were not installed
    said = refused(capsys, "import-marian", "Somebody/else", "--workdir", "other")
    assert "there is no folder Somebody/else; " in said and "pip install 'huggingface_hub>=0.30' (30 MB)" in said
