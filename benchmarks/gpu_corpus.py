"""What `gpu.py` needs of data, made on a machine that has it: token arrays, vocabularies, and the test sets' text.

    multi30k/       Multi30k English to German, as `multi30k_en_de` prepares it
    pairs/          all English-German pairs at hand, without those of which a side is in a development or test set
    speed/          a vocabulary of 37,000 pieces, the size that speed is measured with
    tests.json      the test sets, by name: [source, reference] each

Without a folder of data all are made of the built-in phrasebook, tiny: what --smoke learns from.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import gpu_cases as cases

from wmt_transformer import experiment
from wmt_transformer.config import Config, DataConfig, ModelConfig, TrainConfig
from wmt_transformer.data import corpora, vocabulary
from wmt_transformer.data.prepare import prepare, print_to_stderr
from wmt_transformer.data.vocabulary import normalise

MOST_BYTES = 40_000_000
Pairs = list[tuple[str, str]]


def multi30k_config(smoke: bool) -> Config:
    """Returns the shipped config, and for --smoke a tiny one; four shapes of batches, as every one is compiled."""
    config = experiment.load("multi30k_en_de")
    if not smoke:
        return dataclasses.replace(config, data=dataclasses.replace(config.data, num_shapes=4))
    return tiny(config)


def pairs_config(smoke: bool) -> Config:
    """Returns base for all the pairs: more dropout than the paper, as there are few, and a short warm-up, as there is
    little time."""
    config = Config(
        name="pairs",
        model=ModelConfig(dropout=0.2),
        data=DataConfig(corpus="files", vocabulary_size=8000, max_length=128, num_shapes=4),
        train=TrainConfig(
            learning_rate=0.7, warmup_steps=2000, checkpoint_every=100, keep_checkpoints=8, average_last=8
        ),
    )
    return tiny(config) if smoke else config


def tiny(config: Config) -> Config:
    """Returns the config for the smallest model and batches."""
    data = dataclasses.replace(
        config.data, vocabulary_size=400, max_length=40, source_tokens=512, target_tokens=512, num_shapes=1
    )
    train = dataclasses.replace(config.train, warmup_steps=20, checkpoint_every=2, average_last=2)
    model = dataclasses.replace(cases.TINY, norm_position=config.model.norm_position)
    return dataclasses.replace(config, model=model, data=data, train=train)


def make(data: Path | None, output: Path, smoke: bool) -> None:
    """Writes the folder that both calls are given with --data."""
    if output.exists():
        shutil.rmtree(output)
    output.mkdir(parents=True)
    most = 600 if smoke else None
    multi30k = multi30k_config(smoke).data
    source = {"corpus": "phrasebook"} if data is None else {"path": str(data / "multi30k")}
    prepare(dataclasses.replace(multi30k, train_pairs=most, **source), output / "multi30k")
    train, dev, tests = phrasebook() if data is None else real(data)
    (output / "tests.json").write_text(json.dumps({name: pairs[:most] for name, pairs in tests.items()}), "utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for name, pairs in (("train", train[:most]), ("dev", dev[:most]), ("test", next(iter(tests.values()))[:most])):
            lines = "".join(f"{normalise(one)}\t{normalise(other)}\n" for one, other in pairs)
            (Path(folder) / f"{name}.tsv").write_text(lines, "utf-8")
        files = {f"{split}_files": (f"{split}.tsv",) for split in ("train", "dev", "test")}
        prepare(dataclasses.replace(pairs_config(smoke).data, path=folder, **files), output / "pairs")
    (output / "speed").mkdir()
    size, sides = (400 if smoke else cases.VOCABULARY), (normalise(side) for pair in train[:most] for side in pair)
    vocabulary.train(sides, output / "speed" / "vocabulary.model", size, "bpe")
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    print_to_stderr(f"{output}: {size / 1e6:.1f} MB, {len(train):,} pairs")
    if size > MOST_BYTES:
        raise SystemExit(f"{output} is {size:,} bytes, more than the {MOST_BYTES:,} that may travel")


def phrasebook() -> tuple[Pairs, Pairs, dict[str, Pairs]]:
    """Returns training, development and test pairs of the built-in corpus."""
    data = DataConfig(corpus="phrasebook", train_pairs=600)
    train, dev, test = (list(corpora.load(data, split)) for split in ("train", "dev", "test"))
    return train, dev, {"multi30k": test[:20], "other": test[20:30]}


def real(folder: Path) -> tuple[Pairs, Pairs, dict[str, Pairs]]:
    """Returns the pairs of a folder with multi30k/, tatoeba/, debian/ and newstest/."""
    multi30k = DataConfig(corpus="multi30k", path=str(folder / "multi30k"))
    tatoeba = DataConfig(corpus="tatoeba", path=str(folder / "tatoeba"))
    newstest = folder / "newstest"
    tests = {
        "multi30k": list(corpora.load(multi30k, "test")),
        "tatoeba": list(corpora.load(tatoeba, "test")),
        "newstest2014": files(newstest, "newstest2014.de-en.en.gz", "newstest2014.de-en.de.gz"),
    }
    news = files(newstest / "opennmt", "src-val.txt.gz", "tgt-val.txt.gz")
    dev = [*corpora.load(multi30k, "dev"), *corpora.load(tatoeba, "dev")]
    held = {normalise(side).casefold() for pairs in (dev, news, *tests.values()) for pair in pairs for side in pair}
    # OpenNMT's lines are tokenised: compared as text, which is what tests are.
    held |= {normalise(side).casefold() for pair in detokenized(news) for side in pair}
    found = (
        *corpora.load(multi30k, "train"),
        *corpora.load(tatoeba, "train"),
        *files(folder / "debian", "debian.en-de.tsv.gz"),
        *detokenized(files(newstest / "opennmt", "src-train.txt.gz", "tgt-train.txt.gz")),
    )
    train = [pair for pair in found if not any(normalise(side).casefold() in held for side in pair)]
    print_to_stderr(f"{len(found) - len(train):,} of {len(found):,} pairs have a sentence of a development or test set")
    return train, dev, tests


def files(folder: Path, *names: str) -> Pairs:
    """Returns the pairs of a file with tabs, or of two."""
    return list(corpora.load(DataConfig(corpus="files", path=str(folder), train_files=names), "train"))


def detokenized(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yields pairs that Moses tokenised as they are written; those with an empty side are left out."""
    from sacremoses import MosesDetokenizer

    english, german = MosesDetokenizer("en"), MosesDetokenizer("de")
    for source, target in pairs:
        if source.strip() and target.strip():
            yield english.detokenize(source.split()), german.detokenize(target.split())
