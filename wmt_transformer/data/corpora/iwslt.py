"""IWSLT: talks given at TED and their translations, as WIT³ published them for the campaigns of 2014 and 2017.

IWSLT'14 German-English is the small benchmark of the literature, with the splits that fairseq's `prepare-iwslt14.sh`
makes of its files: pairs are left where Moses cuts both sides into 1 to 175 tokens, and neither side into more than 1.5
times those of the other; every 23rd of them is the development set; five sets of talks together are the test set; all
text is lower-cased. That gives 160,239 pairs to train on, 7,283 and 6,750. Text stays untokenised: the scores tokenise.

IWSLT'17 is text as it was published: the development set of 2010, and the test sets of 2010 to 2015.
"""

from __future__ import annotations

import html
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import download
from wmt_transformer.data.corpora import text_files
from wmt_transformer.data.corpora.corpus import Corpus, Pair, Split, between, folder, to_and_from_english
from wmt_transformer.files import cache_folder, whole_folder

_URL = "https://dl.fbaipublicfiles.com/fairseq/data/iwslt14/de-en.tgz"
_TEST_14 = [f"IWSLT14.{name}" for name in ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")]
_TEST_17 = [f"IWSLT17.TED.tst{year}" for year in range(2010, 2016)]
_DEV_17 = "IWSLT17.TED.dev2010"
_WIT3 = "cite: Cettolo, Girardi and Federico (2012), WIT3: Web Inventory of Transcribed and Translated Talks"

_NO_TEXT = re.compile(r"<(url|talkid|keywords|speaker)>|<(reviewer|translator|doc)|</doc>")
"""Is in the training lines that are about a talk; its title and its description count as text."""


def load_14(data: DataConfig, split: Split) -> Iterator[Pair]:
    """Yields the pairs of a split, lower-cased, as fairseq makes them."""
    place = _downloaded() if data.path is None else folder(data)
    if split == "test":
        pairs = (pair for name in _TEST_14 for pair in _segments(place, name, "de-en", data))
    else:
        kept = filter(_Comparable(data.source, data.target), _talks(place, "de-en", data))
        pairs = (pair for number, pair in enumerate(kept, 1) if (number % 23 == 0) == (split == "dev"))
    for source, target in pairs:
        yield source.lower(), target.lower()


def load_17(data: DataConfig, split: Split) -> Iterator[Pair]:
    """Yields the pairs of a split from `data.path`, which holds the files of a pair of languages in either order."""
    if data.path is None:
        raise UserError(
            "IWSLT'17 is where programs cannot fetch it: get 2017-01-trnted (or trnmted, for it, nl and ro) by hand "
            "from https://wit3.fbk.eu/2017-01, unpack the archive of the two languages, and give --data.path FOLDER"
        )
    place = folder(data)
    pair, other = f"{data.source}-{data.target}", f"{data.target}-{data.source}"
    if not _there(place, f"train.tags.{pair}.{data.source}", pair) and _there(
        place, f"train.tags.{other}.{data.source}", other
    ):
        pair = other
    if split == "train":
        yield from _talks(place, pair, data)
        return
    tests = [name for name in _TEST_17 if _there(place, f"{name}.{pair}.{data.source}.xml", pair)]
    for name in [_DEV_17] if split == "dev" else tests or _TEST_17[:1]:
        yield from _segments(place, name, pair, data)


class _Comparable:
    """Tells whether both sides of a pair have numbers of tokens that Moses' clean-corpus-n.perl would let pass."""

    def __init__(self, source: str, target: str):
        from sacremoses import MosesTokenizer

        self._moses = MosesTokenizer(source), MosesTokenizer(target)

    def __call__(self, pair: Pair) -> bool:
        fewer, more = sorted(len(moses.tokenize(text)) for moses, text in zip(self._moses, pair, strict=True))
        return fewer >= 1 and more <= 175 and more <= 1.5 * fewer


def _talks(place: Path, pair: str, data: DataConfig) -> Iterator[Pair]:
    """Yields the training text: what is said in the talks, their titles and descriptions."""

    def text(line: str) -> str | None:
        return None if _NO_TEXT.search(line) else re.sub(r"</?(title|description)>", "", line).strip()

    paths = (_find(place, f"train.tags.{pair}.{language}", pair) for language in (data.source, data.target))
    return text_files.parallel(*paths, text=text)


def _segments(place: Path, name: str, pair: str, data: DataConfig) -> Iterator[Pair]:
    """Yields the segments of a development or test set."""

    def text(line: str) -> str | None:
        found = re.search(r"<seg id=[^>]*>(.*)</seg>", line)
        return html.unescape(found[1]).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").strip() if found else None

    paths = (_find(place, f"{name}.{pair}.{language}.xml", pair) for language in (data.source, data.target))
    return text_files.parallel(*paths, text=text)


def _names(name: str, pair: str) -> list[str]:
    """Returns where a file may be: in the folder itself, or in that of its pair, as archives have it."""
    return [name, f"{pair}/{name}"]


def _find(place: Path, name: str, pair: str) -> Path:
    return text_files.find(str(place), _names(name, pair))


def _there(place: Path, name: str, pair: str) -> bool:
    return any((place / one).is_file() for one in _names(name, pair))


def _downloaded() -> Path:
    """Returns the folder of IWSLT'14's files, fetched and unpacked where it is not there yet."""
    place = cache_folder() / "iwslt14"
    if (place / "de-en").is_dir():
        return place
    archive = download.fetch(_URL, place / "de-en.tgz")
    try:
        with tarfile.open(archive) as files, whole_folder(place / "de-en", "WMT_TRANSFORMER_CACHE") as new:
            for member in files:
                if member.isfile():
                    member.name = Path(member.name).name  # all of them are in de-en/
                    files.extract(member, new, filter="data")
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"{archive} is damaged: {error}; delete it and fetch it again from {_URL}") from error
    return place


def _credits_14(data: DataConfig) -> list[str]:
    return ["iwslt14: TED Conference LLC, licence CC BY-NC-ND 3.0", _WIT3]


def _credits_17(data: DataConfig) -> list[str]:
    return ["iwslt17: TED Conference LLC, licence Creative Commons BY-NC-ND; see the README beside its files", _WIT3]


def _files(data: DataConfig, pairs: list[str], sets: list[str]) -> list[str]:
    """Returns the names of all files that splits may be read from."""
    return [
        path
        for pair in pairs
        for language in (data.source, data.target)
        for name in (f"train.tags.{pair}.{language}", *(f"{one}.{pair}.{language}.xml" for one in sets))
        for path in _names(name, pair)
    ]


def _files_14(data: DataConfig) -> list[str]:
    return _files(data, ["de-en"], _TEST_14)


def _files_17(data: DataConfig) -> list[str]:
    return _files(data, [f"{data.source}-{data.target}", f"{data.target}-{data.source}"], [_DEV_17, *_TEST_17])


IWSLT14 = Corpus(load_14, between("de", "en"), _files_14, _credits_14)
IWSLT17 = Corpus(
    load_17,
    tuple(dict.fromkeys(between("en", "de", "it", "nl", "ro") + to_and_from_english("ar", "fr", "ja", "ko", "zh"))),
    _files_17,
    _credits_17,
)
