"""Corpora: the direction asked for, splits that share nothing, downloads that are whole, errors that help."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import http.server
import sys
import threading
import zipfile
from pathlib import Path
from typing import cast

import pytest

from wmt_transformer import experiment
from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import corpora, download
from wmt_transformer.data.corpora import built_in, multi30k, wmt14
from wmt_transformer.data.corpora.corpus import Split
from wmt_transformer.data.corpora.tatoeba import split_by_components
from wmt_transformer.files import cache_folder
from wmt_transformer.ranges import mistake


def load(split: Split = "train", **settings) -> list[tuple[str, str]]:
    return list(corpora.load(DataConfig(**settings), split))


def write(folder: Path, **texts: str | bytes) -> str:
    """Writes files; in their names _ stands for a dot. Returns the folder, as a setting."""
    for name, text in texts.items():
        content = text.encode() if isinstance(text, str) else text
        name = name.replace("_", ".")
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return str(folder)


def text_files(folder: Path, *train: str) -> dict:
    return {"corpus": "files", "path": str(folder), "train_files": train}


# ---- Text files


def test_two_files_are_read_side_by_side_plain_or_gz(tmp_path):
    write(tmp_path, a_en="one\ntwo\n", a_de_gz="eins\nzwei")
    assert load(**text_files(tmp_path, "a.en", "a.de.gz")) == [("one", "eins"), ("two", "zwei")]


def test_a_tsv_is_read_by_column_and_ignores_a_third(tmp_path):
    write(tmp_path, a_tsv="one\teins\tCC-BY\ntwo\tzwei", b_tsv_gz="a\tb\r\n")
    assert load(**text_files(tmp_path, "a.tsv")) == [("one", "eins"), ("two", "zwei")]
    assert load(**text_files(tmp_path, "b.tsv.gz")) == [("a", "b")]


def test_only_a_newline_ends_a_line(tmp_path):
    write(tmp_path, a_en="\ufeffone\u2028still one\x85\r\ntwo\n", a_de="eins\nzwei\n")
    assert load(**text_files(tmp_path, "a.en", "a.de")) == [
        ("one\u2028still one\x85", "eins"),
        ("two", "zwei"),
    ]


def test_train_pairs_limits_training_only(tmp_path):
    write(tmp_path, a_tsv="a\tb\nc\td\ne\tf\n")
    settings = text_files(tmp_path, "a.tsv") | {"dev_files": ("a.tsv",), "train_pairs": 2}
    assert len(load("train", **settings)) == 2
    assert len(load("dev", **settings)) == 3


@pytest.mark.parametrize("en, de", [(3, 5), (5, 3), (1, 0)])
def test_sides_of_different_length_are_refused_with_both_counts(tmp_path, en, de):
    write(tmp_path, a_en="x\n" * en, a_de="y\n" * de)
    match = r"a\.de is empty" if de == 0 else rf"a\.en has {en} lines and \S*a\.de has {de}"
    with pytest.raises(UserError, match=match):
        load(**text_files(tmp_path, "a.en", "a.de"))


def test_text_that_is_not_utf8_is_refused_with_file_and_line(tmp_path):
    write(tmp_path, a_en="one\ntwo\n", a_de=b"eins\nzw\xe4i\n", a_de_gz=b"\xff\n")
    with pytest.raises(UserError, match=r"a\.de, line 2 is not UTF-8 \(byte 3 is 0xe4\)"):
        load(**text_files(tmp_path, "a.en", "a.de"))
    with pytest.raises(UserError, match=r"a\.de\.gz, line 1 is not UTF-8"):
        load(**text_files(tmp_path, "a.en", "a.de.gz"))


def test_a_tsv_line_without_a_tab_is_refused_with_its_number(tmp_path):
    write(tmp_path, a_tsv="a\tb\nno tab here\n")
    with pytest.raises(UserError, match=r"a\.tsv, line 2 has no tab"):
        load(**text_files(tmp_path, "a.tsv"))


def test_missing_and_damaged_files_are_named(tmp_path):
    write(tmp_path, a_en="one\n")
    (tmp_path / "a.de.gz").write_bytes(gzip.compress(b"eins\n" * 1000)[:-9])
    (tmp_path / "b.de.gz").write_bytes(b"not gzip")
    (tmp_path / "folder.de").mkdir()
    with pytest.raises(UserError, match=r"there is no file \S*b\.en"):
        load(**text_files(tmp_path, "b.en", "a.en"))
    for name in ("a.de.gz", "b.de.gz"):
        with pytest.raises(UserError, match=rf"{name} is damaged"):
            load(**text_files(tmp_path, "a.en", name))
    with pytest.raises(UserError, match=r"cannot read \S*folder\.de"):
        load(**text_files(tmp_path, "a.en", "folder.de"))
    with pytest.raises(UserError, match=r"no-such-folder is not a folder"):
        load(corpus="multi30k", path=str(tmp_path / "no-such-folder"))


@pytest.mark.parametrize("names", [(), ("a", "b", "c")])
def test_too_few_or_too_many_files_are_refused(tmp_path, names):
    with pytest.raises(UserError, match=rf"data\.train_files names {len(names)} files"):
        load(**text_files(tmp_path, *names))


# ---- Directions


@pytest.mark.parametrize(
    "corpus, source, target, has",
    [
        ("multi30k", "en", "ru", "en-de, en-fr"),
        ("tatoeba", "de", "fr", "en-de, en-fr, de-en, fr-en"),
        ("wmt14", "de", "fr", "en-de, en-fr, de-en, fr-en"),
        ("phrasebook", "en", "es", "en-de"),
    ],
)
def test_a_direction_that_a_corpus_lacks_is_refused_and_those_it_has_are_listed(corpus, source, target, has):
    with pytest.raises(UserError, match=f"{corpus} has no {source}-{target}; it has .*{has}"):
        load(corpus=corpus, source=source, target=target)


@pytest.mark.parametrize("source, target", [("", "de"), ("en", ""), ("en", "../de"), ("en", "en")])
def test_unnamed_and_equal_languages_are_refused(source, target):
    with pytest.raises(UserError, match=r"data\.(source|target)"):
        load(corpus="files", source=source, target=target)


def test_every_corpus_and_direction_has_a_config_value():
    import typing

    names, elsewhere = typing.get_args(typing.get_type_hints(DataConfig, include_extras=True)["corpus"])
    collections = {"hf": "hf:NAME:CONFIG", "mtdata": "mtdata:ID"}
    assert set(corpora.CORPORA) | {"shakespeare", "text"} == {*typing.get_args(names), *collections}
    for collection, name in collections.items():
        assert mistake(name, elsewhere) is None and mistake(f"{collection}:", elsewhere)


# ---- The phrasebook


@pytest.mark.parametrize("source, target", [("en", "de"), ("fr", "en"), ("de", "fr")])
def test_the_phrasebook_gives_the_languages_asked_for_and_as_many_pairs(source, target):
    settings = {"corpus": "phrasebook", "source": source, "target": target, "train_pairs": 50}
    from wmt_transformer.data import phrasebook

    sentences = list(phrasebook.generate("train", 50, built_in.SEED))
    assert load(**settings) == [(getattr(s, source), getattr(s, target)) for s in sentences]
    assert len(load("dev", **settings)) == built_in.PAIRS["dev"]


# ---- Multi30k


def test_multi30k_is_read_from_a_folder_in_any_direction(tmp_path):
    path = write(tmp_path, train_en_gz="a dog\n", train_de_gz="ein Hund\n", val_en="b\n", val_fr_gz="c\n")
    assert load(corpus="multi30k", path=path) == [("a dog", "ein Hund")]
    assert load(corpus="multi30k", path=path, source="de", target="en") == [("ein Hund", "a dog")]
    assert load("dev", corpus="multi30k", path=path, source="fr", target="en") == [("c", "b")]
    with pytest.raises(UserError, match=r"has no test_2016_flickr\.en\.gz or test_2016_flickr\.en"):
        load("test", corpus="multi30k", path=path)


def test_multi30k_files_are_the_official_ones(data_folder):
    for name, (size, sha256) in multi30k._FILES.items():
        content = (data_folder / "multi30k" / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (size, sha256)


def test_multi30k_is_downloaded_once_and_verified(tmp_path, monkeypatch, server):
    content = gzip.compress(b"a dog\n"), gzip.compress(b"ein Hund\n")
    server.files = {"/train.en.gz": content[0], "/train.de.gz": content[1]}
    pins = {
        f"train.{language}.gz": (len(data), hashlib.sha256(data).hexdigest())
        for language, data in zip(("en", "de"), content, strict=True)
    }
    monkeypatch.setattr(multi30k, "_URL", server.url + "/{}")
    monkeypatch.setattr(multi30k, "_FILES", pins)
    monkeypatch.setenv("WMT_TRANSFORMER_CACHE", str(tmp_path))
    for _ in range(2):
        assert load(corpus="multi30k") == [("a dog", "ein Hund")]
    assert server.requests == ["/train.en.gz", "/train.de.gz"]


# ---- Tatoeba


def test_tatoeba_that_is_split_already_is_used_as_it_is(tmp_path):
    path = write(tmp_path, **{"train_en-de_tsv_gz": "Go.\tGeh.\n", "dev_en-de_tsv": "Go.\tGeh!\n"})
    assert load(corpus="tatoeba", path=path) == [("Go.", "Geh.")]
    assert load("dev", corpus="tatoeba", path=path, source="de", target="en") == [("Geh!", "Go.")]


def anki(count: int = 1500) -> str:
    """Lines like manythings.org's: every English sentence twice, every third German one shared by two."""
    lines = []
    for n in range(count):
        for translation in (f"Satz {n}.", f"Satz {n - n % 3}!"):
            lines.append(f"Sentence {n}.\t{translation}\tCC-BY 2.0 (France) Attribution: tatoeba.org #{n}")
    return "\n".join(lines) + "\n"


