"""Pairs of strings from every corpus we know, by name: `load(data, split)`.

The direction is always the one asked for, `data.source` -> `data.target`; texts are taken by language, never
by position (TFDS keeps WMT's pairs foreign language first, whatever its name for them says). The text comes
raw: `prepare` normalises it. Nothing is held in memory but Tatoeba, whose split needs the whole of it.

A corpus is read from the folder `data.path`, or else downloaded into the cache (see `download.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import download, text_files
from wmt_transformer.data.treebanks import corpora as treebanks
from wmt_transformer.data.vocabulary import normalise
from wmt_transformer.files import cache_folder

Split = Literal["train", "dev", "test"]
Pair = tuple[str, str]

PHRASEBOOK_SEED = 1
PHRASEBOOK_PAIRS = {"train": 100_000, "dev": 500, "test": 1000}
"""Sentences generated; `data.train_pairs` replaces the first."""

DIRECTIONS: dict[str, list[str]] = {
    "phrasebook": ["en-de", "en-fr", "de-en", "de-fr", "fr-en", "fr-de"],
    "multi30k": ["en-de", "en-fr", "de-en", "de-fr", "fr-en", "fr-de"],
    "tatoeba": ["en-de", "en-fr", "de-en", "fr-en"],
    "wmt14": ["en-de", "en-fr", "de-en", "fr-en"],
    "penn_treebank": ["en-tree"],
    "penn_sample": ["en-tree"],
    "craft": ["en-tree"],
}
"""What each corpus translates; `files` translates whatever its files hold, `trees` its language to tree."""


def load(data: DataConfig, split: Split) -> Iterator[Pair]:
    """Yields the (source, target) strings of a split, in the corpus's order.

    Raises UserError for a direction that the corpus does not have, a missing or damaged file, two sides of
    different length, an empty side, text that is not UTF-8 (file and line), or a failed download.
    """
    _check_direction(data)
    if data.path is not None and not Path(data.path).expanduser().is_dir():
        raise UserError(f"data.path {data.path} is not a folder; give the folder that holds the corpus")
    if data.corpus in ("shakespeare", "text"):
        raise UserError(f"{data.corpus} is no corpus of pairs but text for a language model; set --data.documents file")
    reader = {
        "phrasebook": _phrasebook,
        "multi30k": _multi30k,
        "tatoeba": _tatoeba,
        "wmt14": _wmt14,
        "files": _text_files,
        **dict.fromkeys(treebanks.CORPORA, treebanks.load),
    }[data.corpus]
    pairs = reader(data, split)
    return itertools.islice(pairs, data.train_pairs) if split == "train" else pairs


def spelling(data: DataConfig) -> Callable[[str, str], Pair]:
    """Returns what makes of a pair that `load` yields the text that the model sees of it."""
    return partial(treebanks.spelling, data) if data.corpus in treebanks.CORPORA else lambda *pair: pair


def symbols(data: DataConfig, targets: Iterable[str]) -> list[str]:
    """Returns the words of the targets, as the model writes them, that have to be one piece: a tree's brackets."""
    return sorted({word for text in targets for word in text.split()} if data.corpus in treebanks.CORPORA else ())


def _check_direction(data: DataConfig) -> None:
    for side, language in (("source", data.source), ("target", data.target)):
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", language):
            raise UserError(f"data.{side} is {language!r}, expected the name of a language such as en")
    if data.source == data.target:
        raise UserError(f"data.source and data.target are both {data.source!r}; name two languages")
    if data.corpus == "trees" and data.target != "tree":
        raise UserError(f"data.target is {data.target!r}, and corpus trees translates to tree")
    known = DIRECTIONS.get(data.corpus)
    if known is not None and f"{data.source}-{data.target}" not in known:
        raise UserError(f"{data.corpus} has no {data.source}-{data.target}; it has {', '.join(known)}")


# ---- The built-in phrasebook


def _phrasebook(data: DataConfig, split: Split) -> Iterator[Pair]:
    from wmt_transformer.data import phrasebook

    count = PHRASEBOOK_PAIRS[split]
    if split == "train" and data.train_pairs is not None:
        count = data.train_pairs
    for sentence in phrasebook.generate(split, count, PHRASEBOOK_SEED):
        yield getattr(sentence, data.source), getattr(sentence, data.target)


# ---- Multi30k, task 1: image captions

