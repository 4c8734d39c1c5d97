"""The public names: their examples run as they are written, and importing them costs nothing that is not used."""

import doctest
import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import wmt_transformer as wt
from wmt_transformer.checkpoint import Checkpoints
from wmt_transformer.compilation import use_compilation_cache
from wmt_transformer.config import Config, DataConfig, DecodeConfig, ModelConfig
from wmt_transformer.data import vocabulary as vocabularies
from wmt_transformer.experiment import to_json
from wmt_transformer.model.build import build

TINY = ModelConfig(vocabulary_size=310, num_layers=1, d_model=16, d_ff=32, num_heads=2, d_k=8, d_v=8)
SHAKESPEARE = Config(
    model=ModelConfig(**{**vars(TINY), "architecture": "decoder_only"}),
    data=DataConfig(corpus="shakespeare", documents="paragraph", context=64),
)
CRAFT = Config(
    model=TINY,
    data=DataConfig(corpus="craft", source="en", target="tree", max_length=40),
    decode=DecodeConfig(beam_size=1, extra_length=8),
)


def untrained(workdir: Path, config: Config) -> None:
    """Writes a run whose parameters are as they were drawn."""
    (workdir / "data").mkdir(parents=True)
    (workdir / "config.json").write_text(to_json(config))
    language_model = config.data.documents != "none"
    symbols = () if language_model else ["XX", "(S", ")S", "(NP", ")NP"]
    lines = ["the cat sees a dog", "a journey of a thousand miles", "romeo, o romeo"] * 9
    vocabulary = vocabularies.train(
        lines, workdir / "data" / "vocabulary.model", config.model.vocabulary_size, "bpe", symbols, lines=language_model
    )
    assert len(vocabulary) == config.model.vocabulary_size
    some = jnp.ones((1, 2), jnp.int32)
    checkpoints = Checkpoints(workdir)
    params = build(config.model).init(jax.random.key(0), some, some)["params"]
    checkpoints.save(1, {"params": params, "optimizer": {"count": jnp.zeros(())}})
    checkpoints.close()


@pytest.fixture(scope="module")
def folder(toy, tmp_path_factory) -> Path:
    """A folder with the runs that the examples name, all of them tiny."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(toy / "run", folder / "runs" / "quickstart")
    untrained(folder / "runs" / "shakespeare", SHAKESPEARE)
    untrained(folder / "runs" / "parsing_craft", CRAFT)
    return folder


@pytest.mark.parametrize("name", wt.__all__)
def test_the_examples_of_every_public_name_run_as_they_are_written(folder, monkeypatch, name):
    monkeypatch.chdir(folder)
    public = getattr(wt, name)
    found = doctest.DocTestFinder(exclude_empty=True).find(public, name, module=sys.modules[public.__module__])
    examples = [test for test in found if test.examples]
    assert any(test.name == name for test in examples)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in examples:
        runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_programs_are_kept_in_our_cache_unless_the_caller_gave_jax_a_folder(tmp_path, monkeypatch):
    given = jax.config.values["jax_compilation_cache_dir"]
    monkeypatch.setenv("WMT_TRANSFORMER_CACHE", str(tmp_path))
    try:
        for before, after in ((None, str(tmp_path / "compiled")), ("/theirs", "/theirs")):
            jax.config.update("jax_compilation_cache_dir", before)
            use_compilation_cache()
            assert jax.config.values["jax_compilation_cache_dir"] == after
    finally:
        jax.config.update("jax_compilation_cache_dir", given)


def test_importing_the_package_brings_nothing_heavy_and_completion_knows_its_names():
    script = """
import sys, time
begin = time.perf_counter()
import wmt_transformer as wt
seconds = time.perf_counter() - begin
heavy = {"jax", "flax", "numpy", "orbax", "sacrebleu", "sentencepiece"} & set(sys.modules)
assert not heavy and seconds < 0.2, (heavy, seconds)
assert set(wt.__all__) <= set(dir(wt))
config = wt.load_config("quickstart")
assert isinstance(config, wt.Config) and "jax" not in sys.modules
from wmt_transformer import *
assert load_config is wt.load_config and Translator is wt.Translator
from wmt_transformer.train import loop
from wmt_transformer.evaluate import bleu
assert loop.__name__ == "wmt_transformer.train.loop" and bleu.__name__ == "wmt_transformer.evaluate.bleu"
assert wt.train.__module__ == "wmt_transformer.training" and wt.evaluate.__module__ == "wmt_transformer.evaluate.runs"
try:
    wt.Translater
except AttributeError as error:
    assert "Translator" in str(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_public_functions_name_their_options():
    for name in wt.__all__:
        public = getattr(wt, name)
        if inspect.isfunction(public) and name != "load_config":  # whose overrides are the settings
            kinds = {one.kind for one in inspect.signature(public).parameters.values()}
            assert inspect.Parameter.VAR_KEYWORD not in kinds, name


def test_settings_are_changed_by_sections_or_dotted_names_and_checked():
    base = wt.load_config("multi30k_en_de")
    changed = wt.load_config(
        "multi30k_en_de", model={"dropout": 0.2}, **{"train.steps": 7}, data={"train_files": ["a"]}
    )
    assert (changed.model.dropout, changed.train.steps, changed.data.train_files) == (0.2, 7, ("a",))
    assert changed.model.num_layers == base.model.num_layers and changed.name == "multi30k_en_de"
    later = wt.load_config("wmt14_en_de_base", family="t2t", train={"learning_rate": 3.0})
    assert (later.family, later.model.norm_position, later.train.learning_rate) == ("t2t", "pre", 3.0)
    with pytest.raises(wt.UserError, match=r"no setting --train.stpes; did you mean --train.steps"):
        wt.load_config("multi30k_en_de", train={"stpes": 7})
    with pytest.raises(wt.UserError, match=r"train.steps is '7'; it must be a whole number"):
        wt.load_config("multi30k_en_de", train={"steps": "7"})
    with pytest.raises(wt.UserError, match=r"no setting --train"):
        wt.load_config("multi30k_en_de", train=7)


def test_the_name_of_a_config_is_no_config(tmp_path):
    for stage in (wt.prepare, wt.train):
        with pytest.raises(TypeError):
            stage("quickstart", tmp_path / "run")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_training_calls_back_after_every_step_and_evaluation_and_goes_on_to_the_same_end(toy, tmp_path):
    config, steps, found = wt.load_config(toy / "toy.py", train={"steps": 8}), [], []

    def note(step, metrics):
        steps.append((step, float(metrics.gradient_norm)))

    outcome = wt.train(config, str(tmp_path / "run"), on_step=note, on_evaluation=lambda *both: found.append(both))
    assert [step for step, _ in steps] == list(range(1, 9)) and all(norm > 0 for _, norm in steps)
    assert [step for step, _ in found] == [6, 8]
    assert outcome.evaluations == dict(found)
    assert found[0][1].keys() >= {"dev/loss", "dev/perplexity", "dev/bleu", "dev/score"}
    assert (outcome.step, outcome.signal) == (8, None)


@pytest.mark.slow
def test_what_a_callback_raises_ends_the_run_which_goes_on_from_its_checkpoint(toy, tmp_path):
    def fail(step, metrics):
        if step == 5:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        wt.train(wt.load_config(toy / "toy.py"), tmp_path, on_step=fail)
    again = []
    wt.train(wt.load_config(toy / "toy.py", train={"steps": 6}), tmp_path, on_step=lambda step, _: again.append(step))
    assert again == [4, 5, 6]
