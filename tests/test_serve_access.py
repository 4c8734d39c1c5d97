"""Who may ask `serve`, and how often: keys, their file, rates of each key and address; each interface's words."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import deepl
import pytest
from commands import refused, run
from libretranslatepy import LibreTranslateAPI
from servers import Running, running

from wmt_transformer.config import UserError
from wmt_transformer.serve import access, suggestions
from wmt_transformer.serve.access import Access, Keys

ASKED = {"q": "Hund", "source": "de", "target": "en"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys"


@pytest.fixture(scope="module")
def key(keys: Path) -> str:
    return access.new_key(keys, "Ada's phone")


@pytest.fixture(scope="module")
def server(keys: Path, key: str):
    with running(access=Access(Keys(keys))) as found:
        yield found


def test_a_file_of_keys_has_no_key_in_it(keys: Path, key: str):
    other = access.new_key(keys, "Bob")
    assert len({key, other}) == 2 and min(len(key), len(other)) >= 43
    text = keys.read_text()
    assert key not in text and other not in text
    assert [line.partition(" ")[2] for line in text.splitlines()] == ["Ada's phone", "Bob"]
    known = Keys(keys)
    assert [known.name(one) for one in (key, other, "", key[:-1], "\ud800")] == ["Ada's phone", "Bob", None, None, None]
    # Who is struck out is refused from then on.
    keys.write_text("".join(text.splitlines(keepends=True)[:1]))
    assert [known.name(one) for one in (key, other)] == ["Ada's phone", None]


def test_keys_that_are_made_at_the_same_time_are_all_kept(tmp_path: Path):
    path = tmp_path / "keys"
    path.write_text(f"{'0' * 64} nobody")  # a line without an end
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: access.new_key(path, f"user {number}"), range(200)))
    known = Keys(path)
    assert [known.name(key) for key in made] == [f"user {number}" for number in range(200)]
    assert known._known[0] == ("0" * 64, "nobody") and len(known._known) == 201


def test_a_key_passes_wherever_a_client_writes_it(server: Running, key: str):
    for extra in ({"api_key": key}, {"apiKey": key}):
        assert server.ask("/translate", {**ASKED, **extra})[0] == 200
    assert server.ask(f"/translate?api_key={key}", ASKED)[0] == 200
    assert server.ask("/translate", ASKED, Authorization=f"Bearer {key}")[0] == 200
    form = f"q=Hund&source=de&target=en&api_key={key}".encode()
    assert server.ask("/translate", form, kind="application/x-www-form-urlencoded")[0] == 200
    assert server.ask(f"/language/translate/v2?key={key}", ASKED)[0] == 200
    asked = {"text_list": ["Hund"], "source_lang": "de", "target_lang": "en"}
    assert server.ask(f"/imme?api_key={key}", asked)[0] == 200
    assert LibreTranslateAPI(f"{server.url}/", key).translate("Hund", "de", "en")
    client = deepl.DeepLClient(key, server_url=server.url)
    translation = client.translate_text("Hund", target_lang="EN-GB", source_lang="DE")
    assert isinstance(translation, deepl.TextResult) and client.get_usage()


def test_a_wrong_or_missing_key_has_each_interfaces_words(server: Running):
    missing, wrong = "Please contact the server operator to get an API key", "Invalid API key"
    for path in ("/translate", "/detect"):
        assert server.ask(path, ASKED)[:2] == (400, {"error": missing})
        assert server.ask(path, {})[:2] == (400, {"error": missing})  # before anything else is looked at
        assert server.ask(path, {**ASKED, "api_key": "guess"})[:2] == (403, {"error": wrong})
        assert server.ask(path, {**ASKED, "api_key": ["guess"]})[:2] == (400, {"error": missing})
    assert server.ask("/v2/translate", {"text": ["Hund"], "target_lang": "EN"})[:2] == (403, {"message": missing})
    assert server.ask("/v2/usage", Authorization="DeepL-Auth-Key guess")[:2] == (403, {"message": wrong})
    assert server.ask("/language/translate/v2", ASKED)[1]["error"]["code"] == 403
    assert server.ask("/imme", {"text_list": ["Hund"], "target_lang": "en"})[0] == 400
    with pytest.raises(deepl.AuthorizationException):
        deepl.DeepLClient("guess", server_url=server.url).translate_text("Hund", target_lang="EN-GB")
    settings = server.ask("/frontend/settings")[1]
    assert settings["apiKeys"] is True and settings["keyRequired"] is True
    for path in ("/languages", "/health", "/ready", "/spec", "/"):
        assert server.ask(path)[0] == 200
    assert "guess" not in server.ask("/metrics")[1] and server.lines == []


def test_a_file_that_is_gone_lets_nobody_in(server: Running, keys: Path, key: str):
    kept = keys.read_text()
    keys.unlink()
    assert server.ask("/translate", {**ASKED, "api_key": key})[0] == 503
    keys.write_text(kept)
    assert server.ask("/translate", {**ASKED, "api_key": key})[0] == 200


def test_rates_of_keys_and_addresses_count_every_text(tmp_path: Path):
    ada, bob = (access.new_key(tmp_path / "keys", name) for name in ("Ada", "Bob"))
    with running(access=Access(Keys(tmp_path / "keys"), "4/hour", "9/day")) as server:
        assert server.translate(["Hund"] * 3, api_key=ada)
        status, reply, headers = server.ask("/translate", {**ASKED, "q": ["Hund"] * 2, "api_key": ada})
        assert (status, reply) == (429, {"error": "Slowdown: 4 per 1 hour"})
        assert 900 <= int(headers["Retry-After"]) <= 5400
        assert server.translate("Hund", api_key=ada) and server.translate(["Hund"] * 2, api_key=bob)
        # The address has had 3 + 2 + 1 + 2 of its 9; a wrong key counts too.
        assert server.ask("/translate", {**ASKED, "api_key": "guess"})[0] == 403
        asked = {"text": ["Hund"], "target_lang": "EN"}
        status, reply, headers = server.ask("/v2/translate", asked, Authorization=f"DeepL-Auth-Key {bob}")
        assert (status, reply) == (429, {"message": "Slowdown: 9 per 1 day"}) and int(headers["Retry-After"]) > 3600
        assert server.ask("/languages")[0] == server.ask("/health")[0] == 200
        # Behind a proxy on this machine it is the address that the proxy names; of IPv6 one user has 64 bits.
        codes = []
        for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"):
            asked = {**ASKED, "q": ["Hund"] * 5, "api_key": "guess"}
            codes += [server.ask("/translate", asked, **{"X-Forwarded-For": address})[0]]
        assert codes == [403, 429, 403]


@pytest.fixture
def redis(tmp_path: Path):
    """The address of a Redis of our own, or skips."""
    pytest.importorskip("redis")
    if not (program := shutil.which("redis-server")):
        pytest.skip("there is no redis-server (Debian: apt install redis-server)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.01)
    yield f"redis://127.0.0.1:{port}"
    process.terminate()
    process.wait()


def test_two_servers_count_in_one_redis(redis: str):
    for codes in ([200, 200], [200, 429]):
        with running(access=Access(per_address="3/hour", storage=redis)) as server:
            assert [server.ask("/translate", ASKED)[0] for _ in codes] == codes


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture):
    path = tmp_path / "keys"
    assert "name the file with --keys" in refused(capsys, "serve", "--new-key", "Ada")
    assert "name a file of keys" in refused(capsys, "serve", "--workdir", "x", "--rate-per-key", "1/hour")
    assert "is one line" in refused(capsys, "serve", "--keys", path, "--new-key", "a\nb")
    assert run("serve", "--keys", path, "--new-key", "Ada") == 0
    assert Keys(path).name(capsys.readouterr().out.strip()) == "Ada"
    path.write_text(path.read_text() + "secret\n")
    assert f"{path}, line 2" in refused(capsys, "serve", "--workdir", "x", "--keys", path)
    assert "make a key" in refused(capsys, "serve", "--workdir", "x", "--keys", tmp_path / "none")
    for rate in ("often", "0/hour", "5", "-1/day", ";"):
        with pytest.raises(UserError, match="is no rate"):
            Access(per_address=rate)
    with pytest.raises(UserError, match="memory:// or redis"):
        Access(storage="postgres://user:secret@host")
    assert os.path.getsize(path) > 64


def test_suggestions_are_added_to_the_file_that_was_named(tmp_path: Path, capsys: pytest.CaptureFixture):
    path, asked = tmp_path / "suggestions", {"q": "Hund\n", "s": "dög", "source": "de", "target": "en"}
    with running(suggestions=path) as server:
        assert server.ask("/frontend/settings")[1]["suggestions"] is True
        for _ in range(2):
            assert server.ask("/suggest", {**asked, "more": 1})[:2] == (200, {"success": True})
        for field in asked:
            missing = (400, {"error": f"Invalid request: missing {field} parameter"})
            assert server.ask("/suggest", {**asked, field: ""})[:2] == missing
        assert server.ask("/suggest", {**asked, "s": ["dog"]})[0] == 400
        assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == [asked] * 2
        with pytest.MonkeyPatch.context() as full:
            full.setattr(suggestions, "MOST", path.stat().st_size)
            assert server.ask("/suggest", asked)[0] == 503
    assert "cannot write suggestions" in refused(capsys, "serve", "--workdir", "x", "--suggestions", tmp_path)
