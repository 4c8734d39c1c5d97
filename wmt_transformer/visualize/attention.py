"""Attention weights as a heat map, one panel a head: which source pieces each target piece looks at.

The figure is made without pyplot, so that drawing changes no global state and needs no display.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from wmt_transformer.data.vocabulary import EOS
from wmt_transformer.decode import alignment
from wmt_transformer.decode.generate import Translator


def cross_attention_map(translator: Translator, text: str, path: Path, layer: int = -1) -> str:
    """Translates one sentence and draws where each piece of the translation looked in the source; returns it.

    `layer` counts the decoder's layers from 0, or from the last with negative numbers; one panel a head.
    """
    vocabulary, translation = translator.vocabulary, translator.translate([text])[0]
    sides = [*vocabulary.encode(text), EOS], [*vocabulary.encode_target(translation), EOS]
    source, target = (jnp.asarray([ids], jnp.int32) for ids in sides)
    heads = alignment.cross_attention(translator.params, source, target, model=translator.model, layer=layer)[0]
    results = alignment.target_pieces(vocabulary, sides[1][:-1])[0]
    names, results = [*vocabulary.pieces(text), "<end>"], [*results, "<end>"]
    heat_map(np.asarray(heads), names, results, path, title=f"{text}\n{translation}")
    return translation


def heat_map(
    weights: np.ndarray,
    source_pieces: Sequence[str],
    target_pieces: Sequence[str],
    path: Path,
    title: str = "",
) -> None:
    """Draws attention weights into a PNG; white is 0 and the darkest blue is 1 in every panel.

    Args:
      weights: `[target, source]`, or `[heads, target, source]` for one panel a head.
      source_pieces, target_pieces: the labels; SentencePiece's mark of a word's start is left out.
      path: where to write; folders on the way are created.
      title: one line above everything.

    Raises ValueError when the labels are not as many as the weights' rows and columns.
    """
    from matplotlib.figure import Figure

    heads = weights[None] if weights.ndim == 2 else weights
    if heads.ndim != 3 or heads.shape[1:] != (len(target_pieces), len(source_pieces)):
        expected = (len(target_pieces), len(source_pieces))
        raise ValueError(f"weights have shape {weights.shape}; the pieces ask for [heads, ] {expected}")
    columns = min(len(heads), 4)
    rows = math.ceil(len(heads) / columns)
    # A cell of 0.28 inch holds its label at 9 points; beside and above it, room for the longest label.
    width, height = 0.28 * len(source_pieces) + 1.2, 0.28 * len(target_pieces) + 1.4
    size = (max(columns * width, 4.0), max(rows * height, 2.5) + (0.4 if title else 0.0))
    figure = Figure(figsize=size, layout="constrained")
    for head, panel in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        if head >= len(heads):
            panel.axis("off")
            continue
        panel.imshow(heads[head], cmap="Blues", vmin=0.0, vmax=1.0)
        panel.set_xticks(range(len(source_pieces)), [label(piece) for piece in source_pieces], rotation=90, fontsize=9)
        panel.set_yticks(range(len(target_pieces)), [label(piece) for piece in target_pieces], fontsize=9)
        panel.xaxis.tick_top()
        panel.tick_params(length=0)
        panel.spines[:].set_color("lightgray")
        if len(heads) > 1:
            panel.set_xlabel(f"head {head + 1}")
    if title:
        figure.suptitle(title, fontsize=11, wrap=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def label(piece: str) -> str:
    """Returns a piece as it is read: a word's start without its mark, a continuation behind a hyphen."""
    if piece.startswith("▁"):
        return piece[1:] or "␣"
    return piece if piece.startswith("<") or not piece.isalnum() else f"-{piece}"
