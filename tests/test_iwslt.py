"""IWSLT: fairseq's splits of 2014, made from files as WIT³ publishes them; 2017 in both orders of the languages."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from wmt_transformer import experiment
from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import corpora, download
from wmt_transformer.data.corpora import iwslt
from wmt_transformer.data.corpora.corpus import Split

TALK = """<url>http://www.ted.com/talks/1</url>
<keywords>talks, {0}</keywords>
<speaker>Somebody</speaker>
<talkid>1</talkid>
<title>Title {0}</title>
<description>Description {0}</description>
"""


def sentences(language: str, count: int = 60) -> list[str]:
    """Numbered sentences; four pairs are not for training: an empty side, both too long, one far longer (twice)."""
    form = "The {}th Talk, isn't it?" if language == "en" else "Der {}. Vortrag, oder nicht?"
    lines = [form.format(n) for n in range(count)]
    odd = {
        7: ("Alone.", ""),
        11: ("word " * 180, "Wort " * 180),
        13: ("One, two, three.", "Eins."),  # 6 tokens to 2
        17: ("Yes or no", "Ja ,"),  # 3 to 2: as much as is allowed
        19: ("Yes or no?", "Ja ,"),  # 4 to 2, which words alone do not tell
    }
    for number, texts in odd.items():
        lines[number] = texts[language == "de"]
    return lines


def write(folder: Path, pair: str = "de-en", sets: tuple[str, ...] = (), count: int = 60) -> Path:
    """Writes the files of a pair of languages."""
    folder.mkdir(parents=True, exist_ok=True)
    for language in pair.split("-"):
        text = TALK.format(language) + "".join(f" {line} \n" for line in sentences(language, count))
        (folder / f"train.tags.{pair}.{language}").write_text(text)
        for name in sets:
            segments = "".join(
                f'<seg id="{n}"> {name} {language} {n}: R&amp;D\N{RIGHT SINGLE QUOTATION MARK}s </seg>\n'
                for n in range(1, 3)
            )
            (folder / f"{name}.{pair}.{language}.xml").write_text(
                f"<mteval>\n<title> T </title>\n{segments}</mteval>\n"
            )
    return folder


def load(folder: Path, split: Split = "train", corpus="iwslt14", **settings) -> list[tuple[str, str]]:
    return list(corpora.load(DataConfig(corpus=corpus, path=str(folder), **settings), split))


def test_training_and_development_set_are_what_fairseqs_script_leaves(tmp_path):
    place = write(tmp_path)
    train, dev = load(place), load(place, "dev")
    numbers = [n for n in range(60) if n not in (7, 11, 13, 19)]
    english = ["title en", "description en", *(sentences("en")[n].lower() for n in numbers)]
    german = ["title de", "description de", *(sentences("de")[n].lower() for n in numbers)]
    kept = list(zip(english, german, strict=True))
    assert dev == [kept[22], kept[45]]  # every 23rd
    assert train == [pair for pair in kept if pair not in dev]
    assert load(place, source="de", target="en") == [(german, english) for english, german in train]


def test_the_test_set_is_five_sets_of_talks_in_fairseqs_order(tmp_path):
    place = write(tmp_path / "de-en", sets=tuple(iwslt._TEST_14)).parent  # in the folder that the archive has
    found = load(place, "test", source="de", target="en")
    order = ["ted.dev2010", "tedx.dev2012", "ted.tst2010", "ted.tst2011", "ted.tst2012"]
    assert found == [
        tuple(f"iwslt14.{name} {language} {n}: r&d's" for language in ("de", "en")) for name in order for n in (1, 2)
    ]


def test_2017_is_read_as_it_was_published_whichever_language_comes_first(tmp_path):
    sets = ("IWSLT17.TED.dev2010", "IWSLT17.TED.tst2010", "IWSLT17.TED.tst2015")
    place = write(tmp_path, sets=sets)
    train = load(place, corpus="iwslt17")
    assert len(train) == 62 and train[:2] == [("Title en", "Title de"), ("Description en", "Description de")]
    assert train[2:] == [(a.strip(), b.strip()) for a, b in zip(sentences("en"), sentences("de"), strict=True)]
    assert load(place, "dev", "iwslt17")[0] == ("IWSLT17.TED.dev2010 en 1: R&D's", "IWSLT17.TED.dev2010 de 1: R&D's")
    assert [source.split()[0] for source, _ in load(place, "test", "iwslt17")] == [s for s in sets[1:] for _ in (1, 2)]


def test_what_is_missing_or_does_not_fit_is_said(tmp_path):
    place = write(tmp_path)
    with pytest.raises(UserError, match=r"has no IWSLT14\.TED\.dev2010\.de-en\.en\.xml or de-en/IWSLT14"):
        load(place, "test")
    with pytest.raises(UserError, match=r"has no IWSLT17\.TED\.tst2010\.de-en\.en\.xml"):
        load(place, "test", "iwslt17")
    with pytest.raises(UserError, match=r"has no train\.tags\.en-fr\.en"):
        load(place, corpus="iwslt17", target="fr")
    with pytest.raises(UserError, match="iwslt14 has no en-fr; it has de-en, en-de"):
        load(place, target="fr")
    with pytest.raises(UserError, match=r"by hand from https://wit3\.fbk\.eu/2017-01.*--data\.path FOLDER"):
        list(corpora.load(DataConfig(corpus="iwslt17"), "train"))
    with open(place / "train.tags.de-en.de", "a") as file:
        file.write("Noch etwas.\n")
    with pytest.raises(UserError, match=r"\.en has 62 lines and \S+\.de has 63"):
        load(place)


@pytest.fixture
def fetched(tmp_path, monkeypatch) -> Path:
    """The archive, and a stand-in for its site that gives it."""
    write(tmp_path / "files" / "de-en", sets=tuple(iwslt._TEST_14))
    archive = tmp_path / "de-en.tgz"
    with tarfile.open(archive, "w:gz") as files:
        files.add(tmp_path / "files" / "de-en", "de-en")

    def fetch(url: str, path: Path, *pins) -> Path:
        assert url.endswith("/fairseq/data/iwslt14/de-en.tgz")
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(archive, path))

    monkeypatch.setattr(download, "fetch", fetch)
    monkeypatch.setenv("WMT_TRANSFORMER_CACHE", str(tmp_path / "cache"))
    return archive


def test_the_archive_is_fetched_and_unpacked_once(fetched, monkeypatch):
    data = DataConfig(corpus="iwslt14", source="de", target="en")
    first = list(corpora.load(data, "train"))
    monkeypatch.setattr(download, "fetch", None)  # would be called
    assert list(corpora.load(data, "train")) == first and len(list(corpora.load(data, "test"))) == 10


def test_a_damaged_archive_is_named_and_nothing_is_left_of_it(fetched, tmp_path):
    fetched.write_bytes(fetched.read_bytes()[:-500])
    with pytest.raises(UserError, match=r"iwslt14/de-en\.tgz is damaged: .*; delete it and fetch it again from http"):
        list(corpora.load(DataConfig(corpus="iwslt14"), "train"))
    assert [path.name for path in (tmp_path / "cache" / "iwslt14").iterdir()] == ["de-en.tgz"]


@pytest.mark.slow
def test_the_config_has_fairseqs_size_and_learning_rate_and_its_run_begins(tmp_path):
    import wmt_transformer as wt

    config = experiment.load("iwslt14_de_en")
    model, train = config.model, config.train
    assert (model.num_layers, model.d_model, model.d_ff, model.num_heads, model.d_k) == (6, 512, 1024, 4, 128)
    assert train.learning_rate * model.d_model**-0.5 * train.warmup_steps**-0.5 == pytest.approx(5e-4)
    write(tmp_path / "iwslt", sets=tuple(iwslt._TEST_14))
    small = wt.load_config(
        "iwslt14_de_en",
        model={"num_layers": 1, "d_model": 16, "d_ff": 16, "num_heads": 2, "d_k": 8, "d_v": 8},
        data={"path": str(tmp_path / "iwslt"), "vocabulary_size": 300},
        train={"steps": 2, "evaluate_every": 2, "log_every": 1, "checkpoint_every": 2, "evaluate_pairs": 2},
    )
    wt.train(small, tmp_path / "run")
    assert hasattr(wt.evaluate(tmp_path / "run", "test"), "sacrebleu")