def test_tatoeba_is_split_so_that_no_sentence_occurs_in_two_splits(tmp_path):
    with zipfile.ZipFile(tmp_path / "deu-eng.zip", "w") as archive:
        archive.writestr("_about.txt", "about")
        archive.writestr("deu.txt", anki())
    splits = {s: load(s, corpus="tatoeba", path=str(tmp_path)) for s in ("train", "dev", "test")}
    assert sum(map(len, splits.values())) == 3000
    for split in ("dev", "test"):
        assert 15 < len(splits[split]) < 90  # 1.5 % of the pairs, in components of six
    for side in (0, 1):
        sentences = [{pair[side] for pair in pairs} for pairs in splits.values()]
        assert not sentences[0] & sentences[1] and not sentences[0] & sentences[2] and not sentences[1] & sentences[2]
    (tmp_path / "fra.txt").write_text(anki())
    assert load("dev", corpus="tatoeba", path=str(tmp_path), target="fr") == splits["dev"]


def test_new_sentences_at_tatoeba_leave_the_others_in_their_split():
    old = [(f"Sentence {n}.", f"Satz {n}.") for n in range(2000)]
    new = [(f"New {n}.", f"Neu {n}.") for n in range(500)]
    before, after = split_by_components(old), split_by_components(new + old)
    for split, pairs in before.items():
        assert set(pairs) <= set(after[split])


