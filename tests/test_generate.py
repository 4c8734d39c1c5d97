"""The translator: a real (tiny, untrained) model against naive decoding, and an echo in the model's place, to
see that every word of every line gets through."""

import dataclasses
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.translators import CONFIG, MODEL, sentence, toy_params, toy_translator, toy_vocabulary
from wmt_transformer.config import DecodeConfig, UserError
from wmt_transformer.data.vocabulary import Vocabulary, normalise
from wmt_transformer.decode import batched, beam, lines, runs, sampling, shapes
from wmt_transformer.decode.generate import Translation, Translator
from wmt_transformer.experiment import to_json
from wmt_transformer.model import int8
from wmt_transformer.model.transformer import Transformer
from wmt_transformer.platform import tracing_for
from wmt_transformer.special_tokens import BOS, EOS, PAD


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return toy_vocabulary()


@pytest.fixture(scope="module")
def params() -> Any:
    return toy_params()


@pytest.fixture(scope="module")
def translator() -> Translator:
    return toy_translator()


@pytest.fixture
def echoed(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, ...]]]:
    """Puts an echo in the model's place; yields the list of shapes that it was called with."""
    called = []

    def echo(params: Any, batch: batched.Batch, *, program: batched.Program) -> tuple[beam.Hypotheses, None]:
        source, longest = np.asarray(batch.source), program.cache_lengths[-1]
        called.append((*source.shape, longest))
        tokens = np.pad(source, ((0, 0), (0, longest - source.shape[1])))[:, None]
        scores = np.tile(-np.arange(program.count, dtype=np.float32), (len(source), 1))
        return beam.Hypotheses(jnp.asarray(tokens.repeat(program.count, axis=1)), jnp.asarray(scores)), None

    monkeypatch.setattr(batched, "_decode", echo)
    yield called


def test_greedy_translation_equals_decoding_without_a_cache(
    translator: Translator, params: Any, vocabulary: Vocabulary
):
    # The oracle runs the whole teacher-forced model again for every token and looks at its last position.
    model, lengths = Transformer(MODEL), set()
    forward = jax.jit(lambda source, target: model.apply({"params": params}, source, target))
    for seed in (0, 2, 4):
        text = sentence(seed, 2 + seed)
        ids = vocabulary.encode(text)
        source, target = jnp.asarray([[*ids, EOS]]), np.zeros((1, 64), np.int32)
        limit = len(ids) + 1 + CONFIG.decode.extra_length
        for position in range(limit):
            logits = np.array(forward(source, jnp.asarray(target))[0, position])
            logits[[PAD, BOS]] = -np.inf
            target[0, position] = logits.argmax()
            if target[0, position] == EOS:
                break
        lengths.add(int((target != PAD).sum()) == limit)
        assert translator.translate([text], beam_size=1) == [normalise(vocabulary.decode(target[0].tolist()))]
    assert lengths == {True, False}  # one ended by itself, one at the limit


def test_scores_are_length_normalised_teacher_forced_log_probabilities(params: Any, vocabulary: Vocabulary):
    source = np.zeros((4, 12), np.int32)  # the last row is padding alone
    for row, (seed, words) in zip(source, ((0, 2), (2, 4), (5, 7)), strict=False):
        ids = [*vocabulary.encode(sentence(seed, words)), EOS]
        row[: len(ids)] = ids
    limits = np.array([20, 20, 12, 0], np.int32)
    batch: Any = (source, limits, None, np.float32(0.6), np.float32(0.0), np.uint32(1), np.zeros((4, 3), np.int32))
    program = batched.Program((MODEL,), sampling.Greedy(), 3, 2, (24,), covered=False, alignments=False, halved=False)
    found, _ = batched._decode((params,), batched.Batch(*batch), program=program)
    tokens, scores = map(np.asarray, found)
    for rank in range(2):
        target = jnp.asarray(tokens[:, rank])
        logits: Any = Transformer(MODEL).apply({"params": params}, jnp.asarray(source), target)
        log_probs = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[:, rank, :, None], axis=2)[..., 0]
        real = tokens[:, rank] != PAD
        expected = (log_probs * real).sum(axis=1) / ((5 + real.sum(axis=1)) / 6) ** 0.6
        np.testing.assert_allclose(scores[:3, rank], expected[:3], atol=2e-4)
    assert (tokens[3] == PAD).all()


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_translation_does_not_depend_on_what_it_is_batched_with(translator: Translator, beam_size: int):
    sentences = [sentence(seed, words) for seed, words in enumerate((9, 2, 7, 3))]
    together = translator.translate(sentences, beam_size)
    assert together == [translator.translate([one], beam_size)[0] for one in sentences]
    assert translator.translate(sentences[::-1], beam_size) == together[::-1]
    assert len(set(together)) == 4


