"""`serve`, over real sockets: batches across requests, LibreTranslate's interface, HTML, unmodified clients."""

import concurrent.futures
import dataclasses
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
from pathlib import Path
from typing import Any

import deepl
import numpy as np
import pytest
from libretranslatepy import LibreTranslateAPI
from servers import Running, running, translator
from translators import CONFIG, sentence, toy_params, toy_vocabulary

from wmt_transformer.decode.generate import Translator
from wmt_transformer.serve.batching import Batcher, Waiting
from wmt_transformer.serve.directions import Direction, Directions
from wmt_transformer.serve.metrics import Metrics
from wmt_transformer.serve.service import Limits

TEXTS = [sentence(seed, 1 + seed % 6) for seed in range(40)]


@pytest.fixture(scope="module")
def server():
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def alone() -> dict[str, list[str]]:
    """What `n_best` says of each text, asked for alone."""
    return {text: [one.text for one in translator(0).n_best(text, 4)] for text in TEXTS}


# ---- Batches


def test_an_answer_is_that_of_translate_whatever_else_is_asked(server: Running, alone: dict):
    assert server.translate(TEXTS[:20])["translatedText"] == [alone[text][0] for text in TEXTS[:20]]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda text: server.translate(text)["translatedText"], TEXTS * 3))
    assert found == [alone[text][0] for text in TEXTS * 3]
    lines = [line for line in server.ask("/metrics")[1].splitlines() if line[:1] != "#"]
    sizes = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
    # Requests met in batches, and no program was compiled for them.
    assert sizes["wmt_transformer_batch_sentences_count"] < sizes["wmt_transformer_sentences_total"] / 2
    assert sizes["wmt_transformer_programs"] >= 8
    assert sizes["wmt_transformer_programs_compiled_after_ready"] == 0


@pytest.mark.parametrize(
    ("lengths", "taken", "full"),
    [
        ([5], 1, False),
        ([5] * 3, 3, False),
        ([5] * 5, 4, False),  # of 16 rows 11 would be empty
        ([5] * 13, 13, False),
        ([5] * 20, 16, False),
        ([5] * 25, 25, False),
        ([5] * 70, 64, True),
        ([20] * 50, 40, True),  # 1,024 slots of sources
        ([40, *[5] * 30], 16, True),
    ],
)
def test_a_batch_fills_the_rows_of_its_program(lengths: list[int], taken: int, full: bool):
    decode = dataclasses.replace(CONFIG.decode, beam_size=4, batch_tokens=4096)
    one = Direction(
        "de", "en", Translator(dataclasses.replace(CONFIG, decode=decode), toy_params(), toy_vocabulary()), ()
    )
    batcher = Batcher(Directions([one]), Metrics())
    queue = [
        Waiting(turn, one, False, "", length, 0.0, concurrent.futures.Future()) for turn, length in enumerate(lengths)
    ]
    batcher._queue = queue
    batch, found = batcher._nearest(queue[0])
    assert (len(batch), found) == (taken, full)
    assert batch[0] is queue[0]


def test_a_sentence_that_fails_fails_alone(server: Running, alone: dict, monkeypatch: pytest.MonkeyPatch):
    one = next(iter(server.service.directions)).translator
    decode = one.decode

    def failing(texts: list[str], request: Any) -> Any:
        if TEXTS[1] in texts:
            raise RuntimeError("no")
        return decode(texts, request)

    monkeypatch.setattr(one, "decode", failing)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = {"source": "de", "target": "en"}
        found = list(pool.map(lambda text: server.ask("/translate", {"q": text, **asked}), TEXTS[:8]))
    assert [status for status, _, _ in found] == [200, 500, *[200] * 6]
    assert found[1][1] == {"error": "Internal Server Error"}
    assert [reply["translatedText"] for status, reply, _ in found if status == 200] == [
        alone[text][0] for text in TEXTS[:8] if text != TEXTS[1]
    ]
    (line,) = server.lines
    assert "RuntimeError" in line and TEXTS[1] not in line
    server.lines.clear()


class Held:
    """Keeps the translating thread busy until it is let go."""

    def __init__(self, server: Running):
        self.seen: list[str] = []
        self.free = False
        self._translator = next(iter(server.service.directions)).translator
        self._decode = self._translator.decode

    def __enter__(self) -> "Held":
        def waiting(texts: list[str], request: Any) -> Any:
            self.seen += texts
            while not self.free:
                time.sleep(0.005)
            return self._decode(texts, request)

        self._translator.decode = waiting  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        self.free = True
        del self._translator.decode