def test_the_real_tatoeba_is_split_without_leaks(data_folder):
    settings = {"corpus": "tatoeba", "path": str(data_folder / "tatoeba"), "target": "fr"}
    pairs = load("train", **settings)[:40_000] + load("dev", **settings)
    splits = split_by_components(pairs)
    train, dev = splits["train"], splits["dev"] + splits["test"]
    assert 0.01 < len(dev) / len(pairs) < 0.04
    for side in (0, 1):
        assert not {pair[side] for pair in train} & {pair[side] for pair in dev}


# ---- WMT 2014


class FakeTfds:
    """Stands in for tfds.data_source: TFDS keeps the foreign language first and texts as bytes."""

    def __init__(self):
        self.asked: tuple = ()

    def __call__(self, name: str, *, split: str, data_dir: str, builder_kwargs: dict) -> list[dict[str, bytes]]:
        print("TFDS talks on standard output")
        self.asked = name, split, data_dir
        foreign = name.split("/")[1].split("-")[0]
        return [{foreign: f"Größe ({foreign})".encode(), "en": b"size"}]


@pytest.fixture
def tfds(monkeypatch):
    module = pytest.importorskip("tensorflow_datasets")
    fake = FakeTfds()
    monkeypatch.setattr(module, "data_source", fake)
    return fake


