"""Positional encodings as a picture (§3.5): the table itself, and how similar two positions are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wmt_transformer.decode.generate import Translator
from wmt_transformer.model.layers import sinusoids

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def table(translator: Translator) -> np.ndarray:
    """Returns the encodings `[positions, d_model]` of a source as long as the model was trained for."""
    model, longest = translator.model, translator.longest
    if model.positions == "learned":
        return np.asarray(translator.params["source_positions"])[:longest]
    return sinusoids(longest, model.d_model, model.sinusoid_layout)


def picture(table: np.ndarray) -> Figure:
    """Returns a matplotlib figure: the table `[positions, d_model]`, and the cosines between its rows.

    In the table a row is a position, and both ends of the colours are its largest number. The sinusoids' likeness
    depends on the distance alone, which shows as stripes along the diagonal: what lets a head look "three back".
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
    most = np.abs(table).max()
    rows = table / np.linalg.norm(table, axis=1, keepdims=True)
    for panel, values, limit in ((left, table, most), (right, rows @ rows.T, 1.0)):
        shown = panel.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
        figure.colorbar(shown, ax=panel)
        panel.set_ylabel("position")
    left.set(title="the encoding", xlabel="dimension")
    right.set(title="cosine of two positions", xlabel="position")
    return figure
