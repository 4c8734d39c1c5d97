"""A vocabulary that exists is taken over: the same pieces under our ids, and SentencePiece itself is the oracle."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from commands import refused, run
from test_fingerprint import config  # noqa: F401
from test_prepare import quiet, sentences, write_corpus

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data import fingerprint, vocabulary
from wmt_transformer.data.documents import prepare as documents
from wmt_transformer.data.prepare import open_prepared, prepare
from wmt_transformer.data.vocabulary_files import adopt, load_vocabulary
from wmt_transformer.special_tokens import BOS, EOS, NAMES, PAD, UNKNOWN

TEXTS = list(itertools.chain.from_iterable(sentences()))


def theirs(path: Path, **options: Any) -> sentencepiece.SentencePieceProcessor:
    """Trains as `spm_train` does where it is told nothing else: no PAD, unk 0, NFKC, no bytes."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=written, **{"vocab_size": 48, "minloglevel": 2, **options}
    )
    path.write_bytes(written.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model_type": "bpe"},
        {"model_type": "bpe", "split_by_whitespace": False},  # pieces that have a space within them
        {"model_type": "bpe", "add_dummy_prefix": False},
        {"model_type": "bpe", "treat_whitespace_as_suffix": True},
        {"model_type": "char"},
        {"model_type": "bpe", "byte_fallback": True, "vocab_size": 350, "pad_id": 3},
        {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "unk_piece": "<what>"},  # T5's
        {"bos_id": -1, "eos_id": -1, "user_defined_symbols": [">>de<<"]},
    ],
    ids=str,
)
def test_another_programs_model_cuts_as_it_always_did(tmp_path: Path, options: dict[str, Any]):
    oracle = theirs(tmp_path / "their.model", **options)
    (tmp_path / "data").mkdir()
    words = adopt(tmp_path / "their.model", tmp_path / "data")
    special = {oracle.pad_id(), oracle.bos_id(), oracle.eos_id(), oracle.unk_id()} - {-1}
    assert len(words) == len(oracle) + 4 - len(special)
    ids = words.ids()
    texts = [*TEXTS, "\uff26ullwidth dog", "the  dog", "dog", "日 dog 日", "</s> <pad>"]
    for text in texts:
        found = oracle.encode(vocabulary.normalise(text))
        expected = [UNKNOWN if one == oracle.unk_id() else ids[oracle.id_to_piece(one)] for one in found]
        assert words.encode(text) == expected
        assert UNKNOWN in expected or words.decode(expected) == oracle.decode(oracle.encode(text))
    tokens, lengths = words.encode_all([vocabulary.normalise(text) for text in texts])
    assert tokens.tolist() == [token for text in texts for token in (*words.encode(text), EOS)]
    assert len(lengths) == len(texts)
    piece = words._processor.id_to_piece
    assert [words._processor.piece_to_id(piece(i)) for i in (PAD, BOS, EOS, UNKNOWN)] == [0, 1, 2, 3]
    adopt(tmp_path / "data", tmp_path / "data")  # now it is ours and stays as it is
    assert load_vocabulary(tmp_path / "data").ids() == ids


def test_a_vocabulary_of_ours_is_copied_with_its_fingerprint_from_a_file_a_data_folder_or_a_run(tmp_path: Path):
    data = write_corpus(tmp_path / "corpus", sentences())
    prepare(data, tmp_path / "run" / "data", quiet)
    parent = fingerprint.of(tmp_path / "run" / "data")["vocabulary"]
    other = write_corpus(tmp_path / "other", sentences()[::3])
    for number, path in enumerate(("run", "run/data", "run/data/vocabulary.model")):
        given = dataclasses.replace(other, vocabulary=str(tmp_path / path))
        child = prepare(given, tmp_path / str(number), quiet)
        assert fingerprint.of(child.folder)["vocabulary"] == parent and len(child.vocabulary) == 330
        pair = child.train.pair(5)
        assert [side.tolist()[:-1] for side in pair] == [child.vocabulary.encode(side) for side in sentences()[15]]


def test_a_pair_of_marian_models_encodes_each_side_with_its_own(tmp_path: Path):
    opus = tmp_path / "opus"
    opus.mkdir()
    ids = {"</s>": 0, "<unk>": 1}
    for name in ("source.spm", "target.spm"):
        processor = theirs(opus / name, vocab_size=45 if name == "source.spm" else 48)
        for i in range(3, len(processor)):
            ids.setdefault(processor.id_to_piece(i), len(ids))
    ids |= {">>de<<": len(ids), "<pad>": len(ids) + 1}
    (opus / "vocab.json").write_text(json.dumps(ids))
    data = write_corpus(tmp_path / "corpus", sentences())
    data = dataclasses.replace(data, vocabulary=str(opus), tags=(">>de<<",))
    prepared = prepare(data, tmp_path / "data", quiet)
    words: Any = prepared.vocabulary
    ours = json.loads((prepared.folder / "vocab.json").read_text())
    assert {ours[name]: name for name in NAMES.values()} == NAMES
    assert set(ours) == {*ids, "<s>"} and sorted(ours.values()) == list(range(len(ours)))
    for index, (source, target) in enumerate(sentences()):
        found = [side.tolist() for side in prepared.train.pair(index)]
        assert found == [
            [ours[">>de<<"], *(ours[piece] for piece in words._processor.encode(source, out_type=str)), EOS],
            [*(ours[piece] for piece in words._target.encode(target, out_type=str)), EOS],
        ]
        assert words.decode(found[1]) == target
    again = prepare(dataclasses.replace(data, vocabulary=str(prepared.folder)), tmp_path / "again", quiet)
    assert fingerprint.of(again.folder) == fingerprint.of(prepared.folder)


