"""Several corpora as one: as often as the weights say, whole epochs, the same for every resume; tags; the table."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_prepare import quiet, sentences, write_corpus

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data.batches import Batches
from wmt_transformer.data.corpora import load, members
from wmt_transformer.data.mixture import Mixture, weights_of
from wmt_transformer.data.prepare import prepare
from wmt_transformer.data.tokens import TokenPairs
from wmt_transformer.decode import lines
from wmt_transformer.special_tokens import EOS, PAD

FRENCH = [
    ("The dog sees it.", "Le chien voit cela."),
    ("The dog has it.", "Le chien a cela."),
    ("The cat sees it.", "Le chat voit cela."),
    ("The cat has it.", "Le chat a cela."),
]


def numbered(lengths: list[int]) -> TokenPairs:
    """Pairs whose tokens are their own number, from 10 on."""
    sides = [np.array([10 + number] * (length - 1) + [EOS]) for number, length in enumerate(lengths) for _ in "st"]
    return TokenPairs(np.concatenate(sides), np.cumsum([0, *map(len, sides)]))


def seen(batches: Batches, epochs: range) -> Counter[int]:
    """How often the pairs are in these epochs, by number."""
    steps = range(epochs.start * batches.batches_per_epoch, epochs.stop * batches.batches_per_epoch)
    found: Counter[int] = Counter()
    for batch in map(batches.__getitem__, steps):
        for row in batch.source:
            ids = [0, *row[row != PAD].tolist()]
            found.update(now - 10 for before, now in itertools.pairwise(ids) if before in (0, EOS))
    return found


@settings(max_examples=50)
@given(
    corpora=st.lists(
        st.tuples(st.lists(st.integers(2, 30), min_size=1, max_size=40), st.floats(0, 4)), min_size=1, max_size=3
    ),
    seed=st.integers(0, 5),
)
def test_an_epoch_has_each_pair_as_often_as_the_weight_says(corpora, seed):
    sizes, weights = [len(lengths) for lengths, _ in corpora], [weight for _, weight in corpora]
    slots = [
        int(weight) * size + round((weight - int(weight)) * size) for size, weight in zip(sizes, weights, strict=True)
    ]
    if not sum(slots):
        return
    pairs = numbered([length for lengths, _ in corpora for length in lengths])
    mixture = Mixture(pairs, sizes, weights)
    batches = Batches(mixture, 120, 120, num_shapes=3, multiple=2, seed=seed)
    first = seen(batches, range(1))
    assert len(mixture) == sum(slots) == first.total()
    begin = 0
    for size, weight, count in zip(sizes, weights, slots, strict=True):
        here = [first[number] for number in range(begin, begin + size)]
        assert sum(here) == count and set(here) <= {int(weight), int(weight) + 1}
        begin += size
    again = Batches(mixture, 120, 120, num_shapes=3, multiple=2, seed=seed)
    for step in (2 * batches.batches_per_epoch, 1, 0):  # after a resume: no step needs the one before
        assert np.array_equal(batches[step].source, again[step].source)


def test_with_a_weight_of_a_third_three_epochs_in_a_row_have_every_pair_once():
    pairs = numbered([5] * 30 + [3, 4, 5] * 20)
    batches = Batches(Mixture(pairs, [30, 60], [1.0, 1 / 3]), 60, 60, multiple=2)
    for start in (0, 1, 5):
        assert seen(batches, range(start, start + 3)) == {
            **dict.fromkeys(range(30), 3),
            **dict.fromkeys(range(30, 90), 1),
        }


def test_copies_of_a_pair_in_an_epoch_are_cut_differently():
    tokens = [np.array([10 + sample, EOS]) for sample in range(4) for _ in "st"]
    pairs = TokenPairs(np.concatenate(tokens), np.arange(0, 17, 2), samples=4)
    mixture = Mixture(pairs, [1], [2.0])
    assert [[int(mixture.pair(slot, draw)[0][0]) for slot in (0, 1)] for draw in (0, 1, 3)] == [
        [10, 11],
        [11, 12],
        [13, 10],
    ]


def test_temperature_samples_in_proportion_to_a_power_of_the_size():
    sizes = [1000, 100, 10]
    for temperature in (1.0, 2.0, 5.0):
        drawn = np.array(sizes) * weights_of(sizes, (), temperature)
        expected = np.array(sizes) ** (1 / temperature)
        assert np.allclose(drawn / drawn.sum(), expected / expected.sum()) and drawn[0] == 1000
    assert weights_of(sizes, (1.0, 2.0, 0.0), 1.0) == [1, 2, 0]


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    """Two corpora of English and German, the second in one file, and one of French."""
    data = write_corpus(tmp_path / "corpus", sentences()[:60])
    more = [*sentences()[55:80], ("", "leer")]  # five of them are in the first
    (tmp_path / "corpus" / "more.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in more))
    for side, language in enumerate(("en", "fr")):
        (tmp_path / "corpus" / f"train.{language}x").write_text("".join(pair[side] + "\n" for pair in FRENCH))
    corpora = ("files=more.tsv", "files=train.enx,train.frx:en-fr")
    return dataclasses.replace(data, more_corpora=corpora, tags=(">>de<<", ">>de<<", ">>fr<<"), vocabulary_size=340)


def test_the_name_of_a_corpus_is_shown_as_it_is(data: DataConfig, tmp_path: Path):
    told: list[str] = []
    folder = tmp_path / "corpus" / "[b]["
    folder.mkdir()
    (folder / "].tsv").write_text("a cat\teine Katze\n")
    strange = "files=[b][/].tsv"  # markup, for those who look for it
    prepare(dataclasses.replace(data, more_corpora=(strange,), tags=()), tmp_path / "data", told.append)
    assert strange in "\n".join(told)


def test_each_corpus_is_tagged_counted_and_shown(data: DataConfig, tmp_path: Path):
    told: list[str] = []
    weighted = dataclasses.replace(data, train_weights=(1.0, 0.5, 10.0))
    prepared = prepare(weighted, tmp_path / "data", told.append)
    words, train = prepared.vocabulary, prepared.train
    pieces = {tag: words.encode(tag) for tag in (">>de<<", ">>fr<<")}
    assert all(len(ids) == 1 for ids in pieces.values()) and words.pieces(">>de<<the")[0] == "▁>>de<<"
    assert len(train) == 60 + 10 + 40
    sources = [words.decode(train.pair(index, 0)[0]) for index in range(len(train))]
    assert sources[:60] == [f">>de<< {source}" for source, _ in sentences()[:60]]
    assert sources[70:] == [f">>fr<< {source}" for source, _ in FRENCH] * 10
    assert all(train.pair(index, 0)[0][0] == pieces[">>de<<"][0] for index in range(70))
    names = ("name", "read", "empty", "duplicate", "kept", "weight")
    counted = [tuple(one[name] for name in names) for one in prepared.statistics["corpora"]]
    assert counted == [
        ("files", 60, 0, 0, 60, 1),
        ("files=more.tsv", 26, 1, 5, 20, 0.5),
        ("files=train.enx,train.frx:en-fr", 4, 0, 0, 4, 10),
    ]
    assert [prepared.statistics["train"][name] for name in ("read", "duplicate", "kept")] == [90, 5, 84]
    table = told[-1].split("\n")
    assert any("files=more.tsv" in line and "0.5" in line and "9.1%" in line for line in table)
    assert prepared.dev_text[0][0].startswith(">>de<<") and prepared.dev_text[1] == ("", "leer")
    prepare(weighted, tmp_path / "data", told.append, trained=True)
    assert told[-1].endswith("is up to date")


def test_every_part_of_a_long_line_has_its_tag_and_a_tag_that_is_not_known_is_refused(data: DataConfig, tmp_path: Path):
    words = prepare(data, tmp_path / "data", quiet).vocabulary
    assert words.tags == [">>de<<", ">>fr<<"]
    text = " ".join(source for source, _ in sentences()[:20])
    told: list[str] = []
    parts, _ = lines.parts_of(words, [f">>fr<< {text}", "The dog."], None, 40, told.append, 1)
    *long, last = parts
    assert len(long) > 3 and len(told) == 1 and last.text == "The dog."
    assert all(part.text.startswith(">>fr<< ") and len(part.source) <= 40 for part in long)
    assert " ".join(part.text.removeprefix(">>fr<< ") for part in long) == text
    for part in long[1:]:  # its first word after the tag is that word of the line
        assert f">>fr<< {text}".split()[part.first_word + 1] == part.text.split()[1]
    with pytest.raises(UserError, match="line 8: the model does not know >>it<<; it knows >>de<<, >>fr<<"):
        lines.parts_of(words, [">>it<< The dog."], None, 40, told.append, 8)


def test_tags_are_never_cut_not_even_at_random(data: DataConfig, tmp_path: Path):
    for model in ("bpe", "unigram"):
        drawn = dataclasses.replace(data, subword_sampling=0.5, vocabulary_model=model, vocabulary_size=320)
        prepared = prepare(drawn, tmp_path / model, quiet)
        tags = {prepared.vocabulary.encode(tag)[0] for tag in data.tags}
        assert {int(prepared.train.pair(index, draw)[0][0]) for index in range(84) for draw in range(8)} == tags


def test_one_corpus_of_weight_one_is_as_without_weights(data: DataConfig, tmp_path: Path):
    one = dataclasses.replace(data, more_corpora=(), tags=())
    plain = prepare(one, tmp_path / "plain", quiet).train
    weighted = prepare(dataclasses.replace(one, train_weights=(1.0,)), tmp_path / "weighted", quiet).train
    assert isinstance(plain, TokenPairs) and isinstance(weighted, Mixture)
    for step in range(20):
        both = [Batches(pairs, 200, 200)[step] for pairs in (plain, weighted)]
        assert np.array_equal(both[0].source, both[1].source) and np.array_equal(both[0].target, both[1].target)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train_weights": (0.0, 0.0, 0.0)}, "train_weights are all 0"),
        ({"train_weights": (1.0, 2.0)}, "train_weights has 2 values for 3 corpora"),
        ({"train_weights": (0.001, 0.001, 0.0)}, "train_weights leave nothing of 84"),
        ({"tags": (">>de<<",)}, "tags has 1 value for 3 corpora"),
        ({"tags": ("a b", "", "")}, "a tag is one word"),
        ({"more_corpora": ("files=more.tsv", "?")}, "has '[?]'; a corpus is NAME, NAME=FOLDER"),
        ({"more_corpora": ("files=more.tsv", "shakespeare")}, "shakespeare is no corpus of pairs"),
        ({"more_corpora": ("files=more.tsv", "trees=a:en-tree")}, "treebanks are neither mixed"),
        ({"more_corpora": ("files=more.tsv", "files=none.tsv")}, "there is no file"),
        ({"more_corpora": ("files=more.tsv", "files=empty.tsv")}, "files=empty.tsv has no training pairs: read 2"),
        ({"more_corpora": ("files=more.tsv", "files=more.tsv"), "tags": ()}, "no training pair of corpus files=more"),
        ({"more_corpora": ("files=more.tsv", "multi30k:en-cs")}, "multi30k has no en-cs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_cannot_be_mixed_is_one_line(data: DataConfig, tmp_path: Path, changed, message):
    (tmp_path / "corpus" / "empty.tsv").write_text("\ta\na\t\n")
    with pytest.raises(UserError, match=message) as error:
        prepare(dataclasses.replace(data, **changed), tmp_path / "data", quiet)
    assert "\n" not in str(error.value) and not (tmp_path / "data").exists()


def test_members_are_configs_of_one_corpus_each():
    data = DataConfig(
        corpus="multi30k", path="m", more_corpora=("tatoeba=t:en-fr", "wmt14"), train_pairs=5, tags=("a", "", "b")
    )
    found = [(m.corpus, m.path, m.source, m.target, m.train_pairs, m.tags, m.more_corpora) for m in members(data)]
    assert found == [
        ("multi30k", "m", "en", "de", 5, ("a",), ()),
        ("tatoeba", "t", "en", "fr", None, ("",), ()),
        ("wmt14", None, "en", "de", None, ("b",), ()),
    ]
    pairs = list(load(DataConfig(corpus="phrasebook", tags=(">>de<<",), train_pairs=3), "train"))
    assert len(pairs) == 3 and all(
        source.startswith(">>de<< ") and not target.startswith(">>") for source, target in pairs
    )
