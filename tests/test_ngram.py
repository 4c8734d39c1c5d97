"""Markov chains: counted by hand, by a slow count with dictionaries, and by NLTK."""

import collections
import itertools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import refused, run

from wmt_transformer.baselines import ngram
from wmt_transformer.baselines.ngram import COUNTS, AddK, KneserNey, NGram
from wmt_transformer.baselines.units import Units
from wmt_transformer.config import UserError
from wmt_transformer.decode import sampling
from wmt_transformer.evaluate import perplexity
from wmt_transformer.special_tokens import BOS, EOS, PAD
from wmt_transformer.visualize import context_tables

FRUIT = ["I love oranges", "I love grapes", "you love oranges"]


def fruit(order: int, smoothing: Any = COUNTS) -> tuple[NGram, Units]:
    units = Units(FRUIT, words=True)
    return NGram([units.encode(line) for line in FRUIT], order, len(units), smoothing), units


def random_documents(seed: int, size: int = 9) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(3, size, length).tolist() for length in (30, 1, 12, 0, 25)]


def every_context(model: NGram) -> np.ndarray:
    """Returns all contexts that can come up: BOS stands before other tokens only."""
    tokens = [BOS, *range(3, model.size)]
    contexts = itertools.product(tokens, repeat=model.order)
    return np.array([one for one in contexts if BOS not in itertools.dropwhile(lambda t: t == BOS, one)])


def test_three_sentences_give_the_table_that_one_counts_by_hand():
    model, units = fruit(order=1)
    words = ["I", "love", "oranges", "grapes", "you"]
    ids = [units.ids()[word] for word in words]
    table = model.probabilities(np.array(ids)[:, None])[:, ids]
    by_hand = [
        # I love  oranges grapes you
        [0, 1, 0, 0, 0],  # I
        [0, 0, 2 / 3, 1 / 3, 0],  # love
        [0, 0, 0, 0, 0],  # oranges: the end
        [0, 0, 0, 0, 0],  # grapes: the end
        [0, 1, 0, 0, 0],  # you
    ]
    np.testing.assert_allclose(table, by_hand)
    (beginning,) = model.probabilities(np.array([[BOS]]))
    np.testing.assert_allclose(beginning[ids], [2 / 3, 0, 0, 0, 1 / 3])
    assert model.probabilities(np.array([[ids[2]]]))[0, EOS] == 1


def test_kneser_ney_of_the_three_sentences_by_hand():
    # Discounts 0.75 for words behind a word, 0.5 for the level without context. Different words stand before: I 1
    # (the beginning), love 2, oranges 1, grapes 1, you 1, the end 2: 8 in all, 6 kinds of tokens; 7 tokens can come
    # (unknown is the seventh).
    model, units = fruit(order=1, smoothing=KneserNey((0.5, 0.75)))
    ids = units.ids()
    (after,) = model.probabilities(np.array([[ids["love"]]]))

    def lower(count: int) -> float:
        return max(count - 0.5, 0) / 8 + (0.5 * 6 / 8) / 7

    given = 0.75 * 2 / 3  # two kinds of words behind the three loves
    assert after[ids["oranges"]] == pytest.approx((2 - 0.75) / 3 + given * lower(1))
    assert after[ids["grapes"]] == pytest.approx((1 - 0.75) / 3 + given * lower(1))
    assert after[ids["love"]] == pytest.approx(given * lower(2))
    assert after[3] == pytest.approx(given * lower(0))


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("k", [0.0, 0.4])
def test_add_k_equals_a_count_with_dictionaries(order: int, k: float):
    documents, size = random_documents(0), 9
    counts: Any = collections.defaultdict(collections.Counter)
    for document in documents:
        line = [BOS] * order + document + [EOS]
        for end in range(order, len(line)):
            counts[tuple(line[end - order : end])][line[end]] += 1
    model = NGram(documents, order, size, AddK(k))
    contexts = every_context(model)
    expected = np.zeros((len(contexts), size))
    for row, context in enumerate(contexts):
        seen = counts[tuple(context.tolist())]
        for token in range(EOS, size):
            if k or seen:
                expected[row, token] = (seen[token] + k) / (seen.total() + k * (size - 2))
            else:
                expected[row, token] = 1 / (size - 2)
    np.testing.assert_allclose(model.probabilities(contexts), expected, atol=1e-15)


@pytest.mark.parametrize("order", [0, 1, 2, 4])
@pytest.mark.parametrize("smoothing", [AddK(), AddK(0.1), KneserNey()])
def test_probabilities_sum_to_one_for_every_context_and_padding_is_impossible(order: int, smoothing: Any):
    model = NGram(random_documents(1, 6), order, 6, smoothing)
    found = model.probabilities(every_context(model))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found[:, [PAD, BOS]] == 0).all() and (found >= 0).all()
    if smoothing != AddK():
        assert (found[:, EOS:] > 0).all()


