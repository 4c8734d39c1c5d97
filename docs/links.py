"""Links of pages: a file of the repository is linked where the repository is, or is named where that is not known.

The files of the repository link each other by their paths, so that they read well on GitHub too. On the site such a
path is another page, where there is one of that file.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PAGES = {
    "README.md": "index",
    "README.zh-CN.md": "index",
    "benchmarks": "project/benchmarks",
    "benchmarks/README.md": "project/benchmarks",
    "benchmarks/LOG.md": "project/log",
    "launch": "project/launch",
    "launch/README.md": "project/launch",
    "CONTRIBUTING.md": "project/contributing",
    "CHANGELOG.md": "project/changelog",
    "LEADERBOARD.md": "project/leaderboard",
    "reports/README.md": "project/reports",
    "docs/ablation.md": "project/ablation",
    "SECURITY.md": "project/security",
}
"""Files of the repository that are pages of the site, in both languages."""

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


@functools.cache
def repository() -> str | None:
    """Returns the address of the repository on GitHub that the documentation is built in, None where it has none."""
    name = os.environ.get("GITHUB_REPOSITORY")
    if name is None:
        asked = ["git", "-C", str(ROOT), "remote", "get-url", "origin"]
        address = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
        found = re.fullmatch(r"(?:https://github\.com/|git@github\.com:)([\w.-]+/[\w.-]+?)(?:\.git)?", address)
        name = found[1] if found else None
    return name and f"https://github.com/{name}"


def rewritten(text: str, file: Path, page: Path) -> str:
    """Returns Markdown that was written for `file` with the links that `page`, a file of the site, needs."""

    def new(match: re.Match[str]) -> str:
        mark, shown, target = match.groups()
        address, _, anchor = target.partition("#")
        if not address or re.match(r"[a-z]+:", address):
            return match[0]
        path = (file.parent / address).resolve()
        site = page.parents[len(page.relative_to(ROOT).parts) - 3]  # docs/en or docs/zh_cn
        if mark or path.is_relative_to(site):
            place = path
        elif path.is_relative_to(ROOT / "docs" / "en") or str(path.relative_to(ROOT)) in PAGES:
            inside = PAGES.get(str(path.relative_to(ROOT)))
            place = site / (f"{inside}.md" if inside else path.relative_to(ROOT / "docs" / "en"))
        elif repository():
            kind = "tree" if path.is_dir() else "blob"
            return f"[{shown}]({repository()}/{kind}/main/{path.relative_to(ROOT)})"
        else:
            return shown
        return f"{mark}[{shown}]({os.path.relpath(place, page.parent)}{'#' * bool(anchor)}{anchor})"

    parts = re.split(r"(^(?:```|~~~).*?^(?:```|~~~))", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if part.startswith(("```", "~~~")) else LINK.sub(new, part) for part in parts)


def in_page(site: Path, name: str, text: list[str]) -> None:
    """Rewrites the links of a page while Sphinx reads it; leaves out patterns of a table of contents without a page."""
    page = site / f"{name}.md"
    text[0] = re.sub(
        r"^(\w+)\*\n", lambda match: match[0] if list(site.glob(f"{match[1]}*")) else "", text[0], flags=re.M
    )
    if page.is_file():
        text[0] = rewritten(text[0], page, page)