@pytest.mark.slow
def test_source_and_target_may_have_a_vocabulary_each_if_they_share_no_table(
    config: Path,  # noqa: F811
    tmp_path: Path,
    capsys: Any,
):
    opus = tmp_path / "opus"
    opus.mkdir()
    for side in ("source", "target"):
        processor = theirs(opus / f"{side}.spm", vocab_size=45 if side == "source" else 48)
        ids = {processor.id_to_piece(i): i for i in (2, 0, *range(3, len(processor)))}
        (opus / ("vocab.json" if side == "source" else "target_vocab.json")).write_text(json.dumps(ids))
    arguments = ("train", config, "--workdir", tmp_path / "run", "--data.vocabulary", opus, "--train.steps", 1)
    assert "--model.tied_embeddings target" in refused(capsys, *arguments)
    assert run(*arguments, "--model.tied_embeddings", "target") == 0
    words = load_vocabulary(tmp_path / "run" / "data")
    assert len(words) == 49 and words.decode(words.encode_target(TEXTS[1])) == TEXTS[1]


def test_the_content_of_a_given_vocabulary_counts_and_not_where_it_is(tmp_path: Path):
    data = write_corpus(tmp_path / "corpus", sentences())
    theirs(tmp_path / "one.model")
    data = dataclasses.replace(data, vocabulary=str(tmp_path / "one.model"))
    folder = tmp_path / "data"
    prepare(data, folder, quiet)
    made, lines = folder.stat().st_ino, []
    shutil.move(tmp_path / "one.model", tmp_path / "moved.model")
    prepare(data, folder, lines.append, trained=True)  # it was taken over: it is not needed any more
    moved = dataclasses.replace(data, vocabulary=str(tmp_path / "moved.model"))
    prepare(moved, folder, lines.append, trained=True)
    assert folder.stat().st_ino == made and all("up to date" in line for line in lines)
    theirs(tmp_path / "moved.model", vocab_size=46)
    for other in (moved, dataclasses.replace(data, vocabulary=None)):
        with pytest.raises(UserError, match=r"checkpoints of this run.*differs: the vocabulary;"):
            prepare(other, folder, quiet, trained=True)
    assert len(prepare(moved, folder, quiet).vocabulary) == 47


def test_what_is_no_vocabulary_or_lacks_pieces_is_one_line(tmp_path: Path):
    def refusal(path: Path, **options: Any) -> str:
        (tmp_path / "data").mkdir(exist_ok=True)
        with pytest.raises(UserError) as error:
            adopt(path, tmp_path / "data", **options)
        shutil.rmtree(tmp_path / "data")
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "there is no vocabulary at" in refusal(tmp_path / "none.model")
    assert "there is no vocabulary at" in refusal(tmp_path)
    (tmp_path / "text.model").write_text("no model")
    assert "text.model is not a SentencePiece model" in refusal(tmp_path / "text.model")
    theirs(tmp_path / "their.model")
    assert "has no piece >>de<<" in refusal(tmp_path / "their.model", symbols=[">>de<<"])
    assert "no piece for the line break" in refusal(tmp_path / "their.model", lines=True)
    vocabulary.train(TEXTS, tmp_path / "lines.model", 330, lines=True)
    assert "is a language model's vocabulary" in refusal(tmp_path / "lines.model")
    opus = tmp_path / "opus"
    opus.mkdir()
    for name in ("source.spm", "target.spm"):
        theirs(opus / name)
    for ids, message in (('{"a": 0}', "has no piece </s>"), ("[]", "is not a JSON object of pieces and ids")):
        (opus / "vocab.json").write_text(ids)
        assert message in refusal(opus)


def test_a_language_model_takes_over_the_vocabulary_of_another(tmp_path: Path):
    (tmp_path / "text.txt").write_text("\n".join(TEXTS) + "\n")
    data = DataConfig(
        corpus="text", path=str(tmp_path), train_files=("text.txt",), documents="file", vocabulary_size=330
    )
    documents.prepare(data, tmp_path / "first", quiet)
    (tmp_path / "text.txt").write_text("\n".join(TEXTS[::3]) + "\n")
    data = dataclasses.replace(data, vocabulary=str(tmp_path / "first"))
    second = documents.prepare(data, tmp_path / "second", quiet)
    vocabularies = {fingerprint.of(tmp_path / name)["vocabulary"] for name in ("first", "second")}
    assert len(vocabularies) == 1 and second.vocabulary.decode(second.train.tokens).startswith(TEXTS[0])


@pytest.mark.slow
def test_a_run_trains_with_a_vocabulary_that_exists_and_goes_on_without_it(
    config: Path,  # noqa: F811
    tmp_path: Path,
    capsys: Any,
):
    theirs(tmp_path / "their.model")
    arguments = ("train", config, "--workdir", tmp_path / "run", "--data.vocabulary", tmp_path / "their.model")
    assert run(*arguments, "--train.steps", 2) == 0
    (tmp_path / "their.model").unlink()
    assert run(*arguments, "--train.steps", 3) == 0
    assert len(open_prepared(tmp_path / "run" / "data").vocabulary) == 49
    capsys.readouterr()
    assert run("translate", "--workdir", tmp_path / "run", "--checkpoint", "latest", "the cat") == 0
    assert capsys.readouterr().out.count("\n") == 1
    assert "there is no vocabulary at" in refused(
        capsys, "train", config, "--workdir", tmp_path / "new", "--data.vocabulary", tmp_path / "their.model"
    )
    assert not (tmp_path / "new").exists()