def test_the_n_best_are_sorted_and_begin_with_the_translation(translator: Translator):
    sentences = [sentence(1, 5), "", sentence(2, 3)]
    best = translator.n_best(sentences, 3, beam_size=3)
    assert [len(one) for one in best] == [3, 1, 3]
    for hypotheses in best:
        scores = [one.score for one in hypotheses]
        assert scores == sorted(scores, reverse=True) or len(hypotheses) == 1
    assert [one[0].text for one in best] == translator.translate(sentences, beam_size=3)


def test_new_parameters_are_used_and_do_not_compile_again(params: Any, vocabulary: Vocabulary):
    translator, text = Translator(CONFIG, params, vocabulary), [sentence(3, 6)]
    decode: Any = batched._decode
    before = translator.translate(text, beam_size=1)
    compiled = len(decode)
    other = jax.tree.map(lambda x: x[::-1], params)
    translator.params = other
    after = translator.translate(text, beam_size=1)
    assert after != before
    assert Translator(CONFIG, other, vocabulary).translate(text, beam_size=1, alpha=0.9) == after
    assert len(decode) == compiled


def test_blank_lines_give_empty_ones_without_a_call_of_the_model(translator: Translator, echoed: list[tuple[int, ...]]):
    assert translator.translate(["", "   ", "\t\u00a0"]) == ["", "", ""]
    assert translator.n_best([" "], 2, beam_size=2) == [[Translation("", 0.0)]]
    assert translator.translate([]) == []
    assert echoed == []


def by_line(text: str) -> str:
    return text if text in ("\n", "\r\n") else normalise(text)


@hypothesis.given(st.lists(st.text(st.sampled_from("ab \r\n") | st.characters(), max_size=12), max_size=9))
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_every_line_comes_out_in_its_place(translator: Translator, echoed: list[tuple[int, ...]], text: list[str]):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(translator, "longest", 10_000)
        expected = [
            "".join(line if "\n" in line else normalise(line) for line in re.split(r"(\r?\n)", one)) for one in text
        ]
        assert translator.translate(text) == expected


def test_a_gpu_decodes_more_rows_at_once_unless_told_otherwise():
    assert shapes.batch_tokens(DecodeConfig()) == 4_096
    with tracing_for("gpu"):
        assert shapes.batch_tokens(DecodeConfig()) == 256 * 4 * 32
        assert shapes.batch_tokens(DecodeConfig(batch_tokens=512)) == 512


def test_a_file_of_sentences_takes_few_shapes(translator: Translator, echoed: list[tuple[int, ...]]):
    text = [sentence(i, 1 + i % 14) for i in range(500)]
    assert translator.translate(text) == text
    assert len(set(echoed)) <= 7  # 8, 12, 16, 24, 32, 48 and the rest at the end
    beam_size, most = CONFIG.decode.beam_size, shapes.batch_tokens(CONFIG.decode)
    assert all(rows * beam_size * length <= most for rows, length, _ in echoed)
    slots = sum(rows * length for rows, length, _ in echoed)
    assert sum(len(translator.vocabulary.encode(line)) + 1 for line in text) > 0.7 * slots


def test_a_very_long_line_is_translated_in_parts_with_a_warning_that_names_it(
    translator: Translator, echoed: list[tuple[int, ...]]
):
    long = ". ".join(sentence(i, 6) for i in range(40)) + "."
    warnings: list[str] = []
    assert translator.translate(["ein Hund", long, "im Garten"], warn=warnings.append, first_line=7) == [
        "ein Hund",
        long,
        "im Garten",
    ]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"line 8 is very long: {len(translator.vocabulary.encode(long))} pieces")
    assert max(length for _, length, _ in echoed) <= 48  # the ladder's step for max_length 40
    with pytest.warns(UserWarning, match="line 1 is very long"):
        assert translator.translate([long]) == [long]


def test_a_long_line_is_cut_after_sentences_then_between_words(translator: Translator, vocabulary: Vocabulary):
    long = ". ".join(sentence(i, 6) for i in range(40)) + "."
    parts = list(lines.split(vocabulary, long, translator.longest))
    assert " ".join(parts) == long
    assert all(part.endswith(".") for part in parts)
    unpunctuated = long.replace(".", "")
    parts = list(lines.split(vocabulary, unpunctuated, translator.longest))
    assert " ".join(parts).split() == unpunctuated.split()
    unbroken = "x" * 1000
    parts = list(lines.split(vocabulary, unbroken, translator.longest))
    assert "".join(parts) == unbroken
    assert all(len(vocabulary.encode(part)) < CONFIG.data.max_length for part in parts)


