"""WMT'16 as Google prepared it: pieces become text again, test sets stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import corpora
from wmt_transformer.data.corpora.corpus import Split

TEXTS = {
    "train.tok.clean.bpe.32000": (
        "I decl@@ are it &apos;s over , isn &apos;t it ?",
        "Ich erklär@@ e &quot; Ja &quot; .\n",
    ),
    "newstest2013": ("A @@ sign , &amp; more", "Ein @@ Zeichen , &amp; mehr"),
    "newstest2014": ("Gutach: more safety", "Gutach: mehr Sicherheit"),
}


@pytest.fixture
def folder(tmp_path) -> Path:
    for name, texts in TEXTS.items():
        for language, text in zip(("en", "de"), texts, strict=True):
            (tmp_path / f"{name}.{language}").write_text(text.strip() + "\n")
    return tmp_path


def load(split: Split, **settings) -> list[tuple[str, str]]:
    return list(corpora.load(DataConfig(corpus="wmt16", **settings), split))


def test_pieces_are_joined_and_the_tokenisation_is_undone(folder):
    assert load("train", path=str(folder)) == [("I declare it's over, isn't it?", 'Ich erkläre "Ja".')]
    assert load("train", path=str(folder), source="de", target="en")[0][0] == 'Ich erkläre "Ja".'


def test_development_and_test_set_are_as_they_were_published(folder):
    assert load("dev", path=str(folder)) == [TEXTS["newstest2013"]]
    assert load("test", path=str(folder)) == [TEXTS["newstest2014"]]


def test_what_is_missing_is_said_with_where_to_fetch_it(folder):
    with pytest.raises(UserError, match=r"by hand from https://drive\.google\.com/\S+ \(MD5 \w{32}\), unpack it"):
        load("train")
    (folder / "newstest2014.de").unlink()
    with pytest.raises(UserError, match=r"has no newstest2014\.de; give --data\.path"):
        load("test", path=str(folder))
    with pytest.raises(UserError, match="wmt16 has no en-fr; it has en-de, de-en"):
        load("test", path=str(folder), target="fr")
