"""The settings that a config has, as `--help` lists them: name, value, range and meaning, read from the schema."""

from __future__ import annotations

import ast
import inspect
import textwrap

from wmt_transformer import config as schema
from wmt_transformer.config import Config
from wmt_transformer.experiment import SECTIONS
from wmt_transformer.ranges import expected, kinds

WIDTH = 110


def listing(config: Config) -> str:
    """Returns every setting with its value in this config, the values that it may have, and what it means."""
    lines = [f"settings of {config.name} (change one with --NAME VALUE):"]
    for section, kind in SECTIONS.items():
        meaning = meanings(kind.__name__)
        for field, values in kinds(kind).items():
            value = getattr(getattr(config, section), field)
            lines.append(f"  --{section}.{field} {shown(value)}")
            text = f"{meaning.get(field, '')} ({expected(values)})"
            lines += textwrap.wrap(text, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def shown(value: object) -> str:
    """Returns a value as it is given on the command line."""
    return (" ".join(map(str, value)) or "()") if isinstance(value, tuple) else str(value)


def meanings(section: str) -> dict[str, str]:
    """Returns what the schema says under each field of a section."""
    (found,) = (
        node
        for node in ast.parse(inspect.getsource(schema)).body
        if isinstance(node, ast.ClassDef) and node.name == section
    )
    texts: dict[str, str] = {}
    for field, below in zip(found.body, found.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            texts[field.target.id] = " ".join(ast.literal_eval(below.value).split())
    return texts