def until(condition: Any) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def post(server: Running, **fields: Any) -> socket.socket:
    """Sends a request and returns its connection, unread."""
    body = json.dumps({"source": "de", "target": "en", **fields}).encode()
    host, port = urllib.parse.urlsplit(server.url).netloc.split(":")
    connection = socket.create_connection((host, int(port)))
    head = (
        f"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def test_a_client_that_went_away_is_dropped_while_health_answers(server: Running):
    with Held(server) as held:
        first = post(server, q=TEXTS[0])
        until(lambda: held.seen)
        second = post(server, q=TEXTS[2])
        until(lambda: server.batcher._queue)
        assert server.ask("/health")[:2] == (200, {"status": "ok"}) and server.ask("/ready")[0] == 200
        second.close()
        until(lambda: "clients_gone_total 1.0" in server.ask("/metrics")[1])
        held.free = True
        assert first.recv(100).startswith(b"HTTP/1.1 200")
        first.close()
        assert server.translate(TEXTS[3])
        assert TEXTS[2] not in held.seen


def test_a_long_text_and_short_ones_after_it_take_turns(server: Running):
    with Held(server) as held:
        connections = [post(server, q=TEXTS[0])]
        until(lambda: held.seen)
        connections.append(post(server, q="\n".join([TEXTS[5]] * 50)))
        until(lambda: len(server.batcher._queue) >= 50)
        connections.append(post(server, q=TEXTS[7]))
        until(lambda: server.batcher._queue[-1].text == TEXTS[7])
        held.free = True
        for connection in connections:
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
            connection.close()
        assert held.seen.index(TEXTS[7]) < 30


def test_a_full_queue_and_a_late_answer_have_their_codes():
    with running(Limits(seconds=1.5), most_waiting=3) as server:
        with Held(server) as held:
            first = post(server, q=TEXTS[0])
            until(lambda: held.seen)
            second = post(server, q=[TEXTS[1]] * 4)
            until(lambda: server.batcher._queue)
            status, reply, headers = server.ask("/translate", {"q": "Hund", "source": "de", "target": "en"})
            assert (status, headers["Retry-After"]) == (429, "1") and reply["error"].startswith("Slowdown:")
            for connection in (first, second):
                assert connection.recv(100).startswith(b"HTTP/1.1 504")
                connection.close()
        assert server.translate("Hund")
        assert server.batcher._queue == []


# ---- LibreTranslate's interface


def test_every_form_of_a_request(server: Running, alone: dict):
    text, best = TEXTS[3], alone[TEXTS[3]][0]
    form = urllib.parse.urlencode({"q": text, "source": "de", "target": "en"})
    urlencoded, multipart = "application/x-www-form-urlencoded", "multipart/form-data; boundary=X"
    parts = "".join(
        f'--X\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in (("q", text), ("source", "DE"), ("target", "en"))
    )
    for path, body, kind in [
        ("/translate", form.encode(), urlencoded),
        (f"/translate?{form}", b"", urlencoded),
        (f"/translate?{form}", b"", "text/plain"),
        ("/translate", f"{parts}--X--\r\n".encode(), multipart),
    ]:
        assert server.ask(path, body, "POST", kind)[:2] == (200, {"translatedText": best})


def test_strings_arrays_alternatives_and_detection(server: Running, alone: dict):
    one = server.translate(TEXTS[4], alternatives=3)
    assert one == {"translatedText": alone[TEXTS[4]][0], "alternatives": list(dict.fromkeys(alone[TEXTS[4]]))[1:]}
    many = server.translate([TEXTS[4], "", "🙂 42", TEXTS[5]], alternatives="1")
    assert many["translatedText"] == [alone[TEXTS[4]][0], "", "🙂 42", alone[TEXTS[5]][0]]
    assert many["alternatives"][0] == one["alternatives"][:1] and many["alternatives"][1:3] == [[], []]
    german = "Der kleine Hund ist im Garten hinter dem Haus und sieht eine Frau am See."
    found = server.translate([german, german], source="auto")["detectedLanguage"]
    assert found == [found[0]] * 2 and found[0]["language"] == "de" and found[0]["confidence"] > 90
    assert server.translate("🙂", source="auto") == {
        "translatedText": "🙂",
        "detectedLanguage": {"confidence": 0.0, "language": "en"},
    }
    assert server.translate("Frau", target="de") == {"translatedText": "Frau"}


def test_lines_and_sentences_come_back_where_they_were(server: Running, alone: dict):
    one, two = TEXTS[4], TEXTS[5]
    text = f"  {one}.\r\n\r\n\t{two}! {one}.\n 12 %\n"
    a, b = (server.translate(f"{words}{mark}")["translatedText"] for words, mark in ((one, "."), (two, "!")))
    assert server.translate(text)["translatedText"] == f"  {a}\r\n\r\n\t{b} {a}\n 12 %\n"
    long = " ".join([one] * 60)  # no sentence ends in it
    assert len(server.translate(long)["translatedText"]) > 100
    assert server.translate(" \n ")["translatedText"] == " \n "


def test_alignments_count_the_words_of_the_whole_text(server: Running):
    one, two = f"{TEXTS[4]}.", f"{TEXTS[5]}!"
    first, second = (server.translate(text, alignments=True) for text in (one, two))
    both = server.translate(f"{one}\n{two}", alignments=True)
    words = len(one.split()), len(first["translatedText"].split())
    moved = [[source + words[0], target + words[1]] for source, target in second["alignments"]]
    assert first["alignments"] and both["alignments"] == first["alignments"] + moved


def test_attention_is_that_of_n_best(server: Running):
    text = f"{TEXTS[4]}.\n{TEXTS[5]}!"
    reply = server.translate(text, attention=True)
    assert "alignments" not in reply and len(reply["attention"]) == 2
    for found, line in zip(reply["attention"], text.splitlines(), strict=True):
        (best,) = translator(0).n_best(line, 1, alignments=True)
        (expected,) = best.attention
        assert (found["source"], found["target"]) == (expected.source_pieces, expected.target_pieces)
        assert np.allclose(found["weights"], 1000 * expected.weights, atol=1.5)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"q": ""}, "Invalid request: missing q parameter"),
        ({"q": [], "source": ""}, "Invalid request: missing q parameter"),
        ({"source": "", "target": ""}, "Invalid request: missing source parameter"),
        ({"target": None, "alternatives": "x"}, "Invalid request: missing target parameter"),
        ({"alternatives": "x", "source": "xx"}, "Invalid request: alternatives parameter is not a number"),
        ({"alternatives": 4}, "Invalid request: alternatives parameter must be <= 3"),
        ({"alternatives": 10**400}, "Invalid request: alternatives parameter must be <= 3"),
        ({"q": ["a"] * 21}, "Invalid request: request (21) exceeds text limit (20)"),
        ({"q": "a" * 2001, "source": "xx"}, "Invalid request: request (2001) exceeds text limit (2000)"),
        ({"q": 7}, "Invalid request: q parameter is not a text"),
        ({"source": "xx", "target": "yy"}, "xx is not supported"),
        ({"source": ["de"]}, "['de'] is not supported"),
        ({"target": "yy", "format": "pdf"}, "yy is not supported"),
        ({"format": "pdf", "target": "fr"}, "pdf format is not supported"),
        ({"target": "fr"}, "French (fr) is not available as a target language from German (de)"),
    ],
    ids=str,
)
def test_a_wrong_request_has_librestranslates_words(server: Running, changes: dict, message: str):
    status, reply, headers = server.ask("/translate", {"q": "Hund", "source": "de", "target": "en", **changes})
    assert (status, reply) == (400, {"error": message})
    assert headers["Access-Control-Allow-Origin"] == "*"


