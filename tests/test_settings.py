"""Every setting is checked when it is given: what cannot be is refused in one line, what is left can be built."""

import dataclasses
import json
import math
import typing

import jax
import pytest
from commands import refused, run
from hypothesis import given, settings
from hypothesis import strategies as st

from wmt_transformer import experiment
from wmt_transformer.cli import settings as listing
from wmt_transformer.config import Config, MeshConfig, ModelConfig, TrainConfig, UserError
from wmt_transformer.data.batches import Batch
from wmt_transformer.experiment import SECTIONS
from wmt_transformer.model.build import build
from wmt_transformer.ranges import MOST, kinds
from wmt_transformer.train.optimizer import optimizer
from wmt_transformer.train.sharding import make_mesh
from wmt_transformer.train.state import abstract_state
from wmt_transformer.train.step import make_train_step

FIELDS = [(section, field) for section, kind in SECTIONS.items() for field in kinds(kind)]
SMALL = Config(
    model=ModelConfig(vocabulary_size=30, num_layers=1, d_model=8, d_ff=8, num_heads=2, d_k=4, d_v=4, max_positions=16)
)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("model.dropout", "1.0"),
        ("model.dropout", "1.5"),
        ("model.num_heads", "0"),
        ("model.norm_epsilon", "0"),
        ("data.max_length", "0"),
        ("data.train_weights", "-1"),
        ("data.train_weights", "1e9"),
        ("train.warmup_steps", "0"),
        ("train.label_smoothing", "2"),
        ("train.learning_rate", "nan"),
        ("train.learning_rate", "inf"),
        ("train.log_every", "0"),
        ("train.seed", "-1"),
        ("train.seed", str(2**31)),
        ("train.average_last", "6"),
        ("train.epochs", "0"),
        ("train.epochs", "1e300"),
        ("train.clip_norm", "0"),
        ("train.ema_decay", "1"),
        ("train.weight_decay", "-0.1"),
        ("train.freeze", "(encoder"),
        ("decode.beam_size", "0"),
        ("decode.beam_size", "1001"),
        ("decode.alpha", "-0.1"),
        ("decode.alpha", "1e308"),
        ("mesh.data", "0"),
        ("mesh.fsdp", "-2"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_name(setting, value):
    with pytest.raises(UserError, match=setting.split(".")[1]) as caught:
        experiment.override(Config(), [f"--{setting}", value])
    assert "\n" not in str(caught.value)


def test_two_settings_that_fit_together_alone_are_taken_in_any_order():
    for order in (["average_last", "keep_checkpoints"], ["keep_checkpoints", "average_last"]):
        words = [word for name in order for word in (f"--train.{name}", "20")]
        assert experiment.override(Config(), words).train.average_last == 20


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"model": {"d_model": "wide"}}', "model.d_model is 'wide'"),
        ('{"train": {"steps": 1.5}}', "train.steps is 1.5"),
        ('{"train": {"steps": true}}', "train.steps is True"),
        ('{"model": {"activation": "tanh"}}', "one of relu, swish, gelu"),
        ('{"data": {"train_files": "a.en"}}', "data.train_files is 'a.en'"),
        ('{"name": 3}', "name is 3"),
        ('{"mesh": 8}', "mesh is 8"),
        ('{"optimiser": {}}', "optimiser is unknown"),
        ("[]", "holds nothing by name"),
        ('{"model": ', "damaged"),
    ],
)
def test_a_config_file_with_what_cannot_be_is_refused_with_its_name(text, found):
    with pytest.raises(UserError, match=r"config\.json") as caught:
        experiment.from_json(text)
    assert found in str(caught.value) and "\n" not in str(caught.value)


def words_for(kind: typing.Any) -> st.SearchStrategy[str]:
    """Words that a user may give for a field: some fit its type and range, others do not."""
    numbers = st.one_of(st.integers(-3, 9), st.sampled_from([MOST, MOST + 1]), st.floats(width=32)).map(str)
    literals = [word for word in typing.get_args(kind) if isinstance(word, str)]
    return st.one_of(numbers, st.sampled_from([*literals, "True", "None", "", "text", "é"]))


@st.composite
def overrides(draw: st.DrawFn, sections: tuple[str, ...] = tuple(SECTIONS)) -> list[str]:
    section, field = draw(st.sampled_from([one for one in FIELDS if one[0] in sections]))
    return [f"--{section}.{field}={draw(words_for(kinds(SECTIONS[section])[field]))}"]


@settings(max_examples=40)
@given(overrides())
def test_any_override_is_refused_in_one_line_or_gives_a_config_that_comes_back_from_json(words):
    try:
        config = experiment.override(SMALL, words)
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert experiment.from_json(experiment.to_json(config)) == config


