"""Configs: JSON round trip, what differs, and the configs that are shipped."""

import dataclasses
import re
from pathlib import Path

import pytest

from wmt_transformer import config, experiment
from wmt_transformer.config import Config, DataConfig, ModelConfig, UserError

SHIPPED = [
    "iwslt14_de_en",
    "multi30k_en_de",
    "multi30k_en_fr",
    "quickstart",
    "tatoeba_en_de",
    "wmt14_en_de_base",
    "wmt14_en_de_big",
    "wmt14_en_fr_base",
    "wmt14_en_fr_big",
]


def test_json_brings_back_an_equal_config_with_tuples_and_none():
    before = Config(name="mine", data=DataConfig(corpus="files", train_files=("a.en", "a.de"), train_pairs=None))
    after = experiment.from_json(experiment.to_json(before))
    assert after == before
    assert after.data.train_files == ("a.en", "a.de")


def test_equal_configs_hash_alike_so_that_they_can_key_compiled_functions():
    assert hash(Config()) == hash(experiment.from_json(experiment.to_json(Config())))


def test_a_field_that_this_version_does_not_know_is_named():
    text = experiment.to_json(Config()).replace('"d_ff"', '"d_fff"')
    with pytest.raises(UserError, match=r"model\.d_fff"):
        experiment.from_json(text)


def test_differences_name_the_field_and_both_values():
    here = Config(model=ModelConfig(dropout=0.3), mesh=config.MeshConfig(data=2))
    assert experiment.differences(Config(), here) == [
        "model.dropout: 0.1 there, 0.3 here",
        "mesh.data: -1 there, 2 here",
    ]
    assert experiment.differences(here, here) == []


def test_defaults_are_the_base_model_of_table_3():
    base = Config()
    model = base.model  # the row "base" of Table 3
    sizes = (
        model.num_layers,
        model.d_model,
        model.d_ff,
        model.num_heads,
        model.d_k,
        model.d_v,
        model.dropout,
    )
    assert sizes == (6, 512, 2048, 8, 64, 64, 0.1)
    assert (base.train.label_smoothing, base.train.steps, base.train.warmup_steps) == (0.1, 100_000, 4000)
    adam = (base.train.adam_b1, base.train.adam_b2, base.train.adam_epsilon)
    assert adam == (0.9, 0.98, 1e-9)  # §5.3
    assert (base.decode.beam_size, base.decode.alpha, base.decode.extra_length) == (4, 0.6, 50)  # §6.1


def test_the_configs_that_are_shipped_are_found():
    assert set(SHIPPED) <= set(experiment.shipped_configs())


@pytest.mark.parametrize("name", list(experiment.shipped_configs()))
def test_each_shipped_config_loads_under_its_name_and_opens_with_command_time_and_score(name: str):
    assert experiment.load(name).name == name
    docstring = experiment.shipped_configs()[name].read_text(encoding="utf-8").split('"""')[1]
    assert "    wmt-transformer " in docstring
    assert re.search(r"^Time: ", docstring, re.MULTILINE) and re.search(r"^Score", docstring, re.MULTILINE)


def test_the_readme_and_the_head_of_a_config_give_one_score():
    readme = Path(__file__).parents[1].joinpath("README.md").read_text("utf-8")
    scores = dict(re.findall(r"^\| `(\w+)`[^|]*\|[^|]*\| ([\d.]+|not yet run) \|", readme, re.MULTILINE))
    measured = {"quickstart", "multi30k_en_de", "multi30k_en_fr", "tatoeba_en_de"}
    assert set(scores) == measured | {"iwslt14_de_en", "wmt14_en_de_base"}
    for name, score in scores.items():
        head = experiment.shipped_configs()[name].read_text("utf-8").split('"""')[1]
        assert (f"{score} sacreBLEU" if score[0].isdigit() else score) in head, name


@pytest.mark.parametrize("name", SHIPPED)
def test_heads_of_a_shipped_config_are_as_wide_together_as_the_model(name: str):
    model = experiment.load(name).model
    assert model.num_heads * model.d_k == model.num_heads * model.d_v == model.d_model  # §3.2.2: d_k = d_model / h


def test_an_unknown_config_lists_those_that_exist():
    with pytest.raises(UserError) as caught:
        experiment.load("multi30k_en_ed")
    assert all(name in str(caught.value) for name in ["multi30k_en_ed", *SHIPPED])


def test_a_path_to_a_config_file_works_and_names_the_run(tmp_path: Path):
    path = tmp_path / "my_run.py"
    path.write_text("from wmt_transformer.config import Config\n\ndef get_config():\n    return Config(family='t2t')\n")
    assert experiment.load(str(path)) == dataclasses.replace(Config(family="t2t"), name="my_run")


def test_a_config_file_without_get_config_says_what_is_missing(tmp_path: Path):
    path = tmp_path / "empty.py"
    path.write_text("")
    with pytest.raises(UserError, match=r"get_config\(\)"):
        experiment.load(str(path))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.py", "\ndef get_config(:\n", "a.py, line 2: invalid syntax"),
        ("a.py", "import none_such\n", "a.py, line 1: ModuleNotFoundError: .*none_such"),
        ("a.py", "def get_config():\n    return 1 / 0\n", "a.py, line 2: ZeroDivisionError"),
        ("a.txt", "", "a.txt is no .py file"),
    ],
)
def test_a_config_file_that_fails_is_one_line_with_its_place(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        experiment.load(str(tmp_path / name))
    assert "\n" not in str(caught.value)