def test_the_n_best_of_a_long_line_join_those_of_its_parts(translator: Translator, echoed: list[tuple[int, ...]]):
    long = ". ".join(sentence(i, 6) for i in range(40)) + "."
    [hypotheses] = translator.n_best([long], 2, warn=lambda _: None)
    assert hypotheses == [Translation(long, 0.0), Translation(long, -1.0)]  # the echo's k-th best scores -k


def test_a_model_with_learned_positions_never_looks_behind_its_table(vocabulary: Vocabulary):
    learned = dataclasses.replace(MODEL, positions="learned", max_positions=20)
    some = jnp.ones((1, 2), jnp.int32)
    params = Transformer(learned).init(jax.random.key(1), some, some)["params"]
    translator = Translator(dataclasses.replace(CONFIG, model=learned), params, vocabulary)
    warnings: list[str] = []
    [text] = translator.translate([sentence(0, 30)], beam_size=2, warn=warnings.append)
    assert text
    assert "training saw at most 19" in warnings[0]


def test_a_line_break_that_the_model_makes_does_not_break_the_line(
    translator: Translator, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
):
    newline = vocabulary._processor.piece_to_id("<0x0A>")
    tokens = jnp.asarray([[[*vocabulary.encode("ein"), newline, *vocabulary.encode("Hund"), EOS, PAD]]])
    broken = beam.Hypotheses(tokens, jnp.zeros((1, 1)))
    monkeypatch.setattr(batched, "_decode", lambda *_, **__: (broken, None))
    [text] = translator.translate(["ein Hund"])
    assert text.split() == ["ein", "Hund"]
    assert len(text.splitlines()) == 1


def test_a_vocabulary_of_another_size_is_refused_with_both_sizes(params: Any, vocabulary: Vocabulary):
    table = params["target_embedding"]["table"]
    larger = params | {"target_embedding": {"table": jnp.concatenate([table, table[:5]])}}
    with pytest.raises(UserError, match="330 pieces and the checkpoint's embedding 335 rows"):
        Translator(CONFIG, larger, vocabulary)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 5, "beam_size": 4}, "5 translations were asked of a beam of 4"),
        ({"count": 0}, "0 translations"),
        ({"count": 1, "beam_size": 0}, "beam_size is 0"),
        ({"count": 1, "alpha": -0.1}, "alpha is -0.1"),
        ({"count": 1, "alpha": float("nan")}, "alpha is nan"),
    ],
)
def test_settings_out_of_range_are_refused(translator: Translator, settings: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        translator.n_best(["ein Hund"], **settings)


def test_a_trained_translator_is_loaded_from_its_work_folder(
    tmp_path: Path,
    translator: Translator,
    params: Any,
    vocabulary: Vocabulary,
    monkeypatch: pytest.MonkeyPatch,
):
    from wmt_transformer.checkpoint import Checkpoints

    with pytest.raises(UserError, match="holds no run; make one with: wmt-transformer train"):
        Translator.load(tmp_path)
    (tmp_path / "config.json").write_text(to_json(CONFIG), encoding="utf-8")
    with pytest.raises(UserError, match="holds no checkpoint"):
        Translator.load(tmp_path)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, {"params": params, "optimizer": {"count": jnp.zeros(())}})
    checkpoints.close()
    with pytest.raises(UserError, match="no vocabulary"):
        Translator.load(tmp_path, "latest")
    (tmp_path / "data").mkdir()
    serialised = vocabulary._processor.serialized_model_proto()
    (tmp_path / "data" / "vocabulary.model").write_bytes(serialised)
    text = [sentence(1, 5), "", sentence(2, 3)]
    assert Translator.load(tmp_path, "3").translate(text, 3) == translator.translate(text, 3)

    [[[best], [_], [_]], rounded] = (
        one.n_best(text, 1, 1) for one in (translator, Translator.load(tmp_path, "3", compute_dtype="bfloat16"))
    )
    kept = Translator.load(tmp_path, "3", compute_dtype="bfloat16").params["encoder_0"]
    assert kept["self_attention"]["query"]["kernel"].dtype == jnp.bfloat16
    assert kept["self_attention_residual"]["norm"]["scale"].dtype == jnp.float32
    # 8 significant bits in every product: the sum of log-probabilities is near, and not the same.
    assert rounded[0][0].score != best.score and abs(rounded[0][0].score / best.score - 1) < 0.02

    small = Translator.load(tmp_path, "3", compute_dtype="int8")
    assert small.params["encoder_0"]["self_attention"]["query"]["kernel"]["values"].dtype == jnp.int8
    assert repr(small) == repr(Translator.load(tmp_path, "3"))  # with as many parameters
    [[whole], [in_8_bits]] = (one.score(text[:1], [best.text]) for one in (translator, small))
    assert in_8_bits.log_probability != whole.log_probability
    assert abs(in_8_bits.log_probability / whole.log_probability - 1) < 0.02
    monkeypatch.setattr(runs, "backend", lambda: "gpu")
    with pytest.raises(UserError, match="int8 is for decoding on a CPU, and the devices here are GPUs; use bfloat16"):
        Translator.load(tmp_path, "3", compute_dtype="int8")