def test_other_mistakes_are_json_too(server: Running):
    assert server.ask("/translate", b"[1]")[:2] == (400, {"error": "Invalid JSON format"})
    assert server.ask("/translate", b"{" * 100_000)[:2] == (400, {"error": "Invalid JSON format"})
    assert server.ask("/translate", b'{"q": "\\ud800", "source": "de", "target": "en"}')[0] == 400
    assert server.ask("/v2/translate", b'{"text": ["\\ud800"], "target_lang": "EN"}')[0] == 400
    assert server.ask("/translate", b"x" * (3 << 20))[0] == 413
    assert server.ask("/nothing")[:2] == (404, {"error": "Not Found"})
    status, reply, headers = server.ask("/detect")
    assert (status, reply, headers["Allow"]) == (405, {"error": "Method Not Allowed"}, "POST")
    assert server.ask("/suggest", {"q": "a"})[:2] == (403, {"error": "Suggestions are disabled on this server."})
    status, _, headers = server.ask("/translate", method="OPTIONS")
    assert status == 204 and headers["Access-Control-Allow-Methods"] == "GET, POST"
    assert server.lines == []


def test_what_clients_ask_first(server: Running):
    assert server.ask("/languages")[1] == [
        {"code": "de", "name": "German", "targets": ["de", "en"]},
        {"code": "en", "name": "English", "targets": ["en", "fr"]},
        {"code": "fr", "name": "French", "targets": ["fr"]},
    ]
    assert server.ask("/health", {"a": 1}, method="GET")[1] == {"status": "ok"}
    settings = server.ask("/frontend/settings")[1]
    assert settings["charLimit"] == 2000 and settings["language"]["source"] == {"code": "de", "name": "German"}
    found = server.ask("/detect", {"q": "The old dog sees a small bird in the garden."})[1]
    assert [one["language"] for one in found] == ["en", "de"] and found[0]["confidence"] > 50
    assert server.ask("/detect", {"q": "123"})[1] == [{"confidence": 0.0, "language": "en"}]
    spec = server.ask("/spec")[1]
    for path, verbs in spec["paths"].items():
        for verb in verbs if "{" not in path else ():
            assert server.ask(path, {} if verb == "post" else None, verb.upper())[0] not in (404, 405, 500), path
    assert "POST /translate" in server.ask("/docs")[1]


