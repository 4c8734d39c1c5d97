"""The vocabulary loses no text, is the same every time, and says what sizes are possible."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
import sentencepiece
from hypothesis import example, given
from hypothesis import strategies as st

from wmt_transformer.config import UserError
from wmt_transformer.data import vocabulary
from wmt_transformer.data.vocabulary import Vocabulary, normalise
from wmt_transformer.special_tokens import BOS, EOS, PAD, UNKNOWN

SENTENCES = [
    "A man in a red shirt rides a bicycle.",
    "Ein Mann in einem roten Hemd fährt Fahrrad.",
    "Two young women are sleeping under the old trees.",
    "Zwei junge Frauen schlafen unter den alten Bäumen.",
    "The children do not want to eat the soup, because it is cold.",
    "Die Kinder wollen die Suppe nicht essen, weil sie kalt ist.",
]


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def words(request, tmp_path_factory) -> Vocabulary:
    return vocabulary.train(SENTENCES, tmp_path_factory.mktemp("v") / "v.model", 320, request.param)


# Hypothesis draws from all code points, lone surrogates included.
@given(text=st.text(st.characters()))
@example(text="</s> <unk> <s> <pad> <0x41> ▁ ▁a")
@example(text="e\u0301 \u1100\u1161 \ufb01 \ufe4f \uff21 \u00b2 \u2122")
@example(text=" two  spaces\tand\u2028lines\u0085 \u00a0 \ufeff\u200b\u200d ")
@example(text="\U0001f468\u200d\U0001f469\u200d\U0001f467 \U00020000 \ud800 \udfff")
def test_any_unicode_survives_the_round_trip(words, text):
    assert words.decode(words.encode(text)) == normalise(text)
    assert words.decode([BOS, *words.encode(text), EOS, PAD, PAD]) == normalise(text)


@given(text=st.text(st.characters()))
def test_normalising_changes_only_composition_white_space_and_control_characters(text):
    def visible(string: str) -> list[str]:
        composed = unicodedata.normalize("NFC", string)
        return [c for c in composed if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cs") and c != "▁"]

    assert visible(normalise(text)) == visible(text)
    assert normalise(normalise(text)) == normalise(text)
    assert "  " not in normalise(text) and normalise(text) == normalise(text).strip()


def test_normalising_makes_one_space_of_any_white_space():
    assert normalise(" a\tb \r\n\u00a0\u2003c\x00\x7fd\u2581e ") == "a b c d e"
    assert normalise("Cafe\u0301") == "Caf\u00e9"


def test_special_ids_are_fixed_and_never_encoded(words):
    assert (PAD, BOS, EOS, UNKNOWN) == (0, 1, 2, 3)
    for sentence in [*SENTENCES, "</s>", "<pad>", "日本"]:
        assert min(words.encode(sentence)) > UNKNOWN


def test_decoding_stops_at_the_first_end_of_sentence(words):
    first, second = words.encode("A man"), words.encode("rides")
    assert words.decode(np.array([BOS, *first, EOS, *second, EOS, PAD])) == "A man"
    assert words.decode([]) == words.decode([EOS]) == ""


def test_pieces_are_those_of_the_ids(words):
    ids = sentencepiece.SentencePieceProcessor(model_proto=words._processor.serialized_model_proto())
    sentence = "A man rides 日."
    assert words.pieces(sentence) == [ids.id_to_piece(i) for i in words.encode(sentence)]
    assert "".join(words.pieces(SENTENCES[0])).replace("▁", " ").strip() == SENTENCES[0]
    assert "<0xE6>" in words.pieces(sentence)  # 日 is E6 97 A5 in UTF-8


@given(texts=st.lists(st.text(st.characters()) | st.sampled_from(SENTENCES)))
@example(texts=[*SENTENCES, "", "</s>", "\u65e5 A man", SENTENCES[0]])
def test_encoding_many_is_encoding_each(words, texts):
    texts = [normalise(text) for text in texts]
    tokens, lengths = words.encode_all(texts)
    expected = [[*words.encode(text), EOS] for text in texts]
    assert tokens.tolist() == [token for ids in expected for token in ids]
    assert lengths.tolist() == [len(ids) for ids in expected]


def test_encoding_does_not_depend_on_the_words_that_are_remembered(words, monkeypatch):
    expected = words.encode_all(SENTENCES)
    monkeypatch.setattr(vocabulary, "MOST_WORDS", 3)
    for sentence in SENTENCES:
        assert words.encode_all([sentence])[0].tolist() == [*words.encode(sentence), EOS]
    for again, before in zip(words.encode_all(SENTENCES), expected, strict=True):
        assert np.array_equal(again, before)


@pytest.mark.parametrize("model", ["bpe", "unigram"])
def test_the_same_text_gives_the_same_vocabulary(tmp_path, model):
    for name in ("one", "two"):
        assert len(vocabulary.train(iter(SENTENCES), tmp_path / name, 310, model)) == 310
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert Vocabulary.load(tmp_path / "one").encode("A man") == Vocabulary.load(tmp_path / "two").encode("A man")


@pytest.mark.parametrize("model", ["bpe", "unigram"])
def test_a_vocabulary_too_large_for_the_text_names_the_largest_that_works(tmp_path, model):
    with pytest.raises(UserError, match=r"is 9,000, but .* at most .* --data.vocabulary-size \d+ or less") as error:
        vocabulary.train(SENTENCES, tmp_path / "v.model", 9000, model)
    assert not (tmp_path / "v.model").exists()
    largest = int(str(error.value).split()[-3])
    assert len(vocabulary.train(SENTENCES, tmp_path / "v.model", largest, model)) == largest


def test_a_vocabulary_too_small_for_bytes_and_characters_is_refused(tmp_path):
    with pytest.raises(UserError, match="is 100, but bytes and characters alone are"):
        vocabulary.train(SENTENCES, tmp_path / "v.model", 100)
    for size, model in ((1, "bpe"), (1, "unigram"), (5, "char")):
        with pytest.raises(UserError, match=rf"is {size}, but bytes and .* alone are 2\d\d; set"):
            vocabulary.train(SENTENCES, tmp_path / "v.model", size, model)


def test_no_text_is_refused(tmp_path):
    with pytest.raises(UserError, match="no text to train a vocabulary on"):
        vocabulary.train([], tmp_path / "v.model", 300)


def test_a_missing_or_damaged_vocabulary_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"there is no vocabulary at .*prepare"):
        Vocabulary.load(tmp_path / "v.model")
    (tmp_path / "v.model").write_bytes(b"this is no model")
    with pytest.raises(UserError, match="is not a SentencePiece model"):
        Vocabulary.load(tmp_path / "v.model")


def test_sentencepiece_keeps_silent(tmp_path, capfd):
    vocabulary.train(SENTENCES, tmp_path / "v.model", 300)
    with pytest.raises(UserError):
        vocabulary.train(SENTENCES, tmp_path / "v.model", 9000)
    assert capfd.readouterr() == ("", "")


def test_lines_that_sentencepiece_leaves_out_are_trained_on_all_the_same(tmp_path):
    # A line of 70,000 bytes without a space, one with spaces, one with the character that it keeps for itself.
    for name, lines in {
        "long": ["zebra" * 14_000] * 5,
        "words": [" ".join(["zebra"] * 14_000)],
        "reserved": ["zebra\u2585zebra zebra"] * 20,
    }.items():
        words = vocabulary.train([*SENTENCES, *lines], tmp_path / name, 320)
        assert any("zebr" in piece for piece in words.ids()), name
    cut = list(vocabulary._trainable(["ü" * 100_000, "a " * 50_000]))
    assert all(len(part.encode()) <= vocabulary.LONGEST_LINE for part in cut)
    assert "".join(cut).replace(" ", "") == "ü" * 100_000 + "a" * 50_000


def test_a_vocabulary_of_another_program_is_refused(tmp_path):
    import io

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=written, vocab_size=60, minloglevel=2
    )
    (tmp_path / "theirs.model").write_bytes(written.getvalue())
    with pytest.raises(UserError, match=r"theirs\.model is another program's .* are \(-1, 1, 2, 0\) there"):
        Vocabulary.load(tmp_path / "theirs.model")
    (tmp_path / "empty.model").write_bytes(b"")
    with pytest.raises(UserError, match=r"empty\.model is not a SentencePiece model"):
        Vocabulary.load(tmp_path / "empty.model")