@pytest.mark.parametrize("order", [1, 2, 3])
def test_kneser_ney_equals_nltk(order: int):
    lm = pytest.importorskip("nltk.lm")
    documents, size, discount = random_documents(2, 7), 7, 0.6
    ngrams = []
    for document in documents:
        line = [BOS] * order + document + [EOS]
        ngrams.append(
            [
                tuple(map(str, line[end - length : end + 1]))
                for end in range(order, len(line))
                for length in range(order + 1)
            ]
        )
    theirs = lm.KneserNeyInterpolated(order + 1, discount=discount)
    theirs.fit(ngrams, vocabulary_text=[str(token) for document in documents for token in [BOS, *document, EOS]])
    # NLTK gives nothing to tokens that never occur: no discount where there is no context.
    model = NGram(documents, order, size, KneserNey((0.0, *[discount] * order)))
    contexts = every_context(model)
    ours = model.probabilities(contexts)
    for row, context in enumerate(contexts.tolist()):
        for token in range(3, size):
            assert ours[row, token] == pytest.approx(theirs.score(str(token), list(map(str, context))), abs=1e-12), (
                context,
                token,
            )


def test_discounts_are_estimated_from_the_n_grams_that_occur_once_and_twice():
    # a b a b a c: behind one token, b after a and a after b occur twice, the beginning's a, a's c and c's end once:
    # 3 / (3 + 2 * 2). Without context: a follows 2 tokens (the beginning, b), b, c and the end 1 each: 3 / (3 + 2).
    model = NGram([[3, 4, 3, 4, 3, 5]], 1, 6, KneserNey())
    assert model._discount(1) == pytest.approx(3 / 7)
    assert model._discount(0) == pytest.approx(3 / 5)


def test_a_step_continues_the_contexts_in_its_cache():
    model = NGram(random_documents(3), 2, 9, KneserNey())
    cache = model.start_cache(2)
    step = jax.jit(model.step)
    logits, cache = step(jnp.array([[BOS], [BOS]]), cache, 0)
    _, cache = step(jnp.array([[3], [4]]), cache, 1)
    after, cache = step(jnp.array([[5], [6]]), cache, 2)
    np.testing.assert_allclose(np.exp(logits[0, 0]), model.probabilities(np.array([[BOS, BOS]]))[0], rtol=1e-6)
    np.testing.assert_allclose(np.exp(after[:, 0]), model.probabilities(np.array([[3, 5], [4, 6]])), rtol=1e-6)


@pytest.mark.parametrize("order", [0, 2])
def test_the_scorer_finds_the_same_for_whole_documents_and_step_by_step(order: int):
    model, text = NGram(random_documents(4), order, 9, KneserNey()), [4, 4, 3, 8, EOS]
    slow = perplexity.by_steps(model.step, model.start_cache(1), BOS)(text)
    np.testing.assert_allclose(model.log_probabilities(text), slow, rtol=1e-6)
    assert NGram(random_documents(4), 2, 9).log_probabilities([4, 4, 4, 4, 4, EOS]).min() == -np.inf


def test_the_same_samplers_draw_from_it():
    model, units = fruit(order=1)
    keys = jax.random.split(jax.random.key(0), 3000)
    found = sampling.generate(
        model.step,
        model.start_cache(len(keys)),
        jnp.full(len(keys), 5),
        max_length=5,
        bos=BOS,
        eos=EOS,
        sampler=sampling.Sample(),
        keys=keys,
    )
    drawn = collections.Counter(units.decode(row[0].tolist()) for row in np.asarray(found.tokens))
    # By hand: (I 2/3 or you 1/3), love, (oranges 2/3 or grapes 1/3); the fourth sentence was never read.
    expected = {"I love oranges": 4 / 9, "I love grapes": 2 / 9, "you love oranges": 2 / 9, "you love grapes": 1 / 9}
    assert set(drawn) == set(expected)
    for sentence, share in expected.items():
        assert drawn[sentence] / len(keys) == pytest.approx(share, abs=0.04)  # 4 standard deviations


def test_the_table_of_five_words_grows_fivefold_with_each_token_of_context():
    assert [context_tables.table_rows(5, order) for order in (1, 2, 3)] == [5, 25, 125]
    assert context_tables.table_rows(5, 1024) == 5**1024


def test_an_order_that_needs_more_memory_than_there_is_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ngram, "free_memory", lambda: 2_000_000_000)
    tokens = np.full(1_000_000, 3)
    with pytest.raises(UserError, match=r"order 5,000 may need 120\.\d GB .* 2\.0 GB are free"):
        NGram([tokens], 5000, 70)
    with pytest.raises(UserError, match="no text"):
        NGram([[]], 1, 70)


