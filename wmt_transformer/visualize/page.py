"""One web page that shows all heads of a sentence pair, as in the paper's figures 3-5: lines from word to word.

The page, `page.html`, is one file that asks for nothing else: style, script and weights are in it. Weights are bytes, 0
to 255, so a line's share is right to 0.2 %.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from wmt_transformer.visualize.attention import Look, Maps

TEMPLATE = Path(__file__).with_name("page.html")
PLACE = "/* the data */ null"


def html(look: Look, kind: str = "cross", layer: int = -1, head: int | None = None) -> str:
    """Returns the page, which opens with these weights; layers and heads as in `attention.heat_map`."""
    layers = look.maps[kind].weights.shape[0]
    data = {
        "source": look.source,
        "target": look.target,
        "first": {"kind": kind, "layer": range(layers)[layer], "head": head},
        "maps": {name: _as_json(maps) for name, maps in look.maps.items()},
    }
    # Only "<" could end the script that holds the data.
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    return TEMPLATE.read_text(encoding="utf-8").replace(PLACE, text)


def _as_json(maps: Maps) -> dict[str, Any]:
    layers, heads = maps.weights.shape[:2]
    weights = np.round(maps.weights * 255).astype(np.uint8).tobytes()
    return {
        "queries": maps.queries,
        "keys": maps.keys,
        "layers": layers,
        "heads": heads,
        "weights": base64.b64encode(weights).decode(),
    }
