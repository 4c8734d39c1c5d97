"""The paper's tables: its own figures and costs, and ours from reports alone."""

import json
from pathlib import Path

import pytest
from commands import refused, run

from wmt_transformer import experiment
from wmt_transformer.config import UserError
from wmt_transformer.evaluate import paper


def table(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, dict[str, dict]]:
    """Returns what `paper --json` prints, each table's rows by name."""
    capsys.readouterr()
    assert run("paper", "--json", *arguments) == 0
    found = json.loads(capsys.readouterr().out)
    return {name: {row["row"]: row for row in rows} for name, rows in found.items()}


def write(folder: Path, name: str, **changes: object) -> None:
    """Writes a made report, such as `evaluate --json` prints of base, but for the changes."""
    report = {
        "config": "wmt14_en_de_base", "family": "paper", "changed": [], "source": "en", "target": "de", "split": "test",
        "checkpoint": "average", "step": 100_000, "sacrebleu": 26.0, "tokenized_bleu": 26.5,
        "compound_split_bleu": 27.1,
    }  # fmt: skip
    (folder / name).write_text(json.dumps({**report, **changes}))


def test_training_cost_is_time_by_gpus_by_what_they_sustain_and_gives_the_papers_figures():
    # 12 h x 3,600 x 8 x 9.5e12 = 3.2832e18; 3.5 d x 86,400 x 8 x 9.5e12 = 2.29824e19. Table 2: 3.3e18 and 2.3e19.
    base, big = (paper.training_flops(**paper.TRAINING[size]) for size in ("base", "big"))
    assert (base, big) == (pytest.approx(3.2832e18), pytest.approx(2.29824e19))
    printed = {row.row: row.paper["flops"] for row in paper.TABLE_2 if row.config}
    for language in ("EN-DE", "EN-FR"):
        assert float(f"{base:.1e}") == printed[f"Transformer (base), {language}"]
        assert float(f"{big:.1e}") == printed[f"Transformer (big), {language}"]


def test_without_reports_nothing_of_ours_is_claimed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    found = table(capsys, "--reports", tmp_path)
    assert {name: len(rows) for name, rows in found.items()} == {"table2": 17, "table3": 20, "table4": 12}
    assert all(row["ours"] is None for rows in found.values() for row in rows.values())
    assert run("paper", "--reports", tmp_path) == 0
    out = capsys.readouterr().out
    # Four runs in Table 2, twenty in Table 3, two of parsing.
    assert out.count("not yet run") == 4 + 20 + 2
    assert "wmt-transformer train table3_a1 --workdir runs/table3_a1" in out
    assert "27.3" in out and "41.8" in out and "base 12 h x 8 x 9.5 TFLOPS = 3.3e18" in out


def test_the_reports_that_are_kept_are_readable():
    assert paper.reports_folder().is_dir()
    for report in paper.read_reports(paper.reports_folder()):
        assert report["config"] in experiment.shipped_configs()


def test_every_command_names_a_config_that_is_shipped():
    rows = [row for row in (*paper.TABLE_2, *paper.TABLE_3, *paper.TABLE_4) if row.config]
    assert {row.config for row in rows} <= set(experiment.shipped_configs())
    table3 = {name for name in experiment.shipped_configs() if name.startswith("table3_")}
    assert table3 <= {row.config for row in rows}
    big = next(row for row in paper.TABLE_2 if row.config == "wmt14_en_fr_big")
    assert big.commands == [
        "wmt-transformer train wmt14_en_fr_big --workdir runs/wmt14_en_fr_big",
        "wmt-transformer average --workdir runs/wmt14_en_fr_big",
        "wmt-transformer evaluate --workdir runs/wmt14_en_fr_big --split test",
    ]
    (row,) = (row for row in paper.TABLE_3 if row.config == "table3_e")
    assert row.commands[1:] == ["wmt-transformer evaluate --workdir runs/table3_e --split dev --checkpoint latest"]
    parsers = [row for row in paper.TABLE_4 if row.row.startswith("Transformer")]
    assert [row.config for row in parsers] == ["parsing_wsj", "parsing_semi_supervised"]
    assert parsers[0].commands == [
        "wmt-transformer train parsing_wsj --workdir runs/parsing_wsj --data.path TREEBANK",
        "wmt-transformer evaluate --workdir runs/parsing_wsj --split test",
    ]


def test_the_figures_of_table_3_are_those_that_its_configs_name():
    for row in paper.TABLE_3[1:-1]:
        assert row.config is not None
        words = experiment.shipped_configs()[row.config].read_text(encoding="utf-8")
        assert f"perplexity {row.paper['perplexity']:.2f}, {row.paper['bleu']:.1f} BLEU" in words