@pytest.mark.filterwarnings("ignore")  # whatever tensorflow_datasets and its protobuf warn about on import
@pytest.mark.parametrize(
    "source, target, name, expected",
    [
        ("en", "de", "wmt14_translate/de-en", ("size", "Größe (de)")),
        ("de", "en", "wmt14_translate/de-en", ("Größe (de)", "size")),
        ("en", "fr", "wmt14_translate/fr-en", ("size", "Größe (fr)")),
        ("fr", "en", "wmt14_translate/fr-en", ("Größe (fr)", "size")),
    ],
)
def test_wmt14_texts_are_taken_by_language_not_by_position(tfds, tmp_path, capsys, source, target, name, expected):
    settings = {"corpus": "wmt14", "source": source, "target": target, "path": str(tmp_path)}
    assert load("dev", **settings) == [expected]
    assert tfds.asked == (name, "validation", str(tmp_path))
    assert capsys.readouterr().out == ""  # standard output is for results


@pytest.mark.filterwarnings("ignore")
def test_a_wmt14_failure_that_names_no_file_lists_all_that_the_pair_needs(monkeypatch, tmp_path):
    module = pytest.importorskip("tensorflow_datasets")

    def refuse(*args, **kwargs):
        raise ConnectionError("nobody there")

    monkeypatch.setattr(module, "data_source", refuse)
    for target, names in (
        ("de", ["europarl-v7.tgz", "commoncrawl.tgz", "nc-v9.tgz", "dev.tgz"]),
        ("fr", ["europarl-v7.tgz", "commoncrawl.tgz", "un.tgz", "nc-v9.tgz", "giga-fren.tar", "dev.tgz"]),
    ):
        with pytest.raises(UserError, match=r"nobody there.*downloads/manual: ") as caught:
            load(corpus="wmt14", target=target, path=str(tmp_path))
        files = [item for item in str(caught.value).split() if item.startswith("http://")]
        assert all(file.endswith(name) for file, name in zip(files, names, strict=True))


@pytest.mark.filterwarnings("ignore")
def test_the_files_to_fetch_by_hand_are_those_that_tfds_expects():
    pytest.importorskip("tensorflow_datasets")
    from tensorflow_datasets.core.download import checksums

    known = checksums.get_all_url_infos()
    for address, (_, size, sha256) in wmt14.FILES.items():
        assert (int(known[address].size), known[address].checksum) == (size, sha256)
        assert known[address].filename == address.rpartition("/")[2]  # TFDS looks for it by this name


@pytest.fixture
def offline(monkeypatch, server):
    """Sends every request of TFDS to the server on this machine, and lets none be repeated."""
    pytest.importorskip("tensorflow_datasets")
    from tensorflow_datasets.core.download import downloader

    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(downloader, "MAX_RETRIES", 0)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, server.url)
    return server


EUROPARL = "http://www.statmt.org/wmt13/training-parallel-europarl-v7.tgz"
EUROPARL_SHA256 = "0224c7c710c8a063dfd893b0cc0830202d61f4c75c17eb8e31836103d27d96e7"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("status", [404, 503, None])
def test_when_statmt_refuses_or_is_dead_the_error_names_file_checksum_and_place(offline, monkeypatch, tmp_path, status):
    offline.status = status
    if status is None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # nobody listens there
    with pytest.raises(UserError) as caught:
        load(corpus="wmt14", path=str(tmp_path))
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(
        f"put into {tmp_path}/downloads/manual: {EUROPARL} (657,632,379 bytes, SHA-256 {EUROPARL_SHA256})"
    )
    assert status is None or str(status) in message


