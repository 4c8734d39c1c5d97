"""Perplexity by hand, and a step-wise model against the probabilities that it was made of."""

import math

import numpy as np
import pytest

from wmt_transformer.config import UserError
from wmt_transformer.evaluate import perplexity

END = 0


def spelt(text: str) -> list[int]:
    return [1 + "ab ".index(letter) for letter in text] + [END]


def test_perplexities_and_bits_are_those_of_a_hand_count():
    # Two documents of four ids; every id costs ln 4: 8 ln 4 = 16 bits in all, over 6 bytes, 3 words, 8 tokens.
    found = perplexity.score(["ab ", "a b"], spelt, lambda ids: np.full(len(ids), -math.log(4)))
    assert (found.tokens, found.words, found.bytes) == (8, 3, 6)
    assert found.per_token == pytest.approx(4)
    assert found.per_word == pytest.approx(2 ** (16 / 3))
    assert found.bits_per_byte == pytest.approx(16 / 6)


def test_bytes_are_those_of_utf8():
    found = perplexity.score(["é"], lambda text: [1, END], lambda ids: np.full(len(ids), -math.log(2)))
    assert (found.bytes, found.bits_per_byte) == (2, 1.0)


def test_a_step_wise_model_is_scored_by_the_probabilities_of_its_steps():
    # p(next | last, position), drawn at random; the cache holds the position, so a wrong order shows.
    logits = np.random.default_rng(0).normal(size=(6, 5, 4))

    def step(tokens, cache, index):
        assert tokens.shape == (1, 1) and cache == index
        return logits[cache, tokens[0, 0]][None, None] + 7, cache + 1

    ids = [2, 1, 3, 3, END]
    exponents = np.exp(logits)
    p = [exponents[t, last, now] / exponents[t, last].sum() for t, (last, now) in enumerate(zip([4, *ids], ids))]  # noqa: B905
    np.testing.assert_allclose(perplexity.by_steps(step, 0, bos=4)(ids), np.log(p))


def test_what_a_model_calls_impossible_is_infinitely_surprising_and_no_number_in_json():
    found = perplexity.score(["ab"], spelt, lambda ids: np.array([-np.inf, -1.0, -1.0]))
    assert found.per_token == math.inf
    assert found.report()["perplexity"] is None


def test_no_text_is_refused():
    with pytest.raises(UserError, match="no text"):
        perplexity.score([""], spelt, lambda ids: np.zeros(len(ids)))
