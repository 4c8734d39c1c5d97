"""The documentation: both languages say the same commands and figures, and it tells what the program has."""

import argparse
import re
from pathlib import Path

from wmt_transformer import cli

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

    def add(run, **_) -> argparse.ArgumentParser:
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
