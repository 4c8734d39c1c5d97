"""The attention weights of a translator for one sentence pair, and their heat maps (§3.2.3).

The weights come from one teacher-forced pass over the pieces of both texts, as in `decode/alignment.py`. Three kinds
are the paper's: in the encoder each source piece attends to all of them; in the decoder, the position that predicts a
target piece attends to the pieces before it and, in cross-attention, to the source. A fourth kind, the alignment, gives
the last one from word to word.

Figures are made without pyplot, so that drawing changes no global state and needs no display.
"""

from __future__ import annotations

import dataclasses
import math
import re
import textwrap
import unicodedata
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from wmt_transformer.config import ModelConfig, UserError
from wmt_transformer.data.vocabulary import normalise
from wmt_transformer.decode import alignment
from wmt_transformer.decode.generate import Translator
from wmt_transformer.letters import visible
from wmt_transformer.model.transformer import Transformer
from wmt_transformer.special_tokens import EOS
from wmt_transformer.visualize.fonts import families

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("encoder", "decoder", "cross", "alignment")
WORDS = {
    "encoder": ("self-attention of the encoder", "source piece", "source pieces that it looks at"),
    "decoder": ("self-attention of the decoder", "target piece being written", "target pieces read so far"),
    "cross": ("attention from target to source (cross-attention)", "target piece being written", "source pieces"),
    "alignment": ("word alignment", "target word", "source words"),
}
"""What a picture calls each kind, its rows and its columns."""
START, END = "<start>", "<end>"


@dataclasses.dataclass(frozen=True)
class Maps:
    """Attention `weights[layer, head, query, key]`, whose rows sum to 1, and the names of queries and keys.

    A decoder's query is the piece that is being predicted; the keys of its self-attention are the pieces it has read,
    which begin with the start of the sentence. An alignment has one layer, one head, words for pieces, and weights
    that are 0 or 1.
    """

    queries: list[str]
    keys: list[str]
    weights: np.ndarray


@dataclasses.dataclass(frozen=True)
class Look:
    """A sentence, its translation, and the maps of every kind by its name in KINDS."""

    source: str
    target: str
    maps: dict[str, Maps]


def look(translator: Translator, source: str, target: str | None = None) -> Look:
    """Returns the attention of every layer and head for a sentence and its translation.

    Args:
      source: the sentence.
      target: what to take for its translation; None is what the translator makes of it.

    Raises UserError for an empty text, and for one longer than the model was trained for.
    """
    vocabulary = translator.vocabulary
    names = [label(piece) for piece in vocabulary.pieces(source)]
    _check("source", source, len(names), translator.longest)
    translation = translator.translate([source])[0] if target is None else normalise(target)
    ids = [*vocabulary.encode(source), EOS], [*vocabulary.encode_target(translation), EOS]
    if not translation and target is None:
        raise UserError("the run translates this sentence into nothing; give a target")
    _check("target", translation, len(ids[1]) - 1, translator.longest)
    pieces, words = alignment.target_pieces(vocabulary, ids[1][:-1])
    found = all_weights(translator.params, *(jnp.asarray([one], jnp.int32) for one in ids), model=translator.model)
    weights = {kind: np.asarray(one) for kind, one in found.items()}
    results = [label(piece) for piece in pieces]
    maps = {
        "encoder": Maps([*names, END], [*names, END], weights["encoder"]),
        "decoder": Maps([*results, END], [START, *results], weights["decoder"]),
        "cross": Maps([*results, END], [*names, END], weights["cross"]),
    }
    numbers = alignment.source_words(vocabulary.pieces(source))
    linked = np.zeros((1, 1, len(translation.split()), len(normalise(source).split())), np.float32)
    for source_word, target_word in alignment.links(weights["cross"][-1].mean(axis=0), numbers, words):
        linked[0, 0, target_word, source_word] = 1.0
    maps["alignment"] = Maps(translation.split(), normalise(source).split(), linked)
    return Look(normalise(source), translation, maps)


def _check(side: str, text: str, pieces: int, longest: int) -> None:
    if not normalise(text):
        raise UserError(f"the {side} is empty; give a sentence")
    if pieces >= longest:
        raise UserError(f"the {side} has {pieces} pieces and the model takes at most {longest - 1}; shorten it")


@partial(jax.jit, static_argnames="model")
def all_weights(
    params: Any, source: Int[Array, "1 source"], target: Int[Array, "1 target"], *, model: ModelConfig
) -> dict[str, Float[Array, "layers heads queries keys"]]:
    """Returns the weights of every layer and head for one pair of ids, EOS included, by the kind's name."""
    explicit = Transformer(dataclasses.replace(model, attention="explicit"))  # the fused path has no weights to show
    apply = cast(Any, explicit.apply)
    _, kept = apply({"params": params}, source, target, method="states", mutable="intermediates")

    def stacked(stack: str, layers: int, attention: str) -> Array:
        each = [kept["intermediates"][f"{stack}_{layer}"][attention] for layer in range(layers)]
        return jnp.stack([one["attention_weights"][0][0].astype(jnp.float32) for one in each])

    return {
        "encoder": stacked("encoder", model.num_layers, "self_attention"),
        "decoder": stacked("decoder", model.decoder_layers, "self_attention"),
        "cross": stacked("decoder", model.decoder_layers, "cross_attention"),
    }


