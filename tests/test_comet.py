"""COMET's score, by a stand-in for its package that has the functions of it that are called."""

import importlib.machinery
import importlib.metadata
import json
import sys
import types

import pytest
from commands import refused, run


@pytest.fixture
def judged(monkeypatch) -> list:
    """What the stand-in was asked: its score is the share of translations that equal their reference."""
    asked: list = []

    class Judge:
        def predict(self, rows, batch_size, gpus):
            asked.append(rows)
            assert batch_size > 0 and gpus == 0
            return types.SimpleNamespace(system_score=sum(row["mt"] == row["ref"] for row in rows) / len(rows))

    module = types.ModuleType("comet")
    module.__spec__ = importlib.machinery.ModuleSpec("comet", None)
    module.download_model = lambda name: f"/models/{name}"  # pyright: ignore[reportAttributeAccessIssue]
    module.load_from_checkpoint = lambda path: asked.append(path) or Judge()  # pyright: ignore
    torch = types.ModuleType("torch")
    torch.cuda = types.SimpleNamespace(is_available=lambda: False)  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "comet", module)
    monkeypatch.setitem(sys.modules, "torch", torch)
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.2" if name == "unbabel-comet" else version(name))
    return asked


@pytest.fixture
def files(tmp_path) -> list:
    texts = {
        "sources": "a cat\na dog\n",
        "hypotheses": "eine Katze\nein Hund\n",
        "references": "eine Katze\nder Hund\n",
    }
    arguments: list = ["--language", "de"]
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        arguments += [f"--{name}", tmp_path / name]
    return arguments


def test_comet_reads_sources_translations_and_references_line_by_line(judged, files, capsys):
    assert run("evaluate", *files, "--comet", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["comet"] == 0.5 and found["comet_signature"] == "model:Unbabel/wmt22-comet-da|version:2.2"
    path, rows = judged
    assert path == "/models/Unbabel/wmt22-comet-da"
    assert rows[1] == {"src": "a dog", "mt": "ein Hund", "ref": "der Hund"} and len(rows) == 2
    assert run("evaluate", *files, "--comet", "some/model") == 0
    assert "COMET                      0.5000  model:some/model" in capsys.readouterr().out


def test_a_run_is_judged_with_the_sources_of_its_split(judged, toy, capsys):
    assert run("evaluate", "--workdir", toy / "run", "--split", "dev", "--comet", "--json") == 0
    found, rows = json.loads(capsys.readouterr().out), judged[1]
    assert found["comet"] == sum(row["mt"] == row["ref"] for row in rows) / len(rows)
    assert all(row["src"] and row["ref"] for row in rows)


def test_a_model_that_is_not_there_is_refused_before_anything_is_translated(judged, toy, capsys, monkeypatch):
    def missing(name: str) -> str:
        raise KeyError(f"Model '{name}' not supported by COMET.")

    monkeypatch.setattr(sys.modules["comet"], "download_model", missing)
    said = refused(capsys, "evaluate", "--workdir", toy / "run", "--split", "dev", "--comet", "nobody/none")
    assert "not supported by COMET" in said and "nobody/none" in said


def test_comet_without_its_package_or_its_sources_is_refused(judged, files, monkeypatch, tmp_path, capsys):
    without = [one for one in files if "sources" not in str(one)]
    assert "give --sources FILE" in refused(capsys, "evaluate", *without, "--comet")
    assert "--sources is for --comet" in refused(capsys, "evaluate", *files)
    (tmp_path / "sources").write_text("a cat\n")
    assert "1 source for 2 translations" in refused(capsys, "evaluate", *files, "--comet")
    monkeypatch.delitem(sys.modules, "comet")
    assert "pip install unbabel-comet" in refused(capsys, "evaluate", *files, "--comet")
