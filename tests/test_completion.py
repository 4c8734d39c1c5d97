"""Completion: the cached, batched stream against a loop that computes everything anew, and what a reader is shown."""

import functools
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import translators

from wmt_transformer.config import Config, DataConfig, ModelConfig, UserError
from wmt_transformer.data import vocabulary as vocabularies
from wmt_transformer.data.vocabulary import Vocabulary, normalise
from wmt_transformer.decode import next_tokens, sampling
from wmt_transformer.decode.completion import LanguageModel
from wmt_transformer.decode.streaming import GrowingText, StopStrings
from wmt_transformer.evaluate import perplexity
from wmt_transformer.model.build import build
from wmt_transformer.special_tokens import BOS, EOS, PAD, UNKNOWN

CONTEXT = 12
MODEL = ModelConfig(
    architecture="decoder_only",
    vocabulary_size=300,
    num_layers=2,
    d_model=32,
    d_ff=48,
    num_heads=2,
    d_k=16,
    d_v=16,
    tied_embeddings="none",  # tied and untrained, a model repeats its input for ever
    output_bias=True,
    compute_dtype="float32",
)
CONFIG = Config(model=MODEL, data=DataConfig(corpus="text", documents="line", context=CONTEXT))
PROMPTS = ["a rose is", "", "it rains, it rains, and\n", "who"]


@functools.cache
def vocabulary() -> Vocabulary:
    lines = ["a rose is a rose", "it rains and rains", "who knows what a rose is, who knows"] * 9
    with tempfile.TemporaryDirectory() as folder:
        return vocabularies.train(lines, Path(folder) / "vocabulary.model", 300, "bpe", lines=True)


@functools.cache
def params() -> Any:
    some = jnp.ones((1, 2), jnp.int32)
    drawn: Any = build(MODEL).init(jax.random.key(0), some, some)["params"]
    # Surer than untrained models are, and of letters: bytes are improbable.
    bias = drawn["output_bias"].at[UNKNOWN : UNKNOWN + 257].add(-20).at[EOS].add(-2)
    return drawn | {"output_table": drawn["output_table"] * 3, "output_bias": bias}


def model() -> LanguageModel:
    return LanguageModel(CONFIG, params(), vocabulary())


@functools.cache
def whole_window() -> Any:
    return jax.jit(lambda source, target: build(MODEL).apply({"params": params()}, source, target))


def next_log_probs(inputs: list[int]) -> np.ndarray:
    """Returns the log-probabilities `[V]` of what follows a window, by reading it once: no cache, no left padding."""
    target = np.full((1, CONTEXT), PAD, np.int32)
    target[0, : len(inputs) - 1] = inputs[1:]
    logits = whole_window()(np.array([inputs[:1]], np.int32), target)
    return np.array(jax.nn.log_softmax(logits[0, len(inputs) - 1]))


