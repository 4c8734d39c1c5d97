"""WMT 2016 English-German as Google prepared it, which is what fairseq's and many others' scores on WMT'14 stand on.

Its 4,500,966 training pairs are there only as pieces of text that Moses tokenised (`train.tok.clean.bpe.32000`): the
pieces are joined here and the tokenisation is undone, so that they look like the other sets, which are there as they
were published: newstest2013 is dev, newstest2014 is test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data.corpora import text_files
from wmt_transformer.data.corpora.corpus import Corpus, Pair, Split, between

_URL = "https://drive.google.com/uc?export=download&id=0B_bZck-ksdkpM25jRUN2X2UxMm8"
_MD5 = "874ab6bbfe9c21ec987ed1b9347f95ec"
_NAMES = {"train": "train.tok.clean.bpe.32000", "dev": "newstest2013", "test": "newstest2014"}


def load(data: DataConfig, split: Split) -> Iterator[Pair]:
    """Yields the pairs of a split from the unpacked archive in `data.path`."""
    if data.path is None:
        raise UserError(
            f"Google Drive gives wmt16_en_de.tar.gz to no program: fetch it by hand from {_URL} (MD5 {_MD5}), unpack "
            "it into a folder, and give --data.path FOLDER"
        )
    languages = data.source, data.target
    pairs = text_files.parallel(
        *(text_files.find(data.path, [f"{_NAMES[split]}.{language}"]) for language in languages)
    )
    if split != "train":
        yield from pairs
        return
    plain_source, plain_target = map(_plain, languages)
    for source, target in pairs:
        yield plain_source(source), plain_target(target)


def _plain(language: str) -> Callable[[str], str]:
    """Returns what makes text again of a line of pieces."""
    from sacremoses import MosesDetokenizer

    moses = MosesDetokenizer(language)
    return lambda line: moses.detokenize(line.replace("@@ ", "").split())


def _files(data: DataConfig) -> list[str]:
    return [f"{name}.{language}" for name in _NAMES.values() for language in (data.source, data.target)]


CORPUS = Corpus(load, between("en", "de"), _files)
