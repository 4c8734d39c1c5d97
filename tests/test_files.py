"""Files and folders appear whole or not at all, pipes and devices are written into, and no fault loses anything."""

import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from wmt_transformer import files
from wmt_transformer.config import UserError


def write(path: Path | str, text: str = "new") -> None:
    with files.whole_file(path) as out:
        out.write(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_has_the_mode_of_the_umask_or_of_the_file_that_it_replaces(tmp_path):
    old = os.umask(0o027)
    try:
        write(tmp_path / "fresh")
        (tmp_path / "private").touch(0o600)
        write(tmp_path / "private")
    finally:
        os.umask(old)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("fresh", "private")] == [0o640, 0o600]
    assert names(tmp_path) == ["fresh", "private"]


def test_a_failure_leaves_the_file_that_was_there(tmp_path):
    write(tmp_path / "out", "old")
    with pytest.raises(ZeroDivisionError), files.whole_file(tmp_path / "out") as out:
        out.write("half")
        out.write(str(1 / 0))
    assert (tmp_path / "out").read_text() == "old" and names(tmp_path) == ["out"]


def test_a_symbolic_link_stays_one_and_its_target_is_written(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/real")
    write(tmp_path / "link", "first")  # which is not there yet
    write(tmp_path / "link", "second")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "folder" / "real").read_text() == "second"
    assert names(tmp_path / "folder") == ["real"]


def test_a_pipe_is_written_into_and_stays_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_text()))
    reader.start()
    write(tmp_path / "pipe", "through")
    reader.join(10)
    assert found == ["through"] and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_device_is_written_into_and_stays_one(tmp_path):
    (tmp_path / "null").symlink_to("/dev/null")
    write(tmp_path / "null")
    write("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode) and names(tmp_path) == ["null"]
    with pytest.raises(UserError, match="cannot write /dev/full: No space left"):
        write("/dev/full")


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}", "link"])
def test_what_is_open_already_is_written_where_it_is_and_nothing_before_it_is_lost(tmp_path, name):
    with (tmp_path / "log").open("a") as log:
        log.write("before\n")
        log.flush()
        (tmp_path / "link").symlink_to(f"/dev/fd/{log.fileno()}")
        path = str(tmp_path / "link") if name == "link" else name.format(log.fileno())
        write(path, "result\n")
        log.write("after\n")
    assert (tmp_path / "log").read_text() == "before\nresult\nafter\n"


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for path, reason in [
        (tmp_path, "it is a folder"),
        (tmp_path / "file" / "below", "Not a directory|File exists"),
        (tmp_path / ("x" * 300), "File name too long"),
        ("/proc/nothing/here", "No such file"),
    ]:
        with pytest.raises(UserError, match=f"cannot write .*({reason})"), files.whole_file(path):
            pytest.fail("the work began")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anything
    with pytest.raises(UserError, match="Permission denied"), files.whole_file(tmp_path / "file"):
        pytest.fail("the work began")
    assert names(tmp_path) == ["file"]


# ---- Folders


def fill(folder: Path, text: str) -> None:
    with files.whole_folder(folder, "--output") as new:
        (new / "content").write_text(text)


@pytest.mark.parametrize("failing", [{2}, {2, 3}], ids=["the second rename", "and the one that puts it back"])
def test_a_rename_that_fails_loses_nothing(tmp_path, monkeypatch, failing):
    fill(tmp_path / "folder", "old")
    rename, count = Path.rename, 0

    def sometimes(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count in failing:
            raise OSError(5, "Input/output error", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", sometimes)
    with pytest.raises(UserError, match="Input/output error") as failed:
        fill(tmp_path / "folder", "new")
    if failing == {2}:
        assert names(tmp_path) == ["folder"]
    else:
        assert str(tmp_path / ".folder.old") in str(failed.value)
        assert (tmp_path / ".folder.old" / "content").read_text() == "old"
        with pytest.raises(ZeroDivisionError), files.whole_folder(tmp_path / "folder", "--output"):
            raise ZeroDivisionError  # the next one puts it back
    assert (tmp_path / "folder" / "content").read_text() == "old" and names(tmp_path) == ["folder"]


def test_a_file_in_the_place_of_a_folder_is_refused_whatever_may_be_replaced(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        fill(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "mine" and names(tmp_path) == ["file"]


# ---- The cache


def test_the_cache_is_where_the_variable_says_or_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WMT_TRANSFORMER_CACHE", "")  # as if it were not set
    assert files.cache_folder() == tmp_path / ".cache" / "wmt_transformer"
    monkeypatch.setenv("WMT_TRANSFORMER_CACHE", "/somewhere")
    assert files.cache_folder() == Path("/somewhere")


def test_without_a_home_the_cache_is_among_the_temporary_files_and_ours_alone(tmp_path, monkeypatch):
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("WMT_TRANSFORMER_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    folder = files.cache_folder()
    assert folder.parent == tmp_path and stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert files.cache_folder() == folder
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    (tmp_path / "wmt_transformer-54321").mkdir()  # by somebody else
    with pytest.raises(UserError, match="WMT_TRANSFORMER_CACHE"):
        files.cache_folder()


def test_lines_are_added_whole_also_behind_one_that_has_no_end(tmp_path):
    path = tmp_path / "new folder" / "lines"
    files.append_line(path, "first")
    files.append_line(path, "größer")
    assert path.read_text(encoding="utf-8") == "first\ngrößer\n"
    path.write_text("no end", encoding="utf-8")
    threads = [threading.Thread(target=files.append_line, args=(path, str(number) * 5000)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, *others = path.read_text(encoding="utf-8").splitlines()
    assert first == "no end" and sorted(others) == [str(number) * 5000 for number in range(8)]


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
def test_a_line_is_added_after_the_one_that_another_is_adding(tmp_path):
    """Both would see the same line without an end, and end it: a blank line would stay between."""
    import fcntl

    path = tmp_path / "lines"
    path.write_text("no", encoding="utf-8")
    thread = threading.Thread(target=files.append_line, args=(path, "second"))
    with path.open("a", encoding="utf-8") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        other.write(" end\n")
    thread.join()
    assert path.read_text(encoding="utf-8") == "no end\nsecond\n"
