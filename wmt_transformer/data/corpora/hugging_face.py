"""Pairs of sentences from the Hugging Face hub by the name of a data set: `hf:NAME[:CONFIG][@REVISION]`.

The library `datasets` downloads, verifies and caches ($HF_HOME); $HF_ENDPOINT names a mirror. A revision is a branch, a
tag or a commit; without one it is the data set's main branch. With `data.path` the data
set is read from a folder, a copy of its repository. Which text is of which language the data set says itself: by a
column of translations with a text for each language, or a column for each. Its splits are train, validation and test
unless `data.train_files` and its like name others, or parts: `train[:1000]`.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data.corpora.corpus import Corpus, Pair, Split, folder

_SPLITS = {"train": ("train",), "dev": ("validation", "valid", "dev"), "test": ("test",)}
_HUB = "https://huggingface.co/datasets/"
_BATCH = 1000
"""Rows that are read at once."""


def load(data: DataConfig, split: Split) -> Iterator[Pair]:
    """Yields the pairs of a split. A test set need not be there."""
    rows = _rows(data, split)
    if rows is None:
        return
    column = _column(data, rows.features)
    for batch in rows.select_columns([column] if column else [data.source, data.target]).iter(_BATCH):
        texts = ((one[data.source], one[data.target]) for one in batch[column]) if column else None
        for source, target in texts or zip(batch[data.source], batch[data.target], strict=True):
            yield source or "", target or ""


def credits(data: DataConfig) -> list[str]:
    """Returns the licence and the citation that the data set's card gives, and the commit that the hub has."""
    _library()
    from huggingface_hub import DatasetCard, HfApi, hf_hub_download  # which comes with it

    name, _, revision = _named(data)
    commit = ""
    with contextlib.suppress(Exception):  # no card, or one that cannot be read; a hub that refuses shows when data load
        path = folder(data) / "README.md"
        if data.path is None:
            commit = f", commit {HfApi().dataset_info(name, revision=revision).sha}"
            path = hf_hub_download(name, "README.md", repo_type="dataset", revision=revision)
        card = DatasetCard.load(path)
        cite = re.search(r"@\w+\{.*?\n\s*\}", card.content, re.S)
        licence = card.data.to_dict().get("license")
        return [
            f"{data.corpus}: licence {licence or 'not stated'}{commit}; see {data.path or _HUB + name}",
            *([f"cite: {' '.join(cite[0].split())}"] if cite else []),
        ]
    return [f"{data.corpus}: licence not stated{commit}"] if commit else []


def _rows(data: DataConfig, split: Split) -> Any:
    """Returns the data set of a split, None where there is no test set."""
    datasets = _library()
    name, config, revision = _named(data)
    if revision and data.path is not None:
        raise UserError(f"{data.corpus} names a revision, which {data.path} has none of; leave out @{revision}")
    place = name if data.path is None else str(folder(data))
    named = {"train": data.train_files, "dev": data.dev_files, "test": data.test_files}[split]
    with _explained(data):
        _check_config(data, config, datasets.get_dataset_config_names(place, revision=revision))
        if named:
            return datasets.load_dataset(place, config, split="+".join(named), revision=revision)
        splits = datasets.load_dataset(place, config, revision=revision)
    found = next((splits[name] for name in _SPLITS[split] if name in splits), None)
    if found is None and split != "test":
        raise UserError(
            f"{data.corpus} has no split {_SPLITS[split][0]}, it has {', '.join(splits)}; name one of them, or a part "
            f"such as train[:1000], with --data.{split}_files"
        )
    return found


def _column(data: DataConfig, features: Any) -> str | None:
    """Returns the column of translations, None where each language has a column of its own."""
    wanted = {data.source, data.target}
    held = {name: set(getattr(kind, "languages", None) or kind) for name, kind in features.items() if _parts(kind)}
    for name, languages in held.items():
        if wanted <= languages:
            return name
    if wanted <= set(features):
        return None
    there = sorted(set().union(*held.values()) or set(features))
    raise UserError(f"{data.corpus} has no {data.source}-{data.target}; it has {', '.join(there)}")


def _parts(kind: Any) -> bool:
    """Tells whether a column holds a text for each language."""
    return isinstance(kind, dict) or type(kind).__name__ == "Translation"


def _check_config(data: DataConfig, config: str | None, known: list[str]) -> None:
    """Raises UserError for a config that the data set does not have, and where it has several and none is named."""
    if config in known or (config is None and len(known) == 1):
        return
    fitting = [one for one in known if {data.source, data.target} <= set(re.split(r"[-_.]", one))]
    close = difflib.get_close_matches(config or "", known, 5) or fitting or known
    what = f"no config {config}" if config else "several configs"
    raise UserError(
        f"hf:{_named(data)[0]} has {what}; name one of its {len(known)} as in hf:NAME:CONFIG: {', '.join(close[:5])}"
    )


def _named(data: DataConfig) -> tuple[str, str | None, str | None]:
    """Returns the name of the data set, and its config and its revision where they are given."""
    whole, _, revision = data.corpus.partition("@")
    _, name, *config = whole.split(":")
    return name, config[0] if config else None, revision or None


def _files(data: DataConfig) -> list[str]:
    if data.path is None:
        return []
    paths = (path for path in folder(data).rglob("*") if path.is_file())
    return [str(path.relative_to(folder(data))) for path in paths if ".cache" not in path.parts]


def _library() -> Any:
    try:
        import datasets
    except ImportError:
        raise UserError(
            "datasets, which reads the Hugging Face hub, is not installed; run: pip install 'datasets>=4' (100 MB with "
            "pandas)"
        ) from None
    return datasets


@contextlib.contextmanager
def _explained(data: DataConfig) -> Iterator[None]:
    """Turns whatever datasets, the hub's client or the operating system raise into UserError with the remedy."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        name, *_ = _named(data)
        message = (" ".join(str(error).split()) or type(error).__name__)[:300].rstrip(".")
        if "gated" in message:
            advice = f"accept its licence at {_HUB}{name}, then log in: hf auth login"
        elif isinstance(error, ConnectionError):
            advice = (
                f"where there is a network, run: hf download --repo-type dataset {name} --local-dir FOLDER; then give "
                "--data.path FOLDER"
            )
        elif type(error).__name__ == "DatasetNotFoundError" and (close := _close(name)):
            advice = f"did you mean hf:{', hf:'.join(close)}?"
        else:
            advice = f"look at {data.path or _HUB + name}"
        raise UserError(f"{data.corpus}: {message}; {advice}") from error


def _close(name: str) -> list[str]:
    """Returns the names of up to three data sets that the hub finds for this one, the most used first."""
    from huggingface_hub import HfApi

    with contextlib.suppress(Exception):  # a hub that cannot search
        found = HfApi().list_datasets(search=Path(name).name, sort="downloads", limit=3)
        return [one.id for one in found]
    return []


CORPUS = Corpus(load, files=_files, credits=credits)
