"""The notebooks: both editions have the same code, and it runs from top to bottom, its exercises answered."""

import ast
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from wmt_transformer.visualize import labels

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: it comes with the extra `test`")

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = sorted(path.stem for path in (FOLDER / "en").glob("*.ipynb"))
FAST = ("1_tokens_and_next_token_prediction", "3_attention", "4_transformer", "6_decoding", "8_scaling")
"""Those that are run with every change, less than a minute each; the others train or compile for longer."""


def read(edition: str, name: str) -> Any:
    return nbformat.read(FOLDER / edition / f"{name}.ipynb", as_version=4)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def source(cell: Any) -> list[str]:
    """Returns the lines of a cell without what lets the figures of the Chinese edition speak Chinese."""
    return [line for line in cell.source.splitlines() if line and "use_chinese" not in line]


def shown(cell: Any) -> list[Any]:
    """Returns the outputs of a cell without its pictures."""
    return [output for output in cell.outputs if "image/png" not in output.get("data", {})]


def test_there_are_the_same_notebooks_in_english_and_in_chinese_and_the_readme_names_them():
    assert NAMES and sorted(path.stem for path in (FOLDER / "zh").glob("*.ipynb")) == NAMES
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name in NAMES:
        assert f"(en/{name}.ipynb)" in readme and f"(zh/{name}.ipynb)" in readme


@pytest.mark.parametrize("name", NAMES)
def test_both_editions_share_the_code_and_differ_in_prose_alone(name: str):
    english, chinese = read("en", name), read("zh", name)
    assert [cell.cell_type for cell in english.cells] == [cell.cell_type for cell in chinese.cells]
    for one, other in zip(code(english), code(chinese), strict=True):
        texts = [cell.metadata.pop("mystnb", None) for cell in (one, other)]  # of the pictures, in each language
        assert source(one) == source(other) and shown(one) == shown(other), "code and what it prints are the same"
        assert one.metadata == other.metadata and one.execution_count == other.execution_count
        pictures, translated = (len(cell.outputs) - len(shown(cell)) for cell in (one, other))
        assert pictures == translated and bool(pictures) == all(texts) == any(texts)
        assert not pictures or texts[0] != texts[1]
    assert code(chinese)[0].source.count("use_chinese()") == 1
    for one, other in zip(english.cells, chinese.cells, strict=True):
        assert one.cell_type == "code" or one.source != other.source


@pytest.mark.parametrize("edition", ["en", "zh"])
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_says_what_it_is_for_has_exercises_and_shows_what_it_makes(name: str, edition: str):
    notebook = read(edition, name)
    nbformat.validate(notebook)
    first = notebook.cells[0].source
    assert not any("OWNER" in cell.source for cell in notebook.cells), "buttons are made by the build of the site"
    assert "- " in first and f"../{'zh' if edition == 'en' else 'en'}/{name}.ipynb" in first
    answers = [cell for cell in notebook.cells if cell.cell_type == "markdown" and "<details>" in cell.source]
    assert len(answers) == sum("solution" in cell.metadata for cell in code(notebook)) >= 3
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    unsolved = [cell.outputs for cell in code(notebook) if "solution" in cell.metadata]
    assert all([output.text for output in shown] == ["yours to answer\n"] for shown in unsolved)


@pytest.mark.parametrize("name", NAMES)
def test_lines_of_code_fit_a_page_of_90_letters(name: str):
    lines = [line for cell in code(read("en", name)) for line in cell.source.splitlines()]
    assert not [line for line in lines if len(line) > 90]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_uses_public_names_only(name: str):
    for cell in code(read("en", name)):
        lines = [line for line in cell.source.splitlines() if not line.startswith(("!", "%"))]
        for node in ast.walk(ast.parse("\n".join(lines))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            names += [node.attr] if isinstance(node, ast.Attribute) else []
            assert not [used for used in names if used.startswith("_") and not used.startswith("__")], names


def test_every_chinese_label_is_of_a_figure_of_a_lesson_the_package_or_the_documentation():
    written = "".join(cell.source for name in NAMES for cell in code(read("en", name)))
    drawing = [*Path(labels.__file__).parent.glob("*.py"), FOLDER.parent / "docs" / "figures.py"]
    written += "".join(path.read_text("utf-8") for path in drawing)
    for english, chinese in labels.WORDS.items():
        assert all(word in written for word in re.findall(r"[^\W\d_]+", english)), english
        assert english.count("#") == chinese.count("#")
        assert "$" not in chinese, chinese  # matplotlib's formulas have no Chinese letters: boxes would be drawn


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in NAMES])
def test_a_notebook_runs_and_its_answers_are_right(name: str, tmp_path: Path):
    pytest.importorskip("nbclient", reason="nbclient is not installed: it comes with the extra `test`")
    notebook = read("en", name)
    solved = [cell for cell in code(notebook) if "solution" in cell.metadata]
    for cell in solved:
        question, _, check = cell.source.partition("\n")
        assert question.startswith("answer = ...")
        cell.source = f"{cell.metadata.solution}\n{check}"
    runpy.run_path(str(FOLDER / "execute.py"))["run"](notebook, tmp_path)
    for cell in solved:
        assert [output.text for output in cell.outputs] == ["right\n"], cell.source
    shown = [output for cell in code(notebook) for output in cell.outputs if "data" in output]
    assert any("image/png" in output.data for output in shown)
