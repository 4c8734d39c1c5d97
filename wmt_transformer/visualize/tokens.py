"""Tokens made visible: how a text is cut into pieces, with bytes and ids; the ids are all that a model sees.

A token need not be a character: `<0xF0>` is the first of four that spell an emoji in bytes, and a combining mark can be
a piece of its own. Tokens that only together make a character as a reader sees it (Unicode's grapheme clusters) are
shown as one group, with all their ids. Each id also has a symbol, Braille cells without a meaning: to a model
"strawberry" is a few such symbols, and none of them has the letter r in it.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from wmt_transformer.config import UserError
from wmt_transformer.data import phrasebook
from wmt_transformer.data.vocabulary import Vocabulary, normalise
from wmt_transformer.data.vocabulary_files import load_vocabulary
from wmt_transformer.letters import visible

if TYPE_CHECKING:
    from rich.console import RenderableType

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_COLOURS = ("#cfe3ff", "#ffd9c2", "#d3f0cd", "#f6d0e4", "#fff0a8", "#dcd3f7")
"""Backgrounds of black letters; neighbours differ in lightness too."""


class Token(NamedTuple):
    """One piece: its id, its name in the vocabulary, and its bytes of the text."""

    id: int
    piece: str
    text: bytes


class Group(NamedTuple):
    """The fewest tokens that begin and end between characters, and the text that they are."""

    text: str
    tokens: tuple[Token, ...]


class View(NamedTuple):
    """A text as one vocabulary cuts it."""

    name: str
    groups: tuple[Group, ...]

    @property
    def tokens(self) -> list[Token]:
        """All tokens in their order."""
        return [token for group in self.groups for token in group.tokens]

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: the page in a frame."""
        inner = html.escape(page("".join(group.text for group in self.groups), [self]), quote=True)
        return f'<iframe srcdoc="{inner}" style="width: 100%; height: 26rem; border: 0"></iframe>'


def view(vocabulary: Vocabulary, text: str, name: str = "vocabulary") -> View:
    """Returns how a vocabulary cuts a text. The space that SentencePiece puts before it is no part of the text."""
    names = vocabulary.pieces(text)
    tokens = [Token(*one, _bytes(one[1])) for one in zip(vocabulary.encode(text), names, strict=True)]
    if tokens and names[0].startswith("▁") and not text.startswith(" "):
        tokens[0] = tokens[0]._replace(text=tokens[0].text[1:])
    return View(name, tuple(_groups(tokens)))


