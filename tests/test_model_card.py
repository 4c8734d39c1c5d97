"""What an exported run says of itself: the head that the Hub reads, scores, data, licence, how it is used."""

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import run, without_checksums

from wmt_transformer import parent

pytest.importorskip("safetensors")


def card(output: Path) -> tuple[dict[str, Any], str]:
    """Returns the head of an exported folder's card, and its text."""
    _, head, text = (output / "README.md").read_text("utf-8").split("---\n", 2)
    return yaml.safe_load(head), text


@pytest.fixture(scope="module")
def scored(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a copy of the toy run whose average was evaluated."""
    workdir = Path(shutil.copytree(toy / "run", tmp_path_factory.mktemp("scored") / "run"))
    assert run("evaluate", "--workdir", workdir, "--split", "dev") == 0
    return workdir


def test_a_card_has_what_the_hub_reads_and_the_scores_of_the_exported_checkpoint(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "transformers", None)  # as if it were not installed
    arguments = ("export-marian", "--workdir", scored, "--output", tmp_path / "opus-mt-toy")
    capsys.readouterr()
    assert run(*arguments) == 0
    said = capsys.readouterr().err
    assert "not compared with transformers: transformers is not installed" in said
    assert "no licence is known" in said and "--license" in said
    head, text = card(tmp_path / "opus-mt-toy")
    assert head == {
        "language": ["en", "de"],
        "library_name": "transformers",
        "pipeline_tag": "translation",
        "tags": ["translation", "marian"],
    }
    assert text.startswith("\n# opus-mt-toy\n") and "1 + 1 layers, d_model 16, 2 heads, 300 pieces" in text
    report = json.loads((scored / "dev.scores.json").read_text())
    assert f"- dev: BLEU {report['sacrebleu']:.2f}, `{report['signature']}`\n" in text
    assert f"- dev: chrF2 {report['chrf']:.2f}, `{report['chrf_signature']}`\n" in text
    assert "With our own search: beam 4, alpha 0.6." in text
    kept = json.loads((scored / "data" / "manifest.json").read_text())["statistics"]["train"]["kept"]
    assert f"- corpus: files, {kept} pairs of sentences" in text and "the mean of the last checkpoints, step 12" in text
    assert "Not compared with transformers: transformers is not installed." in text
    assert "None is stated: choose one before this is published." in text

    assert run(*arguments, "--checkpoint", "9", "--license", "mit") == 0  # no score is of this one
    head, text = card(tmp_path / "opus-mt-toy")
    assert head["license"] == "mit" and "\nmit\n" in text
    assert "evaluate` was not run on this checkpoint" in text and "step 9" in text and "BLEU" not in text


def test_bleu_that_was_asked_for_is_in_the_card_and_in_the_report(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "transformers", None)  # as if it were not installed
    capsys.readouterr()
    assert run("export-marian", "--workdir", scored, "--output", tmp_path / "toy", "--bleu") == 0
    said, (_, text) = capsys.readouterr().err, card(tmp_path / "toy")
    (ours,) = json.loads((tmp_path / "toy" / "export.json").read_text())["bleu"]
    assert (ours["sentences"], ours["search"], ours["weights"]) == (8, "greedy", "float32")
    assert f"BLEU {ours['bleu']:.2f} of {ours['program']}, float32, greedy search, 8 test sentences" in said
    assert f"- {ours['program']}, float32: BLEU {ours['bleu']:.2f}\n" in text
    assert f"On 8 test sentences, by greedy search; `{ours['signature']}`." in text
    (scored / "data" / "test.en").rename(scored / "data" / "no test.en")
    try:
        assert run("export-marian", "--workdir", scored, "--output", tmp_path / "none", "--bleu") == 2
    finally:
        (scored / "data" / "no test.en").rename(scored / "data" / "test.en")
    assert "has no test set to measure BLEU on" in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_an_imported_model_is_named_as_the_base_and_its_licence_stays(
    scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "transformers", None)
    workdir = Path(shutil.copytree(scored, tmp_path / "run"))
    parent.write(workdir, parent.Parent("Somebody/opus-mt-en-no", "618306", license="cc-by-4.0"))
    assert json.loads((workdir / "data" / "manifest.json").read_text())["credits"] == []
    without_checksums(workdir, credits=["hf:somebody/colours: licence mit", "cite: @misc{colours}"])
    settings = json.loads((workdir / "config.json").read_text())
    settings["data"]["target"] = "no"
    (workdir / "config.json").write_text(json.dumps(settings))
    assert run("export-marian", "--workdir", workdir, "--output", tmp_path / "out") == 0
    head, text = card(tmp_path / "out")
    assert head["language"] == ["en", "no"]  # and not False
    assert (head["base_model"], head["license"]) == ("Somebody/opus-mt-en-no", "cc-by-4.0")
    assert "- began with: Somebody/opus-mt-en-no@618306" in text
    assert "\n- hf:somebody/colours: licence mit\n- cite: @misc{colours}\n" in text


@pytest.mark.interop
def test_the_code_in_a_card_runs_and_the_hubs_library_reads_its_head(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    hub = pytest.importorskip("huggingface_hub")
    assert run("export-marian", "--workdir", scored, "--output", tmp_path / "toy", "--license", "apache-2.0") == 0
    text = (tmp_path / "toy" / "README.md").read_text("utf-8")
    assert re.search(r"Of \d+ development sentences transformers \S+ translates as we do: float32 \d+\.", text)
    data = hub.ModelCard(text).data
    assert (data.license, data.language, data.pipeline_tag) == ("apache-2.0", ["en", "de"], "translation")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert code is not None
    exec(code[1], {})
    assert capsys.readouterr().out.endswith("\n") and os.listdir(tmp_path) == ["toy"]