@pytest.mark.parametrize(
    ("longest", "hypotheses", "lengths"),
    [
        (10, 128, (10,)),
        (23, 128, (23,)),
        (32, 128, (16, 32)),
        (200, 128, (16, 32, 64, 128, 200)),
        (200, 40, (32, 64, 128, 200)),
        (200, 5000, (16, 32, 64, 128, 200)),
        (84, 4, (84,)),
        (1000, 4, (512, 1000)),
    ],
)
def test_the_lengths_of_a_cache(longest: int, hypotheses: int, lengths: tuple[int, ...]):
    assert shapes.cache_lengths(longest, hypotheses) == lengths


def test_batches_are_decoded_side_by_side_in_fewer_bits_on_several_cores(monkeypatch: pytest.MonkeyPatch, params: Any):
    rounded, in_8_bits = dataclasses.replace(MODEL, compute_dtype="bfloat16"), int8.quantized(params)
    for cores, models, own, at_once in (
        (4, (rounded,), (params,), 2),
        (1, (rounded,), (params,), 1),
        (4, (rounded, MODEL), (params, params), 1),
        (4, (rounded, MODEL), (params, in_8_bits), 2),
    ):
        monkeypatch.setattr(shapes.os, "cpu_count", lambda cores=cores: cores)
        assert shapes.batches_at_once(models, own) == at_once


def test_batches_side_by_side_find_what_one_after_the_other_finds(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
):
    text = [sentence(seed, 2 + seed % 9) for seed in range(40)]
    found = []
    for at_once in (1, 2):
        monkeypatch.setattr(shapes, "batches_at_once", lambda *_, at_once=at_once: at_once)
        found.append(translator.n_best(text, 2, 2))
    for [one, other] in zip(*found, strict=True):
        assert [t.text for t in one] == [t.text for t in other]
        np.testing.assert_allclose([t.score for t in one], [t.score for t in other], rtol=1e-5)


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_a_batch_is_read_when_the_next_ones_are_dispatched(ahead: int):
    dispatched = []
    batches = (dispatched.append(number) or (np.full(2, number), None) for number in range(4))
    read = 0
    for arrays, nothing in batched.read_in_order(batches, ahead):
        assert dispatched == list(range(min(read + ahead, 3) + 1))
        assert arrays.tolist() == [read, read] and nothing is None
        read += 1
    assert read == 4


@pytest.mark.parametrize("beam_size", [1, 3])
def test_the_lengths_of_the_cache_do_not_change_what_is_found(
    translator: Translator, monkeypatch: pytest.MonkeyPatch, beam_size: int
):
    text = [sentence(seed, 2 + 3 * seed) for seed in range(4)]
    found, compiled = [], cast(Any, batched._decode)
    for smaller in ((), (4, 8)):
        monkeypatch.setattr(batched, "cache_lengths", lambda longest, _, smaller=smaller: (*smaller, longest))
        compiled.clear()
        found.append(translator.n_best(text, beam_size, beam_size))
    compiled.clear()
    for [one, other] in zip(*found, strict=True):
        assert [t.text for t in one] == [t.text for t in other]
        np.testing.assert_allclose([t.score for t in one], [t.score for t in other], rtol=1e-5)


def test_where_there_is_much_to_decode_batches_are_halved_and_nothing_else_changes(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
):
    texts = [sentence(seed, 1 + seed % 7) for seed in range(40)]
    seen: list[bool] = []
    real = beam.search
    monkeypatch.setattr(
        beam, "search", lambda *rest, **named: seen.append(bool(named["fewer"])) or real(*rest, **named)
    )
    plain = translator.n_best(texts, 3)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(translator.params))
    monkeypatch.setattr(batched, "_HALVED_FROM", parameters * len(texts))
    cast(Any, batched._decode).clear()
    halved = translator.n_best(texts, 3)
    translator.n_best(texts[1:], 3)  # one too few
    assert True in seen and seen[-1] is False
    assert [[one.text for one in best] for best in halved] == [[one.text for one in best] for best in plain]
    scores = [[one.score for one in best] for found in (halved, plain) for best in found]
    np.testing.assert_allclose(scores[:40], scores[40:], rtol=1e-5)