def test_a_report_stands_beside_the_papers_row_with_the_score_the_paper_means(tmp_path: Path, capsys):
    training = {"seconds": 43_200, "devices": 8, "device": "NVIDIA P100", "sustained_tflops": 9.5}
    write(tmp_path, "base.json", training=training)
    write(tmp_path, "fr.json", config="wmt14_en_fr_base", target="fr", tokenized_bleu=37.9, compound_split_bleu=None)
    found = table(capsys, "--reports", tmp_path)["table2"]
    german, french = (found[f"Transformer (base), {language}"]["ours"] for language in ("EN-DE", "EN-FR"))
    assert (german["bleu"], german["bleu_is"]) == (27.1, "compound_split_bleu")
    assert german["flops"] == pytest.approx(3.2832e18)
    assert (german["family"], german["checkpoint"], german["file"]) == ("paper", "average", "base.json")
    assert (french["bleu"], french["bleu_is"], french["flops"]) == (37.9, "tokenized_bleu", None)
    assert found["Transformer (big), EN-DE"]["ours"] is None
    assert run("paper", "--reports", tmp_path) == 0
    out = capsys.readouterr().out
    assert "BLEU 27.1, FLOPs 3.3e18, family paper, averaged" in " ".join(out.split())
    assert out.count("not yet run") == 2 + 20 + 2


def test_table_3_takes_single_checkpoints_on_the_development_set(tmp_path: Path, capsys):
    write(tmp_path, "averaged.json", split="dev")
    write(tmp_path, "test.json", checkpoint="one")
    base = "base: N 6, d_model 512, d_ff 2048, h 8, d_k 64, d_v 64"
    assert table(capsys, "--reports", tmp_path)["table3"][base]["ours"] is None
    write(tmp_path, "dev.json", split="dev", checkpoint="one", perplexity=4.95, parameters=63_045_632)
    ours = table(capsys, "--reports", tmp_path)["table3"][base]["ours"]
    assert (ours["perplexity"], ours["bleu"], ours["parameters"]) == (4.95, 27.1, pytest.approx(63.0, abs=0.1))


def test_table_4_takes_f1_of_section_23_and_says_whether_the_output_was_constrained(tmp_path: Path, capsys):
    row = "Transformer (4 layers), WSJ only"
    report = {
        "config": "parsing_wsj", "family": "paper", "changed": [], "source": "en", "target": "tree", "split": "test",
        "checkpoint": "one", "step": 50_000, "f1": 90.1, "repaired": 3, "constrained": False,
    }  # fmt: skip
    (tmp_path / "wsj.json").write_text(json.dumps(report))
    ours = table(capsys, "--reports", tmp_path)["table4"][row]["ours"]
    assert ours == {"f1": 90.1, "family": "paper", "changed": [], "checkpoint": "one", "file": "wsj.json"}
    assert run("paper", "--reports", tmp_path) == 0
    out = capsys.readouterr().out
    assert "F1 90.1, family paper, one checkpoint" in out and out.count("not yet run") == 4 + 20 + 1
    (tmp_path / "wsj.json").write_text(json.dumps(report | {"constrained": True}))
    assert table(capsys, "--reports", tmp_path)["table4"][row]["ours"]["changed"] == ["constrained to trees"]
    del report["f1"]
    (tmp_path / "wsj.json").write_text(json.dumps(report))
    assert "wsj.json is not a report: f1 is missing" in refused(capsys, "paper", "--reports", tmp_path)


def test_the_report_nearest_to_the_paper_counts_and_what_differs_is_said(tmp_path: Path, capsys):
    row = "Transformer (base), EN-DE"
    write(tmp_path, "a.json", family="t2t", compound_split_bleu=28.0)
    ours = table(capsys, "--reports", tmp_path)["table2"][row]["ours"]
    assert (ours["bleu"], ours["family"]) == (28.0, "t2t")
    write(tmp_path, "b.json", changed=["train.steps: 100000 there, 50000 here"], compound_split_bleu=26.0)
    ours = table(capsys, "--reports", tmp_path)["table2"][row]["ours"]
    assert (ours["bleu"], ours["changed"]) == (26.0, ["train.steps: 100000 there, 50000 here"])
    assert run("paper", "--reports", tmp_path) == 0
    out = capsys.readouterr().out
    assert "family paper, averaged, train.steps: 100000 there," in out and "50000 here" in out
    write(tmp_path, "c.json", checkpoint="one", compound_split_bleu=27.5)
    write(tmp_path, "d.json", compound_split_bleu=27.2)
    ours = table(capsys, "--reports", tmp_path)["table2"][row]["ours"]
    assert (ours["file"], ours["bleu"]) == ("d.json", 27.2)


def test_what_evaluate_prints_is_a_report(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run("evaluate", "--workdir", toy / "run", "--split", "dev", "--json") == 0
    printed = capsys.readouterr().out
    (tmp_path / "toy.json").write_text(printed)
    (report,) = paper.read_reports(tmp_path)
    assert (report["config"], report["family"], report["file"]) == ("toy", "small", "toy.json")


def test_files_that_are_no_reports_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert "no folder" in refused(capsys, "paper", "--reports", tmp_path / "none")
    (tmp_path / "a.json").write_text("{")
    assert "a.json is not a report" in refused(capsys, "paper", "--reports", tmp_path)
    write(tmp_path, "a.json", training={"seconds": 1})
    with pytest.raises(UserError, match=r"a\.json: training needs .*; devices is not one"):
        paper.read_reports(tmp_path)
    (tmp_path / "a.json").write_text('{"config": "quickstart"}')
    with pytest.raises(UserError, match=r"a\.json is not a report: family is missing"):
        paper.read_reports(tmp_path)
