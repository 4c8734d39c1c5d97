"""Parallel text by the names of mtdata's index (Gowda et al. 2021): `mtdata:ID`, with OPUS, WMT, ELRC and many more.

The program `mtdata` lists, downloads, unpacks and caches ($MTDATA, or ~/.mtdata). It runs by itself, because it wants
other versions of packages than we do, and may be installed anywhere: $WMT_TRANSFORMER_MTDATA names it where it is not
on the path. An ID is one set of pairs: `data.dev_files` and `data.test_files` name the IDs of the others.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data.corpora.corpus import Corpus, Pair, Split
from wmt_transformer.reading import decoded

PROGRAM = "WMT_TRANSFORMER_MTDATA"
"""The variable that names the program."""

Index = dict[str, tuple[str, str]]
"""The address and what to cite, by ID."""


def load(data: DataConfig, split: Split) -> Iterator[Pair]:
    """Yields the pairs of all IDs of a split, one after the other. A test set need not be named."""
    named = {"train": (_named(data),), "dev": data.dev_files, "test": data.test_files}[split]
    if split == "dev" and not named:
        raise UserError(f"{data.corpus} is one set to train on; name the ID of a development set with --data.dev_files")
    for name in named:
        swapped = _is_swapped(data, name)
        with _output(["echo", name]) as output:
            for line in decoded(output, f"mtdata echo {name}"):
                first, _, rest = line.rstrip("\r\n").partition("\t")
                second = rest.partition("\t")[0]
                yield (second, first) if swapped else (first, second)


def credits(data: DataConfig) -> list[str]:
    """Returns the address and the keys of what to cite, in mtdata's refs.bib; mtdata knows no licences."""
    address, cite = _index(*_pair(data, _is_swapped(data, _named(data))))[_named(data)]
    return [f"{data.corpus}: licence at its source, {address}; cite: {cite}"]


def _is_swapped(data: DataConfig, name: str) -> bool:
    """Tells whether a set has the target language first. Raises UserError for a set that has other languages."""
    for swapped in (False, True):
        if name in _index(*_pair(data, swapped)):
            return swapped
    known = [one for swapped in (False, True) for one in _index(*_pair(data, swapped))]
    close = difflib.get_close_matches(name, known, 3, cutoff=0.3)
    raise UserError(
        f"mtdata has no {name} with {data.source} and {data.target}; "
        + (f"near it are {', '.join(close)}" if close else f"see: mtdata list -id -l {data.source}-{data.target}")
    )


def _named(data: DataConfig) -> str:
    return data.corpus.partition(":")[2]


def _pair(data: DataConfig, swapped: bool) -> tuple[str, str]:
    return (data.target, data.source) if swapped else (data.source, data.target)


@functools.cache  # 10 seconds each, of an index that comes with the program
def _index(first: str, second: str) -> Index:
    """Returns the sets in which these languages stand in this order."""
    with _output(["list", "--full", "--strict", "--langs", f"{first}-{second}"]) as output:
        lines = [line.rstrip("\r\n") for line in decoded(output, "mtdata list")]
    found: Index = {}
    for line, cite in itertools.pairwise([*lines, ""]):
        if "\t" in line:
            name, address, *_ = line.split("\t")
            found[name] = address, cite.strip("(),").replace("'", "")
    return found


@contextlib.contextmanager
def _output(arguments: list[str]) -> Iterator[IO[bytes]]:
    """Runs mtdata and yields what it prints. Raises UserError, with its last line, where it fails."""
    command = [_program(), "-no-pb", *arguments]
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages)
        assert process.stdout is not None
        try:
            with process.stdout:
                yield process.stdout
                if not process.stdout.read(1) and process.wait():
                    messages.seek(0)
                    said = messages.read().decode("utf-8", "replace").strip().splitlines() or [""]
                    raise UserError(
                        f"mtdata {' '.join(arguments)} failed: {said[-1].strip()[:300]}; run again, or fill its folder "
                        "($MTDATA, ~/.mtdata) where there is a network, by mtdata cache -di ID, and copy it"
                    )
        finally:
            process.kill()  # where not all was read
            process.wait()


def _program() -> str:
    """Returns the path of mtdata. Raises UserError where it is not installed."""
    named = os.environ.get(PROGRAM) or "mtdata"
    beside_python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    if path := shutil.which(os.path.expanduser(named), path=beside_python):
        return path
    raise UserError(
        f"there is no program {named}; run: python -m venv ~/mtdata && ~/mtdata/bin/pip install 'mtdata>=0.5' (40 MB), "
        f"and set {PROGRAM}=~/mtdata/bin/mtdata"
    )


CORPUS = Corpus(load, credits=credits)