def test_samples_are_drawn_independently_and_the_first_is_the_one_that_translate_draws(translator: Translator):
    sampler, text = sampling.Sample((sampling.Temperature(2.0),)), [sentence(seed, 2 + seed) for seed in range(3)]
    found = translator.n_best(text, 5, sampler=sampler, seed=7)
    assert [len(one) for one in found] == [5, 5, 5]
    assert [one[0].text for one in found] == translator.translate(text, sampler=sampler, seed=7)
    assert all(len({one.text for one in samples}) == 5 for samples in found)
    # Neither the texts beside it nor the number of samples decide what is drawn.
    alone = translator.n_best(text[1], 2, sampler=sampler, seed=7, first_line=2)
    assert [one.text for one in alone] == [one.text for one in found[1][:2]]
    with pytest.raises(UserError, match="0 translations were asked"):
        translator.n_best(text, 0, sampler=sampler)


def test_calls_from_several_threads_find_what_one_after_the_other_finds(translator: Translator):
    calls = [([sentence(seed, 2 + seed % 5)] * (1 + seed % 2), 1 + seed % 2) for seed in range(12)]
    expected = [translator.translate(*call) for call in calls]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda call: translator.translate(*call), calls)) == expected


def test_calls_from_several_threads_decode_one_after_the_other(translator: Translator, monkeypatch: pytest.MonkeyPatch):
    # Side by side they would take the memory of as many batches.
    at_work, seen, decode = threading.Semaphore(), [], batched.decode

    def watched(*arguments: Any) -> Any:
        seen.append(at_work.acquire(blocking=False))
        time.sleep(0.05)
        at_work.release()
        return decode(*arguments)

    monkeypatch.setattr(batched, "decode", watched)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(translator.translate, [sentence(seed, 3) for seed in range(4)]))
    assert seen == [True] * 4


def test_after_a_warm_up_nothing_is_compiled(vocabulary: Vocabulary, params: Any):
    config = dataclasses.replace(CONFIG, data=dataclasses.replace(CONFIG.data, max_length=11))
    translator, compiled = Translator(config, params, vocabulary), cast(Any, batched._decode)
    compiled.clear()
    request = translator.request(beam_size=2)
    # Sources of up to 11 tokens are padded to 8 or 12, in batches of 1, 2 or 4.
    assert translator.warm_up(3, request) == 6 == len(compiled)
    for count in (1, 2, 3):
        for words in (1, 2, 4):
            translator.translate([sentence(0, words)] * count, beam_size=2, warn=lambda _: None)
    assert len(compiled) == 6
    every = translator.warm_up(request=request)
    assert every == len(compiled) > 6
    translator.translate([sentence(0, 1 + i % 4) for i in range(300)], beam_size=2, warn=lambda _: None)
    assert len(compiled) == every
    with pytest.raises(UserError, match="0 texts to warm up for"):
        translator.warm_up(0)


def test_a_decoder_shows_its_size_and_where_it_is(translator: Translator, params: Any):
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert repr(translator) == f"Translator(in memory, {count:,} parameters, cpu:0)"
    assert repr(Translator.ensemble([translator, translator])).startswith("Translator(in memory + in memory, ")


@pytest.mark.parametrize("sizes", [(), (1, 4, 16, 32), (1, 8)])
def test_all_shapes_are_those_that_any_number_of_sources_may_need(sizes: tuple[int, ...]):
    settings, most = DecodeConfig(beam_size=4, batch_tokens=1024), 40
    devices = shapes.Devices((), None, 1, 1)
    listed = [(one.rows, one.length) for one in shapes.all_shapes(30, most, settings, 1000, devices, sizes)]
    assert len(set(listed)) == len(listed)
    needed = {
        (one.rows, one.length)
        for length in range(1, 31)
        for count in range(1, most + 1)
        for one in shapes.shapes_of([length] * count, settings, 1000, devices, sizes)
    }
    assert set(listed) == needed
    assert all(4 * rows * length <= 1024 for rows, length in needed)
    assert all(rows in sizes or rows == 1024 // (4 * length) // 8 * 8 for rows, length in needed if sizes)
