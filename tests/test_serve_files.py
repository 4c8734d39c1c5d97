"""Files over `serve`: uploaded, translated, fetched once they are there, deleted; nothing outside of their folder."""

import io
import re
import time
import urllib.error
import urllib.request

import docx
import polib
import pytest
from servers import Running, running
from translators import sentence

from wmt_transformer.serve import uploads
from wmt_transformer.serve.service import Limits

TEXTS = [sentence(seed, 3) for seed in range(6)]


@pytest.fixture(scope="module")
def server():
    # A queue that is shorter than a file, which waits for room in it.
    with running(Limits(characters=2000, texts=20, file=200_000), most_waiting=10) as found:
        yield found


@pytest.fixture(autouse=True)
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wmt_transformer.serve.service.AT_A_TIME", 4)


def send(server: Running, data: bytes | None, name: str = "a.txt", **changes: str) -> tuple[int, dict]:
    """Returns the status and the reply to an upload."""
    parts = [
        f'"{field}"\r\n\r\n{value}'.encode() for field, value in {"source": "de", "target": "en", **changes}.items()
    ]
    if data is not None:
        parts.append(f'"file"; filename="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n'.encode() + data)
    body = b"".join(b"--X\r\nContent-Disposition: form-data; name=" + part + b"\r\n" for part in parts) + b"--X--\r\n"
    return server.ask("/translate_file", body, "POST", "multipart/form-data; boundary=X")[:2]


def fetch(reply: dict) -> tuple[bytes, str]:
    """Returns a translated file, and what it is to be saved as."""
    with urllib.request.urlopen(reply["translatedFileUrl"]) as found:
        assert found.headers["Content-Type"] == "application/octet-stream"
        return found.read(), found.headers["Content-Disposition"]


def test_every_format_comes_back_translated(server: Running):
    text = "\n".join(f"{one}.\n" for one in TEXTS)
    expected = server.translate(f"{TEXTS[0]}.")["translatedText"]
    status, reply = send(server, text.encode(), "my letter.txt")
    assert status == 200 and reply["translatedFileUrl"].startswith(f"{server.url}/download_file/")
    data, disposition = fetch(reply)
    assert data.decode().splitlines()[0] == expected and data.count(b"\n") == text.count("\n")
    assert disposition == "attachment; filename*=utf-8''my%20letter_en.txt"
    page = f"<p class=x>{TEXTS[0]}.</p><script>Hund</script>"
    found = fetch(send(server, page.encode(), "a.HTML", source="auto")[1])[0].decode()
    assert re.fullmatch("<p class=x>.*</p><script>Hund</script>", found)
    times = "1\n00:00:01,000 --> 00:00:02,000\n"
    found = fetch(send(server, f"{times}{TEXTS[0]}.\n".encode(), "a.srt")[1])[0].decode()
    assert found.startswith(times) and found[len(times) :].split() == expected.split()
    catalogue = 'msgid "Ein %s {Hund} im Garten"\nmsgstr ""\n'
    (entry,) = polib.pofile(fetch(send(server, catalogue.encode(), "de.po")[1])[0].decode())
    assert entry.msgstr.count("%s") == entry.msgstr.count("{Hund}") == 1
    document, out = docx.Document(), io.BytesIO()
    document.add_paragraph("").add_run(f"{TEXTS[0]}.").bold = True
    document.save(out)
    (run,) = docx.Document(io.BytesIO(fetch(send(server, out.getvalue(), "a.docx")[1])[0])).paragraphs[0].runs
    assert (run.text, run.bold) == (expected, True)


def test_names_lead_nowhere_else(server: Running):
    _, disposition = fetch(send(server, b"Hund", "../../etc/passwd\\..\\x.txt")[1])
    assert "/" not in disposition.replace("utf-8''", "") and "%2F" not in disposition and "%5C" not in disposition
    for name in ("../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/x", "x.txt", ".", ""):
        status, reply, _ = server.ask(f"/download_file/{name}")
        assert status == 404 and set(reply) == {"error"}


def test_results_are_deleted(server: Running, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads, "KEEP", 0.3)
    _, reply = send(server, b"Hund")
    fetch(reply)
    time.sleep(0.5)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(reply)
    monkeypatch.setattr(uploads, "KEEP", 600)
    monkeypatch.setattr(uploads, "MOST", 3)
    replies = [send(server, b"Hund")[1] for _ in range(4)]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(replies[0])
    assert fetch(replies[1])[0]
    results = uploads.Results()
    folder = results._folder
    assert folder.is_dir() and folder.stat().st_mode & 0o077 == 0
    del results
    assert not folder.exists()


@pytest.mark.parametrize(
    "data, changes, status, message",
    [
        (None, {}, 400, "Invalid request: missing file parameter"),
        (b"Hund", {"name": ""}, 400, "Invalid request: empty file"),
        (b"Hund", {"name": "a.exe"}, 400, "Invalid request: file format not supported"),
        (b"Hund", {"name": "docx"}, 400, "Invalid request: file format not supported"),
        (b"Hund", {"target": "xx"}, 400, "xx is not supported"),
        (b"Hund", {"source": ""}, 400, "Invalid request: missing source parameter"),
        (b"\xff", {}, 400, "Invalid request: byte 0 of the file is not UTF-8"),
        (b"a" * 200_001, {}, 413, "Invalid request: the body has more than 200000 bytes"),
    ],
    ids=str,
)
def test_a_wrong_upload_has_librestranslates_words(server: Running, data, changes: dict, status: int, message: str):
    assert send(server, data, **changes) == (status, {"error": message})


def test_settings_say_which_formats_there_are(server: Running):
    settings = server.ask("/frontend/settings")[1]
    assert settings["filesTranslation"] and settings["supportedFilesFormat"] == [
        ".docx",
        ".html",
        ".po",
        ".srt",
        ".txt",
    ]
    assert server.lines == []
