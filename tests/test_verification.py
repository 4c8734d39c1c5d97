"""What goes out is compared first: what counts as a difference, what is a tie, and what is shown."""

import re
from pathlib import Path

import numpy as np
import pytest
from fakes import tiny_model

from wmt_transformer.config import Config, DataConfig, DecodeConfig, UserError
from wmt_transformer.data import phrasebook, vocabulary
from wmt_transformer.decode.generate import Translator
from wmt_transformer.evaluate import bleu
from wmt_transformer.interop.verification import OURS, Comparison, Sample, compared, missing

TEXTS = [one.en for one in phrasebook.generate("train", 100)]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    data = tmp_path_factory.mktemp("data")
    words = vocabulary.train(TEXTS, data / "vocabulary.model", 330)
    model, params = tiny_model(vocabulary_size=len(words), tied_embeddings="none")
    (data / "dev.en").write_text("\n".join(TEXTS[:5]) + "\n\n")
    config = Config(model=model.config, data=DataConfig(max_length=60), decode=DecodeConfig(extra_length=4))
    found = Sample.of(config, params, data, 64)
    assert (found.kind, found.texts) == ("development sentences", TEXTS[:5])
    ours = Translator(config, params, words).translate(TEXTS[:5], beam_size=1)
    assert [vocabulary.normalise(words.decode(ids)) for ids in found.outputs] == ours and any(ours)
    (data / "dev.en").unlink()
    made_up = Sample.of(config, params, data, 64)
    assert made_up.kind == "made-up sentences" and len(made_up.texts) == 16 and all(made_up.texts)
    short = Sample.of(config, params, data, 6)  # as many learned positions
    assert 0 < len(short.texts) == len(short.sources) < 16 and max(map(len, short.sources)) <= 6
    return found


def replaced(sample: Sample, token: int) -> list[list[int]]:
    """Returns the outputs with another first token in the first of them."""
    (_, *rest), *others = sample.outputs
    return [[token, *rest], *others]


def test_the_same_ids_are_the_same_whatever_comes_after_the_end(sample: Sample):
    theirs = [[*ids, 2, 7, 7] if len(ids) < limit else ids for ids, limit in zip(sample[4], sample[3], strict=True)]
    found = sample.compare("numpy", {"float32": theirs, "int8": sample.outputs})
    named = f"numpy {np.__version__}"
    assert found == Comparison(named, None, "development sentences", 5, {"float32": 5, "int8": 5}, [])
    assert str(found) == f"of 5 development sentences {named} translates as we do: float32 5, int8 5"


def test_another_token_is_shown_and_refused_but_for_rounded_weights(sample: Sample):
    first = sample.outputs[0][0]
    other = next(token for token in range(300, 330) if token != first)
    with pytest.raises(UserError, match=r"numpy .* translates 1 of 5 development sentences otherwise") as refused:
        sample.compare("numpy", {"float32": replaced(sample, other)})
    assert repr(sample.texts[0]) in str(refused.value) and "\n" not in str(refused.value)
    found = sample.compare("numpy", {"float32": sample.outputs, "int8": replaced(sample, other)})
    assert found.same == {"float32": 5, "int8": 4}
    (difference,) = found.differences
    assert (difference["weights"], difference["source"]) == ("int8", sample.texts[0])
    assert difference["ours"] != difference["theirs"]


def test_a_token_as_likely_as_ours_is_a_tie_which_is_counted_and_not_refused(sample: Sample):
    first = sample.outputs[0][0]
    other = next(token for token in range(329, 3, -1) if token != first)
    table = np.array(sample.params["output_table"])
    table[other] = table[first]
    tied = sample._replace(params={**sample.params, "output_table": table})
    found = tied.compare("numpy", {"float32": replaced(sample, other)})
    assert found.same == {"float32": 4} and found.differences[0]["weights"] == "float32"


def test_bleu_of_the_test_set_is_that_of_its_greedy_translations_line_by_line(tmp_path: Path):
    words = vocabulary.train(TEXTS, tmp_path / "vocabulary.model", 330)
    model, params = tiny_model(vocabulary_size=len(words), tied_embeddings="none")
    config = Config(model=model.config, data=DataConfig(max_length=40), decode=DecodeConfig(extra_length=4))
    (tmp_path / "dev.en").write_text("\n".join(TEXTS[:5]) + "\n")
    with pytest.raises(UserError, match=r"has no test set to measure BLEU on; leave out --bleu"):
        Sample.of(config, params, tmp_path, 64, bleu=True)
    sources = [TEXTS[5], "", " ".join(TEXTS[6:12]), TEXTS[12]]  # the third is translated in parts
    told: list[str] = []
    hypotheses = Translator(config, params, words).translate(sources, beam_size=1, warn=told.append)
    assert len(told) == 1 and "it is translated in" in told[0]
    references = [hypotheses[0], "", hypotheses[2].lower(), "something else"]
    for language, lines in (("en", sources), ("de", references)):
        (tmp_path / f"test.{language}").write_text("".join(f"{line}\n" for line in lines))
    sample = Sample.of(config, params, tmp_path, 64, bleu=True)
    score, signature = bleu.sacrebleu_score(hypotheses, references)
    worse = [*sample.outputs[:-1], []]
    found = sample.compare("numpy", {"float32": sample.outputs, "int8": worse})
    assert found.same == {"float32": 5, "int8": 5} and found.sentences == 5 and not found.differences
    assert [(one["program"], one["weights"]) for one in found.bleu] == [
        (OURS, "float32"),
        (f"numpy {np.__version__}", "float32"),
        (f"numpy {np.__version__}", "int8"),
    ]
    assert [one["bleu"] for one in found.bleu] == [
        score,
        score,
        bleu.sacrebleu_score([*hypotheses[:3], ""], references)[0],
    ]
    assert 0 < score < 100 and {one["signature"] for one in found.bleu} == {signature}
    assert f"BLEU {score:.2f} of {OURS}, float32, greedy search, 4 test sentences: {signature}" in found.scores()

    def make(asked: bool) -> Sample:
        assert asked
        return sample

    alone = compared("nothing", ("no_such_package",), make, lambda _: {}, bleu=True)
    assert alone.reason == "no_such_package is not installed" and list(alone.bleu) == list(found.bleu[:1])


def test_what_is_not_installed_is_named(tmp_path: Path):
    assert missing("numpy") == "" and missing("numpy", "no_such_package") == "no_such_package is not installed"
    assert missing("no_such", "package_here") == "no_such and package_here are not installed"
    found = Comparison("transformers", missing("no_such"))
    assert str(found) == "not compared with transformers: no_such is not installed"
    found.write(tmp_path)
    assert re.search(r'"reason": "no_such is not installed"', (tmp_path / "export.json").read_text())
