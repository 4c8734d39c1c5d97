"""The pages that follow from the code, written before a build: settings, verbs, names, configs, the paper's tables.

They go into `reference/`, `project/` and `notebooks/` of each language's folder, which git ignores. What the code says
is English on both sites; headings and introductions are in the page's language.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import figures
from links import PAGES, ROOT, repository, rewritten

import wmt_transformer as wt
from wmt_transformer import cli
from wmt_transformer.cli.parser import make_parser
from wmt_transformer.cli.settings import meanings, shown
from wmt_transformer.config import Config
from wmt_transformer.evaluate import paper
from wmt_transformer.experiment import SECTIONS, shipped_configs
from wmt_transformer.ranges import expected, kinds

TEXTS = json.loads((ROOT / "docs" / "texts.json").read_text("utf-8"))
INTRODUCTIONS, WORDS = TEXTS["introductions"], TEXTS["words"]
"""By name and language."""


def write(site: Path, language: str) -> None:
    """Writes all generated pages of a language below `site`; what has not changed keeps its time."""
    pages = {
        "settings": settings(language),
        "verbs": verbs(),
        "api": api(),
        "configs": configs(),
        "paper": tables(language),
    }
    for name, text in pages.items():
        put(site / "reference" / f"{name}.md", f"{INTRODUCTIONS[name][language]}\n{text}")
    for file, page in PAGES.items():
        if page.startswith("project/") and file.endswith(".md"):
            to, source = site / f"{page}.md", ROOT / file
            text = rewritten(source.read_text("utf-8"), source, to)
            title, _, rest = (text if text.startswith("#") else f"# {source.stem.capitalize()}\n\n{text}").partition(
                "\n"
            )
            put(to, f"{title}\n\n{WORDS['english'][language]}{rest}")
    edition = language[:2]
    for notebook in sorted((ROOT / "notebooks" / edition).glob("*.ipynb")):
        put(site / "notebooks" / notebook.name, lesson(notebook, language))
    figures.draw(site / "reference", language)


def put(path: Path, text: str) -> None:
    """Writes a file unless it says this already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


def table(head: str, rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table; vertical lines in cells are escaped."""
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|").replace("*", "\\*") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def settings(language: str) -> str:
    """Returns every setting with its default, its range and its meaning, a table a section."""
    parts = []
    for section, kind in SECTIONS.items():
        default, meaning = getattr(Config(), section), meanings(kind.__name__)
        rows = [
            (f"`{section}.{field}`", f"`{shown(getattr(default, field))}`", expected(values), meaning.get(field, ""))
            for field, values in kinds(kind).items()
        ]
        parts.append(f"## {section}\n\n{kind.__doc__}\n\n{table(WORDS['setting'][language], rows)}")
    return "\n".join(parts)


def verbs() -> str:
    """Returns the help of every verb."""
    (choices,) = (action.choices for action in make_parser(cli.VERBS)._actions if action.dest == "verb")
    parts = [f"## {name}\n\n```text\n{verb.format_help()}```\n" for name, verb in dict(choices or {}).items()]
    return "\n".join(parts)


def api() -> str:
    """Returns what autodoc is to write of every public name."""
    parts = []
    for name in wt.__all__:
        thing = getattr(wt, name)
        kind = "function" if not isinstance(thing, type) else "exception" if issubclass(thing, Exception) else "class"
        members = "\n   :members:" if kind == "class" and name != "Config" else ""
        name_shown = "Config()" if name == "Config" else name  # its defaults are the page of settings
        parts.append(f"## {name}\n\n```{{eval-rst}}\n.. auto{kind}:: wmt_transformer.{name_shown}{members}\n```\n")
    return "\n".join(parts)


def configs() -> str:
    """Returns what the head of every shipped config says."""
    parts = []
    for name, path in shipped_configs().items():
        text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        lines = [line.replace("*", "\\*") if not line.startswith("    ") else line for line in text.splitlines()]
        parts.append(f"## {name}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def tables(language: str) -> str:
    """Returns the paper's tables with ours beside them."""
    reports, parts = paper.read_reports(paper.reports_folder()), []
    for one in paper.TABLES:
        names = [f"{WORDS['paper'][language]}: {heading}" for heading in one.columns]
        head = (
            f"| {' | '.join([WORDS['row'][language], *names, WORDS['ours'][language], WORDS['command'][language]])} |"
        )
        rows = []
        for row in paper.compare(one.rows, reports):
            theirs = [paper.shown(row["paper"].get(name), style) for name, style in one.columns.values()]
            command = f"`{row['commands'][0]}`" if row["commands"] else ""
            rows.append([row["row"], *theirs, ours(one, row), command])
        parts.append(f"## {one.title}\n\n{table(head, rows)}\n{one.caption}\n")
    return "\n".join(parts)


def ours(one: paper.Table, row: dict[str, Any]) -> str:
    """Returns our figures of a row, or that there are none yet; the rows of other systems have none."""
    if row["ours"] is None:
        return "not yet run" if row["commands"] else ""
    figures_of = (
        f"{head} {paper.shown(row['ours'][name], style) or '?'}" for head, (name, style) in one.columns.items()
    )
    return ", ".join([*figures_of, row["ours"]["family"], row["ours"]["checkpoint"], *row["ours"]["changed"]])


def lesson(notebook: Path, language: str) -> str:
    """Returns a notebook as a page: buttons that open it elsewhere, where the repository is known; the link to the
    other edition is the page's own."""
    found = json.loads(notebook.read_text("utf-8"))
    first = "".join(found["cells"][0]["source"])
    first = re.sub(r" ?\[[^\]]*\]\(\.\./(?:en|zh)/[^)]*\)[.。]?", "", first)
    path = f"notebooks/{notebook.parent.name}/{notebook.name}"
    if address := repository():
        name = address.removeprefix("https://github.com/")
        colab = f"https://colab.research.google.com/github/{name}/blob/main/{path}"
        kaggle = f"https://www.kaggle.com/kernels/welcome?src={address}/blob/main/{path}"
        before = WORDS["run_first"][language]
        first += f"\n\n[Colab]({colab}) · [Kaggle]({kaggle}) · {before} `!pip install git+{address}`"
    found["cells"][0]["source"] = first
    return json.dumps(found, ensure_ascii=False, indent=1)