@pytest.mark.parametrize(
    ("words", "text", "pieces"),
    [
        (True, "Don\u2019t stop, now.", ["Don\u2019t", "stop", ",", "now", "."]),
        (False, "a\nb ", ["a", "\n", "b", " "]),
        (True, "我爱 橙子。", ["我爱", "橙子", "。"]),
    ],
)
def test_words_and_characters_come_back_as_text(words: bool, text: str, pieces: list[str]):
    units = Units([text], words)
    assert units.pieces(text) == pieces
    assert units.decode(units.encode(text)) == (text if words is False else text.strip())
    assert units.encode("ß") == [3]


@pytest.fixture
def fruit_file(tmp_path: Path) -> Path:
    (tmp_path / "fruit.txt").write_text("\n".join(FRUIT) + "\n")
    return tmp_path / "fruit.txt"


def test_the_verb_prints_the_table_of_the_three_sentences(fruit_file: Path, capsys: Any):
    assert run("ngram", "--text", fruit_file, "--order", 1, "--words", "--table", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["context"][0]: row["next"] for row in found["rows"]}
    assert rows["love"] == {"oranges": pytest.approx(2 / 3), "grapes": pytest.approx(1 / 3)}
    assert rows["I"] == rows["you"] == {"love": 1} and rows["oranges"] == rows["grapes"] == {"</s>": 1}
    assert run("ngram", "--text", fruit_file, "--order", 1, "--words", "--table") == 0
    out, err = capsys.readouterr()
    (love,) = (line for line in out.splitlines() if line.startswith("│ love"))
    assert love.replace("│", " ").split() == ["love", "·", "·", "0.67", "0.33", "·", "·"]
    assert "5^3 = 125 rows" in err and "5^1024 rows, 10^716 numbers" in err


def test_the_verb_draws_text_of_so_many_tokens_that_a_seed_decides(fruit_file: Path, capsys: Any):
    def drawn(seed: int) -> list[str]:
        assert run("ngram", "--text", fruit_file, "--order", 2, "--words", "--generate", 18, "--seed", seed) == 0
        return capsys.readouterr().out.splitlines()

    first = drawn(1)
    assert first == drawn(1) != drawn(2)
    assert set(first[:-1]) <= set(FRUIT)
    tokens = [len(line.split()) + 1 for line in first]  # an end is a token
    assert sum(tokens[:-1]) < 18 <= sum(tokens)


def test_the_verb_measures_perplexity(fruit_file: Path, tmp_path: Path, capsys: Any):
    # Each line by hand: I love oranges 2/3 · 1 · 2/3, I love grapes 2/3 · 1/3, you love oranges 1/3 · 2/3.
    measure = ("ngram", "--text", fruit_file, "--order", 1, "--words", "--json", "--perplexity")
    assert run(*measure, fruit_file) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["nats"] == pytest.approx(-np.log(4 / 9 * 2 / 9 * 2 / 9)) and found["tokens"] == 12
    (tmp_path / "other.txt").write_text("you love pears\n")
    assert run(*measure, tmp_path / "other.txt") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["perplexity"], found["unknown"]) == (None, 1)
    assert run(*measure, tmp_path / "other.txt", "--kneser-ney") == 0
    assert 1 < json.loads(capsys.readouterr().out)["perplexity"] < 20


def test_mistakes_are_one_line(fruit_file: Path, tmp_path: Path, capsys: Any):
    table = ("--words", "--table")
    (tmp_path / "latin").write_bytes(b"fine\ncaf\xe9\n")
    assert "line 2 is not UTF-8" in refused(capsys, "ngram", "--text", tmp_path / "latin", "--order", 1, *table)
    assert "no file" in refused(capsys, "ngram", "--text", tmp_path / "none", "--order", 1, *table)
    (tmp_path / "blank").write_text("\n \n")
    assert "no text" in refused(capsys, "ngram", "--text", tmp_path / "blank", "--order", 1, *table)
    fruit = ("ngram", "--text", fruit_file, "--order")
    assert "at least 1" in refused(capsys, *fruit, 0, *table)
    assert "GB" in refused(capsys, *fruit, 10**9, *table)
    assert "0 or more" in refused(capsys, *fruit, 1, *table, "--add-k", -1)
    assert "from 0 to 1" in refused(capsys, *fruit, 1, *table, "--kneser-ney", "--discount", 2)
    assert "--kneser-ney" in refused(capsys, *fruit, 1, *table, "--discount", 0.5)


def test_the_picture_sets_the_table_against_the_transformer():
    figure = context_tables.picture({"words": 5, "pieces": 37_000})
    (panel,) = figure.axes
    words, pieces, transformer = (np.asarray(line.get_ydata(), float) for line in panel.get_lines()[:3])
    assert words[0] == pytest.approx(np.log10(25)) and words[-1] == pytest.approx(1025 * np.log10(5))
    assert pieces[0] == pytest.approx(np.log10(37_000**2))
    # §3.4, Table 3: 37,000 x 512 shared embeddings and 44.1 million in the layers make base's 63 million.
    assert np.ptp(transformer) == 0 and 10 ** transformer[0] == pytest.approx(63e6, rel=0.01)
