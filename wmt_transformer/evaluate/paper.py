"""The paper's Tables 2, 3 and 4, and our figure beside each, where a run's report is kept.

The paper's figures are typed in here. Ours come from reports only: JSON files in `reports/`, each the object that
`wmt-transformer evaluate --workdir W --json` printed, with the cost of training added by hand (`reports/README.md`).
The score is the paper's: Table 2 is newstest2014, tokenised BLEU, into German with compounds split; Table 3 is the same
on newstest2013, of one checkpoint; Table 4 is parsing, bracketing F1.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wmt_transformer.config import UserError

SUSTAINED_TFLOPS = {"K80": 2.8, "K40": 3.7, "M40": 6.0, "P100": 9.5}
"""What the paper assumes of one GPU in single precision, 10^12 operations a second (footnote 5)."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a table: what the paper printed, and the run of ours that would stand beside it."""

    table: int
    row: str
    paper: dict[str, int | float]
    """bleu, flops, perplexity, parameters (in millions) or f1, as printed, without what the paper left blank."""
    config: str | None = None
    """The config that repeats it; None for other people's systems and where we have no config."""
    split: str = ""
    """Where it is scored: test is newstest2014 or WSJ section 23, dev newstest2013."""

    @property
    def commands(self) -> list[str]:
        """The commands that make our figures, in order."""
        if self.config is None:
            return []
        run = f"--workdir runs/{self.config}"
        average = [f"average {run}"] if self.table == 2 else []
        which = " --checkpoint latest" if self.table == 3 else ""
        path = " --data.path TREEBANK" if self.table == 4 else ""  # the treebank is licensed: nothing downloads it
        verbs = [f"train {self.config} {run}{path}", *average, f"evaluate {run} --split {self.split}{which}"]
        return [f"wmt-transformer {verb}" for verb in verbs]


def training_flops(seconds: int | float, devices: int, sustained_tflops: int | float) -> float:
    """Returns Table 2's training cost: time x devices x what one of them sustains (in 10^12 operations a second)."""
    return seconds * devices * sustained_tflops * 1e12


TRAINING = {
    "base": {"seconds": 12 * 3600, "devices": 8, "sustained_tflops": SUSTAINED_TFLOPS["P100"]},
    "big": {"seconds": 3.5 * 86400, "devices": 8, "sustained_tflops": SUSTAINED_TFLOPS["P100"]},
}
"""The paper's two trainings: 12 hours and 3.5 days on 8 P100 (§5.2)."""


def _others(*systems: tuple[str, float | None, float | None, float | None, float | None]) -> list[Row]:
    rows = []
    for name, *figures in systems:
        for language, bleu, flops in (("EN-DE", figures[0], figures[2]), ("EN-FR", figures[1], figures[3])):
            if bleu is not None:
                rows.append(Row(2, f"{name}, {language}", {"bleu": bleu} | ({"flops": flops} if flops else {})))
    return rows


TABLE_2 = [
    *_others(  # BLEU EN-DE, EN-FR; FLOPs EN-DE, EN-FR
        ("ByteNet", 23.75, None, None, None),
        ("Deep-Att + PosUnk", None, 39.2, None, 1.0e20),
        ("GNMT + RL", 24.6, 39.92, 2.3e19, 1.4e20),
        ("ConvS2S", 25.16, 40.46, 9.6e18, 1.5e20),
        ("MoE", 26.03, 40.56, 2.0e19, 1.2e20),
        ("Deep-Att + PosUnk Ensemble", None, 40.4, None, 8.0e20),
        ("GNMT + RL Ensemble", 26.30, 41.16, 1.8e20, 1.1e21),
        ("ConvS2S Ensemble", 26.36, 41.29, 7.7e19, 1.2e21),
    ),
    Row(2, "Transformer (base), EN-DE", {"bleu": 27.3, "flops": 3.3e18}, "wmt14_en_de_base", "test"),
    Row(2, "Transformer (base), EN-FR", {"bleu": 38.1, "flops": 3.3e18}, "wmt14_en_fr_base", "test"),
    Row(2, "Transformer (big), EN-DE", {"bleu": 28.4, "flops": 2.3e19}, "wmt14_en_de_big", "test"),
    Row(2, "Transformer (big), EN-FR", {"bleu": 41.8, "flops": 2.3e19}, "wmt14_en_fr_big", "test"),
]


