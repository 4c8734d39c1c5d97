"""`serve` as a process: what it says at the start, SIGTERM while it translates, and mistakes, which are one line."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from commands import ROOT, refused, run

from wmt_transformer.serve import server
from wmt_transformer.serve.service import Limits

LINES = 60
TEXT = "\n".join(f"the old cat sees {'a big ' * (line % 4)}dog" for line in range(LINES))


@pytest.fixture
def small(copy: Path) -> Path:
    """A run that has few programs to compile."""
    settings = json.loads((copy / "config.json").read_text())
    settings["data"]["max_length"], settings["decode"]["batch_tokens"] = 12, 64
    (copy / "config.json").write_text(json.dumps(settings))
    return copy


def post(port: int, text: str) -> socket.socket:
    body = json.dumps({"q": text, "source": "en", "target": "de"}).encode()
    connection = socket.create_connection(("127.0.0.1", port))
    head = "POST /translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


def test_sigterm_answers_what_was_accepted_and_ends_with_code_0(small: Path):
    command = [sys.executable, "-m", "wmt_transformer", "serve", "--workdir", str(small), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--beam-size", "1", "--max-waiting", "100000"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        if "ready after" in line:
            break
    assert f"en → de: {small}\n" in said and re.fullmatch(
        r"ready after .* programs, [\d,]+ MB of memory\n", said[-1]
    ), said
    port = int(re.findall(r"127\.0\.0\.1:(\d+)", said[-1])[0])
    connections = [post(port, TEXT) for _ in range(16)]

    def in_flight() -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
            return float(re.findall(r"(?m)^\w*in_flight (\S+)", reply.read().decode())[0]) - 1

    for _ in range(500):  # some may be answered already
        if in_flight() >= 8:
            break
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    for connection in connections:
        with connection.makefile("rb") as reply:
            head, _, body = reply.read().partition(b"\r\n\r\n")
        connection.close()
        assert head.startswith(b"HTTP/1.1 200") and json.loads(body)["translatedText"].count("\n") == LINES - 1
    assert process.wait(60) == 0
    assert process.stderr.read() == ""
    process.stderr.close()
    with pytest.raises(ConnectionError):
        post(port, TEXT)


def test_mistakes_are_one_line(toy: Path, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "train one with `wmt-transformer quickstart`" in refused(capsys, "serve")
    run_ = toy / "run"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}: Address already in use" in refused(capsys, "serve", "--workdir", run_, "--port", port)
    assert "ports are 0 to 65535" in refused(capsys, "serve", "--workdir", run_, "--port", 99999)
    assert "choose another --host" in refused(capsys, "serve", "--workdir", run_, "--host", "no such host")
    assert str(tmp_path) in refused(capsys, "serve", "--workdir", tmp_path, "--port", 0)
    assert "alpha" in refused(capsys, "serve", "--workdir", run_, "--port", 0, "--alpha", "-1")
    settings = json.loads((run_ / "config.json").read_text())
    settings["data"]["corpus"] = "trees"
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert "no run that translates" in refused(capsys, "serve", "--workdir", tmp_path, "--port", 0)


def test_a_missing_package_is_named():
    script = "import sys; sys.modules['py3langid'] = sys.modules['py3langid.langid'] = None\n"
    script += "from wmt_transformer.cli import main; main(['serve', '--workdir', 'x'])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 2
    line = "serve needs the package py3langid, which is not installed; pip install 'wmt-transformer[serve]'"
    assert done.stderr == f"wmt-transformer: {line}\n"


def test_help_lists_it(capsys):
    assert run("serve", "--help") == 0
    assert "--workdir WORKDIR" in capsys.readouterr().out


def test_a_client_that_is_connected_when_the_server_ends_is_answered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "_SECONDS_TO_READ", 1.0)

    async def hello(scope, receive, send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
            await send({"type": "http.response.body", "body": b"hello"})

    async def answer() -> bytes:
        listening = server.bound("127.0.0.1", 0)
        port = listening.getsockname()[1]
        settings = server.config(hello, Limits())
        settings.lifespan = "off"
        ending = server.Server(settings)
        serving = asyncio.create_task(ending.serve(sockets=[listening]))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        ending.should_exit = True
        while listening.fileno() >= 0:  # until the port is closed
            await asyncio.sleep(0.01)
        found = b""
        with contextlib.suppress(OSError):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            found = await reader.read()
        writer.close()
        await serving
        return found

    assert b"hello" in asyncio.run(answer())