def slowly(prompt: str, row: int, count: int, sampler: sampling.Sample, seed: int) -> list[int]:
    """Returns what the model writes behind a prompt, every token from its whole window read again."""
    ids, written, window = [BOS, *vocabulary().encode(prompt)], [], 0
    while len(written) < count:
        inputs = ids if len(ids) <= CONTEXT else ids[-(CONTEXT // 2) :]
        for number in range(min(count - len(written), CONTEXT - len(inputs) + 1)):
            log_probs = next_log_probs(inputs)
            log_probs[[BOS, PAD]] = -np.inf
            key = functools.reduce(jax.random.fold_in, (row, window, number), jax.random.key(seed))
            token = int(
                choose(sampler)(log_probs[None], np.array([inputs + [PAD] * (CONTEXT - len(inputs))]), key[None])[0]
            )
            written.append(token)
            if token == EOS:
                return written
            ids, inputs = [*ids, token], [*inputs, token]
        window += 1
    return written


@functools.cache
def choose(sampler: sampling.Sample) -> Any:
    return jax.jit(sampler.choose)


@pytest.mark.parametrize(
    ("options", "sampler"),
    [
        ({"temperature": 0.0}, sampling.Sample((sampling.Temperature(0.0),))),
        (
            {"temperature": 0.7, "top_k": 30, "top_p": 0.9, "repetition_penalty": 1.3, "seed": 5},
            sampling.Sample(
                (sampling.RepetitionPenalty(1.3), sampling.Temperature(0.7), sampling.TopK(30), sampling.TopP(0.9))
            ),
        ),
    ],
    ids=["greedy", "sampled"],
)
def test_the_cached_stream_of_a_batch_equals_each_prompt_alone_without_a_cache(options, sampler):
    written = ["".join(parts) for parts in zip(*model().stream(PROMPTS, 40, **options), strict=True)]
    ended = 0
    for row, (prompt, text) in enumerate(zip(PROMPTS, written, strict=True)):
        ids = slowly(prompt, row, 40, sampler, options.get("seed", 1))
        before = vocabulary().encode(prompt)
        assert text == vocabulary().decode([*before, *ids])[len(prompt) :]
        ended += len(ids) < 40
    # The window of 12 was filled and begun again several times.
    assert ended < len(PROMPTS)


def test_text_is_handed_out_token_by_token_and_a_stop_string_ends_it():
    whole = model().generate_text(PROMPTS[0], 30, seed=3)
    parts = [part for (part,) in model().stream([PROMPTS[0]], 30, seed=3)]
    assert "".join(parts) == whole and sum(map(bool, parts)) > 10
    stop = whole[20:23]
    assert model().generate_text(PROMPTS[0], 30, seed=3, stop=[stop, "never there"]) == whole[: whole.index(stop)]


def test_growing_text_keeps_back_half_a_letter_and_half_a_stop_string():
    letters = {1: b"ab", 2: b"\xc3", 3: b"\xa9", 4: b"EN", 5: b"D", 6: b"x"}
    decode = lambda ids: b"".join(letters[i] for i in ids).decode("utf-8", "replace")  # noqa: E731
    text = GrowingText(decode, [1], StopStrings(("END", "NDX")))
    assert [text.add(token) for token in (1, 2, 3, 4, 6, 4)] == ["ab", "", "é", "", "ENx", ""]
    assert text.finish() == "EN" and not text.ended
    text = GrowingText(decode, [1], StopStrings(("END", "NDX")))
    assert [text.add(token) for token in (1, 4, 5)] == ["ab", "", ""] and text.ended
    text = GrowingText(decode, [1], StopStrings())
    assert (text.add(2), text.finish()) == ("", "\N{REPLACEMENT CHARACTER}")  # half a letter is all that came


def test_growing_text_keeps_spaces_that_a_vocabulary_leaves_out_at_the_beginning():
    pieces = {1: "\u2581x", 2: "\u2581", 3: "\u2581y", 4: "z"}
    decode = lambda ids: "".join(pieces[i] for i in ids).replace("\u2581", " ").lstrip()  # noqa: E731
    text = GrowingText(decode, [1], StopStrings())
    assert [text.add(token) for token in (2, 3, 2, 2, 4, 3)] == [" ", " y", " ", " ", "z", " y"]


@pytest.mark.parametrize("stops", [(), ("e ", "rose", "a a")])
def test_growing_text_is_what_all_tokens_decode_to_and_costs_the_same_for_each(stops):
    letters, decoded = vocabulary(), []

    def decode(ids: Any) -> str:
        decoded.append(len(ids))
        return letters.decode(ids)

    generator, prompt = np.random.default_rng(1), letters.encode("a rose")
    for _ in range(20):
        ids = generator.integers(EOS + 1, len(letters), 300).tolist()  # half letters and spaces in a row are among them
        whole, text, decoded[:] = letters.decode([*prompt, *ids])[len("a rose") :], "", []
        growing = GrowingText(decode, prompt, StopStrings(stops))
        for token in ids:
            text += growing.add(token)
            assert whole.startswith(text)
            if growing.ended:
                break
        places = [place for stop in stops if (place := whole.find(stop)) >= 0]
        assert text + growing.finish() == whole[: min(places, default=len(whole))]
        assert sum(decoded) < 20 * len(ids)  # all of the text for each token would be 150 times as many


def test_the_next_tokens_have_the_probabilities_of_the_model_and_their_texts():
    expected = np.exp(next_log_probs([BOS, *vocabulary().encode(PROMPTS[0])]))
    expected[[BOS, PAD]] = 0
    found = model().predict_next(PROMPTS[0], 5)
    np.testing.assert_allclose([one.probability for one in found], np.sort(expected)[:-6:-1], rtol=1e-5)
    for one in found:
        assert expected[one.token] == pytest.approx(one.probability, rel=1e-5)
        if one.token > EOS + 257:  # not a byte
            assert vocabulary().decode([one.token]) == one.text


@pytest.mark.parametrize("stride", [CONTEXT, 5, 1])
def test_log_probabilities_are_those_of_each_token_behind_its_window(stride):
    ids = [*vocabulary().encode("a rose is a rose, who knows what it rains" * 3), EOS]
    assert len(ids) > 2 * CONTEXT
    found = model().log_probabilities(ids, stride)
    before = [BOS, *ids]
    for place in range(len(ids)):
        begin = max(place - place % stride - (CONTEXT - stride), 0)
        assert found[place] == pytest.approx(next_log_probs(before[begin : place + 1])[ids[place]], abs=1e-4)


def test_the_scorer_measures_windows_and_steps_alike():
    text = "a rose is"
    cache, memory = build(MODEL).apply({"params": params()}, jnp.array([[BOS]]), 1, CONTEXT, method="start_cache")  # pyright: ignore

    @jax.jit
    def step(tokens: Any, cache: Any, index: Any) -> Any:
        return build(MODEL).apply({"params": params()}, tokens, index, cache, memory, method="step")

    encode = lambda text: [*vocabulary().encode(text), EOS]  # noqa: E731
    one = perplexity.score([text], encode, model().log_probabilities)
    other = perplexity.score([text], encode, perplexity.by_steps(step, cache, BOS))
    assert one.bits_per_byte == pytest.approx(other.bits_per_byte, rel=1e-5)


def test_a_translation_runs_decoder_completes_its_translation_as_the_translator_would():
    translator, source = translators.toy_translator(), translators.sentence(1, 5)
    decoder = LanguageModel(translators.CONFIG, translators.toy_params(), translators.toy_vocabulary(), source)
    begun = "ein Mann"
    ids, most = translators.toy_vocabulary().encode(begun), len(translators.toy_vocabulary().encode(source)) + 10
    # One prompt is forced while the other is empty. An output has at most `most` tokens, the prompt's included.
    expected = translator.translate([source] * 2, beam_size=1, prefixes=[begun, ""])
    for prompt, left, whole in zip([begun, ""], [most - len(ids), most], expected, strict=True):
        both = zip(*decoder.stream([prompt, "am See"], left, temperature=0.0), strict=True)
        assert normalise(prompt + "".join(next(both))) == whole
    sentence = [*translators.toy_vocabulary().encode(source), EOS]
    following = translators.forward(translators.MODEL, translators.toy_params(), sentence, [*ids, EOS])[-1]
    best = decoder.predict_next(begun, 1)[0]
    following[[BOS, PAD]] = -np.inf
    assert best.token == following.argmax()
    assert best.probability == pytest.approx(np.exp(following.max()), rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_tokens": 0}, "num_tokens is 0"),
        ({"temperature": -0.5}, "temperature is -0.5"),
        ({"top_k": 0}, "top-k is 0"),
        ({"top_p": 1.5}, "top-p is 1.5"),
        ({"repetition_penalty": 0.0}, "repetition penalty is 0.0"),
        ({"seed": -1}, "seed is -1"),
        ({"stop": [""]}, "stop string is empty"),
        ({"prompt": "a rose, " * 9}, f"and the model's context holds {CONTEXT - 1}; shorten it, or keep its last"),
    ],
)
def test_settings_out_of_range_are_refused_in_one_line(changes, message):
    settings: dict[str, Any] = {"prompt": "a", "num_tokens": 1} | changes
    with pytest.raises(UserError, match=message):
        model().generate_text(settings.pop("prompt"), **settings)


def test_the_last_tokens_of_a_long_prompt_are_kept_when_asked():
    long = "who knows what a rose is, who knows, it rains and rains" * 2
    ids = vocabulary().encode(long)
    assert len(ids) > CONTEXT
    expected = vocabulary().decode(ids[-CONTEXT:])
    kept = model().predict_next(long, keep_last=True)
    assert np.log(kept[0].probability) == pytest.approx(next_log_probs(ids[-CONTEXT:])[kept[0].token], abs=1e-4)
    assert long.endswith(expected)


def test_a_run_of_the_other_kind_is_refused():
    with pytest.raises(UserError, match="a translation run: give the sentence to translate"):
        LanguageModel(translators.CONFIG, translators.toy_params(), translators.toy_vocabulary())
    with pytest.raises(UserError, match="has no source"):
        LanguageModel(CONFIG, params(), vocabulary(), "a sentence")
    with pytest.raises(UserError, match="does not translate"):
        translators.Translator(CONFIG, params(), vocabulary())
    files = Config(model=MODEL, data=DataConfig(corpus="text", documents="file", context=CONTEXT))
    with pytest.raises(UserError, match="the prompt is empty"):
        LanguageModel(files, params(), vocabulary()).predict_next("")


def programs() -> int:
    steps: list[Any] = [next_tokens.begin, next_tokens.extend, next_tokens.following]
    return sum(step._cache_size() for step in steps)


@pytest.mark.parametrize("source", [None, "ein Mann"], ids=["language model", "translation run"])
def test_after_a_warm_up_nothing_is_compiled(source):
    if source is None:
        decoder, text = model(), "who knows what a rose is, who knows"
    else:
        decoder = LanguageModel(translators.CONFIG, translators.toy_params(), translators.toy_vocabulary(), source)
        text = translators.sentence(3, 9)
    jax.clear_caches()
    warm = decoder.warm_up(20, 9, temperature=0.0)
    assert warm == programs() > 3
    pieces = decoder.vocabulary.encode(text)
    for length in range(10):
        prompt = decoder.vocabulary.decode(pieces[:length])
        assert len(decoder.vocabulary.encode_target(prompt)) <= 9
        decoder.generate_text(prompt, 20, temperature=0.0)
        decoder.predict_next(prompt)
    assert programs() == warm
    assert decoder.warm_up(20, 9, temperature=0.0) == warm == programs()
    with pytest.raises(UserError, match="num_tokens is 0"):
        decoder.warm_up(0)
