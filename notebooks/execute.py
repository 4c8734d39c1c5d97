"""Runs the lessons and keeps what they show, in both editions.

    python notebooks/execute.py [1 5 …]

Every lesson (or those of these numbers) is run in an empty folder, its exercises left open. Of the Chinese edition only
the pictures are kept, whose labels are Chinese; the rest is what the English one printed. How long each took is
printed; the lessons' first cells say it of one core.
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
        with tempfile.TemporaryDirectory() as folder:
            english, chinese = (executed(HERE / edition / path.name, Path(folder)) for edition in ("en", "zh"))
        keep(HERE / "en" / path.name, english)
        for cell, other in zip(english.cells, chinese.cells, strict=True):
            if any("image/png" in output.get("data", {}) for output in other.get("outputs", ())):
                pictures = (output for output in other.outputs if "data" in output)
                cell.outputs = [next(pictures) if "data" in output else output for output in cell.outputs]
        keep(HERE / "zh" / path.name, english)


def executed(path: Path, folder: Path) -> Any:
    """Returns a notebook as it looks when it was run; both editions use one cache."""
    notebook, start = nbformat.read(path, as_version=4), time.perf_counter()
    (own := folder / path.parent.name).mkdir()
    run(notebook, own, WMT_TRANSFORMER_CACHE=f"{folder}/cache")
    print(f"{path.parent.name}/{path.stem}: {time.perf_counter() - start:.0f} s", flush=True)
    return notebook


def keep(path: Path, shown: Any) -> None:
    """Writes the outputs of a run into a notebook."""
    notebook = nbformat.read(path, as_version=4)
    for cell, made in zip(notebook.cells, shown.cells, strict=True):
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = made.execution_count, made.outputs
    nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
