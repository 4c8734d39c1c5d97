"""The documentation: both languages say the same commands and figures, and it tells what the program has."""

import argparse
import ast
import json
import re
import shutil
import subprocess
import urllib.parse
from pathlib import Path

import pytest
import yaml

from wmt_transformer import __version__, cli
from wmt_transformer.evaluate import paper
from wmt_transformer.experiment import SECTIONS, shipped_configs
from wmt_transformer.ranges import kinds

ROOT = Path(__file__).resolve().parent.parent
ENGLISH, CHINESE = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh-CN.md"))
PAGES = sorted(path.name for path in (ROOT / "docs" / "zh_cn").glob("*.md"))


def code_blocks(text: str) -> list[str]:
    """Returns the fenced blocks without their comments, which are translated."""
    return [re.sub(r"\s*(?<!\S)#.*", "", block) for block in re.findall(r"^```.*?^```", text, re.DOTALL | re.MULTILINE)]


def table_rows(text: str) -> list[tuple[list[str], list[str]]]:
    """Returns the code and the figures of every row of every table; a sentence may put figures in another order."""
    rows = re.findall(r"^\|.*\|$", text, re.MULTILINE)
    plain = [re.sub(r"\]\([^)]*\)|`[^`]*`", "", row) for row in rows]
    figures = [sorted(re.findall(r"\d+(?:[.,]\d+)*", row)) for row in plain]
    return list(zip([re.findall(r"`[^`]*`", row) for row in rows], figures, strict=True))


def headings(text: str) -> list[int]:
    """Returns the level of every heading."""
    without_code = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return [len(marks) for marks in re.findall(r"^(#+) ", without_code, re.MULTILINE)]


def test_the_readme_is_short_and_links_the_other_language_first():
    for text in (ENGLISH, CHINESE):
        assert len(text.splitlines()) <= 150
        assert text.splitlines()[2] == "[English](README.md) | [简体中文](README.zh-CN.md)"


def test_both_readmes_have_the_same_sections_commands_and_table_rows():
    assert headings(ENGLISH) == headings(CHINESE)
    assert code_blocks(ENGLISH) == code_blocks(CHINESE) and len(code_blocks(ENGLISH)) >= 3
    assert table_rows(ENGLISH) == table_rows(CHINESE) and len(table_rows(ENGLISH)) > 30


def verbs() -> list[str]:
    """Returns the names of the command line's verbs."""
    found: list[str] = []

    def add(run, epilog=None, overridable=False) -> argparse.ArgumentParser:
        found.append(run.__name__.replace("_", "-"))
        return argparse.ArgumentParser()

    for add_verbs in cli.VERBS:
        add_verbs(add)
    return found


def test_the_readme_names_every_verb():
    named = [
        word for code in re.findall(r"^\| (.*?) \|", ENGLISH, re.MULTILINE) for word in re.findall(r"[\w-]+", code)
    ]
    assert len(verbs()) > 15 and not set(verbs()) - set(named)


# ---- The site


def test_every_page_is_there_in_both_languages_with_the_same_commands_and_tables():
    assert sorted(path.name for path in (ROOT / "docs" / "en").glob("*.md")) == PAGES
    for name in PAGES:
        english, chinese = ((ROOT / "docs" / folder / name).read_text("utf-8") for folder in ("en", "zh_cn"))
        if name == "design.md":  # whose tree is taken from the English page
            continue
        framed = "{figure}", "{toctree}", "{include}"  # these hold titles and texts, which are translated
        one, other = (
            [block for block in code_blocks(text) if not any(kind in block for kind in framed)]
            for text in (english, chinese)
        )
        assert one == other and headings(english) == headings(chinese), name
        assert table_rows(english) == table_rows(chinese), name


MARKDOWN = [
    path
    for pattern in (
        "*.md",
        "benchmarks/*.md",
        "docs/*.md",
        "docs/en/*.md",
        "docs/zh_cn/*.md",
        "launch/*.md",
        "reports/*.md",
    )
    for path in sorted(ROOT.glob(pattern))
]


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_that_are_there_or_are_made_by_the_build(path: Path):
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        address, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", address) or address.startswith(("reference/", "project/", "notebooks/")):
            continue
        assert (path.parent / address).exists(), target
        if anchor and address.endswith(".md"):
            known = re.findall(r"^#+ (.*)", (path.parent / address).read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w]+", "-", title.lower()).strip("-") for title in known}, target


def test_external_links_are_addresses_of_other_hosts_and_secure():
    files = [*MARKDOWN, *ROOT.glob("notebooks/*/*.ipynb")]
    found = {url for path in files for url in re.findall(r"\]\((\w+://[^)\s]*)\)", path.read_text("utf-8"))}
    assert len(found) > 15
    for url in found:
        parts = urllib.parse.urlsplit(url)
        assert parts.scheme == "https" and re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", parts.netloc), url
        assert not re.search(r"OWNER|example|[<>{}…]|[.,;:]$", url), url


