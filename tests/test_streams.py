"""The real command in a process: closed streams, other encodings, no home, a run of somebody else's."""

import ctypes
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from commands import ROOT, run

from wmt_transformer.data import phrasebook, vocabulary

COMMAND = [sys.executable, "-m", "wmt_transformer"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small vocabulary."""
    path = tmp_path_factory.mktemp("vocabulary") / "vocabulary.model"
    vocabulary.train((text for pair in phrasebook.generate("train", 300) for text in pair), path, 500)
    return path


# What closes a stream or drops a right is called between fork and exec, which JAX warns of where it has begun.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")


def command(
    *words: Any,
    before: Callable[[], None] | None = None,
    data: bytes = b"",
    variables: Mapping[str, str | None] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Runs the command; `before` is called in its process, and a variable that is None is not set."""
    given = {**os.environ, "PYTHONPATH": str(ROOT), **(variables or {})}
    return subprocess.run(
        [*COMMAND, *words],
        input=data,
        capture_output=True,
        timeout=120,
        preexec_fn=before,
        env={name: value for name, value in given.items() if value is not None},
    )


def mistake(done: subprocess.CompletedProcess[bytes]) -> str:
    """Returns the one line of a command that must fail as a user's mistake does."""
    assert (done.returncode, done.stdout) == (2, b""), done
    (line,) = done.stderr.decode().splitlines()
    return line


def test_tokens_reads_standard_input_and_says_when_it_is_closed(model):
    for data in (b"die Katze\n", gzip.compress(b"\xef\xbb\xbfdie Katze\r\n")):
        done = command("tokens", "--json", "--vocabulary", model, data=data)
        assert done.returncode == 0 and json.loads(done.stdout)["text"] == "die Katze"
    damaged = command("tokens", "--vocabulary", model, data=gzip.compress(b"die Katze\n")[:-4])
    assert "standard input is damaged" in mistake(damaged)
    closed = command("tokens", "--vocabulary", model, before=lambda: os.close(0))
    assert "standard input is closed" in mistake(closed)


def test_a_closed_output_is_one_line_and_closed_errors_go_nowhere(model, tmp_path):
    done = command("tokens", "a", "--json", "--vocabulary", model, before=lambda: os.close(1))
    assert "standard output is closed" in mistake(done)
    page = tmp_path / "page.html"
    done = command("tokens", "a", "--html", page, "--vocabulary", model, before=lambda: os.close(1))
    assert done.returncode == 0 and page.read_text().startswith("<!doctype html>")
    done = command("tokens", "a", "--html", page, "--vocabulary", model, before=lambda: os.close(2))
    assert (done.returncode, done.stdout) == (0, b"")  # what is for people is not among the results


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}], ids=str)
def test_results_are_utf8_whatever_the_locale(model, variables):
    done = command("tokens", "日本 ē", "--vocabulary", model, variables=variables)
    assert done.returncode == 0 and "日" in done.stdout.decode(), done


def test_an_argument_that_is_not_utf8_is_a_path_or_refused(model, tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff.model"
    shutil.copy(model, path)
    assert command("tokens", "a", "--vocabulary", path).returncode == 0
    assert "TEXT: it is not UTF-8" in mistake(command("tokens", b"a\xff", "--vocabulary", path))


@pytest.mark.parametrize("home", [False, True], ids=["no home", "a home that may not be written"])
def test_a_user_without_a_home_has_a_cache_all_the_same(tmp_path, home):
    (tmp_path / "sitecustomize.py").write_text("import pwd\npwd.getpwuid = {}.__getitem__  # KeyError: no such user\n")
    (tmp_path / "home").mkdir(mode=0o555)
    place: dict[str, str | None] = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "TMPDIR": str(tmp_path)}
    place["HOME"] = str(tmp_path / "home") if home else None
    place["WMT_TRANSFORMER_CACHE"] = ""
    done = command("tokens", "a", "--json", before=drop_power, variables=place)
    assert done.returncode == 0 and json.loads(done.stdout)["text"] == "a", done
    assert list(tmp_path.glob("wmt_transformer-*/phrasebook-*.model"))


def drop_power() -> None:
    """Takes from root, in the process that is to come, the power to write what permissions forbid."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.mark.skipif(sys.platform != "linux", reason="permissions bind root on Linux alone")
def test_a_run_that_may_not_be_written_can_be_read_and_other_verbs_refuse_in_a_line(toy, copy):
    def verb(*words: Any) -> subprocess.CompletedProcess[bytes]:
        return command(*words, before=drop_power)

    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    for path in (copy, *before):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert verb("info", copy).returncode == 0
        done = verb("translate", "--workdir", copy, "--checkpoint", "best", "red cat")
        assert done.returncode == 0 and done.stdout.count(b"\n") == 1, done
        done = verb("evaluate", "--workdir", copy, "--split", "dev", "--json")
        assert done.returncode == 0 and b"translations are not kept" in done.stderr, done
        for words in (("average", "--workdir", copy), ("train", toy / "toy.py", "--workdir", copy)):
            assert "cannot write in" in mistake(verb(*words))
        assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before
    finally:
        for path in (copy, *before):
            path.chmod(0o755)


# ---- In this process


def test_a_text_that_looks_like_a_bucket_is_a_text(model, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("WMT_TRANSFORMER_BUCKETS", str(tmp_path))
    assert run("tokens", "gs://nowhere is a sentence", "--json", "--vocabulary", model) == 0
    assert json.loads(capsys.readouterr().out)["text"] == "gs://nowhere is a sentence"
    shutil.copytree(model.parent, tmp_path / "bucket")
    assert run("tokens", "a", "--json", "--vocabulary", "gs://bucket/vocabulary.model") == 0


def test_a_message_shows_the_control_characters_of_a_name(capsys):
    assert run("tokens", "a", "--vocabulary", "\x1b[31mred\u202e") == 2
    assert "<U+001B>[31mred<U+202E>" in capsys.readouterr().err
