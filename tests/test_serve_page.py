"""The page of `serve` in a real browser: typing, alternatives, words that belong together, errors, languages."""

import http.server
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from servers import Running, running
from translators import sentence

from wmt_transformer.serve import access
from wmt_transformer.serve.service import Answer

SOURCE = sentence(4, 4)


@pytest.fixture(scope="module")
def server():
    with running() as found:
        yield found


@pytest.fixture
def page(server: Running, browser):
    """The page, opened in English; whatever it writes to the console is a failure."""
    browser.get_log("browser")
    browser.set_window_size(1000, 900)
    browser.get(f"{server.url}/?lang=en")
    wait(lambda: browser.find_elements("css selector", "#source option"))
    yield browser
    assert [line for line in browser.get_log("browser") if "/translate" not in line["message"]] == []


def wait(condition):
    end = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def text_of(page, selector: str) -> str:
    return page.find_element("css selector", selector).text


def type_in(page, text: str) -> None:
    page.find_element("id", "text").send_keys(text)


def test_it_translates_while_one_types_and_shows_alternatives(page, server: Running):
    type_in(page, SOURCE)
    expected = server.translate(SOURCE, alternatives=3)
    wait(lambda: text_of(page, "#translation").strip() == " ".join(expected["translatedText"].split()))
    buttons = page.find_elements("css selector", "#alternatives button")
    assert len(buttons) == len(expected["alternatives"]) > 0
    buttons[0].click()
    second = page.execute_script("return document.getElementById('translation').textContent")
    assert second == expected["alternatives"][0]
    assert "source=de" in page.current_url
    assert page.execute_script("return document.getElementById('curl').textContent").count(SOURCE) == 1


def test_a_pause_is_one_request_and_an_older_one_is_given_up(page, server: Running):
    before = server.metrics.text()
    for letter in SOURCE:
        type_in(page, letter)
    wait(lambda: text_of(page, "#status") == "" and text_of(page, "#translation"))
    count = lambda text: sum(  # noqa: E731
        float(line.rpartition(b" ")[2]) for line in text.splitlines() if b'seconds_count{endpoint="/translate"' in line
    )
    assert count(server.metrics.text()) - count(before) < len(SOURCE) / 2


def test_words_that_belong_together_light_up_both_ways(page, server: Running):
    from selenium.webdriver import ActionChains

    type_in(page, SOURCE)
    links = server.translate(SOURCE, alignments=True)["alignments"]
    wait(lambda: page.find_elements("css selector", "#translation span"))
    lit = "return [...document.querySelectorAll('.linked')].map(x => [Number(x.dataset.side), Number(x.dataset.word)])"
    for side, element in ((1, "#translation"), (0, "#mirror")):
        word = links[0][side]
        span = page.find_element("css selector", f'{element} [data-word="{word}"]')
        ActionChains(page).move_to_element(span).perform()
        partners = {(1 - side, pair[1 - side]) for pair in links if pair[side] == word}
        assert set(map(tuple, wait(lambda: page.execute_script(lit)))) == {(side, word), *partners}


def test_it_shows_what_the_translation_looked_at(page, server: Running):
    type_in(page, SOURCE)
    page.find_element("css selector", "#inside summary").click()
    (found,) = server.translate(SOURCE, attention=True)["attention"]
    rows = wait(lambda: page.find_elements("css selector", "#attention tbody tr"))
    assert len(rows) == len(found["target"])
    script = "return [...document.querySelectorAll('#attention thead th')].map(one => one.textContent)"
    assert page.execute_script(script) == found["source"]
    cell = "return getComputedStyle(document.querySelector('#attention tbody td')).getPropertyValue('--weight')"
    assert page.execute_script(cell) == f"{found['weights'][0][0] / 10:g}%"


def test_errors_are_said_and_nothing_breaks(page, server: Running, monkeypatch: pytest.MonkeyPatch):
    page.execute_script("document.getElementById('text').value = 'a '.repeat(1500)")
    type_in(page, "b")
    wait(lambda: "exceeds text limit" in text_of(page, "#status"))
    page.find_element("id", "clear").click()
    page.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    page.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    type_in(page, "Hund")
    wait(lambda: "does not answer" in text_of(page, "#status"))
    offline |= {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
    page.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    type_in(page, " Frau")
    wait(lambda: text_of(page, "#status") == "" and text_of(page, "#translation"))


def test_it_speaks_chinese_swaps_and_fits_a_phone(page):
    page.find_element("id", "locale").click()
    assert page.find_element("css selector", "html").get_attribute("lang") == "zh"
    assert text_of(page, "#clear") == "清空" and "德语" in text_of(page, "#source")
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", dict(width=360, height=700, deviceScaleFactor=1, mobile=True)
    )
    assert page.execute_script("return document.documentElement.scrollWidth") <= 360
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert not page.find_element("id", "swap").is_enabled()  # nothing translates back