def views(text: str, vocabularies: Sequence[str | os.PathLike[str]] = ()) -> list[View]:
    """Returns how each vocabulary cuts a text: SentencePiece models, data folders or work folders of runs.

    Without one it is the built-in corpus's. Raises UserError for a text without anything in it, and where there is no
    vocabulary.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError("the text is not UTF-8; convert it first") from None
    if not normalise(text):
        raise UserError("there is nothing to cut: the text is empty")
    if not vocabularies:
        built_in = phrasebook.vocabulary()
        return [view(built_in, text, f"phrasebook ({len(built_in):,} pieces)")]
    found = []
    for path in map(Path, vocabularies):
        folder = path / "data" if (path / "data").is_dir() else path
        one = load_vocabulary(folder) if folder.is_dir() else Vocabulary.load(folder)
        found.append(view(one, text, f"{path} ({len(one):,} pieces)"))
    return found


def symbol(token: int) -> str:
    """Returns the symbol of an id: its digits to base 255, each a Braille cell with at least one dot."""
    digits = chr(0x2801 + token % 255)
    return symbol(token // 255) + digits if token >= 255 else digits


def report(text: str, views: Sequence[View]) -> dict[str, Any]:
    """Returns the views as JSON has them."""

    def listed(token: Token) -> dict[str, Any]:
        return {"id": token.id, "piece": token.piece, "bytes": len(token.text), "symbol": symbol(token.id)}

    return {
        "text": text,
        "vocabularies": [
            {
                "vocabulary": one.name,
                "tokens": [listed(token) for token in one.tokens],
                "groups": [{"text": group.text, "ids": [token.id for token in group.tokens]} for group in one.groups],
            }
            for one in views
        ],
    }


def terminal(views: Sequence[View]) -> RenderableType:
    """Returns the views side by side for a rich console."""
    from rich.console import Group as Stack
    from rich.table import Table
    from rich.text import Text

    def coloured(groups: Sequence[Group], symbols: bool) -> Text:
        line = Text(overflow="fold")
        for number, group in enumerate(groups):
            shown = "".join(symbol(token.id) for token in group.tokens) if symbols else _shown(group)
            line.append(shown, style=f"black on {_COLOURS[number % len(_COLOURS)]}")
            line.append("│", style="dim")
        return line

    grid = Table.grid(padding=(0, 3), expand=len(views) > 1)
    cells = []
    for one in views:
        table = Table("text", "piece", "id", "bytes", "symbol", box=None, header_style="dim", padding=(0, 2, 0, 0))
        for number, group in enumerate(one.groups):
            for token in group.tokens:
                text = Text(_shown(group), style=f"black on {_COLOURS[number % len(_COLOURS)]}")
                first = token is group.tokens[0]
                piece = Text(visible(token.piece))
                table.add_row(text if first else "", piece, str(token.id), str(len(token.text)), symbol(token.id))
        parts = [
            Text(visible(one.name), style="bold"),
            _summary(one),
            coloured(one.groups, False),
            coloured(one.groups, True),
        ]
        cells.append(Stack(*parts, "", table))
        grid.add_column(overflow="fold", ratio=1 if len(views) > 1 else None)
    grid.add_row(*cells)
    return grid


def page(text: str, views: Sequence[View]) -> str:
    """Returns the views side by side as one HTML page that needs nothing else."""
    columns = "\n".join(map(_column, views))
    return _PAGE.format(title=html.escape(visible(text[:60])), columns=columns)


def _bytes(piece: str) -> bytes:
    byte = _BYTE.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace("▁", " ").encode()


def _groups(tokens: Sequence[Token]) -> list[Group]:
    import regex

    whole = b"".join(token.text for token in tokens).decode("utf-8", "replace")
    borders, end = {0}, 0
    for character in regex.findall(r"\X", whole):
        end += len(character.encode())
        borders.add(end)
    groups, open_tokens, end = [], [], 0
    for token in tokens:
        open_tokens.append(token)
        end += len(token.text)
        if end in borders or token is tokens[-1]:
            text = b"".join(one.text for one in open_tokens).decode("utf-8", "replace")
            groups.append(Group(text, tuple(open_tokens)))
            open_tokens = []
    return groups


def _shown(group: Group) -> str:
    return "↵".join(map(visible, group.text.split("\n"))) or "▁"


def _summary(one: View) -> str:
    tokens, size = len(one.tokens), sum(len(token.text) for token in one.tokens)
    return f"{tokens:,} tokens, {size:,} bytes, {size / max(tokens, 1):.1f} bytes a token"


def _column(one: View) -> str:
    def chunk(number: int, shown: str, tokens: Sequence[Token]) -> str:
        ids, pieces = " ".join(str(token.id) for token in tokens), " ".join(visible(token.piece) for token in tokens)
        hint = html.escape(f"{pieces} · {sum(len(token.text) for token in tokens)} bytes", quote=True)
        body = f"<b>{html.escape(shown)}</b><small>{ids}</small>"
        return f'<span class="c{number % len(_COLOURS)}" title="{hint}">{body}</span>'

    groups = list(enumerate(one.groups))
    text = "".join(chunk(number, _shown(group), group.tokens) for number, group in groups)
    seen = "".join(chunk(number, symbol(token.id), [token]) for number, group in groups for token in group.tokens)
    rows = "".join(
        f'<tr><td class="c{number % len(_COLOURS)}"><b>{"" if place else html.escape(_shown(group))}</b></td>'
        f"<td>{html.escape(visible(token.piece))}</td><td>{token.id}</td><td>{len(token.text)}</td><td>{symbol(token.id)}</td></tr>"
        for number, group in groups
        for place, token in enumerate(group.tokens)
    )
    return (
        f"<section><h2>{html.escape(visible(one.name))}</h2><p>{_summary(one)}</p>"
        f'<h3>the text</h3><div class="text" dir="auto">{text}</div>'
        f'<h3>what the model sees</h3><div class="text">{seen}</div>'
        "<table><tr><th>text</th><th>piece</th><th>id</th><th>bytes</th><th>symbol</th></tr>"
        f"{rows}</table></section>"
    )


_PAGE = (
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tokens: {title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #111; background: #fff; margin: 2rem; }}
main {{ display: flex; flex-wrap: wrap; gap: 3rem; }}
section {{ flex: 1 1 22rem; max-width: 46rem; }}
h2 {{ font-size: 1.2rem; margin: 0; overflow-wrap: anywhere; }}
h3 {{ font-size: .9rem; color: #555; margin: 1rem 0 .3rem; }}
p {{ margin: 0; color: #555; }}
.text span {{ display: inline-flex; flex-direction: column; align-items: center; border-radius: 4px;
  padding: 0 2px; margin: 1px; min-width: 1ch; }}
.text span, td {{ unicode-bidi: isolate; }}
.text b, td b {{ font-weight: normal; white-space: pre; }} .text b {{ font-size: 1.4rem; }}
small {{ font-size: .65rem; color: #333; }}
table {{ border-collapse: collapse; margin-top: 1rem; }}
th {{ font-weight: normal; color: #555; text-align: left; }} td, th {{ padding: .1rem .8rem .1rem .3rem; }}
"""
    + "\n".join(f".c{number} {{{{ background: {colour}; }}}}" for number, colour in enumerate(_COLOURS))
    + """
</style></head><body><main>
{columns}
</main></body></html>
"""
)
