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


def executed(path: Path) -> Any:
    """Returns the notebook with the outputs of a run; what it prints in pieces is joined."""
    notebook = nbformat.read(path, as_version=4)
    # The kernel's own backend of matplotlib is the one that shows figures.
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    with tempfile.TemporaryDirectory() as folder:
        environment |= {
            "PYTHONPATH": str(HERE.parent),
            "JAX_PLATFORMS": "cpu",
            "WMT_TRANSFORMER_CACHE": f"{folder}/cache",
        }
        client = nbclient.NotebookClient(
            notebook, timeout=900, record_timing=False, resources={"metadata": {"path": folder}}
        )
        client.execute(env=environment)
    for cell in notebook.cells:
        outputs: list[Any] = []
        for output in cell.get("outputs", ()):
            if outputs and output.output_type == "stream" and outputs[-1].get("name") == output.name:
                outputs[-1].text += output.text
            else:
                outputs.append(output)
        if cell.cell_type == "code":
            cell.outputs = outputs
    return notebook


def main() -> None:
    numbers = sys.argv[1:]
    for path in sorted((HERE / "en").glob("*.ipynb")):
        if numbers and path.name.split("_")[0] not in numbers:
            continue
        start = time.perf_counter()
        shown = executed(path)
        print(f"{path.stem}: {time.perf_counter() - start:.0f} s")
        for edition in ("en", "zh"):
            notebook = nbformat.read(HERE / edition / path.name, as_version=4)
            for cell, run in zip(notebook.cells, shown.cells, strict=True):
                if cell.cell_type == "code":
                    cell.execution_count, cell.outputs = run.execution_count, run.outputs
            nbformat.write(notebook, HERE / edition / path.name)


if __name__ == "__main__":
    main()
