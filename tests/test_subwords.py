"""Training pairs cut at random: SentencePiece's own distribution, the same text, and the same draws for a step."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from test_prepare import contents, quiet, sentences, write_corpus

from wmt_transformer.data import phrasebook, vocabulary
from wmt_transformer.data import prepare as prepare_module
from wmt_transformer.data.batches import Batches
from wmt_transformer.data.prepare import prepare
from wmt_transformer.data.vocabulary import Vocabulary
from wmt_transformer.special_tokens import EOS

TEXTS = list(itertools.chain.from_iterable(sentences()))


@pytest.mark.parametrize(("model", "alpha"), [("bpe", 0.1), ("bpe", 0.6), ("unigram", 0.2), ("unigram", 0.1)])
def test_draws_are_distributed_as_those_of_sentencepiece(tmp_path: Path, model, alpha):
    texts = [text for sentence in phrasebook.generate("train", 300) for text in sentence]
    words = vocabulary.train(texts, tmp_path / "v.model", 700, model, [">>de<<"])
    sampler, draws = vocabulary.sampler(words._processor, words.ids(), alpha), 5_000
    whole = sorted((piece[1:] for piece in words.ids() if piece[0] == "▁" and piece[1:].isalpha()), key=len)
    sentencepiece.set_random_generator_seed(1)  # or theirs differ from run to run
    kinds = 0
    for word in (whole[-1], whole[-5], f"日{whole[-10]}"):
        ours = Counter(sampler._draw(word, number) for number in range(draws))
        sampling = {"enable_sampling": True, "alpha": alpha, "nbest_size": -1, "num_threads": 1}
        theirs = Counter(map(tuple, words._processor.encode([word] * draws, **sampling)))
        kinds += len(theirs)
        for ids in {*ours, *theirs}:
            share = (ours[ids] + theirs[ids]) / (2 * draws)
            assert abs(ours[ids] - theirs[ids]) < 6 * math.sqrt(2 * draws * share * (1 - share)) + 6
    assert kinds > 9
    assert {sampler._draw(">>de<<", number) for number in range(20)} == {tuple(words.encode(">>de<<"))}


@pytest.mark.parametrize("model", ["bpe", "unigram"])
def test_every_draw_is_the_same_text_and_the_same_for_any_number_of_processes(tmp_path: Path, monkeypatch, model):
    data = write_corpus(tmp_path / "corpus", sentences())
    data = dataclasses.replace(
        data, vocabulary_model=model, vocabulary_size=300, subword_sampling=0.2, subword_samples=3
    )
    monkeypatch.setattr(prepare_module, "CHUNK", 7)
    prepared = prepare(data, tmp_path / "1", quiet, 1)
    prepare(data, tmp_path / "2", quiet, 2)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    words, train, different = prepared.vocabulary, prepared.train, 0
    for index, pair in enumerate(sentences()):
        drawn = [train.pair(index, draw) for draw in range(4)]
        for source, target in drawn:
            assert (words.decode(source), words.decode(target)) == pair and source[-1] == target[-1] == EOS
        assert max(len(source) for source, _ in drawn) == train.source_lengths[index]
        assert max(len(target) for _, target in drawn) == train.target_lengths[index]
        assert all(np.array_equal(*sides) for sides in zip(drawn[0], drawn[3], strict=True))
        different += not np.array_equal(drawn[0][0], drawn[1][0])
    assert different > 50
    assert [prepared.dev.pair(0)[0].tolist()] == [[*words.encode(prepared.dev_text[0][0]), EOS]]  # as without
    longest = max(train.source_lengths.max(), train.target_lengths.max())
    limited = prepare(dataclasses.replace(data, max_length=int(longest) - 1), tmp_path / "limited", quiet)
    assert 0 < len(limited.train) < 100 and limited.train.source_lengths.max() < longest


def test_an_epoch_has_the_next_draw_of_each_pair_whatever_step_is_asked_for_first(tmp_path: Path):
    data = write_corpus(tmp_path / "corpus", sentences())
    prepared = prepare(dataclasses.replace(data, subword_sampling=0.1, subword_samples=2), tmp_path / "data", quiet)
    words: Vocabulary = prepared.vocabulary
    ahead, resumed = (Batches(prepared.train, 300, 300, num_shapes=3, seed=5) for _ in range(2))
    count = ahead.batches_per_epoch

    def sources(epoch: int) -> dict[str, list[int]]:
        rows = [row for step in range(epoch * count, (epoch + 1) * count) for row in ahead[step].source]
        found = [part for row in rows for part in np.split(row, np.flatnonzero(row == EOS) + 1) if EOS in part]
        return {
            f"{words.decode(part)} {number // 5 if False else ''}": part.tolist() for number, part in enumerate(found)
        }

    epochs = [sources(epoch) for epoch in range(3)]
    assert epochs[0] == epochs[2] != epochs[1] and epochs[0].keys() == epochs[1].keys()
    for step in reversed(range(3 * count)):
        assert np.array_equal(ahead[step].source, resumed[step].source)