# ---- HTML


def test_of_html_only_the_text_is_translated_and_tags_stay_nested(server: Running):
    best = server.translate(f"{TEXTS[5]}.")["translatedText"]
    page = f'<!DOCTYPE html>\n<p class="{TEXTS[1]}" >\n  {TEXTS[5]}. </p><!-- Hund --><script>let hund = "<p>"</script>'
    page += "<pre>Ein\n  Hund</pre><P>&lt;42&gt;&nbsp;&amp;</P>"
    escaped = best.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert server.translate(page, format="html", alternatives=2) == {
        "translatedText": page.replace(f"{TEXTS[5]}.", escaped),
        "alternatives": [],
    }


@pytest.mark.parametrize(
    "page",
    [
        "<b>{0}</b> und <i>{1} <a href='x'>{2}</a></i>.",
        "<b>{0}.</b> {1} <i>{2}",
        "{0} <b>{1}<i>{2}</b>{0}</i>",
        "</b>{0} <img src=x> {1}<br>{2} <wbr>",
        "<b><i></i></b><b>12</b> {0} <u></u>",
    ],
)
def test_every_tag_comes_back_once_and_in_order_of_nesting(server: Running, page: str):
    found = server.translate(page.format(*TEXTS[4:7]), format="html")["translatedText"]
    tags = lambda text: sorted(re.findall(r"<[^>]*>", text))  # noqa: E731
    assert tags(found) == tags(page)


# ---- Unmodified clients


def test_libretranslatepy(server: Running, alone: dict):
    api = LibreTranslateAPI(server.url + "/")
    assert api.translate(TEXTS[3], "de", "en") == alone[TEXTS[3]][0]
    assert api.detect("The old dog sees a small bird in the garden.")[0]["language"] == "en"
    assert [one["code"] for one in api.languages()] == ["de", "en", "fr"]


def test_libretranslates_client_for_node(server: Running, alone: dict):
    script = Path(__file__).parent / "libretranslate_js" / "translate.mjs"
    if not (shutil.which("node") and (script.parent / "node_modules").is_dir()):
        pytest.skip("the client is not installed: npm install --ignore-scripts --prefix tests/libretranslate_js")
    asked = {"apiurl": server.url, "apiKey": "any", "query": TEXTS[3], "source": "de", "target": "en"}
    done = subprocess.run(["node", script, json.dumps(asked)], capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout) == alone[TEXTS[3]][0] and not done.stderr


def test_deepls_own_client(server: Running, alone: dict):
    client = deepl.DeepLClient("some key", server_url=server.url)
    several: Any = client.translate_text([TEXTS[3], TEXTS[4]], source_lang="DE", target_lang="EN-GB")
    assert [one.text for one in several] == [alone[TEXTS[3]][0], alone[TEXTS[4]][0]]
    assert several[0].detected_source_lang == "DE"
    html: Any = client.translate_text(f"<p>{TEXTS[3]}</p>", target_lang="EN-US", source_lang="DE", tag_handling="html")
    assert html.text.startswith("<p>") and html.text.endswith("</p>")
    assert [one.code for one in client.get_source_languages()] == ["DE", "EN"]
    assert [one.code for one in client.get_target_languages()] == ["EN", "FR"]
    assert not client.get_usage().any_limit_reached
    with pytest.raises(deepl.DeepLException, match="target_lang"):
        client.translate_text("a", target_lang="XX")


def test_googles_and_immersive_translates_interfaces(server: Running, alone: dict):
    text, asked = TEXTS[3], {"q": [TEXTS[3], TEXTS[4]], "source": "de", "target": "en", "format": "text"}
    found = [{"translatedText": alone[text][0]} for text in asked["q"]]
    assert server.ask("/language/translate/v2", asked)[1] == {"data": {"translations": found}}
    query = urllib.parse.urlencode(asked, doseq=True)
    assert server.ask(f"/language/translate/v2?{query}")[1] == {"data": {"translations": found}}
    assert server.ask("/language/translate/v2", {"q": "a"})[1]["error"]["code"] == 400
    asked = {"source_lang": "de", "target_lang": "en", "text_list": [f"<b>{text}</b>"]}
    (reply,) = server.ask("/imme", asked)[1]["translations"]
    assert reply["detected_source_lang"] == "de" and re.fullmatch("<b>.*</b>", reply["text"])
