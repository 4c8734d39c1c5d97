"""The verb that prints the paper's tables with our figures beside them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from wmt_transformer.cli.parser import AddVerb
from wmt_transformer.evaluate import paper as tables

PIPED_WIDTH = 200
"""Characters of a line where the output is no terminal, whose width would be kept: enough for the longest command."""


def add(verb: AddVerb) -> None:
    """Adds the verb to the command line."""
    sub = verb(paper)
    sub.add_argument("--reports", metavar="FOLDER", help="read figures from these reports (default: those shipped)")
    sub.add_argument("--json", action="store_true", help="print one JSON object")


def paper(options: argparse.Namespace, overrides: list[str]) -> None:
    """Prints the paper's Tables 2, 3 and 4 with our figure, or "not yet run", and its command beside each."""
    reports = tables.read_reports(Path(options.reports) if options.reports else tables.reports_folder())
    found = {f"table{table.number}": tables.compare(table.rows, reports) for table in tables.TABLES}
    if options.json:
        print(json.dumps(found))
        return
    for table in tables.TABLES:
        _show(table, found[f"table{table.number}"])


def _show(table: tables.Table, rows: list[dict[str, Any]]) -> None:
    """Prints one table: the paper's figures, ours, and the command."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPED_WIDTH)
    grid = Table(title=table.title, title_justify="left", caption=table.caption, caption_justify="left")
    grid.add_column("row", overflow="fold")
    for heading in table.columns:
        grid.add_column(f"paper\n{heading}", justify="right", no_wrap=True)
    grid.add_column("ours", overflow="fold")
    grid.add_column("command", overflow="fold")
    for row in rows:
        figures = [tables.shown(row["paper"].get(name), style) for name, style in table.columns.values()]
        grid.add_row(row["row"], *figures, escape(_ours(table, row)), (row["commands"] or [""])[0])
    console.print(grid)


def _ours(table: tables.Table, row: dict[str, Any]) -> str:
    """Returns our figures and what a reader has to know of them, or that there are none."""
    ours = row["ours"]
    if ours is None:
        return "not yet run" if row["commands"] else ""  # the other rows are other people's
    figures = [
        f"{heading} {tables.shown(ours[name], style) or '?'}" for heading, (name, style) in table.columns.items()
    ]
    checkpoint = {"average": "averaged", "one": "one checkpoint"}[ours["checkpoint"]]
    return ", ".join([*figures, f"family {ours['family']}", checkpoint, *ours["changed"]])
