"""WMT 2014 through TensorFlow Datasets, without TensorFlow (§5.1).

TFDS keeps the pairs foreign language first, whatever its name for them says, and verifies what it downloads.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data.corpora.corpus import Corpus, Pair, Split, foreign, to_and_from_english

_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
_STATMT = "http://www.statmt.org/"
FILES = {  # address: (pairs, bytes, SHA-256), as TFDS 4.9 knows them
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


def load(data: DataConfig, split: Split) -> Iterator[Pair]:
    """Yields WMT 2014: newstest2013 is dev, newstest2014 is test, in the order that TFDS shuffled them into.

    `data.path` is TFDS's own data folder; without it that is $TFDS_DATA_DIR or ~/tensorflow_datasets.
    """
    import tensorflow_datasets as tfds
    import tensorflow_datasets.translate.wmt14  # registers the builder, or tfds finds nothing

    folder = Path(data.path or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    name = f"wmt14_translate/{foreign(data)}-en"
    try:
        with contextlib.redirect_stdout(sys.stderr):  # TFDS prints; standard output is for results
            examples: Any = tfds.data_source(
                name,
                split=_SPLITS[split],
                data_dir=str(folder),
                builder_kwargs={"file_format": "array_record"},
            )
    except Exception as error:  # whatever TFDS, requests, tarfile or the operating system raise
        message = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"TFDS could not make {name} in {folder}: {message[:300]}; run again (statmt.org often refuses), or fetch "
            f"by hand and put into {folder / 'downloads' / 'manual'}: {_by_hand(message, foreign(data))}"
        ) from error
    for example in examples:
        yield example[data.source].decode(), example[data.target].decode()


def _by_hand(message: str, foreign: str) -> str:
    """Returns address, size and checksum of the files that the message names, or else of all that the pair needs."""
    needed = [address for address, (pairs, *_) in FILES.items() if foreign in pairs]
    named = [address for address in needed if address.partition("statmt.org")[2] in message]
    return ", ".join("{} ({:,} bytes, SHA-256 {})".format(address, *FILES[address][1:]) for address in named or needed)


CORPUS = Corpus(load, to_and_from_english("de", "fr"))