@pytest.mark.parametrize("folder", ["en", "zh_cn"])
def test_what_how_it_works_shows_is_in_the_code(folder: str):
    page = ROOT / "docs" / folder / "how_it_works.md"
    blocks = re.findall(r"^```\{literalinclude\} (\S+)\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) > 20
    for file, options in blocks:
        code = (page.parent / file).read_text("utf-8")
        for option, value in re.findall(r"^:([\w-]+): (.+)$", options, re.MULTILINE):
            if option == "pyobject":
                names = value.split(".")
                assert all(re.search(rf"^ *(def|class) {name}\b", code, re.MULTILINE) for name in names), value
            else:
                assert (ast.literal_eval(value) if value.startswith('"') else value) in code, value


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return ROOT / "docs" / "en"


def test_references_name_every_setting_verb_and_config(site: Path):
    import generated

    settings, verbs_page, configs = generated.settings("en"), generated.verbs(), generated.configs()
    fields = [f"{section}.{field}" for section, kind in SECTIONS.items() for field in kinds(kind)]
    assert len(fields) > 60 and all(settings.count(f"| `{field}` |") == 1 for field in fields)
    assert all(f"## {verb}\n" in verbs_page for verb in verbs())
    assert all(f"## {name}\n" in configs for name in shipped_configs())
    missing = sum(bool(row.commands) for one in paper.TABLES for row in one.rows)  # the other rows are other systems'
    assert generated.tables("en").count("not yet run") == missing


def test_a_link_to_the_repository_is_made_where_it_is_known_and_leaves_its_words_where_not(site: Path, monkeypatch):
    import links

    text, page = (
        "[code](../../configs/quickstart.py), [runs](runs.md#faults), [log](../../benchmarks/LOG.md)",
        site / "x.md",
    )
    for address, first in (
        (None, "code"),
        ("https://github.com/a/b", "[code](https://github.com/a/b/blob/main/configs/quickstart.py)"),
    ):
        monkeypatch.setattr(links, "repository", lambda address=address: address)
        assert links.rewritten(text, page, page) == f"{first}, [runs](runs.md#faults), [log](project/log.md)"


def test_a_lesson_gets_its_buttons_from_the_repository_that_the_site_is_built_in(site: Path, monkeypatch):
    import generated

    notebook = ROOT / "notebooks" / "en" / "3_attention.ipynb"
    monkeypatch.setattr(generated, "repository", lambda: "https://github.com/a/b")
    with_buttons = generated.lesson(notebook, "en")
    assert "colab.research.google.com/github/a/b/blob/main/notebooks/en/3_attention.ipynb" in with_buttons
    assert (
        "kaggle.com/kernels/welcome?src=https://github.com/a/b/blob/main/notebooks/en/3_attention.ipynb" in with_buttons
    )
    monkeypatch.setattr(generated, "repository", lambda: None)
    assert not re.search("colab|kaggle|OWNER", generated.lesson(notebook, "en"), re.IGNORECASE)


# ---- Habits

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_pin_what_they_use_have_few_rights_and_call_targets_of_the_makefile(path: Path):
    text = path.read_text("utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert all(re.fullmatch(r"[\w/.-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", one) for one in re.findall(r"uses: (.*)", text))
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    called = re.findall(r"run: make (\S+)", text)
    assert called and set(called) <= set(targets)


def test_issue_forms_ask_for_the_output_of_info_and_are_complete():
    forms = [
        yaml.safe_load(path.read_text("utf-8")) for path in sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
    ]
    forms = [form for form in forms if "body" in form]
    assert len(forms) == 3 and all(form["name"] and form["description"] for form in forms)
    asked = [field["id"] for form in forms for field in form["body"] if field.get("validations", {}).get("required")]
    assert asked.count("info") == 2


def test_the_citation_and_the_changelog_have_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == __version__ and citation["license"] == "Apache-2.0"
    assert re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)[0] == __version__


def test_the_first_page_has_a_live_model_where_the_quickstart_was_run(site: Path, toy, tmp_path: Path):
    import live

    assert live.page(tmp_path, "zh_CN", tmp_path / "nothing") is None and not list(tmp_path.iterdir())
    made = live.page(tmp_path, "zh_CN", toy / "run")
    assert made and made.is_relative_to(tmp_path)
    text = made.read_text("utf-8")
    assert '"language": "zh"' in text and '"precision": "int8"' in text
    for folder in ("en", "zh_cn"):
        assert f'src="{made.name}"' in (ROOT / "docs" / folder / "index.md").read_text("utf-8")


def test_a_chinese_query_is_cut_as_the_pages_are(site: Path):
    pytest.importorskip("sphinx", reason="sphinx is not installed: it comes with the extra `docs`")
    from chinese_search import ChineseSearch

    found = ChineseSearch({})
    assert found.split("束搜索 (beam search)") == ["beam", "search", "束搜", "搜索"]
    assert f"{found.language_name.lower()}-stemmer.js" == found.js_stemmer_rawcode
    if not shutil.which("node"):
        pytest.skip("there is no node to cut queries with")
    queries = ["束搜索 (beam search)", "用 JAX 实现的Transformer", "", "--beam-size 4"]
    script = f"{found.js_splitter_code}; console.log(JSON.stringify({json.dumps(queries)}.map(splitQuery)))"
    cut = json.loads(subprocess.run(["node", "-e", script], capture_output=True, check=True).stdout)
    assert [sorted(one) for one in cut] == [sorted(found.split(query)) for query in queries]
