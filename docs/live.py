"""The live model of the front page: `explain`'s page of the quickstart's run, where `make quickstart` has been run."""

from __future__ import annotations

from pathlib import Path

from links import ROOT

from wmt_transformer.decode import runs
from wmt_transformer.explain import document

WORKDIR = ROOT / "runs" / "quickstart"


def page(site: Path, language: str, workdir: Path = WORKDIR) -> Path | None:
    """Writes `reference/live.html` of a language's folder and returns its path; None where no finished run is."""
    if not (workdir / "average").is_dir():
        return None
    run = runs.load(workdir)
    run = run._replace(origin=run.origin.removeprefix(f"{ROOT}/"))  # nobody else's business where this folder is
    (path := site / "reference" / "live.html").parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document.html(run, workdir / "data", language[:2], "int8"), "utf-8")
    return path