def picture(look: Look, kind: str = "cross", layer: int = -1, head: int | None = None) -> Figure:
    """Returns a figure: the heat maps of a kind's layer under the sentences that they are of; see `heat_map`."""
    maps = look.maps[kind]
    layers = len(maps.weights)
    sentences = {"encoder": [look.source], "decoder": [look.target]}.get(kind, [look.source, look.target])
    name, rows, columns = WORDS[kind]
    name = name if kind == "alignment" else f"{name}, layer {range(layers)[layer] + 1} of {layers}"
    return heat_map(maps, layer, head, "\n".join([*sentences, name]), rows, columns)


def heat_map(
    maps: Maps, layer: int = -1, head: int | None = None, title: str = "", rows: str = "", columns: str = ""
) -> Figure:
    """Returns a matplotlib figure: a heat map for each head of a layer, white for 0 and the darkest blue for 1.

    Beside them is the scale of the colours.

    Args:
      layer: counted from 0, or from the last with negative numbers.
      head: the only one to draw, counted from 0; None draws all.
      title: the text above everything; lines that are too long are broken.
      rows, columns: what the queries and the keys are.
    """
    from matplotlib.figure import Figure

    numbers = range(maps.weights.shape[1]) if head is None else [head]
    # A cell of 0.28 inch holds its label at 9 points; beside and above it, room for the longest label.
    width, height = 0.28 * len(maps.keys) + 1.2, 0.28 * len(maps.queries) + 1.4

    def distance(columns: int) -> float:
        return abs(math.log(columns**2 * width / (len(numbers) * height) / 1.5))

    # As near to 3 : 2 as possible without an empty cell, so that labels are legible on a page.
    across = min((n for n in range(1, len(numbers) + 1) if len(numbers) % n == 0), key=distance)
    down = len(numbers) // across
    size = max(across * width, 4.0) + 0.6, max(down * height, 2.5)  # 0.6 inch for the scale
    letters = int(size[0] * 72 / 11 / 0.6)  # a letter of 11 points is 0.6 of that wide, or less
    above = "\n".join(part for line in title.splitlines() for part in textwrap.wrap(visible(line), letters))
    size = size[0], size[1] + 0.2 * len(above.splitlines())
    # Long sentences have many cells: a picture has at most 8,000 dots a side, which every viewer opens. `savefig` knows
    # only the resolution that a figure is made with.
    figure = Figure(figsize=size, dpi=min(150.0, 8000 / max(size)), layout="constrained")
    queries, keys = ([visible(name) for name in names] for names in (maps.queries, maps.keys))
    # Dollar signs in a text enclose no formula.
    plain: dict[str, Any] = {"fontfamily": families("".join([*queries, *keys, above])), "parse_math": False}
    panels = figure.subplots(down, across, squeeze=False)
    for number, panel in zip(numbers, panels.flat, strict=True):
        panel.imshow(maps.weights[layer, number], cmap="Blues", vmin=0.0, vmax=1.0)
        panel.set_xticks(range(len(maps.keys)), keys, rotation=90, fontsize=9, **plain)
        panel.set_yticks(range(len(maps.queries)), queries, fontsize=9, **plain)
        panel.xaxis.tick_top()
        panel.tick_params(length=0)
        panel.spines[:].set_color("lightgray")
        if maps.weights.shape[1] > 1:
            panel.set_xlabel(f"head {number + 1}")
    (image,) = panels.flat[0].images
    figure.colorbar(image, ax=panels, label="attention weight", fraction=0.05, aspect=40, shrink=0.6)
    figure.supylabel(rows, fontsize=10)
    figure.supxlabel(columns, fontsize=10)
    if above:
        figure.suptitle(above, fontsize=11, **plain)
    return figure


def label(piece: str) -> str:
    """Returns a piece as it is read: a word's start without its mark, a continuation after a hyphen.

    Scripts of wide letters, which are written without spaces, get no hyphen. Bytes that are no letter yet are <byte>; a
    byte that is a letter by itself, such as `<0x2D>`, is that letter.
    """
    if ascii_byte := re.fullmatch(r"<0x([0-7][0-9A-F])>", piece):
        return visible(chr(int(ascii_byte[1], 16))).strip() or "␣"
    if "\ufffd" in piece:
        return "<byte>"
    if piece.startswith("▁"):
        return visible(piece[1:]) or "␣"
    part_of_word = piece.isalnum() and unicodedata.east_asian_width(piece[0]) not in "WF"
    return f"-{piece}" if part_of_word else visible(piece)
