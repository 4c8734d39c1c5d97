"""Constituency trees for people: an outline in text, and a picture."""

from __future__ import annotations

from xml.sax.saxutils import escape

from wmt_transformer.data.treebanks.trees import LEAF, Tree, walk
from wmt_transformer.letters import visible

_LETTER, _GAP, _ROW = 7.5, 14, 46
"""Of the picture, in pixels: width of a letter, space between words, height of a level."""


def outline(tree: Tree) -> str:
    """Returns the tree from top to bottom, a constituent or a word a line, lines from each to its parts."""
    lines: list[str] = []
    below: list[str] = []  # what comes before the children of each open node
    ends: list[list[Tree]] = []
    for node, opens in walk(tree):
        if not opens:
            below.pop()
            ends.pop()
            continue
        last = not ends or node is ends[-1][-1]
        before = below[-1] if below else ""
        lines.append(before + ("" if not below else "└─ " if last else "├─ ") + _name(node))
        below.append(before + ("" if not below else "   " if last else "│  "))
        ends.append(list(node.children) or [node])
    return "\n".join(lines)


def svg(tree: Tree) -> str:
    """Returns a drawing of the tree as an SVG document: words at the bottom, constituents centred over their parts."""
    shapes: list[str] = []
    right, depth, deepest = float(_GAP), 0, 0
    inside: list[list[tuple[float, float]]] = [[]]  # where the finished parts of each open node are
    for node, opens in walk(tree):
        if opens:
            inside.append([])
            depth += 1
            deepest = max(deepest, depth + (node.word is not None))
            continue
        depth -= 1
        parts, y = inside.pop(), (depth + 0.6) * _ROW
        if node.word is not None:
            tag = "" if node.label == LEAF else node.label
            width = _LETTER * max(len(node.word), len(tag))
            x, right = right + width / 2, right + width + _GAP
            shapes += [_text(x, y, tag, "tag"), _text(x, y + 0.45 * _ROW, node.word, "word")]
        else:
            x = (parts[0][0] + parts[-1][0]) / 2
            lines = [f"M{x:.1f},{y + 5:.1f}L{a:.1f},{b - 14:.1f}" for a, b in parts]
            shapes += [f'<path d="{"".join(lines)}"/>', _text(x, y, node.label, "label")]
        inside[-1].append((x, y))
    style = "text{font:14px sans-serif;text-anchor:middle}.label{font-weight:bold}.tag{fill:#777}path{stroke:#999}"
    size = f'width="{right:.0f}" height="{deepest * _ROW:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{style}</style>'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *filter(None, shapes), "</svg>\n"])


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(visible(text))}</text>' if text else ""


def _name(node: Tree) -> str:
    return visible(
        node.label if node.word is None else node.word if node.label == LEAF else f"{node.label} {node.word}"
    )
