"""Multi30k, task 1: 29,000 captions of pictures in English, German and French (Elliott et al. 2016).

The files are read from `data.path`, or downloaded into the cache and compared with the checksums below.
"""

from __future__ import annotations

from collections.abc import Iterator

from wmt_transformer.config import DataConfig
from wmt_transformer.data import download
from wmt_transformer.data.corpora import text_files
from wmt_transformer.data.corpora.corpus import Corpus, Pair, Split, between
from wmt_transformer.files import cache_folder

_URL = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/{}"
_NAMES = {"train": "train", "dev": "val", "test": "test_2016_flickr"}
_FILES = {  # name: (bytes, SHA-256)
    "train.en.gz": (568929, "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f"),
    "train.de.gz": (637044, "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6"),
    "train.fr.gz": (604242, "622e75069e9f4c577425c4f277116ce66e63a2401c0a2312d90073cb12379a3c"),
    "val.en.gz": (21650, "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28"),
    "val.de.gz": (24681, "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a"),
    "val.fr.gz": (23001, "ca3106f1a72390591d25f6c45cb4cd39dec4cd3f123e099748a3ce5256c160e9"),
    "test_2016_flickr.en.gz": (21077, "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9"),
    "test_2016_flickr.de.gz": (22890, "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8"),
    "test_2016_flickr.fr.gz": (22310, "6d326e188d259fb1d04ac19eae3af956559b3a0b93d7635e56c90987c40c8b90"),
}


def load(data: DataConfig, split: Split) -> Iterator[Pair]:
    """Yields the captions of a split and their translations."""
    names = [f"{_NAMES[split]}.{language}" for language in (data.source, data.target)]
    if data.path is not None:
        return text_files.parallel(*(text_files.find(data.path, [f"{name}.gz", name]) for name in names))
    folder = cache_folder() / "multi30k"
    fetched = [
        download.fetch(_URL.format(f"{name}.gz"), folder / f"{name}.gz", *_FILES[f"{name}.gz"]) for name in names
    ]
    return text_files.parallel(*fetched)


def _files(data: DataConfig) -> list[str]:
    stems = [f"{name}.{language}" for name in _NAMES.values() for language in (data.source, data.target)]
    return [name for stem in stems for name in (f"{stem}.gz", stem)]


CORPUS = Corpus(load, between("en", "de", "fr"), _files)
