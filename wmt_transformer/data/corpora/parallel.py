"""Any parallel text: one .tsv[.gz] for each split, or a file of each language."""

from __future__ import annotations

from collections.abc import Iterator

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data.corpora import text_files
from wmt_transformer.data.corpora.corpus import Corpus, Pair, Split, folder


def load(data: DataConfig, split: Split) -> Iterator[Pair]:
    """Yields the pairs of the files that the config names for a split; a test set need not be named."""
    names = {"train": data.train_files, "dev": data.dev_files, "test": data.test_files}[split]
    if split == "test" and not names:
        return iter(())
    if len(names) == 1:
        return text_files.tab_separated(folder(data) / names[0])
    if len(names) == 2:
        return text_files.parallel(folder(data) / names[0], folder(data) / names[1])
    raise UserError(
        f"data.{split}_files names {len(names)} files; corpus files needs one .tsv[.gz], or two: "
        f"{data.source}, then {data.target}"
    )


def named(data: DataConfig) -> list[str]:
    """Returns the names of all files that the config gives."""
    return [*data.train_files, *data.dev_files, *data.test_files]


CORPUS = Corpus(load, files=named)
