"""Tokens that one can see: every byte of the text is some token's, and characters are never torn."""

import html
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import rich.console
from commands import refused, run
from hypothesis import given, settings
from hypothesis import strategies as st

from wmt_transformer.data import phrasebook, vocabulary
from wmt_transformer.data.vocabulary import Vocabulary
from wmt_transformer.visualize import tokens

FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"  # three people and two joiners: one emoji


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    sentences = [text for sentence in phrasebook.generate("train", 300) for text in sentence]
    return vocabulary.train(sentences, tmp_path_factory.mktemp("vocabulary") / "vocabulary.model", 500)


@settings(max_examples=50)
@given(text=st.text())
def test_the_tokens_bytes_are_the_normalised_texts(words: Vocabulary, text: str):
    seen = tokens.view(words, text)
    assert b"".join(token.text for token in seen.tokens) == vocabulary.normalise(text).encode()
    assert [token.id for token in seen.tokens] == words.encode(text)
    assert "".join(group.text for group in seen.groups) == vocabulary.normalise(text)


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("你好", ["", "你", "好"]),  # three bytes each; the space that SentencePiece puts first is a token
        (FAMILY, ["", FAMILY]),
        ("x\u030c", ["x\u030c"]),  # no composed character for it: a letter, and two bytes that are a mark on it
        ("e\u0301", ["é"]),  # NFC composes this one
        ("\u0915\u094d\u0937\u093f", ["", "\u0915\u094d\u0937\u093f"]),  # Devanagari kshi: one cluster
    ],
)
def test_bytes_that_only_together_are_a_character_are_shown_together(words: Vocabulary, text: str, groups: list[str]):
    seen = tokens.view(words, text)
    assert [group.text for group in seen.groups if group.tokens[0].piece != "▁" or group.text] == [
        group for group in groups if group
    ]
    assert b"".join(token.text for token in seen.groups[-1].tokens).decode() == groups[-1]


def test_every_id_has_a_symbol_of_its_own_and_none_is_blank():
    symbols = [tokens.symbol(token) for token in (*range(700), *range(64_000, 66_000))]
    assert len(set(symbols)) == len(symbols)
    assert not set("".join(symbols)) & {"\u2800", "r"}
    assert [len(tokens.symbol(token)) for token in (0, 254, 255, 65_024, 65_025)] == [1, 1, 2, 2, 3]


def test_the_verb_lists_pieces_ids_and_bytes_without_a_download(tmp_path: Path, capsys: Any, monkeypatch: Any):
    monkeypatch.setenv("WMT_TRANSFORMER_CACHE", str(tmp_path))
    monkeypatch.setattr(phrasebook, "vocabulary", lambda: Vocabulary.load(tmp_path / "small.model"))
    texts = [text for sentence in phrasebook.generate("train", 300) for text in sentence]
    vocabulary.train(texts, tmp_path / "small.model", 500)
    assert run("tokens", "strawberry", "--json") == 0
    ((view,)) = json.loads(capsys.readouterr().out)["vocabularies"]
    assert "".join(token["piece"] for token in view["tokens"]) == "▁strawberry"
    assert sum(token["bytes"] for token in view["tokens"]) == 10 and "r" not in {t["symbol"] for t in view["tokens"]}
    assert run("tokens", "strawberry", "--vocabulary", tmp_path / "small.model", tmp_path / "small.model") == 0
    shown = capsys.readouterr().out
    assert shown.count("10 bytes") == 2 and "│" in shown


def test_the_built_in_vocabulary_is_made_once(tmp_path: Path, monkeypatch: Any):
    monkeypatch.setenv("WMT_TRANSFORMER_CACHE", str(tmp_path))
    first = phrasebook.vocabulary(600)
    assert len(first) == 600 and [path.name for path in tmp_path.iterdir()] == ["phrasebook-600.model"]
    monkeypatch.setattr(phrasebook, "train", None)
    assert phrasebook.vocabulary(600).ids() == first.ids()


def test_a_page_shows_markup_as_text_and_needs_nothing_else(words: Vocabulary):
    page = tokens.page("<script>alert(1)</script> &amp; {x}", [tokens.view(words, "<script>&amp; {x}", "<b>")])
    assert "<script" not in page and "<b>&lt;" in page and "http" not in page
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["&lt;b&gt;"]


def test_control_characters_and_marks_of_direction_are_shown_and_not_obeyed(words: Vocabulary):
    seen = tokens.view(words, "a\u202eb [bold]", "\x1b[31m")
    page = tokens.page("\x1b\u202e", [seen])
    assert not {"\x1b", "\u202e"} & set(page) and "<U+202E>" in html.unescape(page)
    out = io.StringIO()
    rich.console.Console(file=out, markup=False, width=100).print(tokens.terminal([seen]))
    shown = out.getvalue()
    assert not {"\x1b", "\u202e"} & set(shown) and "[bold]" in shown.replace("│", "") and "<U+001B>[31m" in shown


def test_a_notebook_shows_the_page_in_a_frame(words: Vocabulary):
    seen = tokens.view(words, 'a "<b>"')
    frame = re.fullmatch(r'<iframe srcdoc="([^"]*)" style="[^"]*"></iframe>', seen._repr_html_())
    assert frame and html.unescape(frame[1]) == tokens.page('a "<b>"', [seen])


def test_a_browser_shows_the_page(words: Vocabulary, tmp_path: Path):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("chromium is not installed")
    (tmp_path / "page.html").write_text(tokens.page("你好", [tokens.view(words, f"你好 {FAMILY}")]), encoding="utf-8")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", str(tmp_path / "page.html")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert re.search(r"<b>好</b><small>\d+ \d+ \d+</small>", done.stdout) and f"<b>{FAMILY}</b>" in done.stdout


def test_mistakes_are_one_line(tmp_path: Path, capsys: Any):
    assert "empty" in refused(capsys, "tokens", " ", "--json")
    assert "no vocabulary" in refused(capsys, "tokens", "a", "--vocabulary", tmp_path / "none.model")
    (tmp_path / "text.model").write_text("no model")
    assert "not a SentencePiece model" in refused(capsys, "tokens", "a", "--vocabulary", tmp_path / "text.model")
    assert "no vocabulary" in refused(capsys, "tokens", "a", "--vocabulary", tmp_path)
