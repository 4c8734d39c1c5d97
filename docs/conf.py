"""Builds the documentation of one language: `sphinx-build -c docs -D language=en docs/en docs/_build/en`.

`make docs` builds both. Pages that follow from the code are written before the build, by `generated.py`; nothing is
executed but what they import, and notebooks are shown as they are stored.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generated  # noqa: E402
import links  # noqa: E402
import live  # noqa: E402
import mathml  # noqa: E402
from chinese_search import ChineseSearch  # noqa: E402

from wmt_transformer import __version__  # noqa: E402

project = "wmt_transformer"
release = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
suppress_warnings = ["misc.highlighting_failure"]  # a line that IPython gives to the shell is no Python

linkcheck_anchors = False  # GitHub makes those of a file's lines by script
linkcheck_ignore = [r"http://(127\.0\.0\.1|localhost)\b", r"https://example\.org\b"]
linkcheck_retries = 3

nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
default_role = "code"  # one backtick is code in docstrings, as in Markdown
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 88

html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"  # by the browser itself: no script from another host
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is; "" is reported as an error
html_theme_options: dict[str, Any] = {
    "article_header_end": ["language.html", "article-header-buttons.html"],
    "use_download_button": False,
    "show_navbar_depth": 1,
    "navbar_persistent": [],
    "footer_content_items": [],  # "Author name not set"
    **({"repository_url": links.repository(), "use_repository_button": True} if links.repository() else {}),
}

TITLES = {"en": "wmt_transformer", "zh_CN": "wmt_transformer 中文文档"}
FOLDERS = {"en": "en", "zh_CN": "zh_cn"}


def other_language(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Gives each page the address of the same page in the other language, or of its first page."""
    other = "zh_CN" if app.config.language == "en" else "en"
    found = any((HERE / FOLDERS[other] / f"{pagename}.{ending}").is_file() for ending in ("md", "ipynb"))
    up = "../" * (pagename.count("/") + 1)
    context["other_language"] = other.replace("_", "-")
    context["other_name"] = {"en": "English", "zh_CN": "简体中文"}[other]
    context["other_address"] = f"{up}{FOLDERS[other]}/{pagename if found else 'index'}.html"


def live_model(app: Any, config: Any) -> None:
    """Puts the page in which the quickstart's model thinks onto the first page (`only` in index.md), where it is."""
    if made := live.page(Path(app.srcdir), config.language):
        config.html_extra_path = [str(made)]
        app.tags.add("live")


def setup(app: Any) -> None:
    """Connects what is made before the build and while pages are read."""
    app.connect("config-inited", live_model)
    app.connect("config-inited", lambda app, config: setattr(config, "html_title", TITLES[config.language]))
    app.connect("builder-inited", lambda app: generated.write(Path(app.srcdir), app.config.language))
    app.connect("source-read", lambda app, name, text: links.in_page(Path(app.srcdir), name, text))
    app.connect("html-page-context", other_language)
    app.add_search_language(ChineseSearch)
    app.add_html_math_renderer("mathml", (mathml.inline, None), (mathml.block, None))