def test_every_control_has_a_name_and_the_page_asks_nobody_else(page, server: Running):
    unnamed = """return [...document.querySelectorAll('button, select, textarea, output')].filter(
        one => !(one.textContent.trim() || one.ariaLabel)).map(one => one.id)"""
    assert [name for name in page.execute_script(unnamed) if name != "translation"] == []
    asked = page.execute_script("return performance.getEntriesByType('resource').map(one => one.name)")
    assert asked and all(one.startswith((server.url, "data:")) for one in asked)


def test_a_file_is_translated_and_fetched(page, server: Running, tmp_path: Path):
    page.find_element("id", "as-file").click()
    assert not page.find_element("id", "text").is_displayed() and not page.find_element("id", "send").is_enabled()
    path = tmp_path / "ein Brief.txt"
    path.write_text(f"{SOURCE}.\n")
    page.find_element("id", "file").send_keys(str(path))
    assert text_of(page, "#file-name") == path.name
    page.find_element("id", "send").click()
    wait(lambda: page.find_element("id", "result").is_displayed())
    with urllib.request.urlopen(page.find_element("id", "result").get_attribute("href")) as found:
        assert found.read().decode() == server.translate(f"{SOURCE}.\n")["translatedText"]
    path.write_bytes(b"\xff")
    page.find_element("id", "file").send_keys(str(path))
    page.find_element("id", "send").click()
    wait(lambda: "not UTF-8" in text_of(page, "#file-status"))
    page.find_element("id", "as-text").click()
    assert page.find_element("id", "text").is_displayed() and not page.find_element("id", "file-pane").is_displayed()


def test_text_from_right_to_left_is_written_so(page, server: Running, monkeypatch: pytest.MonkeyPatch):
    async def arabic(texts, *rest, **options) -> list[Answer]:
        return [Answer("\u0643\u0644\u0628 \u0635\u063a\u064a\u0631", ("Hund",), ((0, 0), (1, 1)))]

    monkeypatch.setattr(server.service, "plain", arabic)
    sides = "return ['text', 'translation'].map(id => getComputedStyle(document.getElementById(id)).direction)"
    type_in(page, "Ein Hund")
    wait(lambda: text_of(page, "#translation"))
    assert page.execute_script(sides) == ["ltr", "rtl"]
    place = "return [...document.querySelectorAll('#translation span')].map(x => x.getBoundingClientRect().left)"
    first, second = page.execute_script(place)
    assert first > second
    page.find_element("id", "text").clear()
    type_in(page, "\u0643\u0644\u0628")
    assert page.execute_script(sides)[0] == "rtl"


def test_a_key_is_asked_for_and_kept(browser, tmp_path: Path):
    key = access.new_key(tmp_path / "keys", "Ada")
    with running(access=access.Access(access.Keys(tmp_path / "keys"))) as server:
        browser.get(f"{server.url}/?lang=en&q=Hund")
        wait(lambda: "to get an API key" in text_of(browser, "#status"))
        browser.find_element("id", "key").send_keys(key + "\n")
        wait(lambda: text_of(browser, "#translation"))
        browser.refresh()
        wait(lambda: text_of(browser, "#translation"))
        curl = browser.execute_script("return document.getElementById('curl').textContent")
        assert "api_key=" in curl and key not in curl and key not in browser.current_url
        browser.execute_script("localStorage.clear()")
    browser.get_log("browser")


class Another(http.server.BaseHTTPRequestHandler):
    """Another site: an empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        pass


def test_a_page_of_another_site_may_ask(server: Running, browser):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Another) as site:
        threading.Thread(target=site.serve_forever).start()
        browser.get(f"http://127.0.0.1:{site.server_port}/")
        script = """const done = arguments[0];
        fetch(URL + '/translate', {method: 'POST', headers: {'Content-Type': 'application/json'},
          body: JSON.stringify({q: 'Hund', source: 'de', target: 'en'})})
          .then(reply => reply.json()).then(done, error => done(String(error)))"""
        found = browser.execute_async_script(script.replace("URL", repr(server.url)))
        site.shutdown()
    assert found == server.translate("Hund")


def test_terms_of_the_glossary_without_room_are_named(page, server: Running, monkeypatch: pytest.MonkeyPatch):
    async def short(texts, *rest, **options) -> list[Answer]:
        return [Answer("dog", missing=("garden bench", "lake"))]

    monkeypatch.setattr(server.service, "plain", short)
    type_in(page, SOURCE)
    wait(lambda: text_of(page, "#status") == "No room for terms of the glossary: garden bench, lake")