@pytest.mark.filterwarnings("ignore")
def test_a_wmt14_file_put_there_by_hand_is_used_and_its_checksum_looked_at(offline, tmp_path):
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    (manual / "training-parallel-europarl-v7.tgz").write_bytes(b"half of it")
    with pytest.raises(UserError, match=rf"wrong checksum.*SHA-256 {EUROPARL_SHA256}\)$"):
        load(corpus="wmt14", path=str(tmp_path))
    assert offline.requests == []


@pytest.fixture
def raw_wmt14(data_folder, monkeypatch, tmp_path) -> Path:
    """What the archives of WMT'14 hold, tiny but for the real test set, in the place where TFDS looks for them."""
    pytest.importorskip("tensorflow_datasets")
    from tensorflow_datasets.core.download import download_manager

    raw = tmp_path / "raw"
    for folder in ("training", "dev"):
        (raw / folder).mkdir(parents=True)
    texts = {
        "training/europarl-v7.de-en": [("Resumption of the session", "Wiederaufnahme der Sitzungsperiode")],
        "training/news-commentary-v9.de-en": [("Gold", "Gold"), ("", "Nur deutsch")],
        "commoncrawl.de-en": [("word " * 300, "Wort " * 300)],  # too long to train on
        # Each of these would be dropped from training: a repetition, one side far longer, both too long.
        "dev/newstest2013": [("A", "B"), ("A", "B"), ("A", "B " * 40), ("word " * 300, "Wort " * 300)],
    }
    for name, pairs in texts.items():
        for side, suffix in enumerate(("en", "de")):
            (raw / f"{name}.{suffix}").write_text("".join(f"{pair[side]}\n" for pair in pairs))
    for name in ("src.de", "ref.en"):
        content = gzip.decompress((data_folder / "newstest" / f"newstest2014-deen-{name}.sgm.gz").read_bytes())
        (raw / "dev" / f"newstest2014-deen-{name}.sgm").write_bytes(content)

    def extracted(self, urls):
        if isinstance(urls, dict):
            return {key: extracted(self, value) for key, value in urls.items()}
        return [extracted(self, url) for url in urls] if isinstance(urls, list | tuple) else str(raw)

    monkeypatch.setattr(download_manager.DownloadManager, "download_and_extract", extracted)
    return tmp_path


@pytest.mark.filterwarnings("ignore")
def test_the_real_wmt14_builder_makes_the_known_test_set_without_tensorflow(data_folder, raw_wmt14):
    settings = {"corpus": "wmt14", "path": str(raw_wmt14)}
    train = load("train", **settings)
    assert sorted(train)[:2] == [("Gold", "Gold"), ("Resumption of the session", "Wiederaufnahme der Sitzungsperiode")]
    assert len(train) == 3 and len(load("dev", **settings)) == 4
    # The same sentences as plain text, from sacreBLEU's copy: all of them, in any order.
    plain = [
        gzip.decompress((data_folder / "newstest" / f"newstest2014.de-en.{side}.gz").read_bytes()).decode().split("\n")
        for side in ("en", "de")
    ]
    expected = [pair for pair in zip(*plain, strict=True) if any(pair)]
    assert len(expected) == 3003
    assert sorted(load("test", **settings)) == sorted(expected)
    assert "tensorflow" not in sys.modules


@pytest.mark.filterwarnings("ignore")
def test_prepare_keeps_every_wmt14_dev_and_test_sentence_whole(raw_wmt14, tmp_path):
    from wmt_transformer.data.prepare import prepare

    base = experiment.load("wmt14_en_de_base").data
    # Three training pairs make no vocabulary of 37,000: nothing else differs from base.
    small = dataclasses.replace(base, path=str(raw_wmt14), vocabulary_size=290)
    prepared = prepare(small, tmp_path / "data")
    assert len(prepared.train) == 2  # 300 words are more than max_length
    assert len(prepared.dev) == len(prepared.dev_text) == 4
    assert len(prepared.test_text) == 3003
    assert sorted(prepared.test_text) == sorted(load("test", corpus="wmt14", path=str(raw_wmt14)))
    assert max(len(source.split()) for source, _ in prepared.dev_text) == 300


