"""The weights of a Hugging Face Marian model, read as they are, without `transformers`.

Only those in PyTorch's old format, a .bin file, need torch, and one whose loader refuses code (CVE-2025-32434).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wmt_transformer.config import UserError
from wmt_transformer.interop.marian_folder import WEIGHTS, Json, read_json
from wmt_transformer.model.layers import sinusoids

_POSITIONS = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")
_OLDEST_TORCH = (2, 6)  # before it, weights_only=True can run code: CVE-2025-32434


def read(folder: Path, theirs: Json) -> dict[str, np.ndarray]:
    """Returns the arrays by name, float32: one of each use, though a file holds tied ones once.

    Raises UserError for a file that is damaged or lacks arrays, for positions that are not sinusoids, and without the
    package that the file's format needs.
    """
    found = _arrays(folder)
    shared, encoder, decoder = (
        f"model.{name}.weight" for name in ("shared", "encoder.embed_tokens", "decoder.embed_tokens")
    )
    if theirs["share_encoder_decoder_embeddings"]:
        table = next((found[name] for name in (shared, encoder, decoder, "lm_head.weight") if name in found), None)
        found |= {} if table is None else {encoder: table, decoder: table}
    if theirs["tie_word_embeddings"] and decoder in found:
        found["lm_head.weight"] = found[decoder]
    if "final_logits_bias" not in found and "lm_head.weight" in found:
        found["final_logits_bias"] = np.zeros((1, len(found["lm_head.weight"])), np.float32)
    for name in _POSITIONS:
        positions = found.pop(name, None)
        if positions is not None and not np.allclose(
            positions, sinusoids(len(positions), positions.shape[1], "concatenated"), atol=2e-3
        ):  # float16 is possible
            raise UserError(f"{folder} has positions that are not sinusoids ({name}), as ours are")
    return found


def _arrays(folder: Path) -> dict[str, np.ndarray]:
    """Returns all arrays, of one file or of several with an index; the first of WEIGHTS that exists is read."""
    name = next(name for name in WEIGHTS if (folder / name).is_file())
    load = _safetensors if ".safetensors" in name else _torch
    if not name.endswith(".index.json"):
        return load(folder / name)
    index = read_json(folder / name).get("weight_map")
    if not isinstance(index, dict):
        raise UserError(f"{folder / name} has no weight_map; copy the folder again from where it came")
    found: dict[str, np.ndarray] = {}
    for part in sorted({str(part) for part in index.values()}):
        if Path(part).name != part:
            raise UserError(f"{folder / name} names {part!r}, which is not a file of this folder")
        found |= load(folder / part)
    return found


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        from safetensors.flax import load_file  # NumPy alone has no bfloat16
    except ImportError:
        raise UserError("safetensors is not installed; run: pip install 'safetensors>=0.4.3'") from None
    return _loaded(path, load_file)


def _torch(path: Path) -> dict[str, np.ndarray]:
    least = ".".join(map(str, _OLDEST_TORCH))
    try:
        import torch
    except ImportError:
        raise UserError(
            f"torch is not installed, and {path.name} is read with it; run: pip install 'torch>={least}'"
        ) from None
    if tuple(int(digits) for digits in re.findall(r"\d+", torch.__version__)[:2]) < _OLDEST_TORCH:
        raise UserError(
            f"torch {torch.__version__} may run code that a .bin file holds (CVE-2025-32434); run: pip install "
            f"'torch>={least}', or give model.safetensors"
        )

    def load(path: Path) -> dict[str, Any]:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        return {name: x.to(torch.float32).numpy() for name, x in loaded.items()}

    return _loaded(path, load)


def _loaded(path: Path, load: Callable[[Path], Mapping[str, Any]]) -> dict[str, np.ndarray]:
    try:
        return {name: np.asarray(x, np.float32) for name, x in load(path).items()}
    except Exception as error:  # whatever a damaged file makes of it
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UserError(f"cannot read the weights in {path}: {reason}; copy the file again") from error