@settings(max_examples=8)
@given(overrides(("model", "train")))
def test_any_override_of_model_or_training_is_refused_or_gives_a_step_that_can_be_lowered(words):
    try:
        config = experiment.override(SMALL, words)
    except UserError:
        return
    if max(config.model.num_layers, config.model.decoder_layers, config.train.accumulation) > 9:
        return  # would be lowered one after another, or needs as many rows
    mesh, model = make_mesh(config.mesh), build(config.model)
    update = optimizer(config.train, config.model.d_model)
    if config.train.freeze:  # no parameter has such a name
        with pytest.raises(UserError, match=r"names are (encoder|decoder)/"):
            abstract_state(model, update, mesh)
        return
    rows: typing.Any = jax.ShapeDtypeStruct((4 * config.train.accumulation, 8), "int32")
    with jax.set_mesh(mesh):
        step = make_train_step(model, update, config.train, mesh)
        state = abstract_state(model, update, mesh, config.train.ema_decay > 0)
        assert step.lower(state, Batch(rows, rows)).out_info[0].step.shape == ()  # pyright: ignore[reportFunctionMemberAccess]


# ---- What may change when a run goes on

MAY = {
    "train": {
        "steps",
        "epochs",
        "log_every",
        "evaluate_every",
        "evaluate_pairs",
        "checkpoint_every",
        "keep_checkpoints",
        "average_last",
        "patience",
        "patience_measure",
        "stop_after_skipped",
        "show_translations",
        "deterministic",
    },
    "model": {"vocabulary_size", "remat", "attention"},
    "data": {"path", "vocabulary"},
    "decode": {"beam_size", "alpha", "beta", "extra_length", "min_length", "max_length", "batch_tokens"},
    "mesh": {"data", "fsdp", "tensor"},
}


def another(value: typing.Any, kind: typing.Any) -> typing.Any:
    """Another value of a field, in its range."""
    kinds_of_text = [kind, *typing.get_args(kind)]  # names, or names and forms
    choices = [one for part in kinds_of_text for one in typing.get_args(part) if isinstance(one, str) and one != value]
    if choices:
        return choices[0]
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return (1.0,) if "float" in str(kind) else ("other",)
    if isinstance(value, int):
        return value + 1 if value > 0 else 1
    if isinstance(value, float) or "float" in str(kind):
        return 2 * value if value and value >= 1 else value / 2 if value else 0.25
    return 3 if "int" in str(kind) else "other"


@pytest.mark.parametrize(("section", "field"), FIELDS)
def test_a_run_goes_on_with_another_value_of_a_setting_only_where_that_does_not_change_what_is_learned(
    tmp_path, section, field
):
    base = Config(train=TrainConfig(keep_checkpoints=9, average_last=3, learning_rate=0.1))
    part = getattr(base, section)
    changed = dataclasses.replace(
        base,
        **{
            section: dataclasses.replace(
                part, **{field: another(getattr(part, field), kinds(SECTIONS[section])[field])}
            )
        },
    )
    assert changed != base
    (tmp_path / "config.json").write_text(experiment.to_json(base))
    if field in MAY[section]:
        experiment.check_same_run(tmp_path, changed)
    else:
        with pytest.raises(UserError, match=rf"{section}\.{field}: "):
            experiment.check_same_run(tmp_path, changed)


# ---- How settings are shown and left out


def test_help_lists_every_setting_with_its_value_its_range_and_its_meaning(capsys):
    assert run("train", "multi30k_en_de", "--help") == 0
    shown = capsys.readouterr().out
    for section, field in FIELDS:
        value = getattr(getattr(experiment.load("multi30k_en_de"), section), field)
        if not isinstance(value, tuple):
            assert f"--{section}.{field} {value}\n" in shown
    assert "Residual dropout" in shown and "0 or more\n      and below 1" in shown
    assert all(listing.meanings(kind.__name__).keys() == kinds(kind).keys() for kind in SECTIONS.values())


def test_a_run_goes_on_without_its_config_being_named(toy, copy, tmp_path, capsys):
    assert run("train", "--workdir", copy, "--train.steps", 12) == 0
    assert "step 12" in capsys.readouterr().err
    assert "holds no run" in refused(capsys, "train", "--workdir", tmp_path / "none")
    assert json.loads((copy / "config.json").read_text())["name"] == "toy"


def test_ranges_say_what_they_hold():
    assert math.nan not in kinds(TrainConfig)["learning_rate"].__metadata__[0]
    with pytest.raises(UserError, match="a number, 0 or more and below 1"):
        ModelConfig(dropout=1.0)
    with pytest.raises(UserError, match="a whole number, 1 or more, or -1"):
        MeshConfig(data=0)
