"""Corpora of the Hugging Face hub: pairs by language, splits, licences, and what is said where something is missing.

A folder stands in for the data set's repository, and a server on this machine for the hub.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from wmt_transformer import experiment
from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import corpora
from wmt_transformer.data.corpora.corpus import Split
from wmt_transformer.data.prepare import prepare

pytest.importorskip("datasets")
pytestmark = pytest.mark.filterwarnings("ignore")  # whatever datasets, pyarrow and pandas warn about

CARD = """---
license: cc-by-4.0
configs:
- config_name: de-en
  data_files:
  - split: train
    path: de-en/train.parquet
  - split: validation
    path: de-en/validation.parquet
- config_name: en-fr
  data_files:
  - split: train
    path: en-fr/train.parquet
---
# Colours
```
@inproceedings{colours,
  title = {The {Colours}},
}
```
"""
PAIRS = [("red", "rot"), ("green", "grün"), ("blue", "blau"), ("white", None)]


@pytest.fixture
def colours(tmp_path, monkeypatch) -> Path:
    """A copy of a data set's repository: columns of translations in de-en, a column for each language in en-fr."""
    import datasets
    import pyarrow
    import pyarrow.parquet

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "colours"
    for config, split, pairs in (("de-en", "train", PAIRS), ("de-en", "validation", PAIRS[:1])):
        (folder / config).mkdir(parents=True, exist_ok=True)
        rows = [{"de": german, "en": english} for english, german in pairs]
        pyarrow.parquet.write_table(
            pyarrow.table({"id": list(range(len(rows))), "translation": rows}), folder / config / f"{split}.parquet"
        )
    (folder / "en-fr").mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"fr": ["rouge"], "en": ["red"]}), folder / "en-fr" / "train.parquet")
    (folder / "README.md").write_text(CARD)
    return folder


def load(folder: Path, split: Split = "train", corpus: str = "hf:somebody/colours:de-en", **settings):
    return list(corpora.load(DataConfig(corpus=corpus, path=str(folder), **settings), split))


def test_texts_are_taken_by_language_in_either_direction(colours):
    expected = [(english, german or "") for english, german in PAIRS]
    assert load(colours) == expected
    assert load(colours, source="de", target="en") == [(german, english) for english, german in expected]
    assert load(colours, "dev") == expected[:1]
    assert load(colours, "test") == []
    assert load(colours, corpus="hf:somebody/colours:en-fr", source="fr", target="en") == [("rouge", "red")]


def test_splits_and_parts_of_them_can_be_named(colours):
    assert [english for english, _ in load(colours, train_files=("train[1:3]",))] == ["green", "blue"]
    assert [english for english, _ in load(colours, "dev", dev_files=("train[:1]",))] == ["red"]
    with pytest.raises(UserError, match=r"Unknown split \"trian\". Should be one of"):
        load(colours, train_files=("trian",))
    with pytest.raises(UserError, match=r"has no split validation, it has train; name one .* with --data\.dev_files"):
        load(colours, "dev", corpus="hf:somebody/colours:en-fr", target="fr")


def test_a_missing_direction_and_an_unknown_config_are_refused_with_what_is_there(colours):
    with pytest.raises(UserError, match=r"hf:somebody/colours:de-en has no en-fr; it has de, en"):
        load(colours, target="fr")
    with pytest.raises(UserError, match=r"has no config de-em; name one of its 2 as in hf:NAME:CONFIG: de-en"):
        load(colours, corpus="hf:somebody/colours:de-em")
    with pytest.raises(UserError, match=r"has several configs; .*: en-fr$"):
        load(colours, corpus="hf:somebody/colours", target="fr")
    with pytest.raises(UserError, match=r"data\.corpus is 'hf:'; it must be one of .*, or hf:NAME\[:CONFIG\]"):
        load(colours, corpus="hf:")


def test_prepare_says_licence_and_citation_and_reads_again_what_changed(colours, tmp_path):
    config = experiment.load("quickstart").data
    config = experiment.override(
        experiment.load("quickstart"),
        ["--data.corpus", "hf:somebody/colours:de-en", "--data.path", str(colours), "--data.vocabulary_size", "290"],
    ).data
    lines: list[str] = []
    prepared = prepare(config, tmp_path / "data", lines.append, processes=1)
    assert lines[:2] == [
        f"hf:somebody/colours:de-en: licence cc-by-4.0; see {colours}",
        "cite: @inproceedings{colours, title = {The {Colours}}, }",
    ]
    assert prepared.statistics["train"] | {"too_long": 0} == {
        "read": 4, "empty": 1, "duplicate": 0, "too_long": 0, "length_ratio": 0, "kept": 3
    }  # fmt: skip
    assert prepared.dev_text == [("red", "rot")]
    prepare(config, tmp_path / "data", lines.append)
    assert lines[-1].endswith("is up to date")
    (colours / "README.md").write_text(CARD.replace("cc-by-4.0", "mit"))
    prepare(config, tmp_path / "data", lines.append)
    assert lines[-1].endswith("is up to date: the text is the same")


def test_it_can_be_one_of_several_corpora(colours):
    base = DataConfig(corpus="phrasebook", more_corpora=(f"hf:somebody/colours:en-fr={colours}:en-fr",))
    (_, second) = corpora.members(base)
    assert (second.corpus, second.path, second.target) == ("hf:somebody/colours:en-fr", str(colours), "fr")
    assert list(corpora.load(second, "train")) == [("red", "rouge")]
