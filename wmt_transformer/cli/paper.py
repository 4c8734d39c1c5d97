"""The verb that prints the paper's tables with our figures beside them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from wmt_transformer.cli.parser import AddVerb


def add(verb: AddVerb) -> None:
    """Adds the verb to the command line."""
    sub = verb(paper)
    sub.add_argument("--reports", metavar="FOLDER", help="read figures from these reports (default: those shipped)")
    sub.add_argument("--json", action="store_true", help="print one JSON object")


def paper(options: argparse.Namespace, overrides: list[str]) -> None:
    """Prints the paper's Tables 2, 3 and 4 with our figure, or "not yet run", and its command beside each."""
    from wmt_transformer.evaluate import paper as tables

    reports = tables.read_reports(Path(options.reports) if options.reports else tables.reports_folder())
    found = {
        f"table{number}": tables.compare(rows, reports)
        for number, rows in ((2, tables.TABLE_2), (3, tables.TABLE_3), (4, tables.TABLE_4))
    }
    if options.json:
        print(json.dumps(found))
        return
    cost = "; ".join(
        f"{name} {t['seconds'] / 3600:.0f} h x {t['devices']} x {t['sustained_tflops']} TFLOPS = "
        f"{_number(tables.training_flops(**t), '.1e')}"
        for name, t in tables.TRAINING.items()
    )
    _show(
        "Table 2: newstest2014, tokenised BLEU (EN-DE: compounds split), averaged checkpoints",
        found["table2"],
        {"BLEU": ("bleu", ".4g"), "FLOPs": ("flops", ".1e")},
        f"Training cost is time x GPUs x sustained TFLOPS; the paper's: {cost}.\n"
        "Behind `train`: `average --workdir W`, then `evaluate --workdir W --split test`.",
    )
    _show(
        "Table 3: EN-DE newstest2013, perplexity a word-piece and BLEU of one checkpoint, parameters in millions",
        found["table3"],
        {"PPL": ("perplexity", ".2f"), "BLEU": ("bleu", ".1f"), "M": ("parameters", ".0f")},
        "Behind `train`: `evaluate --workdir W --split dev --checkpoint latest`.",
    )
    _show(
        "Table 4: constituency parsing, WSJ section 23, sentences of any length",
        found["table4"],
        {"F1": ("f1", ".1f")},
        "TREEBANK is the folder of the trees. Behind `train`: `evaluate --workdir W --split test`.",
    )


def _show(title: str, rows: list[dict[str, Any]], columns: dict[str, tuple[str, str]], caption: str) -> None:
    """Prints one table; `columns` are heading: (figure, format), first the paper's, then ours."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    # Where the output is piped there is no width to keep to: a command stays on its line.
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column("row", overflow="fold")
    for heading in columns:
        table.add_column(f"paper\n{heading}", justify="right", no_wrap=True)
    table.add_column("ours", overflow="fold")
    table.add_column("command", overflow="fold")
    for row in rows:
        figures = [_number(row["paper"].get(name), style) for name, style in columns.values()]
        table.add_row(row["row"], *figures, escape(_ours(row, columns)), (row["commands"] or [""])[0])
    console.print(table)


def _ours(row: dict[str, Any], columns: dict[str, tuple[str, str]]) -> str:
    """Returns our figures and what a reader has to know of them, or that there are none."""
    ours = row["ours"]
    if ours is None:
        return "not yet run" if row["commands"] else ""  # the other rows are other people's
    shown = [f"{heading} {_number(ours[name], style) or '?'}" for heading, (name, style) in columns.items()]
    checkpoint = {"average": "averaged", "one": "one checkpoint"}[ours["checkpoint"]]
    return ", ".join([*shown, f"family {ours['family']}", checkpoint, *ours["changed"]])


def _number(value: int | float | None, style: str) -> str:
    return "" if value is None else format(value, style).replace("e+", "e")
