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

Texts = dict[str, tuple[str, str]]
EN, ZH = 0, 1

INTRODUCTIONS: Texts = {
    "settings": (
        "# Settings\n\nEvery field of a config: `--NAME VALUE` changes it on the command line, and the defaults are the "
        "paper's base model.\n",
        "# 设置\n\n配置的全部字段：在命令行上用 `--NAME VALUE` 修改；默认值就是论文的 base 模型。说明取自代码，为英文。\n",
    ),
    "verbs": (
        "# Verbs\n\nWhat `wmt-transformer VERB --help` prints.\n",
        "# 命令\n\n即 `wmt-transformer VERB --help` 的输出，取自代码，为英文。\n",
    ),
    "api": (
        "# Names for Python\n\nThe public names are those of `wt.__all__`; `import wmt_transformer as wt`.\n",
        "# Python 接口\n\n公开的名字就是 `wt.__all__` 中的那些；用法为 `import wmt_transformer as wt`。说明取自代码，为英文。\n",
    ),
    "configs": (
        "# Configs\n\nWhat is shipped in `configs/`: the command, the time and the score of each, or that it is not yet "
        "run.\n",
        "# 配置\n\n`configs/` 中自带的配置：各自的命令、用时和成绩，没有跑过的写明 “not yet run”（尚未运行）。内容取自文件头，为英文。\n",
    ),
    "paper": (
        "# Reproduction report\n\nThe paper's Tables 2, 3 and 4, our figure and the command beside each, as "
        "`wmt-transformer paper` prints them. Ours are read from the [reports](../project/reports.md) in the "
        "repository, and from nowhere else.\n",
        "# 复现报告\n\n论文的表 2、3、4，旁边是我们的数字和对应的命令，与 `wmt-transformer paper` 的输出相同。我们的数字只取自仓库中的"
        "[报告](../project/reports.md)；“not yet run” 表示尚未运行。\n",
    ),
}
HEADS: Texts = {
    "setting": (
        "| setting | default | values | meaning |",
        "| 设置 | 默认值 | 取值 | 含义 |",
    ),
    "row": ("row", "行"),
    "paper": ("paper", "论文"),
    "ours": ("ours", "我们"),
    "command": ("command", "命令"),
    "english": ("", "（本页内容取自仓库中的英文文件。）\n\n"),
}


def write(site: Path, language: str) -> None:
    """Writes all generated pages of a language below `site`; what has not changed keeps its time."""
    at = ZH if language == "zh_CN" else EN
    pages = {"settings": settings(at), "verbs": verbs(), "api": api(), "configs": configs(), "paper": tables(at)}
    for name, text in pages.items():
        put(site / "reference" / f"{name}.md", f"{INTRODUCTIONS[name][at]}\n{text}")
    for file, page in PAGES.items():
        if page.startswith("project/") and file.endswith(".md"):
            to, source = site / f"{page}.md", ROOT / file
            text = rewritten(source.read_text("utf-8"), source, to)
            title, _, rest = (text if text.startswith("#") else f"# {source.stem}\n\n{text}").partition("\n")
            put(to, f"{title}\n\n{HEADS['english'][at]}{rest}")
    edition = ("en", "zh")[at]
    for notebook in sorted((ROOT / "notebooks" / edition).glob("*.ipynb")):
        put(site / "notebooks" / notebook.name, lesson(notebook, edition))
    figures.draw(site / "reference")


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


def settings(at: int) -> str:
    """Returns every setting with its default, its range and its meaning, a table a section."""
    parts = []
    for section, kind in SECTIONS.items():
        default, meaning = getattr(Config(), section), meanings(kind.__name__)
        rows = [
            (f"`{section}.{field}`", f"`{shown(getattr(default, field))}`", expected(values), meaning.get(field, ""))
            for field, values in kinds(kind).items()
        ]
        parts.append(f"## {section}\n\n{kind.__doc__}\n\n{table(HEADS['setting'][at], rows)}")
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
        parts.append(f"## {name}\n\n```{{eval-rst}}\n.. auto{kind}:: wmt_transformer.{name}{members}\n```\n")
    return "\n".join(parts)


def configs() -> str:
    """Returns what the head of every shipped config says."""
    parts = []
    for name, path in shipped_configs().items():
        text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        lines = [line.replace("*", "\\*") if not line.startswith("    ") else line for line in text.splitlines()]
        parts.append(f"## {name}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def tables(at: int) -> str:
    """Returns the paper's tables with ours beside them."""
    reports, parts = paper.read_reports(paper.reports_folder()), []
    for one in paper.TABLES:
        names = [f"{HEADS['paper'][at]}: {heading}" for heading in one.columns]
        head = f"| {' | '.join([HEADS['row'][at], *names, HEADS['ours'][at], HEADS['command'][at]])} |"
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
    figures_of = (f"{head} {paper.shown(row['ours'][name], style) or '?'}" for head, (name, style) in one.columns.items())
    return ", ".join([*figures_of, row["ours"]["family"], row["ours"]["checkpoint"], *row["ours"]["changed"]])


def lesson(notebook: Path, edition: str) -> str:
    """Returns a notebook as a page: buttons that open it elsewhere, where the repository is known; the link to the
    other edition is the page's own."""
    found = json.loads(notebook.read_text("utf-8"))
    first = "".join(found["cells"][0]["source"])
    first = re.sub(r" ?\[[^\]]*\]\(\.\./(?:en|zh)/[^)]*\)[.。]?", "", first)
    path = f"notebooks/{edition}/{notebook.name}"
    if address := repository():
        name = address.removeprefix("https://github.com/")
        colab = f"https://colab.research.google.com/github/{name}/blob/main/{path}"
        kaggle = f"https://www.kaggle.com/kernels/welcome?src={address}/blob/main/{path}"
        before = ("Run there first:", "在那里先运行：")[edition == "zh"]
        first += f"\n\n[Colab]({colab}) · [Kaggle]({kaggle}) · {before} `!pip install git+{address}`"
    found["cells"][0]["source"] = first
    found["metadata"]["language_info"]["pygments_lexer"] = "ipython3"  # knows %%time
    return json.dumps(found, ensure_ascii=False, indent=1)