def _variant(row: str, change: str, perplexity: float, bleu: float, millions: int | None = None) -> Row:
    names = {"base": "wmt14_en_de_base", "big": "wmt14_en_de_big"}
    figures = {"perplexity": perplexity, "bleu": bleu} | ({} if millions is None else {"parameters": millions})
    return Row(3, f"{row}: {change}", figures, names.get(row, f"table3_{row.lower()}"), "dev")


TABLE_3 = [
    _variant("base", "N 6, d_model 512, d_ff 2048, h 8, d_k 64, d_v 64", 4.92, 25.8, 65),
    _variant("A1", "h 1, d_k 512, d_v 512", 5.29, 24.9),
    _variant("A2", "h 4, d_k 128, d_v 128", 5.00, 25.5),
    _variant("A3", "h 16, d_k 32, d_v 32", 4.91, 25.8),
    _variant("A4", "h 32, d_k 16, d_v 16", 5.01, 25.4),
    _variant("B1", "d_k 16", 5.16, 25.1, 58),
    _variant("B2", "d_k 32", 5.01, 25.4, 60),
    _variant("C1", "N 2", 6.11, 23.7, 36),
    _variant("C2", "N 4", 5.19, 25.3, 50),
    _variant("C3", "N 8", 4.88, 25.5, 80),
    _variant("C4", "d_model 256, d_k 32, d_v 32", 5.75, 24.5, 28),
    _variant("C5", "d_model 1024, d_k 128, d_v 128", 4.66, 26.0, 168),
    _variant("C6", "d_ff 1024", 5.12, 25.4, 53),
    _variant("C7", "d_ff 4096", 4.75, 26.2, 90),
    _variant("D1", "dropout 0.0", 5.77, 24.6),
    _variant("D2", "dropout 0.2", 4.95, 25.5),
    _variant("D3", "label smoothing 0.0", 4.67, 25.3),
    _variant("D4", "label smoothing 0.2", 5.47, 25.7),
    _variant("E", "learned positions", 4.92, 25.7),
    _variant("big", "d_model 1024, d_ff 4096, h 16, dropout 0.3, 300,000 steps", 4.33, 26.4, 213),
]

TABLE_4 = [
    Row(4, f"{name}, {training}", {"f1": f1}, *run)
    for name, training, f1, *run in (
        ("Vinyals & Kaiser et al. (2014)", "WSJ only", 88.3),
        ("Petrov et al. (2006)", "WSJ only", 90.4),
        ("Zhu et al. (2013)", "WSJ only", 90.4),
        ("Dyer et al. (2016)", "WSJ only", 91.7),
        ("Transformer (4 layers)", "WSJ only", 91.3, "parsing_wsj", "test"),
        ("Zhu et al. (2013)", "semi-supervised", 91.3),
        ("Huang & Harper (2009)", "semi-supervised", 91.3),
        ("McClosky et al. (2006)", "semi-supervised", 92.1),
        ("Vinyals & Kaiser et al. (2014)", "semi-supervised", 92.1),
        ("Transformer (4 layers)", "semi-supervised", 92.7, "parsing_semi_supervised", "test"),
        ("Luong et al. (2015)", "multi-task", 93.0),
        ("Dyer et al. (2016)", "generative", 93.3),
    )
]


@dataclasses.dataclass(frozen=True)
class Table:
    """One of the paper's tables, as it is printed."""

    number: int
    title: str
    rows: Sequence[Row]
    columns: dict[str, tuple[str, str]]
    """Heading: (figure, format)."""
    caption: str


def cost(seconds: int | float, devices: int, sustained_tflops: int | float) -> str:
    """Returns a training cost as time x devices x sustained TFLOPS = FLOPs."""
    flops = shown(training_flops(seconds, devices, sustained_tflops), FLOPS)
    return f"{seconds / 3600:.0f} h x {devices} x {sustained_tflops} TFLOPS = {flops}"


def shown(value: int | float | None, style: str) -> str:
    """Returns a figure as the paper prints it, nothing for None."""
    return "" if value is None else format(value, style).replace("e+", "e")