# ---- Downloads, against a server on this machine


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`, with ranges; breaks the connection after `break_after` bytes of a body."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.ranges: list[str | None] = []
        self.break_after: int | None = None
        self.understands_ranges = True
        self.status: int | None = 404
        """What a file that is not there is answered with."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = cast(Server, self.server)
        server.requests.append(self.path)
        server.ranges.append(self.headers.get("Range"))
        content = server.files.get(self.path)
        if content is None:
            return self.send_error(server.status or 404)
        wanted = self.headers.get("Range")
        if wanted and server.understands_ranges:
            content = content[int(wanted.removeprefix("bytes=").rstrip("-")) :]
            self.send_response(206)
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: server.break_after])

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_a_file_is_downloaded_whole_and_only_once(server, tmp_path):
    server.files = {"/f": CONTENT}
    goal = tmp_path / "new folder" / "f"
    for _ in range(2):
        assert download.fetch(f"{server.url}/f", goal, len(CONTENT), SHA256) == goal
        assert goal.read_bytes() == CONTENT
    assert server.requests == ["/f"]
    assert list(goal.parent.iterdir()) == [goal]


def test_a_file_that_was_damaged_or_replaced_since_is_fetched_again(server, tmp_path):
    server.files = {"/f": CONTENT}
    (tmp_path / "f").write_bytes(CONTENT[::-1])
    download.fetch(f"{server.url}/f", tmp_path / "f", len(CONTENT), SHA256)
    assert (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.parametrize("understands_ranges", [True, False])
def test_a_broken_download_is_resumed(server, tmp_path, understands_ranges):
    server.files, server.break_after = {"/f": CONTENT}, 100_000
    server.understands_ranges = understands_ranges
    with pytest.raises(UserError, match=r"run again to resume, or fetch it by hand and put it at \S+/f$"):
        download.fetch(f"{server.url}/f", tmp_path / "f", len(CONTENT), SHA256)
    assert not (tmp_path / "f").exists()
    server.break_after = None
    download.fetch(f"{server.url}/f", tmp_path / "f", len(CONTENT), SHA256)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-"]


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"!", CONTENT + b"!", CONTENT[:-1]])
def test_a_wrong_size_or_checksum_leaves_nothing(server, tmp_path, content):
    server.files = {"/f": content}
    with pytest.raises(UserError, match=r"(has SHA-256 \w+|has [\d,]+ bytes), expected .*by hand.* put it at"):
        download.fetch(f"{server.url}/f", tmp_path / "f", len(CONTENT), SHA256)
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_a_pinned_checksum_starts_afresh_after_a_break(server, tmp_path):
    server.files, server.break_after = {"/f": CONTENT}, 100_000
    with pytest.raises(UserError):
        download.fetch(f"{server.url}/f", tmp_path / "f")
    server.files, server.break_after = {"/f": CONTENT[::-1]}, None  # its publisher changed it
    assert download.fetch(f"{server.url}/f", tmp_path / "f").read_bytes() == CONTENT[::-1]


def test_a_refused_download_says_what_to_fetch_and_where_to_put_it(server, tmp_path):
    with pytest.raises(UserError, match=r"/f answered 404 .*put it at \S+/f$"):
        download.fetch(f"{server.url}/f", tmp_path / "f", 1, SHA256)
    with pytest.raises(UserError, match=r"cannot download http://127\.0\.0\.1:1/f: .*put it at \S+/f$"):
        download.fetch("http://127.0.0.1:1/f", tmp_path / "f", 1, SHA256)


def test_a_cache_folder_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write \S+/file/f\.part: .*; set WMT_TRANSFORMER_CACHE"):
        download.fetch(f"{server.url}/f", tmp_path / "file" / "f", 1, SHA256)


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("WMT_TRANSFORMER_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("WMT_TRANSFORMER_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "wmt_transformer"