_MULTI30K_URL = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/{}"
_MULTI30K_NAMES = {"train": "train", "dev": "val", "test": "test_2016_flickr"}
_MULTI30K_FILES = {  # name: (bytes, SHA-256)
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


def _multi30k(data: DataConfig, split: Split) -> Iterator[Pair]:
    names = [f"{_MULTI30K_NAMES[split]}.{language}" for language in (data.source, data.target)]
    if data.path is not None:
        return text_files.parallel(*(text_files.find(data.path, [f"{name}.gz", name]) for name in names))
    folder = cache_folder() / "multi30k"
    fetched = [
        download.fetch(_MULTI30K_URL.format(f"{name}.gz"), folder / f"{name}.gz", *_MULTI30K_FILES[f"{name}.gz"])
        for name in names
    ]
    return text_files.parallel(*fetched)


# ---- Tatoeba: short sentences, from manythings.org or already split

_TATOEBA_ZIPS = {"de": "deu-eng.zip", "fr": "fra-eng.zip"}
_TATOEBA_URL = "https://www.manythings.org/anki/{}"


def _tatoeba(data: DataConfig, split: Split) -> Iterator[Pair]:
    """Reads `train.en-de.tsv[.gz]` and its like as they are, or splits manythings.org's file.

    That file grows every few months, so it has no checksum, and scores on it compare only with the same file.
    """
    if data.path is not None:
        path = text_files.find(data.path, _tatoeba_names(data, split))
    else:
        archive = _TATOEBA_ZIPS[_foreign(data)]
        path = cache_folder() / "tatoeba" / archive
        download.fetch(_TATOEBA_URL.format(archive), path)
    pairs = text_files.tab_separated(path)
    if ".tsv" not in path.name:
        pairs = iter(_split_by_components(pairs)[split])
    return pairs if data.source == "en" else ((target, source) for source, target in pairs)


def _tatoeba_names(data: DataConfig, split: Split) -> list[str]:
    archive = _TATOEBA_ZIPS[_foreign(data)]
    ready = f"{split}.en-{_foreign(data)}.tsv"
    return [f"{ready}.gz", ready, archive, archive.replace("zip", "txt"), f"{archive[:3]}.txt"]


def _foreign(data: DataConfig) -> str:
    return data.target if data.source == "en" else data.source


def _split_by_components(pairs: Iterable[Pair]) -> dict[Split, list[Pair]]:
    """Splits so that no sentence of dev or test occurs in train, or in each other, on either side.

    Sentences are joined to their translations, these to theirs, and so on; a whole component goes into one
    split, by a hash of its least sentence. The few large components go into train.
    """
    pairs = list(dict.fromkeys(pairs))
    keys = [((0, normalise(source)), (1, normalise(target))) for source, target in pairs]
    parent: dict[tuple[int, str], tuple[int, str]] = {key: key for both in keys for key in both}

    def root(key: tuple[int, str]) -> tuple[int, str]:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for source, target in keys:
        first, second = sorted((root(source), root(target)))
        parent[second] = first  # the root is the component's least sentence
    members: dict[tuple[int, str], list[Pair]] = {}
    for pair, (source, _) in zip(pairs, keys, strict=True):
        members.setdefault(root(source), []).append(pair)

    splits: dict[Split, list[Pair]] = {"train": [], "dev": [], "test": []}
    for (_, sentence), component in members.items():
        percent = int.from_bytes(hashlib.sha256(sentence.encode()).digest()[:4], "big") / 2**32 * 100
        small = len(component) <= 20
        splits["dev" if small and percent < 1.5 else "test" if small and percent < 3 else "train"] += component
    return splits


# ---- WMT 2014 through TensorFlow Datasets, without TensorFlow

_WMT14_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
_STATMT = "http://www.statmt.org/"
_WMT14_FILES = {  # address: (pairs, bytes, SHA-256), as TFDS 4.9 knows them
    f"{_STATMT}wmt13/training-parallel-europarl-v7.tgz": (
        ("de", "fr"),
        657_632_379,
        "0224c7c710c8a063dfd893b0cc0830202d61f4c75c17eb8e31836103d27d96e7",
    ),
    f"{_STATMT}wmt13/training-parallel-commoncrawl.tgz": (
        ("de", "fr"),
        918_311_367,
        "c7a74e2ea01ac6c920123108627e35278d4ccb5701e15428ffa34de86fa3a9e5",
    ),
    f"{_STATMT}wmt13/training-parallel-un.tgz": (
        ("fr",),
        2_365_634_246,
        "29141b5c1eba149a94f7a59d3b1a834b2e47fe0f8758d68dcd77a3d3f497ee47",
    ),
    f"{_STATMT}wmt14/training-parallel-nc-v9.tgz": (
        ("de", "fr"),
        80_418_416,
        "cb8953f292298e6877ae433c98912b927cb0766b303f4540512ddd286c748485",
    ),
    f"{_STATMT}wmt10/training-giga-fren.tar": (
        ("fr",),
        2_595_102_720,
        "3ff8319f6919393520559bfbc7ad6a747ec81b3abc7be9993b338d4b017b4d9a",
    ),
    "http://data.statmt.org/wmt19/translation-task/dev.tgz": (
        ("de", "fr"),
        38_654_961,
        "7a7deccf82ebb05ba508dba5eb21356492224e8f630ec4f992132b029b4b25e7",
    ),
}


def _wmt14(data: DataConfig, split: Split) -> Iterator[Pair]:
    """Yields WMT 2014: newstest2013 is dev, newstest2014 is test, in the order that TFDS shuffled them into.

    `data.path` is TFDS's own data folder; without it that is $TFDS_DATA_DIR or ~/tensorflow_datasets.
    """
    import tensorflow_datasets as tfds
    import tensorflow_datasets.translate.wmt14  # registers the builder, or tfds finds nothing

    folder = Path(data.path or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    name = f"wmt14_translate/{_foreign(data)}-en"
    try:
        with contextlib.redirect_stdout(sys.stderr):  # TFDS prints; standard output is for results
            examples: Any = tfds.data_source(
                name,
                split=_WMT14_SPLITS[split],
                data_dir=str(folder),
                builder_kwargs={"file_format": "array_record"},
            )
    except Exception as error:  # whatever TFDS, requests, tarfile or the operating system raise
        message = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"TFDS could not make {name} in {folder}: {message[:300]}; run again (statmt.org often refuses), or fetch "
            f"by hand and put into {folder / 'downloads' / 'manual'}: {_wmt14_by_hand(message, _foreign(data))}"
        ) from error
    for example in examples:
        yield example[data.source].decode(), example[data.target].decode()


def _wmt14_by_hand(message: str, foreign: str) -> str:
    """Returns address, size and checksum of the files that the message names, or else of all that the pair needs."""
    needed = [address for address, (pairs, *_) in _WMT14_FILES.items() if foreign in pairs]
    named = [address for address in needed if address.partition("statmt.org")[2] in message]
    return ", ".join(
        "{} ({:,} bytes, SHA-256 {})".format(address, *_WMT14_FILES[address][1:]) for address in named or needed
    )


# ---- Any parallel text files


def _text_files(data: DataConfig, split: Split) -> Iterator[Pair]:
    names = {"train": data.train_files, "dev": data.dev_files, "test": data.test_files}[split]
    folder = Path(data.path or ".").expanduser()
    if len(names) == 1:
        return text_files.tab_separated(folder / names[0])
    if len(names) == 2:
        return text_files.parallel(folder / names[0], folder / names[1])
    raise UserError(
        f"data.{split}_files names {len(names)} files; corpus files needs one .tsv[.gz], or two: "
        f"{data.source}, then {data.target}"
    )


SHAKESPEARE_NAMES = ["tinyshakespeare.txt.gz", "tinyshakespeare.txt", "input.txt"]
"""One of these holds the text that `documents` reads as shakespeare."""


def files(data: DataConfig) -> list[Path]:
    """Returns the local files that the splits are read from, as far as they exist; downloads never change."""
    if data.corpus in treebanks.CORPORA:
        return treebanks.files(data)
    folder = Path(data.path or ".").expanduser()
    names: list[str] = []
    if data.corpus in ("files", "text"):
        names += data.train_files + data.dev_files + data.test_files
    elif data.corpus == "tatoeba" and data.path is not None:
        names += [name for split in get_args(Split) for name in _tatoeba_names(data, split)]
    elif data.corpus == "shakespeare" and data.path is not None:
        names += SHAKESPEARE_NAMES
    elif data.corpus == "multi30k" and data.path is not None:
        stems = [f"{s}.{side}" for s in _MULTI30K_NAMES.values() for side in (data.source, data.target)]
        names += [name for stem in stems for name in (f"{stem}.gz", stem)]
    return sorted({folder / name for name in names if (folder / name).is_file()})