FLOPS = ".1e"
TABLES = (
    Table(
        2,
        "Table 2: newstest2014, tokenised BLEU (EN-DE: compounds split), averaged checkpoints",
        TABLE_2,
        {"BLEU": ("bleu", ".4g"), "FLOPs": ("flops", FLOPS)},
        "Training cost is time x GPUs x sustained TFLOPS; the paper's: "
        + "; ".join(f"{name} {cost(**training)}" for name, training in TRAINING.items())
        + ".\nAfter `train`: `average --workdir W`, then `evaluate --workdir W --split test`.",
    ),
    Table(
        3,
        "Table 3: EN-DE newstest2013, perplexity per word piece and BLEU of one checkpoint, parameters in millions",
        TABLE_3,
        {"PPL": ("perplexity", ".2f"), "BLEU": ("bleu", ".1f"), "M": ("parameters", ".0f")},
        "After `train`: `evaluate --workdir W --split dev --checkpoint latest`.",
    ),
    Table(
        4,
        "Table 4: constituency parsing, WSJ section 23, sentences of any length",
        TABLE_4,
        {"F1": ("f1", ".1f")},
        "TREEBANK is the folder of the trees. After `train`: `evaluate --workdir W --split test`.",
    ),
)


def reports_folder() -> Path:
    """Returns the folder of the reports that come with the package, in a checkout or a wheel."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "reports"
    return inside if inside.is_dir() else package.parent / "reports"


_NEEDED = ("config", "family", "changed", "target", "split", "checkpoint")


def read_reports(folder: Path) -> list[dict[str, Any]]:
    """Returns the reports in a folder, by file name; `file` is added to each.

    Raises UserError when there is no such folder, for a file that is not JSON, and for a field that a report needs.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder} with reports; give one that has some")
    reports = []
    for path in sorted(folder.glob("*.json")):
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is not a report: {error}") from error
        missing = _missing(report)
        if missing:
            raise UserError(f"{path} is not a report: {missing[0]} is missing; evaluate --workdir W --json prints it")
        training = report.get("training", {})
        missing = [name for name in TRAINING["base"] if training and not isinstance(training.get(name), int | float)]
        if missing:
            raise UserError(
                f"{path}: training needs the numbers {', '.join(TRAINING['base'])}; {missing[0]} is not one"
            )
        reports.append({**report, "file": path.name})
    return reports


def _missing(report: Any) -> Sequence[str]:
    if not isinstance(report, dict):
        return _NEEDED
    score = "f1" if report.get("target") == "tree" else "tokenized_bleu"
    return [name for name in (*_NEEDED, score) if name not in report]


def compare(rows: Sequence[Row], reports: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns a table as one object a row: row, paper, ours, commands; ours is None where no report fits.

    Where several reports fit, the one of the paper's family with the fewest changed settings counts, and of these the
    last by name. `ours` names its family, what was changed, its checkpoint and its file.
    """
    return [{"row": row.row, "paper": row.paper, "ours": _ours(row, reports), "commands": row.commands} for row in rows]


def _ours(row: Row, reports: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    fitting = [
        report
        for report in reports
        if (report["config"], report["split"]) == (row.config, row.split)
        # Table 3 is of single checkpoints; Table 2 of averages, and what is none is shown as such; of Table 4 the paper
        # does not say.
        and (row.table != 3 or report["checkpoint"] == "one")
    ]
    if not fitting:
        return None

    def nearness(report: dict[str, Any]) -> tuple[Any, ...]:
        averaged = report["checkpoint"] == "average"
        return report["family"] == "paper", -len(report["changed"]), averaged, report["file"]

    best = max(fitting, key=nearness)
    about = {name: best[name] for name in ("family", "changed", "checkpoint", "file")}
    if row.table == 4:
        constrained = ["constrained to trees"] if best.get("constrained") else []  # the paper's output was not
        return {"f1": best["f1"]} | about | {"changed": [*best["changed"], *constrained]}
    score = "compound_split_bleu" if best["target"] == "de" else "tokenized_bleu"
    figures: dict[str, Any] = {"bleu": best.get(score), "bleu_is": score}
    if row.table == 2:
        figures["flops"] = training_flops(**_cost(best["training"])) if "training" in best else None
    else:
        figures["perplexity"] = best.get("perplexity")
        figures["parameters"] = best["parameters"] / 1e6 if "parameters" in best else None
    return figures | about


def _cost(training: dict[str, Any]) -> dict[str, Any]:
    return {name: training[name] for name in TRAINING["base"]}
