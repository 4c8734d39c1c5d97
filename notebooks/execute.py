"""Runs the lessons and keeps what they show, in both editions.

    python notebooks/execute.py [1 5 …]

The English edition is run, every lesson (or those of these numbers) in an empty folder, its exercises left open; the
Chinese one gets the same outputs. How long each took is printed; the lessons' first cells say it of one core.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbclient
import nbformat

HERE = Path(__file__).resolve().parent


def run(notebook: Any, folder: Path, **environment: str) -> None:
    """Runs a notebook in a folder, with more variables in its environment; what a cell prints in pieces is joined."""
    # The kernel's own backend of matplotlib is the one that shows figures.
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"} | environment
    environment |= {"PYTHONPATH": str(HERE.parent), "JAX_PLATFORMS": "cpu"}
    settings: Any = {"timeout": 900, "record_timing": False, "resources": {"metadata": {"path": str(folder)}}}
    nbclient.NotebookClient(notebook, **settings).execute(env=environment)
    for cell in notebook.cells:
        outputs: list[Any] = []
        for output in cell.get("outputs", ()):
            if outputs and output.output_type == "stream" and outputs[-1].get("name") == output.name:
                outputs[-1].text += output.text
            else:
                outputs.append(output)
        if cell.cell_type == "code":
            cell.outputs = outputs


def main() -> None:
    numbers = sys.argv[1:]
    for path in sorted((HERE / "en").glob("*.ipynb")):
        if numbers and path.name.split("_")[0] not in numbers:
            continue
        shown, start = nbformat.read(path, as_version=4), time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            run(shown, Path(folder), WMT_TRANSFORMER_CACHE=f"{folder}/cache")
        print(f"{path.stem}: {time.perf_counter() - start:.0f} s")
        for edition in ("en", "zh"):
            notebook = nbformat.read(HERE / edition / path.name, as_version=4)
            for cell, made in zip(notebook.cells, shown.cells, strict=True):
                if cell.cell_type == "code":
                    cell.execution_count, cell.outputs = made.execution_count, made.outputs
            nbformat.write(notebook, HERE / edition / path.name)


if __name__ == "__main__":
    main()
